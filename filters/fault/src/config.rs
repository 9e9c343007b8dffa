//! What is written under `pluginConfig`. Shape only: [`Policy`](crate::Policy) says what it means and refuses what means nothing.

use schemars::JsonSchema;
use weir_sdk::{
    ConfigDuration, FromConfig, KeySource, PerRouteConfig, Percentage, RequestMatches, Timestamp,
};

mod abort;
mod callers;
mod change;
mod delay;
mod grpc_status;
mod json;
mod response;

pub use abort::{Abort, AbortSpec, BlackHole, HeaderLine, Reset, Then};
pub use callers::{Empty, FixedLimit, RateLimit, Signature};
pub use change::{Change, ChangeBody, ChangeHeaders, MergePatch, ResponseChange};
pub use delay::{Delay, DelaySpec, Exponential, Lognormal, Normal, Pareto, Percentiles, Uniform};
pub use grpc_status::GrpcStatus;
pub(crate) use json::push_string;
pub use json::{Json, Patch, Patched};
pub use response::{
    Corrupt, CorruptSpec, FlipBytes, InvalidUtf8, JsonField, ResponseFault, ResponseMatch, StatusMatch,
    Truncate, WrongLength,
};

/// The configuration of the fault filter.
#[derive(Clone, Debug, Default, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Faults in order: the first that takes a request decides, and no other is asked.
    #[serde(default)]
    pub faults: Vec<Fault>,
    /// How many streams may have a fault at once, over all workers; beyond, requests pass and `faults_overflow` counts them. Exact.
    /// Default: no limit.
    #[serde(default)]
    pub max_active_faults: Option<u64>,
    /// Stops all faults while the service itself is in trouble. Default: never.
    #[serde(default)]
    pub blast_radius: Option<BlastRadius>,
    /// When all faults end. Default: never.
    #[serde(default)]
    pub expires: Option<Expires>,
    /// Makes every draw a function of this text and the request's `x-request-id`, so that a run can be repeated. Default: draws are random.
    #[serde(default)]
    pub seed: Option<String>,
    /// Callers' headers (`header_delay`, `header_abort`, `header_limit`) count only with a valid signature. Default: no signature is needed.
    #[serde(default)]
    pub signature: Option<Signature>,
    /// Lets route metadata override this configuration. Default: never asked.
    #[serde(default)]
    pub per_route: Option<PerRouteConfig>,
    /// Other lists of faults, which a route chooses by name (`per_route`).
    #[serde(default)]
    pub policies: Vec<NamedFaults>,
    /// Envoy's `stream_idle_timeout` for these streams, as its connection manager or the route has it: Envoy ends a stream that waits longer, so no
    /// wait here may be that long. `0s`: Envoy has none; then a wait may be up to `1h`. Default `5m`, Envoy's.
    #[serde(default = "stream_idle_timeout")]
    pub stream_idle_timeout: ConfigDuration,
    /// First part of the names of all counters. Letters, digits, `_`, `-` and `.`. Default `fault`.
    #[serde(default = "stat_prefix")]
    pub stat_prefix: String,
    /// Decide, count (under `<stat_prefix>.dry_run.`) and explain, but inject nothing. Default false.
    #[serde(default)]
    pub dry_run: bool,
}

/// A list of faults that a route chooses by its name.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedFaults {
    /// What the route's metadata says under `policy`.
    pub name: String,
    /// Faults in order: the first that takes a request decides. Default: none, so that the route has no faults.
    #[serde(default)]
    pub faults: Vec<Fault>,
}

/// Whom a fault takes, and what happens to them. It takes a request when everything in the first group holds (`match`, `upstream_cluster`,
/// `downstream_nodes`, `schedule`) and the selection picks it (at most one of `percentage`, `exactly` and `first`). Then, in this order:
/// `response_rate_limit`, `change`, `delay`, and one of `abort`, `reset` and `black_hole`; and when the response comes, `response`. At least
/// one of them is there.
#[derive(Clone, Debug, Default, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Name in explanations, the default `salt`, and the name under which counts are kept. Default: `faults[N]`.
    #[serde(default)]
    pub name: Option<String>,
    /// Requests it may take: one block of conditions that must all hold, or a list of blocks of which one must. Default: all requests.
    #[serde(default, rename = "match")]
    pub matches: RequestMatches,
    /// Only requests for this cluster, as the route has it before the filter (attribute `xds.cluster_name`). Default: any.
    #[serde(default)]
    pub upstream_cluster: Option<String>,
    /// Only requests whose `x-envoy-downstream-service-node` is one of these. Default: any.
    #[serde(default)]
    pub downstream_nodes: Vec<String>,
    /// When it is on. Default: always.
    #[serde(default)]
    pub schedule: Option<Schedule>,
    /// The share of those requests that it takes. The others go on to the next fault. Default: all. (In Envoy an unset percentage is 0.)
    #[serde(default)]
    pub percentage: Option<Percentage>,
    /// All dice of this fault are thrown by a key, so that the same client always has the same luck. Default: each request anew.
    #[serde(default)]
    pub sticky: Option<Sticky>,
    /// Takes exactly so many of so many requests, counted over all workers and spread evenly.
    #[serde(default)]
    pub exactly: Option<Exactly>,
    /// Takes the first requests of each key, then no more of it: fail, then succeed.
    #[serde(default)]
    pub first: Option<First>,
    /// The request goes on as another one: method, path, query, headers, body.
    #[serde(default)]
    pub change: Option<Change>,
    /// The request waits: a duration such as `7s`, or an object.
    #[serde(default)]
    pub delay: Option<Delay>,
    /// The request is answered here: an HTTP status such as `503`, or an object.
    #[serde(default)]
    pub abort: Option<Abort>,
    /// The request's stream is reset without an answer.
    #[serde(default)]
    pub reset: Option<Reset>,
    /// The request is held and goes nowhere, for a time.
    #[serde(default)]
    pub black_hole: Option<BlackHole>,
    /// The response is slowed down, by Envoy's own fault filter behind this one.
    #[serde(default)]
    pub response_rate_limit: Option<RateLimit>,
    /// What happens to the response, after the upstream has done its work.
    #[serde(default)]
    pub response: Option<ResponseFault>,
}

