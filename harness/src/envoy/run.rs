//! Runs exchanges through a scenario, in the harness and in a real Envoy, with the same result type. Knows no case and no expectation.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::EnvoyError;
use super::bootstrap;
use super::proxy::{Options, Proxy};
use crate::driver::{Replay, StartError};
use crate::exchange::{Exchange, Message};
use crate::outcome::{LogLine, Outcome};
use crate::scenario::{self, Scenario};
use crate::setup::{self, Modules};

mod live;
mod step;

pub use step::{Begin, Step, steps};

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// One for each exchange.
    pub outcomes: Vec<Outcome>,
    /// What was logged before the first.
    pub start_log: Vec<LogLine>,
    /// What was logged while exchanges overlapped or after they ended, so that it is known of none.
    pub loose_log: Vec<LogLine>,
    /// Calls that filters made, whenever they did: the cluster and what it received.
    pub calls: Vec<(String, Message)>,
    /// Counters and gauges at the end.
    pub metrics: BTreeMap<String, u64>,
    /// Whether a plugin refused its configuration, and nothing ran.
    pub refused: bool,
}

/// Runs exchanges in a real Envoy with one worker; `told` is called with the number of exchanges that are over.
///
/// # Errors
/// When it does not start, ends, or stops answering.
pub fn in_envoy(
    binary: &Path,
    scenario: &Scenario,
    base: &Path,
    modules: &[PathBuf],
    steps: &[Step<'_>],
    told: &mut dyn FnMut(usize),
) -> Result<Run, EnvoyError> {
    let options = Options {
        workers: 1,
        idle: step::idle(steps),
        clusters: steps.iter().flat_map(|step| step.clusters.iter().cloned()).collect(),
    };
    match Proxy::start(binary, scenario, base, modules, &options)? {
        Ok(proxy) => live::run(&proxy, steps, told),
        Err(start_log) => Ok(Run { start_log, refused: true, ..Run::default() }),
    }
}

/// A replay of a scenario in the harness; the log when a plugin refuses its configuration.
///
/// # Errors
/// When a module does not build, load or start, or the routes make no sense.
pub fn replay(
    scenario: &Scenario,
    base: &Path,
    modules: &mut Modules,
) -> Result<Result<Replay, Vec<LogLine>>, EnvoyError> {
    match Replay::start(setup::setup(scenario, base, modules)?) {
        Ok(replay) => Ok(Ok(replay)),
        Err(StartError::Refused { log, .. }) => Ok(Err(log)),
        Err(error) => Err(error.into()),
    }
}

/// Runs exchanges in the harness. Routes without a name have none in the outcomes, as Envoy knows no other.
///
/// # Errors
/// As [`replay`].
pub fn in_harness(
    scenario: &Scenario,
    base: &Path,
    modules: &mut Modules,
    exchanges: &[Exchange],
) -> Result<Run, EnvoyError> {
    let mut replay = match replay(scenario, base, modules)? {
        Ok(replay) => replay,
        Err(start_log) => return Ok(Run { start_log, refused: true, ..Run::default() }),
    };
    let start_log = replay.start_log().to_vec();
    let (route_config, _) = scene(scenario);
    let named = route_names(&route_config);
    let mut outcomes: Vec<Outcome> = exchanges.iter().map(|exchange| replay.exchange(exchange)).collect();
    for outcome in &mut outcomes {
        outcome.route = outcome.route.take().filter(|route| named.contains(route.as_str()));
    }
    let calls = outcomes.iter().flat_map(|outcome| &outcome.callouts);
    let calls = calls.map(|call| (call.cluster.clone(), call.request.clone())).collect();
    replay.finish();
    let metrics = replay.metrics();
    let metrics = metrics.into_iter().filter(|metric| metric.kind != "histogram");
    let metrics = metrics.map(|metric| (metric.name, metric.value)).collect();
    Ok(Run { outcomes, start_log, calls, metrics, ..Run::default() })
}

/// The routes and clusters that a scenario means: what it leaves out is made up as a replay does.
#[must_use]
pub fn scene(scenario: &Scenario) -> (Value, BTreeMap<String, scenario::Cluster>) {
    let mut clusters = scenario.clusters.clone();
    let route_config = scenario.route_config.clone().unwrap_or_else(|| {
        let only = clusters.keys().next().filter(|_| clusters.len() == 1);
        bootstrap::everything_to(only.map_or("upstream", String::as_str))
    });
    if clusters.is_empty() {
        let named = bootstrap::named_clusters(&route_config);
        clusters = named.into_iter().map(|name| (name, scenario::Cluster::default())).collect();
    }
    (route_config, clusters)
}

/// The names that routes have; Envoy knows no other.
fn route_names(route_config: &Value) -> BTreeSet<&str> {
    let hosts = route_config.get("virtual_hosts").and_then(Value::as_array).into_iter().flatten();
    let routes = hosts.filter_map(|host| host.get("routes")?.as_array()).flatten();
    routes.filter_map(|route| route.get("name")?.as_str()).collect()
}
