//! What opens a circuit.

use std::time::Duration;

use schemars::JsonSchema;
use weir_sdk::{ConfigDuration, FromConfig, Percentage};

/// What opens a circuit: any one of the conditions that are given. At least one of `consecutive_errors`, `errors`, `error_rate`,
/// `slow_rate` and `burn_rate`.
#[derive(Clone, Debug, Default, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenWhen {
    /// So many errors one after another, whatever the time between them; a success begins anew. From 1.
    #[serde(default)]
    pub consecutive_errors: Option<u32>,
    /// So many errors in the window, however many calls there were. From 1.
    #[serde(default)]
    pub errors: Option<u32>,
    /// This share of the window's calls are errors, or more, of at least `minimum_calls`. More than 0.
    #[serde(default)]
    pub error_rate: Option<Percentage>,
    /// This share of the window's calls are slow, or more, of at least `minimum_calls`. More than 0; 50 is a
    /// median above `slow_call`, 5 a 95th percentile.
    #[serde(default)]
    pub slow_rate: Option<Percentage>,
    /// The error budget of an objective burns too fast. Default: not looked at.
    #[serde(default)]
    pub burn_rate: Option<BurnRate>,
    /// A call is slow from this time on, until the first byte of the answer; a call without an answer, until its end. Needed with `slow_rate`;
    /// the adaptive concurrency limit uses it, too. Default: none is slow.
    #[serde(default)]
    pub slow_call: Option<ConfigDuration>,
    /// Rates mean nothing with fewer calls in the window; for `burn_rate`, in its long one. From 1. Default 20.
    #[serde(default = "minimum_calls")]
    pub minimum_calls: u32,
    /// Which calls are looked at. Default `{time: 10s}`.
    #[serde(default)]
    pub window: Window,
    /// How many parts a window of time has, 1 to 60: the oldest part leaves at once, so the window is as long as it says, or shorter by less than
    /// a part. Default 10.
    #[serde(default = "buckets")]
    pub buckets: u32,
}

/// An error rate over two windows of time, as alerts on objectives have it (Google's SRE workbook, chapter 5): the long one says that it matters, the
/// short one that it still goes on. The windows are empty again after probes.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BurnRate {
    /// The share of calls that are meant to be no errors, such as 99.9; the rest is the budget.
    pub objective: Percentage,
    /// Opens when in both windows the error rate is so many times the budget, or more. Above 0, and `factor` times the budget at most 100 %. Default
    /// 14.4: at that speed 30 days' budget is gone in 2.
    #[serde(default = "fast")]
    pub factor: f64,
    /// 1ms to 1d, more than `short`. Default 1h.
    #[serde(default = "hour")]
    pub long: ConfigDuration,
    /// 1ms to 1d. Default 5m.
    #[serde(default = "five_minutes")]
    pub short: ConfigDuration,
}

/// Which calls are looked at.
#[derive(Clone, Copy, Debug, FromConfig, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// Those that ended in this time. 1ms to 1d.
    Time(ConfigDuration),
    /// The last so many. 1 to 1024.
    Calls(u32),
}

impl Default for Window {
    fn default() -> Self {
        Self::Time(ConfigDuration(Duration::from_secs(10)))
    }
}

fn fast() -> f64 {
    14.4
}

fn hour() -> ConfigDuration {
    ConfigDuration(Duration::from_secs(60 * 60))
}

fn five_minutes() -> ConfigDuration {
    ConfigDuration(Duration::from_secs(5 * 60))
}

fn minimum_calls() -> u32 {
    20
}

fn buckets() -> u32 {
    10
}
