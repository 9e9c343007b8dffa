//! What may be a name or a value here: what the SDK says, with this filter's examples.

use std::rc::Rc;

pub(crate) use weir_sdk::names::{header_value, stat_prefix};

/// A header that the filter may set, in lower case.
pub(crate) fn header(name: &str) -> Result<Rc<str>, String> {
    weir_sdk::names::header(name, "x-rate-limited")
}

/// A limit's name, which stands in headers, counters and explanations.
pub(crate) fn limit(name: &str) -> Result<(), String> {
    weir_sdk::names::plain("a limit", name, 64)
}
