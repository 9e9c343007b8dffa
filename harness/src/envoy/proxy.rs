//! A real Envoy that runs a scenario, with a server behind each endpoint of its clusters. Knows no case, and compares nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::EnvoyError;
use super::bootstrap::{Cluster, Plan, Plugin};
use super::client::{self, Parties, Wait};
use super::process::{Envoy, Started};
use super::reading;
use super::run::scene;
use super::server::Server;
use super::stage::{Received, Seat, Stage};
use crate::exchange::{Exchange, Message};
use crate::outcome::LogLine;
use crate::scenario::{self, ClusterProtocol, FailurePolicy, FailureType, Scenario};
use crate::time;

/// The port that clients say they call: the one that a replay's listener has.
pub const LISTENER: u16 = 10_000;

/// A port of loopback that nobody listens on: TCPMUX's (RFC 1078), which no system serves.
pub(super) const NOBODY: u16 = 1;

/// A real Envoy that runs a scenario, and the servers behind it.
#[derive(Debug)]
pub struct Proxy {
    // Dropped first, so that servers end without open connections.
    envoy: Envoy,
    stage: Arc<Stage>,
    plugins: Vec<Plugin>,
    start_log: String,
    _servers: Vec<Server>,
}

/// How an Envoy is to run a scenario.
#[derive(Clone, Debug)]
pub struct Options {
    /// Worker threads. One makes the order of everything known.
    pub workers: u32,
    /// How long a stream may wait that nobody continues; zero: [`super::bootstrap::IDLE`].
    pub idle: Duration,
    /// Clusters that are there beside those that the scenario and its routes name, where the scenario does not say which there are.
    pub clusters: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { workers: 1, idle: Duration::ZERO, clusters: Vec::new() }
    }
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
        options: &Options,
    ) -> Result<Result<Self, Vec<LogLine>>, EnvoyError> {
        let plugins =
            scenario.filters.iter().zip(modules).map(|(filter, module)| plugin(filter, base, module));
        let plugins = plugins.collect::<Result<Vec<_>, _>>()?;
        let (route_config, mut clusters) = scene(scenario);
        if scenario.clusters.is_empty() {
            for name in &options.clusters {
                clusters.entry(name.clone()).or_default();
            }
        }
        let stage = Arc::new(Stage::new(&clusters, scenario.seed));
        let mut servers = Vec::new();
        let request_timeout =
            scenario.request_timeout.as_deref().and_then(time::parse_duration).unwrap_or_default();
        let mut plan =
            Plan { plugins, route_config, clusters: BTreeMap::new(), idle: options.idle, request_timeout };
        for (name, cluster) in clusters {
            let mut ports = Vec::new();
            for _ in 0..cluster.endpoints {
                if refuses_all(&cluster) {
                    ports.push(NOBODY);
                    continue;
                }
                let seat = Seat { stage: Arc::clone(&stage), cluster: name.clone() };
                let server =
                    Server::start(Arc::new(seat)).map_err(EnvoyError::io("cannot start a server"))?;
                ports.push(server.port());
                servers.push(server);
            }
            let http2 = cluster.protocol() == ClusterProtocol::Http2;
            plan.clusters.insert(name, Cluster { ports, metadata: cluster.metadata, http2, host: None });
        }
        match Envoy::start(binary, &plan, options.workers)? {
            Started::Running(envoy) => {
                let start_log = envoy.log();
                Ok(Ok(Self { envoy: *envoy, stage, plugins: plan.plugins, start_log, _servers: servers }))
            }
            Started::Refused(log) => refusal(&log, &plan.plugins).map(Err),
        }
    }

    /// The Envoy.
    #[must_use]
    pub fn envoy(&self) -> &Envoy {
        &self.envoy
    }

    /// What its servers know.
    #[must_use]
    pub fn stage(&self) -> &Stage {
        &self.stage
    }

    /// What plugins logged while Envoy started.
    #[must_use]
    pub fn start_log(&self) -> Vec<LogLine> {
        reading::plugin_log(&self.start_log, &self.plugins)
    }

    /// What plugins logged from that byte of Envoy's log on; moves the byte to the end.
    #[must_use]
    pub fn log_since(&self, position: &mut u64) -> Vec<LogLine> {
        reading::plugin_log(&self.envoy.log_since(position), &self.plugins)
    }

    /// What the servers of a cluster received since the last time that anything was asked for.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.stage.take()
    }

    /// Asks once; nothing when the connection was closed without an answer.
    ///
    /// # Errors
    /// When there is no answer in time, or no HTTP.
    pub fn ask(&self, exchange: &Exchange) -> Result<Option<Message>, EnvoyError> {
        self.ask_at(exchange, LISTENER, Wait::default())
    }

    /// As [`Proxy::ask`], on a connection that says that it called this port.
    ///
    /// # Errors
    /// As there.
    pub fn ask_at(&self, exchange: &Exchange, port: u16, wait: Wait) -> Result<Option<Message>, EnvoyError> {
        let source = exchange.downstream.address.unwrap_or_else(|| ([127, 0, 0, 1], 40_000).into());
        let parties = Parties { source, port };
        let (protocol, cases) = (exchange.downstream.protocol, self.envoy.listener("cases")?);
        client::exchange_in(protocol, cases, Some(parties), &exchange.request, wait)
    }

    /// Waits until the worker has done what it had to do: what it did before this, it did before it answers this. Needs one worker.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn fence(&self) -> Result<(), EnvoyError> {
        let fence = self.envoy.listener("fence")?;
        client::exchange(fence, None, &client::get("/"), Wait::default()).map(|_| ())
    }
}

/// What plugins logged in an Envoy that a plugin kept from starting.
///
/// # Errors
/// A configuration that Envoy itself refuses says so in its own words, not in a plugin's.
pub(super) fn refusal(log: &str, plugins: &[Plugin]) -> Result<Vec<LogLine>, EnvoyError> {
    if log.contains("Unable to create Wasm plugin") {
        Ok(reading::plugin_log(log, plugins))
    } else {
        Err(EnvoyError::Rejected(reading::complaint(log)))
    }
}

/// Whether no connection to a cluster ever comes about.
pub(super) fn refuses_all(cluster: &scenario::Cluster) -> bool {
    let failure = cluster.failure.filter(|failure| failure.percentage >= 100.0);
    failure.is_some_and(|failure| failure.kind == FailureType::ConnectFailure)
        && cluster.rules.is_empty()
        && cluster.sequence.is_empty()
}

pub(super) fn plugin(filter: &scenario::Filter, base: &Path, module: &Path) -> Result<Plugin, EnvoyError> {
    let name = || filter.name.clone();
    let configuration =
        filter.configuration(base).map_err(|source| EnvoyError::Configuration { filter: name(), source })?;
    let configuration = configuration.map(String::from_utf8).transpose();
    Ok(Plugin {
        name: name(),
        root_id: filter.root_id.clone(),
        vm_id: filter.vm_id.clone(),
        module: module.to_owned(),
        configuration: configuration.map_err(|_| EnvoyError::NotText { filter: name() })?,
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
