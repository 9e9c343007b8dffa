//! Percent-encoding and base64, as far as redaction must see through them.

use std::borrow::Cow;

/// Hexadecimal digits.
const DIGITS: &[u8; 16] = b"0123456789ABCDEF";

/// One level of decoding; borrowed when nothing is encoded. What is no encoding (`%zz`) stays, as lenient decoders leave it. With `plus`, a `+` is a
/// space, as in forms.
pub(super) fn decode(raw: &[u8], plus: bool) -> Cow<'_, [u8]> {
    let encoded = |bytes: &[u8]| bytes.contains(&b'%') || (plus && bytes.contains(&b'+'));
    if !encoded(raw) {
        return Cow::Borrowed(raw);
    }
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (*first, after) {
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    out.push(high.wrapping_shl(4) | low);
                    rest = after;
                }
                _ => out.push(b'%'),
            },
            (b'+', _) if plus => out.push(b' '),
            (byte, _) => out.push(byte),
        }
    }
    Cow::Owned(out)
}

/// Decodes one more level, as in forms; `false` where there is none.
pub(super) fn unwrap(text: &mut Cow<'_, [u8]>) -> bool {
    match decode(text, true) {
        Cow::Owned(decoded) if decoded != **text => {
            *text = Cow::Owned(decoded);
            true
        }
        _ => false,
    }
}

/// Whether there is anything to decode, `+` not counted.
pub(super) fn is_encoded(text: &[u8]) -> bool {
    text.windows(3).any(
        |three| matches!(three, [b'%', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit()),
    )
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Everything encoded but what RFC 3986 calls unreserved, and `/`.
pub(super) fn encode(text: &[u8]) -> Vec<u8> {
    encode_others(text, |byte| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte))
}

/// Everything encoded but what is plain.
#[inline(never)]
pub(super) fn encode_others(text: &[u8], is_plain: fn(u8) -> bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        if is_plain(*byte) {
            out.push(*byte);
        } else {
            out.push(b'%');
            for half in [byte >> 4, byte & 15] {
                out.push(DIGITS.get(usize::from(half)).copied().unwrap_or_default());
            }
        }
    }
    out
}

/// Base64 of either alphabet, with or without padding; `None` for anything else.
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let mut out = Vec::with_capacity(text.len());
    let (mut bits, mut held) = (0u32, 0u32);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte.wrapping_sub(b'A'),
            b'a'..=b'z' => byte.wrapping_sub(b'a').wrapping_add(26),
            b'0'..=b'9' => byte.wrapping_sub(b'0').wrapping_add(52),
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits.wrapping_shl(6) | u32::from(value);
        held = held.wrapping_add(6);
        if held >= 8 {
            held = held.wrapping_sub(8);
            out.extend(u8::try_from(bits.wrapping_shr(held) & 0xff));
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_level_is_decoded() {
        for (raw, plus, expected) in [
            ("p%61ss", false, "pass"),
            ("a+b%2B", true, "a b+"),
            ("a+b", false, "a+b"),
            ("%2570", false, "%70"),
            ("%zz%4", false, "%zz%4"),
            ("%+1", false, "%+1"),
        ] {
            assert_eq!(&*decode(raw.as_bytes(), plus), expected.as_bytes(), "{raw}");
        }
        assert_eq!(encode("a /é".as_bytes()), b"a%20/%C3%A9");
    }

    #[test]
    fn base64_of_either_alphabet() {
        assert_eq!(base64("dXNlcjpwYXNz").as_deref(), Some(&b"user:pass"[..]));
        assert_eq!(base64("e30=").as_deref(), Some(&b"{}"[..]));
        assert_eq!(base64("-_-_"), base64("+/+/"));
        assert_eq!(base64("a b"), None);
    }
}
