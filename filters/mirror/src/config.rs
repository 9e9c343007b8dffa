//! What is written under `pluginConfig`. Shape only: [`Policy`](crate::Policy) says what it means and refuses what means nothing.

use schemars::JsonSchema;
use weir_sdk::{ConfigDuration, FromConfig, KeySource, PerRouteConfig, Percentage, RequestMatches};

mod compare;
mod limits;
mod redact;
mod report;
mod rewrite;

pub use compare::{Compare, CompareBody, CompareStatus, Noise, RecordValues};
pub use limits::{BackOff, Body, OverLimit, TokenBucket};
pub use redact::{
    Action, Find, Place, Redact, RedactCookie, RedactHeader, RedactJson, RedactParameter, RedactPattern,
    RedactSegment, UnreadableBody,
};
pub use report::{Control, Record, Report};
pub use rewrite::{Authority, HeaderLine, HeaderMutations, Mark, Path, PrefixRewrite, RegexRewrite, Trace};

/// The configuration of the mirror filter.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where copies go. Each target decides for itself, whatever the others do. Default: none but those of `policies`.
    #[serde(default)]
    pub targets: Vec<Target>,
    /// Other lists of targets, which a route chooses by name (`per_route`).
    #[serde(default)]
    pub policies: Vec<NamedTargets>,
    /// Lets route metadata override this configuration. Default: never asked.
    #[serde(default)]
    pub per_route: Option<PerRouteConfig>,
    /// Where records of the differences that `compare` finds go. Default: nowhere, differences are counted.
    #[serde(default)]
    pub report: Option<Report>,
    /// Bytes of requests and of answers that a worker holds for copies at any time, 1 to 1073741824; a request that does not fit is not copied.
    /// Default 16777216 (16 MiB).
    #[serde(default = "max_held_bytes")]
    pub max_held_bytes: u32,
    /// First part of the names of all metrics: 1 to 128 letters, digits, `_`, `-` and `.`. Default `mirror`.
    #[serde(default = "stat_prefix")]
    pub stat_prefix: String,
    /// Decide, count (under `<stat_prefix>.dry_run.`) and explain, but send nothing. Default false.
    #[serde(default)]
    pub dry_run: bool,
}

/// A list of targets that a route chooses by its name.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedTargets {
    /// What the route's metadata says under `policy`.
    pub name: String,
    /// Where copies go then, in place of the configuration's `targets`. Empty: nowhere.
    #[serde(default)]
    pub targets: Vec<Target>,
}

