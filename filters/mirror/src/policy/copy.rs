//! A copy of a request on its way to a target: plain data that redaction and rewriting change.

use weir_sdk::HeaderMap;

/// What will be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copy {
    /// The headers, `:method`, `:path`, `:authority` and `:scheme` among them.
    pub headers: HeaderMap,
    /// The body, or its first bytes.
    pub body: Vec<u8>,
    /// The trailers.
    pub trailers: HeaderMap,
    /// Whether `body` is only the beginning.
    pub body_truncated: bool,
}
