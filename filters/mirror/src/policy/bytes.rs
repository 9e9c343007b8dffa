//! Bytes as text and as numbers, and what is looked for in them: each in one function.

pub(crate) use weir_sdk::config::joined;

/// Bytes as text.
#[inline(never)]
pub(crate) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Where `needle` begins; linear for the short ones that are looked for.
#[inline(never)]
pub(crate) fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    if needle.is_empty() {
        return Some(0);
    }
    bytes.windows(needle.len()).position(|window| window == needle)
}

/// A whole number as the standard library reads it, whose code for it is there once more for every type of number.
#[inline(never)]
pub(crate) fn whole(text: &[u8]) -> Option<u64> {
    let digits = text.strip_prefix(b"+").unwrap_or(text);
    let mut value = 0_u64;
    for byte in digits {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    if digits.is_empty() { None } else { Some(value) }
}

/// Writes texts behind each other.
#[inline(never)]
pub(crate) fn push(out: &mut Vec<u8>, texts: &[&str]) {
    for text in texts {
        out.extend_from_slice(text.as_bytes());
    }
}
