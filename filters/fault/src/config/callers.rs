//! What callers may ask for by headers, how they prove that they may, and what is left to Envoy's own filter.

use schemars::JsonSchema;
use weir_sdk::signed::Secret;
use weir_sdk::{ConfigDuration, FromConfig, Percentage};

/// Nothing to configure: written `{}`.
#[derive(Clone, Copy, Debug, Default, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

/// The response is slowed down by Envoy's own fault filter, which must stand behind this one with
/// `response_rate_limit: {header_limit: {}, percentage: {numerator: 100}}`. Exactly one of `fixed_limit` and `header_limit`. With it anywhere in
/// the configuration, what callers send in `x-envoy-fault-throughput-response` and its percentage reaches that filter no other way.
#[derive(Clone, Debug, Default, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// The same for all.
    #[serde(default)]
    pub fixed_limit: Option<FixedLimit>,
    /// The caller's `x-envoy-fault-throughput-response`, KiB/s; no limit without it. The caller's
    /// `x-envoy-fault-throughput-response-percentage` lowers the numerator of `percentage`.
    #[serde(default)]
    pub header_limit: Option<Empty>,
    /// The share of the fault's requests, drawn on its own. Default: all.
    #[serde(default)]
    pub percentage: Option<Percentage>,
}

/// A fixed throughput.
#[derive(Clone, Copy, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FixedLimit {
    /// KiB/s of each response; at least 1.
    pub limit_kbps: u64,
}

/// How callers prove that they may ask for faults: `expires=<unix seconds>,sha256=<64 hexadecimal digits>` in a header, HMAC-SHA-256 over the
/// lines that the README lists.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// Secrets of which any may have signed: two while one takes the other's place. At least one.
    pub secrets: Vec<Secret>,
    /// The header of the signature; it is removed from every request. Default `x-envoy-fault-signature`.
    #[serde(default = "header")]
    pub header: String,
    /// How far in the future `expires` may be: a signature can be used again that long. Default `5m`; more than 0.
    #[serde(default = "validity")]
    pub max_validity: ConfigDuration,
    /// Whether a signature is good for one request only, on all workers of this Envoy together. About 8192 are remembered at a time, in shared
    /// memory of 20 bytes each; where there is no place for one more, it is not good. Default false.
    #[serde(default)]
    pub single_use: bool,
}

fn header() -> String {
    "x-envoy-fault-signature".to_owned()
}

fn validity() -> ConfigDuration {
    ConfigDuration(std::time::Duration::from_secs(300))
}
