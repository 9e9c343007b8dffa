//! The answer to a request or to its copy: plain data that is compared or recorded.

use weir_sdk::HeaderMap;

/// What came back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status; 0 when nothing came.
    pub status: u16,
    /// The headers, with `:status`.
    pub headers: HeaderMap,
    /// The trailers.
    pub trailers: HeaderMap,
    /// The body, or its first bytes.
    pub body: Vec<u8>,
    /// Whether `body` is only the beginning.
    pub body_truncated: bool,
}
