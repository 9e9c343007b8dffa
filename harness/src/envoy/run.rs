//! Runs exchanges through a scenario, in the harness and in a real Envoy, with the same result type. Knows no case and no expectation.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::EnvoyError;
use super::bootstrap;
use super::http2::grouped;
use super::proxy::{Options, Proxy};
use crate::build;
use crate::driver::{Replay, StartError};
use crate::exchange::{Message, Protocol};
use crate::outcome::{CalloutKind, LogLine, Outcome};
use crate::scenario::{self, ClusterProtocol, Scenario};
use crate::setup::{self, Modules, SetupError};
use crate::time;

mod live;
mod step;

use step::Step;
pub use step::{Planned, first_ns, in_turn, steps};

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// One for each exchange.
    pub outcomes: Vec<Outcome>,
    /// What was logged before the first.
    pub start_log: Vec<LogLine>,
    /// Exchanges whose log lines are not told apart from those of others.
    pub loose: BTreeSet<usize>,
    /// Log lines that are known of no single exchange.
    pub loose_log: Vec<LogLine>,
    /// Calls that filters made, whenever they did: the cluster and what it received.
    pub calls: Vec<(String, Message)>,
    /// How many bytes of bodies gRPC streams of filters sent.
    pub streamed: usize,
    /// Counters and gauges at the end.
    pub metrics: BTreeMap<String, u64>,
    /// Whether a plugin refused its configuration, and nothing ran.
    pub refused: bool,
}

/// Runs exchanges in a real Envoy with as many workers as the scenario has; `harness` is what came of them there, so that what takes time is waited for and no longer.
/// `told` is called with the number of exchanges that are over.
///
/// # Errors
/// When it does not start, ends, or stops answering.
pub fn in_envoy(
    binary: &Path,
    scenario: &Scenario,
    base: &Path,
    planned: &[Planned],
    harness: &Run,
    told: &mut dyn FnMut(usize),
) -> Result<Run, EnvoyError> {
    let modules = modules_of(scenario, base)?;
    let steps = steps(planned, &harness.outcomes);
    let options = Options {
        workers: scenario.workers.max(1),
        idle: idle(scenario, &steps),
        clusters: steps.iter().flat_map(|step| step.clusters.iter().cloned()).collect(),
    };
    match Proxy::start(binary, scenario, base, &modules, &options)? {
        Ok(proxy) => live::run(&proxy, &steps, harness, told),
        Err(start_log) => Ok(Run { start_log, refused: true, ..Run::default() }),
    }
}

/// The scenario's own `stream_idle_timeout`, or one that fits what the harness says.
fn idle(scenario: &Scenario, steps: &[Step<'_>]) -> Duration {
    let own = scenario.stream_idle_timeout.as_deref().and_then(time::parse_duration);
    own.filter(|own| !own.is_zero()).unwrap_or_else(|| step::idle(steps))
}

/// The `.wasm` files of a scenario's filters, in order, built first where they are crates.
pub(super) fn modules_of(scenario: &Scenario, base: &Path) -> Result<Vec<PathBuf>, EnvoyError> {
    let module = |filter: &scenario::Filter| {
        build::module(filter, base)
            .map_err(|source| SetupError::Build { filter: filter.name.clone(), source }.into())
    };
    scenario.filters.iter().map(module).collect()
}

/// A replay of a scenario in the harness; the log when a plugin refuses its configuration, or traps.
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
        Err(StartError::Trapped { plugin, message, mut log }) => {
            log.push(LogLine { plugin, level: "critical", message });
            Ok(Err(log))
        }
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
    planned: &[Planned],
) -> Result<Run, EnvoyError> {
    let mut replay = match replay(scenario, base, modules)? {
        Ok(replay) => replay,
        Err(start_log) => return Ok(Run { start_log, refused: true, ..Run::default() }),
    };
    let start_log = replay.start_log().to_vec();
    let (route_config, clusters) = scene(scenario);
    let named = route_names(&route_config);
    for one in planned {
        replay.begin(one.exchange.clone(), one.begin);
    }
    let mut outcomes: Vec<Outcome> =
        std::iter::from_fn(|| replay.next_outcome()).map(|(_, outcome)| outcome).collect();
    for (outcome, one) in outcomes.iter_mut().zip(planned) {
        http2(outcome, one.exchange.downstream.protocol, &clusters);
        outcome.route = outcome.route.take().filter(|route| named.contains(route.as_str()));
    }
    replay.finish();
    let apart = replay.apart();
    let calls = outcomes.iter().flat_map(|outcome| &outcome.callouts).chain(&apart.callouts);
    // What nobody received cannot be seen behind an Envoy.
    let calls = calls.filter(|call| call.end.arrives());
    let streams = calls.clone().filter(|call| call.kind == CalloutKind::GrpcStream);
    let streamed = streams.map(|call| call.request.body.len()).sum();
    let calls = calls.map(|call| {
        let mut request = call.request.clone();
        if is_http2(&clusters, &call.cluster) {
            group(&mut request);
        }
        (call.cluster.clone(), request)
    });
    let calls = calls.collect();
    let metrics = replay.metrics();
    let metrics = metrics.into_iter().filter(|metric| metric.kind != "histogram");
    let metrics = metrics.map(|metric| (metric.name, metric.value)).collect();
    Ok(Run { outcomes, start_log, calls, streamed, metrics, loose_log: apart.log, ..Run::default() })
}

/// Where HTTP/2 carries a message behind Envoy, lines of one name stand together.
fn http2(outcome: &mut Outcome, client: Protocol, clusters: &BTreeMap<String, scenario::Cluster>) {
    let upstream = outcome.cluster.as_deref().is_some_and(|name| is_http2(clusters, name));
    outcome.upstream_request.iter_mut().filter(|_| upstream).for_each(group);
    outcome.response.iter_mut().filter(|_| upstream || client == Protocol::Http2).for_each(group);
}

fn is_http2(clusters: &BTreeMap<String, scenario::Cluster>, name: &str) -> bool {
    clusters.get(name).is_some_and(|cluster| cluster.protocol() == ClusterProtocol::Http2)
}

fn group(message: &mut Message) {
    message.headers = grouped(&message.headers);
    message.trailers = grouped(&message.trailers);
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
