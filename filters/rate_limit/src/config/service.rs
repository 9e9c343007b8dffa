//! A limit that a service knows: the service, and what it is asked.

use schemars::JsonSchema;
use weir_sdk::{ConfigDuration, FromConfig, Percentage};

use std::time::Duration;

/// A server of `envoy.service.ratelimit.v3.RateLimitService`, as of Envoy's filter `envoy.filters.http.ratelimit`. All `global` limits that are for a
/// request are asked in one call, each as one descriptor.
#[derive(Clone, Debug, Hash, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// The cluster of Envoy's configuration that the service is; it must speak HTTP/2.
    pub cluster: String,
    /// The domain that is sent to the service; not empty.
    pub domain: String,
    /// How long requests wait for the service: more than 0, at most `1h`. Default `20ms`, as Envoy's.
    #[serde(default = "timeout")]
    pub timeout: ConfigDuration,
    /// Whether requests are refused when the service does not answer, or answers neither `OK` nor `OVER_LIMIT`. Default false: they go on.
    #[serde(default)]
    pub failure_mode_deny: bool,
    /// The share of requests that `failure_mode_deny` is for; the others go on. Default: all.
    #[serde(default)]
    pub failure_mode_deny_percent: Option<Percentage>,
    /// The HTTP status of requests that are refused because the service failed, 400 to 599. Default 500, as Envoy's.
    #[serde(default = "status_on_error")]
    pub status_on_error: u16,
    /// Leaves out `x-envoy-ratelimited: true`, which refusals by the service have, and which keeps other Envoys from trying again. Default false.
    #[serde(default)]
    pub disable_x_envoy_ratelimited_header: bool,
}

/// A limit that the service knows. The limit's `key` makes the descriptor: an entry for each part, with the part's value.
#[derive(Clone, Debug, Hash, Default, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Global {
    /// The keys of the descriptor's entries, as many as the limit's `key` has parts. Default: the name of the header, cookie or query parameter,
    /// `remote_address` (with a mask `masked_remote_address`), the attribute's segments joined with `.`, `route`, and `generic_key` for a constant. A
    /// limit without `key` sends the entry `generic_key` with the limit's name, or with this as its key.
    #[serde(default)]
    pub entries: Vec<String>,
    /// What the service is to apply instead of its own configuration. Default: nothing. Not every service heeds it.
    #[serde(default)]
    pub limit: Option<RequestRate>,
    /// Takes tokens for busy keys in advance, so that requests need not wait for the service. Default: each request asks.
    #[serde(default)]
    pub lease: Option<Lease>,
}

/// So many requests in each unit of time.
#[derive(Clone, Copy, Debug, Hash, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestRate {
    /// How many: 0 to 4294967295.
    pub requests_per_unit: u32,
    /// In which time.
    pub unit: Unit,
}

/// A unit of time.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, FromConfig, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Unit {
    /// A second.
    Second,
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A week.
    Week,
    /// A month.
    Month,
    /// A year.
    Year,
}

/// Tokens in advance: taken from the service in one call in the background (`hits_addend`), and spent by all workers of this Envoy.
#[derive(Clone, Copy, Debug, Hash, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    /// How many this Envoy has in advance for one key at most: 1 to 4294967295. So many are lost to others when the key's requests stop coming.
    pub tokens: u32,
    /// When fewer than so many are left, more are taken: 1 to `tokens`. Default: half of `tokens`, rounded up.
    #[serde(default)]
    pub refill_below: Option<u32>,
    /// How long they may be spent, and never longer than until the service's limit begins anew, where the service tells (`duration_until_reset`). More than
    /// 0, at most `1h`. Default `1s`.
    #[serde(default = "second")]
    pub duration: ConfigDuration,
    /// How many requests of a key in `duration` ask the service before it has tokens in advance: 0 to 4294967295. Default 2, so that keys that are
    /// seldom there take none.
    #[serde(default = "two")]
    pub hot_after: u32,
}

fn timeout() -> ConfigDuration {
    ConfigDuration(Duration::from_millis(20))
}

fn status_on_error() -> u16 {
    500
}

fn second() -> ConfigDuration {
    ConfigDuration(Duration::from_secs(1))
}

fn two() -> u32 {
    2
}
