//! How much: the algorithms as they are written.

use schemars::JsonSchema;
use weir_sdk::{ConfigDuration, FromConfig};

use super::{Global, Unit};

/// How much is admitted: exactly one of these.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// A bucket of tokens, refilled evenly: as Envoy's.
    TokenBucket(TokenBucket),
    /// So many a period, evenly, with a burst: the generic cell rate algorithm. Admits what a token bucket of the size `burst` does, with fewer bytes for
    /// each key.
    Gcra(Gcra),
    /// So many in each window: of a length, or of the calendar. Around a boundary up to twice as many can come.
    FixedWindow(FixedWindow),
    /// At most so many in any stretch of time of the window's length. A request counts up to a tenth of the window longer than that.
    SlidingWindow(SlidingWindow),
    /// So many at the same time.
    Concurrency(Concurrency),
    /// As a rate limit service says, for all Envoys that ask it: needs `service`.
    Global(Global),
}

/// A bucket of tokens.
#[derive(Clone, Copy, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenBucket {
    /// The size of the bucket, which is full at first: 1 to 4294967295.
    pub max_tokens: u32,
    /// How many come in each `fill_interval`, 1 to 4294967295. Default 1.
    #[serde(default = "one")]
    pub tokens_per_fill: u32,
    /// More than 0. Tokens come evenly, not all at its end. (Envoy wants at least 50 ms.)
    pub fill_interval: ConfigDuration,
}

/// A rate and a burst.
#[derive(Clone, Copy, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gcra {
    /// How many in each `period`: 1 to 4294967295.
    pub requests: u32,
    /// More than 0.
    pub period: ConfigDuration,
    /// How many may come at once: 1 to 4294967295. Default 1: evenly spaced.
    #[serde(default = "one")]
    pub burst: u32,
}

/// A window that begins anew: exactly one of `window` and `calendar`.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FixedWindow {
    /// How many in each window: 1 to 4294967295.
    pub max_requests: u32,
    /// The window's length, such as `5s`, `15m` or `1d`; more than 0. Windows begin at multiples of it since 1970.
    #[serde(default)]
    pub window: Option<ConfigDuration>,
    /// A window of the calendar: a `MONTH` begins on its first day, a `YEAR` in January, a `WEEK` on Monday.
    #[serde(default)]
    pub calendar: Option<Unit>,
    /// The time of which zone it is, as the difference from UTC: `+05:30` or `-08:00`, at most 18 hours; the same all year. Default: UTC.
    #[serde(default)]
    pub utc_offset: Option<String>,
}

/// A window that ends now.
#[derive(Clone, Copy, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SlidingWindow {
    /// How many in any window: 1 to 4294967295.
    pub max_requests: u32,
    /// The window's length; more than 0.
    pub window: ConfigDuration,
}

/// How many at the same time.
#[derive(Clone, Copy, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Concurrency {
    /// How many: 1 to 4294967295. Each is given back when its stream ends, however it ends.
    pub max_requests: u32,
}

/// Waiting instead of being refused, bounded in number and in time. Who waits is served in the order of coming.
#[derive(Clone, Copy, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    /// How many may wait for one key, by their cost: 1 to 4294967295.
    pub max_queued: u32,
    /// How long one may wait; who would have to wait longer is refused at once. More than 0, at most `1h`.
    pub max_wait: ConfigDuration,
}

fn one() -> u32 {
    1
}