/// One place that copies go to, which requests are copied, and what the copies look like.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Name in metrics and explanations: 1 to 128 letters, digits, `_`, `-` and `.`. Default: the cluster's, with `_` for every other character.
    #[serde(default)]
    pub name: Option<String>,
    /// The cluster; in Istio `outbound|80||shadow.default.svc.cluster.local`. Exactly one of `cluster` and `cluster_header`.
    #[serde(default)]
    pub cluster: Option<String>,
    /// The request header that names the cluster; a request without it is not copied. Whoever can send it chooses among all of Envoy's
    /// clusters: remove it from untrusted requests.
    #[serde(default)]
    pub cluster_header: Option<String>,
    /// Requests that are copied: one block of conditions that must all hold, or a list of blocks of which one must. Default: all requests.
    #[serde(default, rename = "match")]
    pub matches: RequestMatches,
    /// Methods that are copied, in upper case; `["*"]` for all. `CONNECT` and upgrades (WebSocket) never are. Default `[GET, HEAD, OPTIONS]`: the
    /// others may do twice what should be done once. With `record` all.
    #[serde(default)]
    pub methods: Option<Vec<String>>,
    /// Also copy requests that Envoy's route sends to no cluster that exists (direct responses, redirects, no route). Default false.
    #[serde(default)]
    pub unrouted: bool,
    /// Share of the requests that are copied. Default 100.
    #[serde(default = "all")]
    pub percentage: Percentage,
    /// What makes the share one of keys in place of requests: all traffic of 5 % of the users. Default: every request is drawn anew.
    #[serde(default)]
    pub sample: Option<Sample>,
    /// The copy's authority. Default: that of the request.
    #[serde(default)]
    pub authority: Option<Authority>,
    /// The copy's path; the query stays. Default: that of the request.
    #[serde(default)]
    pub path: Option<Path>,
    /// Changes of the copy's headers; the last thing that is done to it.
    #[serde(default)]
    pub headers: HeaderMutations,
    /// The header that says that this is a copy. A request that has it is not copied again, so copies make no circles. Default `x-shadow: 1`.
    #[serde(default)]
    pub mark: Mark,
    /// What is added to the values of `idempotency-key` and `x-idempotency-key`, so that a copy never takes the place of its original; empty to
    /// leave them. Default `-shadow`.
    #[serde(default = "suffix")]
    pub idempotency_suffix: String,
    /// What becomes of trace headers (W3C, B3, Jaeger, Datadog). Default `KEEP`.
    #[serde(default)]
    pub trace: Trace,
    /// The copy's body.
    #[serde(default)]
    pub body: Body,
    /// Whether the copy is made with the request's trailers. Envoy 1.40 sends none of them: its calls of filters have no trailers. Default true.
    #[serde(default = "yes")]
    pub trailers: bool,
    /// How long a copy may be without an answer before Envoy gives it up, 1ms to 24 days. Default `5s`, as Diffy's: a copy that takes longer tells
    /// nothing but holds memory.
    #[serde(default = "timeout")]
    pub timeout: ConfigDuration,
    /// Copies without an answer at any time, in all workers together: 1 to 1000000. Default 100. The circuit breakers of the cluster apply too.
    #[serde(default = "max_in_flight")]
    pub max_in_flight: u32,
    /// Copies in a time, in all workers together. Default: no such limit.
    #[serde(default)]
    pub rate: Option<TokenBucket>,
    /// Sends fewer copies when the target suffers: a target that only fails gets some hundred copies, then none for 30 s at a time. With
    /// `{max_failures: 100}` it never does. Default `{}`.
    #[serde(default)]
    pub back_off: BackOff,
    /// What is taken out of a copy before anything else is done to it. Default: nothing, the copy has the request's `authorization` and cookies.
    #[serde(default)]
    pub redact: Option<Redact>,
    /// Compares the answer to the copy with the primary's. Default: it is dropped.
    #[serde(default)]
    pub compare: Option<Box<Compare>>,
    /// Bytes of the body of each answer that are kept for `compare` and `record`, 0 to 16777216. Default 65536; of a longer one the beginning.
    #[serde(default = "max_answer_bytes")]
    pub max_answer_bytes: u32,
    /// A control copy for `compare`. Default: none.
    #[serde(default)]
    pub control: Option<Control>,
    /// Makes the target a collector: in place of copies it gets records of whole exchanges. Default: it gets copies.
    #[serde(default)]
    pub record: Option<Record>,
}

/// Sampling by key.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// Keys, the first that the request has; at least one.
    pub by: Vec<KeySource>,
    /// Keeps samples apart: targets with the same salt copy the same users. Default: the target's name.
    #[serde(default)]
    pub salt: Option<String>,
    /// A request without a key. Default `SKIP`.
    #[serde(default)]
    pub missing: Missing,
}

/// What happens to a request without a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromConfig, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Missing {
    /// It is not copied.
    #[default]
    Skip,
    /// It is drawn anew.
    Random,
}

fn max_held_bytes() -> u32 {
    16 << 20
}

fn stat_prefix() -> String {
    "mirror".to_owned()
}

fn max_answer_bytes() -> u32 {
    64 << 10
}

fn all() -> Percentage {
    Percentage::from_ppm(1_000_000)
}

fn suffix() -> String {
    "-shadow".to_owned()
}

fn yes() -> bool {
    true
}

fn timeout() -> ConfigDuration {
    ConfigDuration(std::time::Duration::from_secs(5))
}

fn max_in_flight() -> u32 {
    100
}
