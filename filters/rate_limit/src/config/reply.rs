//! What clients are told.

use schemars::JsonSchema;
use weir_sdk::FromConfig;

/// How a refused request is answered.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reply {
    /// The HTTP status, 400 to 599. Default 429.
    #[serde(default = "status")]
    pub status: u16,
    /// The body; also the `grpc-message` of gRPC requests. What the service sends as `raw_body` comes before it. Default `local_rate_limited`; for
    /// refusals by the service none; both as Envoy's.
    #[serde(default)]
    pub body: Option<String>,
    /// Headers of the answer, such as `content-type`. At most 10. Default: none.
    #[serde(default)]
    pub headers: Vec<HeaderLine>,
    /// The status of gRPC requests, which are answered with HTTP 200. Default `UNAVAILABLE`, as Envoy's.
    #[serde(default)]
    pub grpc_status: GrpcStatus,
    /// What the access log says as `%RESPONSE_CODE_DETAILS%`. Default `local_rate_limited`; for refusals by the service `request_rate_limited`; both as
    /// Envoy's.
    #[serde(default)]
    pub details: Option<String>,
}

impl Default for Reply {
    fn default() -> Self {
        Self {
            status: status(),
            body: None,
            headers: Vec::new(),
            grpc_status: GrpcStatus::Unavailable,
            details: None,
        }
    }
}

/// The status of gRPC requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromConfig, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum GrpcStatus {
    /// 14: clients may try again.
    #[default]
    Unavailable,
    /// 8: Envoy's `rate_limited_as_resource_exhausted`.
    ResourceExhausted,
}

/// A header.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeaderLine {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
}

/// What responses say of the limits. Of several limits, it is the one that refused, else the one with the smallest share remaining.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplyHeaders {
    /// `retry-after` on refusals: seconds until the request would be admitted, should nobody else come; at least 1. Not on refusals for which no time
    /// is known, such as a cost above the limit. Default true.
    #[serde(default = "yes")]
    pub retry_after: bool,
    /// `x-ratelimit-limit`, `x-ratelimit-remaining` and `x-ratelimit-reset` on all responses, as Envoy's `DRAFT_VERSION_03`. Of `global` limits what the
    /// service says, when it is asked. Default false.
    #[serde(default)]
    pub x_ratelimit: bool,
    /// `RateLimit-Policy` and `RateLimit` on all responses, as draft-ietf-httpapi-ratelimit-headers-10. Default false.
    #[serde(default)]
    pub ratelimit: bool,
    /// Response header that says what was refused, or delayed, in a dry run: `refused; limit=per-user; retry-after=3`. Default: none.
    #[serde(default)]
    pub dry_run: Option<String>,
}

impl Default for ReplyHeaders {
    fn default() -> Self {
        Self { retry_after: true, x_ratelimit: false, ratelimit: false, dry_run: None }
    }
}

fn status() -> u16 {
    429
}

fn yes() -> bool {
    true
}
