//! What may be a name or a value in a configuration: headers (RFC 9110 token), cookies (RFC 6265), counters. The reasons are whole: they
//! say what would be accepted.

use std::rc::Rc;

use crate::config::joined;

/// A request or response header that a filter may set, in lower case. `example` shows what would be accepted.
///
/// # Errors
/// A pseudo header, `host`, or no token.
pub fn header(name: &str, example: &str) -> Result<Rc<str>, String> {
    if name.starts_with(':') || name.eq_ignore_ascii_case("host") {
        let reason = "` is not a header that this filter may set; expected an ordinary one such as `";
        return Err(joined(&joined("`", name, reason), example, "`"));
    }
    if !is_token(name) {
        let reason = "` is not a header name; expected letters, digits and `-`, such as `";
        return Err(joined(&joined("`", name, reason), example, "`"));
    }
    Ok(name.to_ascii_lowercase().into())
}

/// A request header to read: also `:authority`, `:path`, `:method` and `:scheme`; `host` is `:authority` (`HDR-12`).
///
/// # Errors
/// Another pseudo header, or no token.
pub fn readable_header(name: &str, example: &str) -> Result<Rc<str>, String> {
    match name {
        ":authority" | ":path" | ":method" | ":scheme" => Ok(name.into()),
        host if host.eq_ignore_ascii_case("host") => Ok(":authority".into()),
        name => header(name, example),
    }
}

/// A header value that cannot end its line (`HDR-27`).
///
/// # Errors
/// It has CR, LF or NUL.
pub fn header_value(value: &str) -> Result<(), String> {
    if value.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        return Err("expected a header value without CR, LF and NUL".to_owned());
    }
    Ok(())
}

/// The first part of counters' names: 1 to 128 letters, digits, `_`, `-` and `.`.
///
/// # Errors
/// Anything else.
pub fn stat_prefix(name: &str) -> Result<(), String> {
    plain("a counter prefix", name, 128)
}

/// A name of a thing of the configuration's own, which stands in counters and explanations: 1 to `most` letters, digits, `_`, `-` and `.`.
///
/// # Errors
/// Anything else; `what` says what it would have named.
pub fn plain(what: &str, name: &str, most: usize) -> Result<(), String> {
    let fits = (1..=most).contains(&name.len());
    if fits && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')) {
        return Ok(());
    }
    let most = crate::config::number(u64::try_from(most).unwrap_or(u64::MAX));
    let most = joined("; expected 1 to ", &most, " letters, digits, `_`, `-` and `.`");
    Err(joined(&joined("`", name, "` cannot name "), what, &most))
}

/// A cookie's name.
///
/// # Errors
/// No token.
pub fn cookie(name: &str) -> Result<(), String> {
    if !is_token(name) {
        let reason = "` is not a cookie name; expected letters, digits, `-` and `_`, such as `session`";
        return Err(joined("`", name, reason));
    }
    Ok(())
}

/// What stands before the first of these bytes, and what stands behind it, where it is there.
#[must_use]
#[inline(never)]
pub fn cut(text: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    let place = text.iter().position(|byte| *byte == at).unwrap_or(text.len());
    match text.split_at_checked(place) {
        Some((before, [_, behind @ ..])) => (before, Some(behind)),
        _ => (text, None),
    }
}

/// Takes from the front of a text what stands before the first of these bytes, which must be ASCII, or all of it.
#[inline(never)]
pub(crate) fn front<'t>(rest: &mut &'t str, end: u8) -> &'t str {
    let (front, others) = cut(rest.as_bytes(), end);
    *rest = str::from_utf8(others.unwrap_or_default()).unwrap_or_default();
    str::from_utf8(front).unwrap_or_default()
}

/// Names with a point between them, as people write a path.
#[must_use]
#[inline(never)]
pub fn dotted(names: &[String]) -> String {
    let mut text = String::new();
    for (index, name) in names.iter().enumerate() {
        text.push_str(if index > 0 { "." } else { "" });
        text.push_str(name);
    }
    text
}

/// A number that is written in digits and nothing else.
#[must_use]
#[inline(never)]
pub fn digits(text: &[u8]) -> Option<u64> {
    let mut total = 0_u64;
    for byte in text {
        if !byte.is_ascii_digit() {
            return None;
        }
        total = total.checked_mul(10)?.checked_add(u64::from(byte & 15))?;
    }
    (!text.is_empty()).then_some(total)
}

/// A whole number, perhaps with a sign, as the standard library reads it.
#[must_use]
#[inline(never)]
pub fn integer(text: &[u8]) -> Option<i64> {
    match text {
        [b'-', number @ ..] => 0_i64.checked_sub_unsigned(digits(number)?),
        [b'+', number @ ..] => 0_i64.checked_add_unsigned(digits(number)?),
        number => 0_i64.checked_add_unsigned(digits(number)?),
    }
}

/// Whether it is a token of RFC 9110 §5.6.2.
#[must_use]
pub fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_standard_library() {
        for text in [
            "0",
            "-0",
            "007",
            "+7",
            "-7",
            "9223372036854775807",
            "9223372036854775808",
            "-9223372036854775808",
            "-9223372036854775809",
            "18446744073709551615",
            "18446744073709551616",
            "",
            "+",
            "-",
            "--1",
            "1 ",
            "1.0",
            "é",
        ] {
            assert_eq!(integer(text.as_bytes()), text.parse().ok(), "{text}");
            let plain = !text.contains('+');
            assert_eq!(digits(text.as_bytes()), text.parse().ok().filter(|_| plain), "{text}");
        }
    }

    #[test]
    fn texts_are_cut_once() {
        assert_eq!(cut(b"a=b=c", b'='), (&b"a"[..], Some(&b"b=c"[..])));
        assert_eq!(cut(b"=", b'='), (&b""[..], Some(&b""[..])));
        assert_eq!(cut(b"a", b'='), (&b"a"[..], None));
    }
}
