//! What is written under `pluginConfig`. Shape only: [`Policy`](crate::Policy) says what it means and refuses what means nothing.

use schemars::JsonSchema;
use weir_sdk::{FromConfig, matcher::IntegerRange};
use weir_sdk::{PerRouteConfig, Percentage, RequestMatches};

mod algorithm;
mod cost;
mod key;
mod part;
mod reply;
mod service;

pub use algorithm::{Algorithm, Concurrency, FixedWindow, Gcra, Queue, SlidingWindow, TokenBucket};
pub use cost::{Charge, Cost, HeaderCost, PerBytes, PerLatency};
pub use key::{KeyPart, OnFull, OnMissing, Override, RouteKey};
pub use part::{Class, Instances, Penalty};
pub use reply::{GrpcStatus, HeaderLine, Reply, ReplyHeaders};
pub use service::{Global, Lease, RequestRate, Service, Unit};

/// The configuration of the rate_limit filter.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The limits. A request takes from all that are for it, or from none: it is refused when one of them refuses it, and what the others gave
    /// is given back.
    #[serde(default)]
    pub limits: Vec<Limit>,
    /// The rate limit service that limits with the algorithm `global` ask. Default: none.
    #[serde(default)]
    pub service: Option<Service>,
    /// Requests that no limit is for, such as `{source_address: {ranges: [10.0.0.0/8]}}`. Default: none.
    #[serde(default)]
    pub exempt: Option<RequestMatches>,
    /// The share of requests that limits are for. Default: all. (In Envoy's local_ratelimit the default is 0 %.)
    #[serde(default)]
    pub enabled: Option<Percentage>,
    /// The share of refused requests that are refused indeed; the others are counted and go on, with `headers_when_not_enforced`. Default: all.
    /// (In Envoy's local_ratelimit the default is 0 %.)
    #[serde(default)]
    pub enforced: Option<Percentage>,
    /// Request headers of those that were refused but go on, because of `enforced`. At most 10. Default: none.
    #[serde(default)]
    pub headers_when_not_enforced: Vec<HeaderLine>,
    /// How a refused request is answered.
    #[serde(default)]
    pub reply: Reply,
    /// What responses say of the limits.
    #[serde(default)]
    pub headers: ReplyHeaders,
    /// What happens when the state of a limit cannot be read or written. Default `DENY`: the limit is never exceeded.
    #[serde(default)]
    pub on_error: OnError,
    /// Lets route metadata override this configuration. Default: never asked.
    #[serde(default)]
    pub per_route: Option<PerRouteConfig>,
    /// Other lists of limits, which a route chooses by name (`per_route`).
    #[serde(default)]
    pub policies: Vec<NamedLimits>,
    /// First part of the names of all counters. Letters, digits, `_`, `-` and `.`. Default `rate_limit`.
    #[serde(default = "stat_prefix")]
    pub stat_prefix: String,
    /// Decide, count (under `<stat_prefix>.dry_run.`) and explain, but refuse and delay nothing, and say nothing in headers but
    /// `headers.dry_run`. Default false.
    #[serde(default)]
    pub dry_run: bool,
}

/// A list of limits that a route chooses by its name.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedLimits {
    /// What the route's metadata says under `policy`.
    pub name: String,
    /// The limits. Default: none, so that the route has no limits.
    #[serde(default)]
    pub limits: Vec<Limit>,
}

/// One limit: for whom, how much, at what cost.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Name in headers, explanations and counters: 1 to 64 letters, digits, `_`, `-` and `.`; each once in a list.
    pub name: String,
    /// Requests it is for: one block of conditions that must all hold, or a list of blocks of which one must. Default: all requests.
    #[serde(default, rename = "match")]
    pub matches: RequestMatches,
    /// What tells apart who has a limit of its own; several parts together are one key. Default: none, one limit for all.
    #[serde(default)]
    pub key: Vec<KeyPart>,
    /// What happens to a request without one of the parts of `key`. Default `SKIP`.
    #[serde(default)]
    pub on_missing: OnMissing,
    /// How much.
    pub algorithm: Algorithm,
    /// Other limits for some keys. The first whose `key` matches counts.
    #[serde(default)]
    pub overrides: Vec<Override>,
    /// The limit is one for so many Envoys together, each of which admits its part; not for `global`, which is one anyway. Default: each Envoy has a
    /// limit of its own.
    #[serde(default)]
    pub instances: Option<Instances>,
    /// Requests that give way to others: they may use a share of the limit only. Of several classes the first that matches counts. At most 16; not for
    /// `global`, and not with a `queue`. Default: all are alike.
    #[serde(default)]
    pub classes: Vec<Class>,
    /// Admitted requests are counted as `near_limit` when more than this share of the limit is used then, as by Envoy's ratelimit service. Not for
    /// `global`, where the service counts. Default 80.
    #[serde(default)]
    pub near_limit: Option<Percentage>,
    /// Refuses keys for longer that do not heed refusals; needs a `key`, and is not for `global`. Default: never.
    #[serde(default)]
    pub penalty: Option<Penalty>,
    /// Requests wait for their turn instead of being refused at once; for `token_bucket` and `gcra`. Default: they do not.
    #[serde(default)]
    pub queue: Option<Queue>,
    /// What a request costs; of a `global` limit its `hits_addend`. Default: 1.
    #[serde(default)]
    pub cost: Option<Cost>,
    /// What the response costs instead of `cost`: known when it is over, and charged or given back then. Not for `concurrency` and `global`. Default: nothing.
    #[serde(default)]
    pub charge: Option<Charge>,
    /// Statuses of responses that cost nothing: what the request took is given back, such as `[{start: 500, end: 600}]`. Not for `concurrency`,
    /// where all is given back anyway, and not for `global`. Default: none.
    #[serde(default)]
    pub refund_statuses: Vec<IntegerRange>,
    /// How many keys are remembered (of a `global` limit: have leases), 8 to 1048576, rounded up to a multiple of 8: memory is at most that times the size of a place (16 to 60 bytes). Default 16384.
    #[serde(default = "max_keys")]
    pub max_keys: u32,
    /// What happens to a key when there is no room for it. Default `SHARED`.
    #[serde(default)]
    pub on_full: OnFull,
    /// Plugins of the same `vm_id` whose limits have this name here, and are otherwise written alike, share them. Default: none does, each
    /// plugin (by its name and `root_id`) has its own.
    #[serde(default)]
    pub share: Option<String>,
    /// This limit only counts what it would refuse. Default false.
    #[serde(default)]
    pub dry_run: bool,
}

/// What happens when the state of a limit cannot be read or written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromConfig, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OnError {
    /// The request is refused.
    #[default]
    Deny,
    /// The request goes on, as if the limit were not there.
    Allow,
}

fn stat_prefix() -> String {
    "rate_limit".to_owned()
}

fn max_keys() -> u32 {
    16_384
}
