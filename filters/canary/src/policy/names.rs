//! What may be a name or a value here: what the SDK says, with this filter's examples, and what only this filter has.

use std::rc::Rc;

use weir_sdk::{At, Problems};

pub(crate) use weir_sdk::names::{cookie, header_value, is_token, stat_prefix};

/// A request or response header that the filter may set, in lower case.
pub(crate) fn header(name: &str) -> Result<Rc<str>, String> {
    weir_sdk::names::header(name, "x-canary-arm")
}

/// A header that stands at a place; nothing after noting what is wrong.
#[inline(never)]
pub(crate) fn header_at(at: &At<'_>, name: &str, problems: &mut Problems) -> Option<Rc<str>> {
    header(name).map_err(|reason| problems.add(at, reason)).ok()
}

/// An arm's name, which stands in headers, cookies and counters.
pub(crate) fn arm(name: &str) -> Result<(), String> {
    weir_sdk::names::plain("an arm", name, 64)
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
        let reason = "` is not a baggage key; expected letters, digits, `-`, `_` and `.`";
        return Err(["`", key, reason].concat());
    }
    Ok(())
}
