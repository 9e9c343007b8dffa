//! Runs exchanges through a scenario, in the harness and in a real Envoy, with the same result type. Knows no case and no expectation.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use serde_json::Value;
use weir_harness::driver::{self, Replay, Setup, StartError};
use weir_harness::exchange::{Exchange, Message};
use weir_harness::outcome::{LogLine, Outcome};
use weir_harness::routes::RouteTable;
use weir_harness::scenario::{self, FailurePolicy, Scenario};
use weir_harness::vm::Module;

use crate::envoy::bootstrap::{self, Cluster, Plan, Plugin};
use crate::envoy::process::{self, Envoy, Started};
use crate::envoy::reading;
use crate::upstream::Upstream;

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

/// A real Envoy that runs a scenario, and the upstreams behind it.
#[derive(Debug)]
pub struct Proxy {
    // Dropped first, so that upstreams end without open connections.
    envoy: Envoy,
    upstreams: BTreeMap<String, Vec<Upstream>>,
    plugins: Vec<Plugin>,
    start_log: String,
}

impl Proxy {
    /// Starts one; the log when a plugin refuses its configuration. `modules` are the `.wasm` files of the scenario's filters, in order.
    ///
    /// # Errors
    /// When it does not start for any other reason.
    pub fn start(
        binary: &Path,
        scenario: &Scenario,
        base: &Path,
        modules: &[PathBuf],
        workers: u32,
    ) -> Result<Result<Self, Vec<LogLine>>> {
        let mut plugins = Vec::new();
        for (filter, module) in scenario.filters.iter().zip(modules) {
            plugins.push(plugin(filter, base, module)?);
        }
        let (route_config, clusters) = routes(scenario);
        let mut upstreams: BTreeMap<String, Vec<Upstream>> = BTreeMap::new();
        let mut plan = Plan { plugins, route_config, clusters: BTreeMap::new() };
        for (name, cluster) in clusters {
            let servers = (0..cluster.endpoints).map(|_| Upstream::start()).collect::<Result<Vec<_>>>()?;
            if let Some(response) = &cluster.response {
                servers.iter().for_each(|server| server.answer(fixed(response)));
            }
            let ports = servers.iter().map(Upstream::port).collect();
            plan.clusters.insert(name.clone(), Cluster { ports, metadata: cluster.metadata });
            upstreams.insert(name, servers);
        }
        match Envoy::start(binary, &plan, workers)? {
            Started::Running(envoy) => {
                let start_log = envoy.log();
                Ok(Ok(Self { envoy: *envoy, upstreams, plugins: plan.plugins, start_log }))
            }
            Started::Refused(log) => {
                let lines = reading::plugin_log(&log, &plan.plugins);
                // A configuration that Envoy itself refuses says so in its own words, not in a plugin's.
                let is_plugin = log.contains("Unable to create Wasm plugin");
                is_plugin
                    .then_some(Ok(Err(lines)))
                    .with_context(|| format!("envoy refuses its configuration: {log}"))?
            }
        }
    }

    /// The Envoy.
    #[must_use]
    pub fn envoy(&self) -> &Envoy {
        &self.envoy
    }

    /// What the upstreams of a cluster received since the last time this was asked.
    #[must_use]
    pub fn received(&self, cluster: &str) -> Vec<Message> {
        self.upstreams.get(cluster).into_iter().flatten().flat_map(Upstream::received).collect()
    }

    /// Asks once; nothing when the connection was closed without an answer.
    ///
    /// # Errors
    /// When there is no answer in time, or no HTTP.
    pub fn ask(&self, exchange: &Exchange) -> Result<Option<Message>> {
        let source = exchange.downstream.address.unwrap_or_else(|| ([127, 0, 0, 1], 40_000).into());
        process::exchange_as(self.envoy.listener("cases")?, Some(source), &exchange.request)
    }

    /// Runs all exchanges one after another; needs an Envoy with one worker.
    ///
    /// # Errors
    /// When Envoy ends or stops answering; shows the end of its log.
    pub fn run(self, scenario: &Scenario, exchanges: &[Exchange]) -> Result<Run> {
        let mut outcomes = Vec::new();
        let mut position = self.envoy.log().len() as u64;
        for exchange in exchanges {
            outcomes.push(
                self.step(scenario, exchange, &mut position)
                    .with_context(|| format!("{}: {}", exchange.origin, self.envoy.tail()))?,
            );
        }
        let entries = self.envoy.access_log(exchanges.len())?;
        let finish = |(step, entry): (Step, &Value)| {
            let went_to = entry.get("cluster").and_then(Value::as_str).unwrap_or_default();
            let at = step.received.iter().position(|(cluster, _)| cluster == went_to);
            let upstream = step.received.into_iter().nth(at.unwrap_or_default());
            Outcome { log: step.log, ..reading::outcome(entry, upstream, step.response) }
        };
        Ok(Run {
            outcomes: outcomes.into_iter().zip(&entries).map(finish).collect(),
            start_log: reading::plugin_log(&self.start_log, &self.plugins),
            metrics: self.envoy.metrics()?.into_iter().collect(),
            refused: false,
        })
    }

