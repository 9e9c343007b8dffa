//! What a request costs, and its response.

use schemars::JsonSchema;
use weir_sdk::{ConfigDuration, FromConfig};

/// What a request costs.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cost {
    /// As much: 1 to 4294967295.
    Fixed(u32),
    /// What a request header says.
    Header(HeaderCost),
}

/// A cost that a request header says, as a whole number.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeaderCost {
    /// The header.
    pub name: String,
    /// The cost without the header, or when it is no number: 0 to 4294967295. Default 1.
    #[serde(default = "one")]
    pub default: u32,
    /// The least that counts, so that no client takes for nothing: 0 to `max`. Default 1.
    #[serde(default = "one")]
    pub min: u32,
    /// The most that counts: 1 to 4294967295. Default 4294967295.
    #[serde(default = "most")]
    pub max: u32,
}

/// What a response costs.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Charge {
    /// Its body's bytes as they went to the client (attribute `response.size`).
    ResponseBytes(PerBytes),
    /// The request body's bytes as they came (attribute `request.size`).
    RequestBytes(PerBytes),
    /// The time the stream took (attribute `request.duration`).
    Latency(PerLatency),
    /// A whole number in this response header; without it the request's `cost` stays.
    ResponseHeader(String),
    /// A whole number in this response trailer; without it the request's `cost` stays.
    ResponseTrailer(String),
}

/// A cost by bytes.
#[derive(Clone, Copy, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PerBytes {
    /// So many bytes, or a part of them, cost 1; 1 to 4294967295. Default 1.
    #[serde(default = "one")]
    pub unit_bytes: u32,
}

/// A cost by time.
#[derive(Clone, Copy, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PerLatency {
    /// So much time, or a part of it, costs 1; more than 0.
    pub unit: ConfigDuration,
}

fn one() -> u32 {
    1
}

fn most() -> u32 {
    u32::MAX
}
