//! Runs exchanges through a scenario, in the harness and in a real Envoy, with the same result type. Knows no case and no expectation.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

use anyhow::Result;
use serde_json::Value;
use weir_harness::driver::{Replay, StartError};
use weir_harness::exchange::Exchange;
use weir_harness::outcome::{LogLine, Outcome};
use weir_harness::scenario::{self, Scenario};
use weir_harness::setup::{self, Modules};

use crate::envoy::bootstrap;

pub mod proxy;

use proxy::Proxy;

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// One for each exchange.
    pub outcomes: Vec<Outcome>,
    /// What was logged before the first.
    pub start_log: Vec<LogLine>,
    /// Counters and gauges at the end.
    pub metrics: BTreeMap<String, u64>,
    /// Whether a plugin refused its configuration, and nothing ran.
    pub refused: bool,
}

/// Runs exchanges in a real Envoy with one worker.
///
/// # Errors
/// When it does not start, ends, or stops answering.
pub fn in_envoy(
    binary: &Path,
    scenario: &Scenario,
    base: &Path,
    modules: &[PathBuf],
    exchanges: &[Exchange],
) -> Result<Run> {
    match Proxy::start(binary, scenario, base, modules, 1)? {
        Ok(proxy) => proxy.run(scenario, exchanges),
        Err(start_log) => Ok(Run { start_log, refused: true, ..Run::default() }),
    }
}

/// A replay of a scenario in the harness; the log when a plugin refuses its configuration. Each module is compiled once for all tests of
/// this process.
///
/// # Errors
/// When a module does not build, load or start, or the routes make no sense.
pub fn replay(scenario: &Scenario, base: &Path) -> Result<Result<Replay, Vec<LogLine>>> {
    static MODULES: LazyLock<Mutex<Modules>> = LazyLock::new(Mutex::default);
    let setup = setup::setup(scenario, base, &mut MODULES.lock().unwrap_or_else(PoisonError::into_inner))?;
    match Replay::start(setup) {
        Ok(replay) => Ok(Ok(replay)),
        Err(StartError::Refused { log, .. }) => Ok(Err(log)),
        Err(error) => Err(error.into()),
    }
}

/// Runs exchanges in the harness. Routes without a name have none in the outcomes, as Envoy knows no other.
///
/// # Errors
/// As [`replay`].
pub fn in_harness(scenario: &Scenario, base: &Path, exchanges: &[Exchange]) -> Result<Run> {
    let mut replay = match replay(scenario, base)? {
        Ok(replay) => replay,
        Err(start_log) => return Ok(Run { start_log, refused: true, ..Run::default() }),
    };
    let start_log = replay.start_log().to_vec();
    let (route_config, _) = routes(scenario);
    let named = route_names(&route_config);
    let mut outcomes: Vec<Outcome> = exchanges.iter().map(|exchange| replay.exchange(exchange)).collect();
    for outcome in &mut outcomes {
        outcome.route = outcome.route.take().filter(|route| named.contains(route.as_str()));
    }
    replay.finish();
    let metrics = replay.metrics();
    let metrics = metrics.into_iter().filter(|metric| metric.kind != "histogram");
    let metrics = metrics.map(|metric| (metric.name, metric.value)).collect();
    Ok(Run { outcomes, start_log, metrics, refused: false })
}

/// The routes and clusters that a scenario means: what it leaves out is made up as the harness does.
#[must_use]
pub fn routes(scenario: &Scenario) -> (Value, BTreeMap<String, scenario::Cluster>) {
    let mut clusters = scenario.clusters.clone();
    let route_config = scenario.route_config.clone().unwrap_or_else(|| {
        let only = clusters.keys().next().filter(|_| clusters.len() == 1);
        bootstrap::everything_to(only.map_or("upstream", String::as_str))
    });
    if clusters.is_empty() {
        let one = scenario::Cluster { endpoints: 1, ..scenario::Cluster::default() };
        clusters =
            bootstrap::named_clusters(&route_config).into_iter().map(|name| (name, one.clone())).collect();
    }
    (route_config, clusters)
}

/// The names that routes have; Envoy knows no other.
#[must_use]
pub fn route_names(route_config: &Value) -> BTreeSet<&str> {
    let hosts = route_config.get("virtual_hosts").and_then(Value::as_array).into_iter().flatten();
    let routes = hosts.filter_map(|host| host.get("routes")?.as_array()).flatten();
    routes.filter_map(|route| route.get("name")?.as_str()).collect()
}
