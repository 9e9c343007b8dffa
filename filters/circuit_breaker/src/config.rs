//! What is written under `pluginConfig`. Shape only: [`Policy`](crate::Policy) says what it means and refuses what means nothing.

use schemars::JsonSchema;
use weir_sdk::{ConfigDuration, FromConfig, KeySource, PerRouteConfig, RequestMatches};

mod answer;
mod shed;
mod state;
mod trip;

pub use answer::{Export, Fallback, HeaderLine, Reply};
pub use shed::{Class, Shed};
pub use state::{Adaptive, Concurrency, Gradient, Open, Probes, Recovery};
pub use trip::{BurnRate, OpenWhen, Window};
pub use weir_sdk::outcome::{CallFailure, ErrorsAre};

/// The configuration of the circuit_breaker filter.
#[derive(Clone, Debug, Default, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What opens a circuit; any one of its conditions does. Needed, unless `force`, `concurrency` or `shed` is given.
    #[serde(default)]
    pub open_when: Option<OpenWhen>,
    /// What counts as an error. Default: the statuses 500 to 599, the gRPC statuses 2, 4, 8, 13, 14 and 15, and every failure but `OVERFLOW`.
    #[serde(default)]
    pub errors_are: Option<ErrorsAre>,
    /// How long a circuit stays open. Default: 30s each time.
    #[serde(default)]
    pub open: Option<Open>,
    /// The calls that try whether the upstream is well again. Default: one, which must succeed.
    #[serde(default)]
    pub probes: Option<Probes>,
    /// How the traffic grows again after the probes. Default: all at once.
    #[serde(default)]
    pub recovery: Option<Recovery>,
    /// How many calls may be under way at once. Default: any number.
    #[serde(default)]
    pub concurrency: Option<Concurrency>,
    /// Sheds a share of the requests while too few calls succeed. Default: none.
    #[serde(default)]
    pub shed: Option<Shed>,
    /// Requests that give way before others where calls are limited or shed; of several classes the first that matches counts. At most 16.
    /// Default: all are alike.
    #[serde(default)]
    pub classes: Vec<Class>,
    /// What a request that is not let through is answered. Default: 503 with `Retry-After`.
    #[serde(default)]
    pub reply: Option<Reply>,
    /// Instead of an answer: something is set by which a route sends the request elsewhere. Default: none.
    #[serde(default)]
    pub fallback: Option<Fallback>,
    /// Holds all circuits in one state whatever happens; results are counted and change nothing. Default: none is held.
    #[serde(default)]
    pub force: Option<Force>,
    /// Which requests have a circuit in common. Default `CLUSTER`.
    #[serde(default)]
    pub scope: Scope,
    /// Further parts of what tells circuits apart, such as `[{header: x-tenant}]`. Requests without one of them have a circuit in common.
    /// Default: none.
    #[serde(default)]
    pub key: Vec<KeySource>,
    /// How many circuits there are room for, 1 to 4096. A circuit that is closed and was not used for some time makes room for another; where
    /// there is none, a request passes and is counted in `no_room`. Default 256.
    #[serde(default = "max_keys")]
    pub max_keys: u32,
    /// The requests that this filter is for: one block of conditions that must all hold, or a list of blocks of which one must. Others pass
    /// and are not counted. Default: all requests.
    #[serde(default, rename = "match")]
    pub matches: Option<RequestMatches>,
    /// Tells others about the state. Default: nobody.
    #[serde(default)]
    pub export: Option<Export>,
    /// How old a worker's copy of a circuit may be when it admits a request: for so long after a circuit has opened, the other workers may still
    /// let requests through. 0s: every request asks the shared state. Never concerns probes, which are exact. At most 10s. Default 10ms.
    #[serde(default = "refresh")]
    pub refresh: ConfigDuration,
    /// Lets route metadata switch the filter off (`disabled`), make it `dry_run` or choose one of `policies` (`policy`). Default: never asked.
    #[serde(default)]
    pub per_route: Option<PerRouteConfig>,
    /// Other settings, which a route chooses by name. Their circuits are their own.
    #[serde(default)]
    pub policies: Vec<NamedPolicy>,
    /// First part of the names of all metrics, and of the shared state. Letters, digits, `_`, `-` and `.`. Default `circuit_breaker`.
    #[serde(default = "stat_prefix")]
    pub stat_prefix: String,
    /// Decide, count (under `<stat_prefix>.dry_run.`) and explain, but let everything through. Default false.
    #[serde(default)]
    pub dry_run: bool,
}

/// Settings that a route chooses by name. What is not given is as beside `policies`.
#[derive(Clone, Debug, Default, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedPolicy {
    /// What the route's metadata says under `policy`. Letters, digits, `_`, `-` and `.`, at most 32.
    pub name: String,
    /// What opens a circuit.
    #[serde(default)]
    pub open_when: Option<OpenWhen>,
    /// What counts as an error.
    #[serde(default)]
    pub errors_are: Option<ErrorsAre>,
    /// How long a circuit stays open.
    #[serde(default)]
    pub open: Option<Open>,
    /// The calls that try whether the upstream is well again.
    #[serde(default)]
    pub probes: Option<Probes>,
    /// How the traffic grows again after the probes.
    #[serde(default)]
    pub recovery: Option<Recovery>,
    /// How many calls may be under way at once.
    #[serde(default)]
    pub concurrency: Option<Concurrency>,
    /// Sheds a share of the requests while too few calls succeed.
    #[serde(default)]
    pub shed: Option<Shed>,
    /// What a request that is not let through is answered.
    #[serde(default)]
    pub reply: Option<Reply>,
    /// Instead of an answer: something is set by which a route sends the request elsewhere.
    #[serde(default)]
    pub fallback: Option<Fallback>,
    /// Holds all circuits in one state.
    #[serde(default)]
    pub force: Option<Force>,
}

/// A state that circuits are held in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromConfig, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Force {
    /// Nothing is let through.
    Open,
    /// Everything is let through.
    Closed,
}

/// Which requests have a circuit in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromConfig, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Scope {
    /// All of this plugin.
    Plugin,
    /// Those that Envoy would send to the same cluster. A request without one, such as of a redirect or to a
    /// cluster that does not exist, passes and is not counted.
    #[default]
    Cluster,
    /// Those of the same route, by its name. A request of a route without a name passes and is not counted.
    Route,
}

fn max_keys() -> u32 {
    256
}

fn refresh() -> ConfigDuration {
    ConfigDuration(std::time::Duration::from_millis(10))
}

fn stat_prefix() -> String {
    "circuit_breaker".to_owned()
}
