//! The wire form of limits: of bodies, of copies in a time, of what a suffering target gets.

use std::time::Duration;

use schemars::JsonSchema;
use weir_sdk::{ConfigDuration, FromConfig, Percentage};

/// The copy's body.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Body {
    /// Bytes of a body that a copy has at most, 0 to 67108864; they are held until the request is complete. Default 65536 (64 KiB).
    pub max_bytes: u32,
    /// What happens to a longer one. Default `SKIP`.
    pub over_limit: OverLimit,
    /// Share of the copies that have a body; the others have an empty one and say how long the whole is. Default 100.
    pub percentage: Percentage,
    /// Bodies of at least so many bytes are sent with `content-encoding: gzip`, where they have no such header. Envoy compresses them, on the
    /// worker. Default: none are.
    pub gzip_from_bytes: Option<u32>,
}

impl Default for Body {
    fn default() -> Self {
        Self {
            max_bytes: 64 << 10,
            over_limit: OverLimit::Skip,
            percentage: Percentage::from_ppm(1_000_000),
            gzip_from_bytes: None,
        }
    }
}

/// What happens to a request whose body is too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromConfig, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OverLimit {
    /// It is not copied.
    #[default]
    Skip,
    /// The copy has the first `max_bytes` and a header that says so.
    Truncate,
}

/// A token bucket, as Envoy's: a copy takes a token, and there is no copy without one.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenBucket {
    /// Tokens that it holds, and begins with: 1 to 1000000.
    pub max_tokens: u32,
    /// Tokens that come at once, 1 to 1000000. Default 1.
    #[serde(default = "one")]
    pub tokens_per_fill: u32,
    /// How often they come, 1ms to a day. Default `1s`.
    #[serde(default = "second")]
    pub fill_interval: ConfigDuration,
}

/// Fewer copies for a target that suffers: each worker looks at the answers to its own copies. When too many of them are bad, half as many are sent,
/// then a quarter, and so on; then none for a time. Each interval that is well again doubles the share.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BackOff {
    /// How long answers are looked at together, 100ms to an hour. Default `10s`.
    pub interval: ConfigDuration,
    /// Answers in an interval that it takes to judge, 1 to 1000000. Default 20.
    pub min_samples: u32,
    /// Share of bad answers that is still well: no answer in time, no connection, a broken one, a status from 500 on. Default 50; with 100
    /// it never sends fewer.
    pub max_failures: Percentage,
    /// An answer that takes longer is bad too. Default: only the target's `timeout` counts.
    pub max_latency: Option<ConfigDuration>,
    /// How often the share is halved before nothing is sent any more: 0 to 16. Default 4, down to a sixteenth.
    pub halvings: u8,
    /// How long nothing is sent then, 100ms to a day. Default `30s`.
    pub pause: ConfigDuration,
}

impl Default for BackOff {
    fn default() -> Self {
        Self {
            interval: ConfigDuration(Duration::from_secs(10)),
            min_samples: 20,
            max_failures: Percentage::from_ppm(500_000),
            max_latency: None,
            halvings: 4,
            pause: ConfigDuration(Duration::from_secs(30)),
        }
    }
}

fn one() -> u32 {
    1
}

fn second() -> ConfigDuration {
    ConfigDuration(Duration::from_secs(1))
}
