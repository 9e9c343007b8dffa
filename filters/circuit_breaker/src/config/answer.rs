//! What becomes of a request that is not let through, and who is told.

use schemars::JsonSchema;
use weir_sdk::FromConfig;

/// The answer to a request that is not let through.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reply {
    /// HTTP status, 400 to 599. Default 503.
    #[serde(default = "status")]
    pub status: u16,
    /// The body; `text/plain` unless `headers` say otherwise. Default: `circuit breaker open`; `reached concurrency limit` where that is why, and
    /// none for what is shed, as Envoy's own filters have it.
    #[serde(default)]
    pub body: Option<String>,
    /// Further headers. Default: none.
    #[serde(default)]
    pub headers: Vec<HeaderLine>,
    /// Whether `Retry-After` says when it is worth coming again: whole seconds until the circuit lets probes through, at least 1. Default true.
    #[serde(default = "yes")]
    pub retry_after: bool,
    /// gRPC status for gRPC requests, 1 to 16. Default 14 (UNAVAILABLE).
    #[serde(default = "unavailable")]
    pub grpc_status: u8,
    /// Whether `x-envoy-overloaded: true` is added, as Envoy does when its own thresholds are full: its retry policies then do not retry. Default
    /// false.
    #[serde(default)]
    pub overloaded: bool,
}

impl Default for Reply {
    fn default() -> Self {
        Self {
            status: status(),
            body: None,
            headers: Vec::new(),
            retry_after: yes(),
            grpc_status: unavailable(),
            overloaded: false,
        }
    }
}

/// How a request that is not let through is sent elsewhere: a route matches on it.
#[derive(Clone, Debug, PartialEq, Eq, FromConfig, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fallback {
    /// This request header is set. Clients can set it, too: a request that brings it, with any value, gets this value and goes there, without a
    /// circuit; so it can ask for the fallback and for nothing else.
    RequestHeader(HeaderLine),
    /// The filter state `wasm.<name>` is set, which no client can: routes match on `filter_state`.
    Property(HeaderLine),
}

/// A name and a value: no CR, LF or NUL.
#[derive(Clone, Debug, PartialEq, Eq, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeaderLine {
    /// The name, any case; no pseudo header.
    pub name: String,
    /// The value.
    pub value: String,
}

/// Headers that tell others about a circuit that is not closed: `open;retry-after=12`, `half-open`, `recovering`, `concurrency` or
/// `shedding`.
#[derive(Clone, Debug, Default, PartialEq, Eq, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// Request header that tells the upstream; what clients send in it is removed. Default: none.
    #[serde(default)]
    pub request_header: Option<String>,
    /// Response header that tells the caller. Default: none.
    #[serde(default)]
    pub response_header: Option<String>,
}

fn status() -> u16 {
    503
}

fn yes() -> bool {
    true
}

fn unavailable() -> u8 {
    14
}
