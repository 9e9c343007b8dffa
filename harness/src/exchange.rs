//! One recorded HTTP exchange, whatever format it was recorded in. Plain data: `traffic` makes it, `driver` replays it.
//!
//! What holds of every exchange that `traffic` yields, and of every one that can be written as JSON lines and read back:
//! * the request has `:method`, `:authority`, `:scheme` and, but for `CONNECT`, `:path`, each once and before all other lines; no `host`;
//! * `:path` is `*` or begins with `/`, and has no fragment; no pseudo header is empty;
//! * a response has `:status`, first, of three digits;
//! * names are lower case, not empty and without blanks and control characters; no value has CR, LF or NUL. Any other byte may be there.

use std::net::SocketAddr;
use std::time::Duration;

use crate::headers::Headers;

/// One recorded exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    /// Where in which recording it stands, such as `day.har: entry 12` or `day.jsonl: line 12`.
    pub origin: String,
    /// When the request began: nanoseconds since 1970-01-01T00:00:00Z. Absent where the recording does not say.
    pub start_ns: Option<u64>,
    /// How long the exchange took, where the recording says.
    pub duration: Option<Duration>,
    /// So long after its beginning the client left, whatever had come of the exchange; absent where it stayed to the end.
    pub abort_after: Option<Duration>,
    /// Who called, where the recording says.
    pub downstream: Downstream,
    /// The request: pseudo headers (`:method`, `:path`, `:authority`, `:scheme`) first.
    pub request: Message,
    /// The recorded response (`:status` first); absent where there was none or the recording does not say.
    pub response: Option<Message>,
    /// The cluster that answered, where the recording says.
    pub upstream_cluster: Option<String>,
}

/// The client's side of an exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Downstream {
    /// The client's address; port 0 where only the IP address was recorded. An IPv6 flow label is not kept.
    pub address: Option<SocketAddr>,
    /// The protocol; HTTP/1.1 where the recording does not say.
    pub protocol: Protocol,
    /// Identifies the connection, so that exchanges of one connection can be told apart; absent where the recording does not say.
    pub connection_id: Option<u64>,
    /// Whether the connection was TLS.
    pub tls: bool,
}

/// The HTTP version of an exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    #[default]
    Http11,
    /// HTTP/2
    Http2,
    /// HTTP/3
    Http3,
}

/// One side of an exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The headers, pseudo headers first.
    pub headers: Headers,
    /// The body, as it was on the wire after transfer decoding; empty where there was none or it was not recorded.
    pub body: Vec<u8>,
    /// Whether the recording cut the body or left it out though there was one.
    pub body_truncated: bool,
    /// The trailers.
    pub trailers: Headers,
}
