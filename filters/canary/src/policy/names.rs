//! What may be a name or a value: header names (RFC 9110 token), header values, cookie parts (RFC 6265), arms, counters.

use std::rc::Rc;

/// A request or response header that a filter may set, in lower case.
pub(crate) fn header(name: &str) -> Result<Rc<str>, String> {
    if name.starts_with(':') || name.eq_ignore_ascii_case("host") {
        return Err(format!(
            "`{name}` is not a header that this filter may set; expected an ordinary one such as `x-canary-arm`"
        ));
    }
    if !is_token(name) {
        return Err(format!(
            "`{name}` is not a header name; expected letters, digits and `-`, such as `x-canary-arm`"
        ));
    }
    Ok(name.to_ascii_lowercase().into())
}

/// A header value that cannot end its line (`HDR-27`).
pub(crate) fn header_value(value: &str) -> Result<(), String> {
    if value.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        return Err("expected a header value without CR, LF and NUL".to_owned());
    }
    Ok(())
}

/// An arm's name, which stands in headers, cookies and counters.
pub(crate) fn arm(name: &str) -> Result<(), String> {
    plain("an arm", name, 64)
}

/// The first part of counters' names.
pub(crate) fn stat_prefix(name: &str) -> Result<(), String> {
    plain("a counter prefix", name, 128)
}

/// A cookie's name.
pub(crate) fn cookie(name: &str) -> Result<(), String> {
    if !is_token(name) {
        return Err(format!(
            "`{name}` is not a cookie name; expected letters, digits, `-` and `_`, such as `canary`"
        ));
    }
    Ok(())
}

/// A cookie's `Domain` or `Path`: what may stand between two `;`.
pub(crate) fn cookie_attribute(value: &str) -> Result<(), String> {
    if value.is_empty() || value.bytes().any(|byte| byte == b';' || !(0x20..0x7f).contains(&byte)) {
        return Err("expected printable ASCII without `;`, and not nothing".to_owned());
    }
    Ok(())
}

/// A key of W3C `baggage`.
pub(crate) fn baggage(key: &str) -> Result<(), String> {
    if !is_token(key) {
        return Err(format!("`{key}` is not a baggage key; expected letters, digits, `-`, `_` and `.`"));
    }
    Ok(())
}

fn plain(what: &str, name: &str, most: usize) -> Result<(), String> {
    let fits = (1..=most).contains(&name.len());
    if fits && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')) {
        return Ok(());
    }
    Err(format!("`{name}` cannot name {what}; expected 1 to {most} letters, digits, `_`, `-` and `.`"))
}

/// RFC 9110 §5.6.2.
fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