/// Keys by which dice are thrown: the first of `by` that the request has (XXH64, frozen; see the SDK's `Draw::sticky`). A request without any
/// is not taken.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sticky {
    /// Keys in order of preference; at least one.
    pub by: Vec<KeySource>,
    /// Makes this fault's victims independent of others'. Default: the fault's name, else empty.
    #[serde(default)]
    pub salt: Option<String>,
}

/// Exactly `faults` of every `of` requests.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exactly {
    /// How many are taken: 0 to `of`.
    pub faults: u32,
    /// Of how many: at least 1.
    pub of: u32,
}

/// The first `requests` requests of each key.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct First {
    /// How many requests of a key are taken: 1 to 4294967295.
    pub requests: u32,
    /// Keys in order of preference. A request without any is not taken. Default: all requests have one key.
    #[serde(default)]
    pub by: Vec<KeySource>,
    /// A key that has not been seen for so long starts anew. Default `1h`; more than 0.
    #[serde(default = "hour")]
    pub forget_after: ConfigDuration,
    /// About how many keys are remembered, in shared memory of about 30 bytes each; with more, those not seen for longest start anew.
    /// 8 to 1048576, rounded up to a multiple of 8. Default 8192.
    #[serde(default = "keys")]
    pub max_keys: u32,
}

/// When a fault is on. All replicas agree without talking, as far as their clocks do.
#[derive(Clone, Debug, Default, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Off before this time, RFC 3339. Default: on at once.
    #[serde(default)]
    pub start: Option<Timestamp>,
    /// Off from this time on. Default: never.
    #[serde(default)]
    pub end: Option<Timestamp>,
    /// A square wave from `start` (without one, from 1970 UTC): on for this time, then off for `off`. Both or neither; more than 0.
    #[serde(default)]
    pub on: Option<ConfigDuration>,
    /// The other half of the square wave.
    #[serde(default)]
    pub off: Option<ConfigDuration>,
    /// The share grows evenly from 0 at `start`, which it needs, to `percentage` after this time. More than 0. Default: no ramp.
    #[serde(default)]
    pub ramp: Option<ConfigDuration>,
}

/// When all faults end.
#[derive(Clone, Copy, Debug, FromConfig, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Expires {
    /// At this time, RFC 3339.
    At(Timestamp),
    /// So long after the filter was configured. A new configuration, a restart of Envoy and a new worker start it anew: where it must not
    /// come back, use `at`.
    After(ConfigDuration),
}

/// Stops all faults while the service has errors of its own: responses of 500 and more, and of gRPC the statuses UNKNOWN, DEADLINE_EXCEEDED,
/// INTERNAL, UNAVAILABLE and DATA_LOSS, that this filter has not made.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BlastRadius {
    /// More errors than this share of the responses in a window stop the faults.
    pub max_error_percentage: Percentage,
    /// How long responses are counted together. Default `30s`; more than 0.
    #[serde(default = "half_a_minute")]
    pub window: ConfigDuration,
    /// With fewer responses in a window nothing is stopped. Default 20.
    #[serde(default = "twenty")]
    pub min_requests: u32,
    /// How long they stay stopped; then a new window begins. While they are stopped, a window with too many errors stops them anew.
    /// Default `60s`; more than 0.
    #[serde(default = "minute")]
    pub resume_after: ConfigDuration,
}

fn stream_idle_timeout() -> ConfigDuration {
    ConfigDuration(std::time::Duration::from_secs(300))
}

fn stat_prefix() -> String {
    "fault".to_owned()
}

fn seconds(count: u64) -> ConfigDuration {
    ConfigDuration(std::time::Duration::from_secs(count))
}

fn hour() -> ConfigDuration {
    seconds(3600)
}

fn half_a_minute() -> ConfigDuration {
    seconds(30)
}

fn minute() -> ConfigDuration {
    seconds(60)
}

fn twenty() -> u32 {
    20
}

fn keys() -> u32 {
    8192
}