    fn step(&self, scenario: &Scenario, exchange: &Exchange, position: &mut u64) -> Result<Step> {
        for (name, servers) in &self.upstreams {
            if scenario.clusters.get(name).is_none_or(|cluster| cluster.response.is_none()) {
                let answer = exchange.response.clone().unwrap_or_default();
                servers.iter().for_each(|server| server.answer(answer.clone()));
            }
        }
        let response = self.ask(exchange)?;
        // What the worker did for this exchange after the answer went out, it did before it answers this.
        process::exchange(self.envoy.listener("fence")?, &process::get("/"))?;
        let log = reading::plugin_log(&self.envoy.log_since(position), &self.plugins);
        let from = |name: &String| {
            self.received(name).into_iter().map(|request| (name.clone(), request)).collect::<Vec<_>>()
        };
        let received = self.upstreams.keys().flat_map(from).collect();
        Ok(Step { response, received, log })
    }
}

/// What is known of an exchange before the access log is read.
struct Step {
    response: Option<Message>,
    received: Vec<(String, Message)>,
    log: Vec<LogLine>,
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

fn plugin(filter: &scenario::Filter, base: &Path, module: &Path) -> Result<Plugin> {
    let configuration = filter.configuration(base)?;
    Ok(Plugin {
        name: filter.name.clone(),
        root_id: filter.root_id.clone(),
        vm_id: filter.vm_id.clone(),
        module: module.to_owned(),
        configuration: configuration.map(String::from_utf8).transpose().context("not UTF-8")?,
        failure_policy: match filter.failure_policy {
            FailurePolicy::FailClosed => "FAIL_CLOSED",
            FailurePolicy::FailOpen => "FAIL_OPEN",
            FailurePolicy::FailReload => "FAIL_RELOAD",
        }
        .to_owned(),
        allow_on_headers_stop_iteration: filter.allow_on_headers_stop_iteration,
        env: filter.env.clone(),
    })
}

fn fixed(response: &scenario::ClusterResponse) -> Message {
    let mut message = Message { body: response.body.clone().into_bytes(), ..Message::default() };
    message.headers.push(":status", response.status.to_string());
    for (name, value) in &response.headers {
        message.headers.push(name, value);
    }
    if message.headers.get(b"content-length").is_none() {
        message.headers.push("content-length", message.body.len().to_string());
    }
    message
}

/// A replay of a scenario in the harness; the log when a plugin refuses its configuration.
///
/// # Errors
/// When a module does not load or traps at the start, or the routes make no sense.
pub fn replay(scenario: &Scenario, base: &Path, modules: &[PathBuf]) -> Result<Result<Replay, Vec<LogLine>>> {
    let mut plugins = Vec::new();
    for (filter, path) in scenario.filters.iter().zip(modules) {
        plugins.push(driver::Plugin {
            name: filter.name.clone(),
            root_id: filter.root_id.clone(),
            vm_id: filter.vm_id.clone(),
            module: compiled(&filter.name, path)?,
            configuration: filter.configuration(base)?,
            failure_policy: filter.failure_policy,
            allow_on_headers_stop_iteration: filter.allow_on_headers_stop_iteration,
            env: filter.env.clone(),
        });
    }
    let setup = Setup {
        plugins,
        routes: scenario.route_config.as_ref().map(RouteTable::from_value).transpose()?,
        clusters: scenario.clusters.clone(),
        seed: scenario.seed,
        start_ns: scenario.start_ns(),
    };
    match Replay::start(setup) {
        Ok(replay) => Ok(Ok(replay)),
        Err(StartError::Refused { log, .. }) => Ok(Err(log)),
        Err(error) => Err(error.into()),
    }
}

/// The module, compiled once for all tests of this process.
fn compiled(label: &str, path: &Path) -> Result<Module> {
    static COMPILED: Mutex<BTreeMap<PathBuf, Module>> = Mutex::new(BTreeMap::new());
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(module) = compiled.get(path) {
        return Ok(module.clone());
    }
    let module = Module::compile(label, &fs::read(path)?)?;
    compiled.insert(path.to_owned(), module.clone());
    Ok(module)
}

/// Runs exchanges in the harness. Routes without a name have none in the outcomes, as Envoy knows no other.
///
/// # Errors
/// As [`replay`].
pub fn in_harness(
    scenario: &Scenario,
    base: &Path,
    modules: &[PathBuf],
    exchanges: &[Exchange],
) -> Result<Run> {
    let mut replay = match replay(scenario, base, modules)? {
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
