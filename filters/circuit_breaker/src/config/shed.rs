//! What is let through in part.

use schemars::JsonSchema;
use weir_sdk::{ConfigDuration, FromConfig, Percentage, RequestMatches};

/// Sheds a share of the requests while too few calls succeed, as Envoy's admission_control, but by what all workers have seen: with the probability
/// `max(0, (calls − successes / success_rate) / (calls + 1)) ^ (1 / aggression)`, drawn for each request. What is shed is no call. Probes are not
/// shed.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Shed {
    /// Nothing is shed while this share of the calls succeed, or more. More than 0. Default 95.
    #[serde(default)]
    pub success_rate: Option<Percentage>,
    /// The calls that ended in this time. 1ms to 1d. Default 30s.
    #[serde(default = "half_a_minute")]
    pub window: ConfigDuration,
    /// From 1, proportional, to 100: the larger, the more is shed of a small lack of successes. Default 1.
    #[serde(default = "one")]
    pub aggression: u32,
    /// Never more than this share, more than 0. With 100 all may be shed, until the calls that failed have left the window. Default 80.
    #[serde(default)]
    pub max_probability: Option<Percentage>,
    /// Nothing is shed with fewer calls in a second than this, on the window's average. Default 0.
    #[serde(default)]
    pub minimum_rps: u32,
}

/// A class of requests and what it may use.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// The requests, such as `{headers: [{name: x-priority, exact: batch}]}`.
    #[serde(rename = "match")]
    pub matches: RequestMatches,
    /// The share of the concurrency limit up to which they come in, the calls of all classes counted; and how they are shed: with 25, four times as
    /// often as others. More than 0.
    pub share: Percentage,
}

fn half_a_minute() -> ConfigDuration {
    ConfigDuration(std::time::Duration::from_secs(30))
}

fn one() -> u32 {
    1
}
