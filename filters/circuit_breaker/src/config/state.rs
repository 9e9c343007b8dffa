//! What a circuit does once it has opened, and how many calls it lets run at once.

use std::time::Duration;

use schemars::JsonSchema;
use weir_sdk::{ConfigDuration, FromConfig, Percentage};

/// How long a circuit stays open.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Open {
    /// The first time. 1ms to 1d. Default 30s.
    #[serde(default = "half_a_minute")]
    pub duration: ConfigDuration,
    /// Each further time in a row is so many times longer, 1 to 10: after a failed probe, in the recovery, and within `duration` of having
    /// closed. Default 1.
    #[serde(default = "one")]
    pub multiplier: f64,
    /// But never longer than this, at least `duration`, at most 1d. Default 5m, or `duration` where that is longer.
    #[serde(default)]
    pub max: Option<ConfigDuration>,
    /// Up to this share is added at random, so that many Envoys do not probe at once. Default 0.
    #[serde(default)]
    pub jitter: Option<Percentage>,
}

impl Default for Open {
    fn default() -> Self {
        Self { duration: half_a_minute(), multiplier: one(), max: None, jitter: None }
    }
}

/// The calls that try whether the upstream is well again, when the open time is over.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Probes {
    /// So many results decide, 1 to 1000. Default 1.
    #[serde(default = "one_probe")]
    pub calls: u32,
    /// At most so many are under way at once, over all workers: 1 to 16. Default: as `calls`, at most 16.
    #[serde(default)]
    pub max_concurrent: Option<u32>,
    /// With more errors or slow calls than this it opens again, at once. Less than `calls`. Default 0.
    #[serde(default)]
    pub max_failures: u32,
    /// A probe that has not ended by then, or whose client has left, gives its slot to another; its late result is ignored. 1ms to 1d. Longer
    /// than the route's timeout. Default 30s.
    #[serde(default = "half_a_minute")]
    pub lease: ConfigDuration,
    /// Only GET, HEAD and OPTIONS requests are probes; others are refused until it has closed. Default false.
    #[serde(default)]
    pub safe_methods_only: bool,
}

impl Default for Probes {
    fn default() -> Self {
        Self {
            calls: one_probe(),
            max_concurrent: None,
            max_failures: 0,
            lease: half_a_minute(),
            safe_methods_only: false,
        }
    }
}

/// How the traffic grows again after the probes: linearly, drawn for each request. What opens a circuit opens it again here, too.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recovery {
    /// How long until all is let through. 1ms to 1d.
    pub duration: ConfigDuration,
    /// The share at its beginning. Default 10.
    #[serde(default)]
    pub from: Option<Percentage>,
}

/// How many calls may be under way at once, over all workers, for each circuit. Others are refused with the details
/// `reached_concurrency_limit`.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Concurrency {
    /// The limit; the largest one when it is `adaptive`. 1 to 1000000.
    pub max: u32,
    /// Finds the limit by itself. Default: the limit is `max`.
    #[serde(default)]
    pub adaptive: Option<Adaptive>,
    /// A request waits so long for room before it is refused; looked after every 10ms, in no promised order. 1ms to 1m. Default: none waits.
    #[serde(default)]
    pub max_wait: Option<ConfigDuration>,
    /// So many may wait at once in each worker; further ones are refused at once. 1 to 10000. Default 100.
    #[serde(default = "hundred")]
    pub max_waiting: u32,
}

/// A limit that finds itself, by additive increase and multiplicative decrease unless `gradient` is given: it begins at `max`; an error or a slow
/// call shrinks it, at most once an `interval`; as long as it is more than half used, each success adds 1 divided by it, so about 1 in the time of
/// a call.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Adaptive {
    /// Never smaller than this, 1 to `max`. Default 3, as Envoy's adaptive_concurrency, or `max` where that is less.
    #[serde(default)]
    pub min: Option<u32>,
    /// By how much it shrinks. More than 0, less than 100. Default 10.
    #[serde(default)]
    pub decrease: Option<Percentage>,
    /// How often it shrinks at most; with `gradient`, how often it changes at most (Envoy's `concurrency_update_interval`). 1ms to 1d. Default 1s.
    #[serde(default = "second")]
    pub interval: ConfigDuration,
    /// Finds it by how the times of calls grow, instead of by errors and slow calls. Default: not.
    #[serde(default)]
    pub gradient: Option<Gradient>,
}

/// As Envoy's adaptive_concurrency, over all workers. The least time of calls is measured now and then, with no more than `min` of them under way;
/// the limit begins at `min` and then becomes, once an `interval`, `limit · least time · (1 + buffer) / time now`, at least half and at most twice
/// itself, plus the square root of that. Times are those until the first byte of the answer; those of errors do not count.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gradient {
    /// How long after a measurement of the least time the next one begins. 1ms to 1d. Default 1m.
    #[serde(default = "minute")]
    pub measure_every: ConfigDuration,
    /// So many calls are a measurement, 1 to 64. Default 50.
    #[serde(default = "fifty")]
    pub measure_calls: u32,
    /// Up to this share is added to `measure_every` at random. Default 15.
    #[serde(default)]
    pub jitter: Option<Percentage>,
    /// So much longer than the least time is no reason to shrink. Default 25.
    #[serde(default)]
    pub buffer: Option<Percentage>,
    /// The time that this share of the calls do not exceed is taken, of all of an `interval` or of 64 drawn from them. Default 50, the median.
    #[serde(default)]
    pub quantile: Option<Percentage>,
}

fn half_a_minute() -> ConfigDuration {
    ConfigDuration(Duration::from_secs(30))
}

fn second() -> ConfigDuration {
    ConfigDuration(Duration::from_secs(1))
}

fn minute() -> ConfigDuration {
    ConfigDuration(Duration::from_secs(60))
}

fn fifty() -> u32 {
    50
}

fn one() -> f64 {
    1.0
}

fn hundred() -> u32 {
    100
}

fn one_probe() -> u32 {
    1
}
