//! A real Envoy that runs a scenario, with an upstream behind each of its clusters.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;
use weir_harness::exchange::{Exchange, Message};
use weir_harness::outcome::{LogLine, Outcome};
use weir_harness::scenario::{self, FailurePolicy, Scenario};
use weir_harness::upstream;

use super::{Run, routes};
use crate::envoy::bootstrap::{Cluster, Plan, Plugin};
use crate::envoy::process::{self, Envoy, Started};
use crate::envoy::reading;
use crate::upstream::Upstream;

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
                servers.iter().for_each(|server| server.answer(upstream::response(response)));
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
            // What others received are callouts.
            let upstream = at.and_then(|at| step.received.into_iter().nth(at));
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
