//! How an arm that fails is taken out, and how its failed answers are made good.

use std::time::Duration;

use schemars::JsonSchema;
use weir_sdk::{ConfigDuration, FromConfig, Percentage, RequestMatches};

use super::HeaderLine;

/// Takes an arm out of a rule when it fails, or is slow, more often than the stable arm: all its requests then go to the stable arm. Each arm
/// of the rule is compared with the stable one, over the calls of all workers of this Envoy.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// Compares shares of errors. Default: as `{}` where `slow` is not given, else not compared.
    #[serde(default)]
    pub error_rate: Option<ErrorRate>,
    /// Compares shares of slow calls. Default: not compared.
    #[serde(default)]
    pub slow: Option<Slow>,
    /// The calls that are compared are those that ended in this time. It has 30 parts: at most one test is made in each, and the oldest leaves at
    /// once. 300ms to 1d. Default 60s.
    #[serde(default = "window")]
    pub window: ConfigDuration,
    /// Nothing is tested before an arm has so many calls in the window; the stable arm likewise, where there is no `assumed`. 1 to 1000000. Default
    /// 20.
    #[serde(default = "min_samples")]
    pub min_samples: u32,
    /// How sure: an arm that is as good as the stable one is rolled back in at most 100 % minus this of the windows. 50 to 99.9999. Default 99.99.
    #[serde(default = "confidence")]
    pub confidence: Percentage,
    /// How long the arm is out; then it gets its requests again and is watched anew. From 1s. Default: until something else resets it.
    #[serde(default, rename = "for")]
    pub hold: Option<ConfigDuration>,
    /// Any text, such as the version that runs on the arm. Another text, as any change of this block or of the rule's arms, forgets that an arm was
    /// rolled back. Default: empty.
    #[serde(default)]
    pub generation: String,
    /// Requests of this rule that let all its arms come back, such as `{headers: [{name: x-reset, exact: some-secret}]}`. Default: none.
    #[serde(default)]
    pub reset: Option<RequestMatches>,
    /// Who is told of a rollback, once for each and Envoy. Default: only the log.
    #[serde(default)]
    pub webhook: Option<Webhook>,
    /// Test, count (under `<stat_prefix>.dry_run.`) and log, but roll nothing back and tell no webhook. Default false.
    #[serde(default)]
    pub dry_run: bool,
}

/// When an arm has too many errors.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ErrorRate {
    /// The share of errors must be more than the stable arm's by this, in percent of all calls, whatever the test says. Default 1.
    #[serde(default = "one_percent")]
    pub min_difference: Percentage,
    /// The stable arm's share where it has fewer than `min_samples` calls in the window, as in blue/green. Default: none, and nothing is rolled
    /// back then. Needed where the rule gives the stable arm nothing: with `arm` and `blue_green`.
    #[serde(default)]
    pub assumed: Option<Percentage>,
}

/// When an arm is too slow.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Slow {
    /// A call is slow from this time on, from its request to the first byte of its answer. More than 0.
    pub slower_than: ConfigDuration,
    /// The share of slow calls must be more than the stable arm's by this, in percent of all calls, whatever the test says. Default 5.
    #[serde(default = "five_percent")]
    pub min_difference: Percentage,
    /// As `error_rate.assumed`.
    #[serde(default)]
    pub assumed: Option<Percentage>,
}

/// Who is told: `POST` with a JSON object.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Envoy's cluster.
    pub cluster: String,
    /// `:authority` of the call.
    pub authority: String,
    /// `:path` of the call. Default `/`.
    #[serde(default = "root")]
    pub path: String,
    /// Further headers, such as a token.
    #[serde(default)]
    pub headers: Vec<HeaderLine>,
    /// How long to wait for its answer; it is told once, answer or not. More than 0. Default 5s.
    #[serde(default = "five_seconds")]
    pub timeout: ConfigDuration,
}

/// Answers from the stable arm where another arm fails: the request is sent again, to the stable arm's cluster, and its answer replaces the failed
/// one. gRPC requests, upgrades and CONNECT are never sent again.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ZeroError {
    /// The cluster that answers. Default: the `cluster` of the stable arm (in `arms`), else its name.
    #[serde(default)]
    pub cluster: Option<String>,
    /// Methods that may be sent twice, in upper case. Default `[GET, HEAD, OPTIONS]`.
    #[serde(default = "methods")]
    pub methods: Vec<String>,
    /// A request with a longer body is not kept, and so not sent again. Default 65536.
    #[serde(default = "max_request_bytes")]
    pub max_request_bytes: u32,
    /// An answer of the stable arm with a longer body is not used. Default 1048576.
    #[serde(default = "max_answer_bytes")]
    pub max_answer_bytes: u32,
    /// How long to wait for the stable arm's answer; the failed one goes out then. More than 0, at most 4m. Default 5s.
    #[serde(default = "five_seconds")]
    pub timeout: ConfigDuration,
    /// How many requests are sent again, at most. Default as `{}`.
    #[serde(default)]
    pub budget: Option<Budget>,
    /// A response header that marks such answers. Default: none.
    #[serde(default)]
    pub response_header: Option<HeaderLine>,
}

/// How many requests are sent again: in each worker, `burst` and `percent` of the rule's requests.
#[derive(Clone, Copy, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// So much of the rule's requests, whatever their arm. Default 20. With 100 a failing arm never exhausts it.
    #[serde(default = "twenty_percent")]
    pub percent: Percentage,
    /// So many at first, and kept for later at most. 0 to 1000000. Default 10.
    #[serde(default = "ten")]
    pub burst: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self { percent: twenty_percent(), burst: ten() }
    }
}

fn window() -> ConfigDuration {
    ConfigDuration(Duration::from_secs(60))
}

fn min_samples() -> u32 {
    20
}

fn confidence() -> Percentage {
    Percentage::from_ppm(999_900)
}

fn one_percent() -> Percentage {
    Percentage::from_ppm(10_000)
}

fn five_percent() -> Percentage {
    Percentage::from_ppm(50_000)
}

fn twenty_percent() -> Percentage {
    Percentage::from_ppm(200_000)
}

fn ten() -> u32 {
    10
}

fn root() -> String {
    "/".to_owned()
}

fn five_seconds() -> ConfigDuration {
    ConfigDuration(Duration::from_secs(5))
}

fn methods() -> Vec<String> {
    let mut methods = Vec::new();
    for method in &["GET", "HEAD", "OPTIONS"] {
        methods.push(String::from(*method));
    }
    methods
}

fn max_request_bytes() -> u32 {
    65_536
}

fn max_answer_bytes() -> u32 {
    1_048_576
}

impl Default for ErrorRate {
    fn default() -> Self {
        Self { min_difference: one_percent(), assumed: None }
    }
}
