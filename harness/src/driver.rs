//! The only loop: exchange → callbacks in Envoy's order → [`Outcome`]. Knows no recording format and no report.
//!
//! Time is virtual. Ticks run as it passes: between exchanges at most [`MAX_TICKS_PER_GAP`] of each timer (the last ones before the next
//! exchange; the others are left out, so that a timer of a millisecond does not make a day's recording endless), and while a stream waits.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::{self, nanoseconds};
use crate::exchange::Exchange;
use crate::host::{Clusters, Host, MetricType, PluginInfo};
use crate::outcome::{LogLine, Outcome};
use crate::routes::RouteTable;
use crate::scenario::{Cluster, FailurePolicy};
use crate::vm::{LoadError, Module, Vm};

mod actions;
mod calls;
mod flow;
mod prepare;
mod response;
mod router;
mod start;
mod stream;
mod ticks;

use flow::Flows;
use stream::Run;
pub use ticks::MAX_TICKS_PER_GAP;

/// What to replay with.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// The HTTP filters in chain order.
    pub plugins: Vec<Plugin>,
    /// The routes; absent: every request goes to the only cluster, or to `upstream`.
    pub routes: Option<RouteTable>,
    /// The clusters that exist; empty: every cluster that a route names exists.
    pub clusters: BTreeMap<String, Cluster>,
    /// Seed of everything random.
    pub seed: u64,
    /// The time of the first exchange; absent: the recording's own, else [`clock::DEFAULT_START_NS`].
    pub start_ns: Option<u64>,
}

/// A configured instance of a module.
#[derive(Clone, Debug)]
pub struct Plugin {
    /// Its name.
    pub name: String,
    /// Envoy's `root_id`.
    pub root_id: String,
    /// Envoy's `vm_id`.
    pub vm_id: String,
    /// Its code.
    pub module: Module,
    /// Its configuration; absent is the same as empty.
    pub configuration: Option<Vec<u8>>,
    /// What happens after a trap.
    pub failure_policy: FailurePolicy,
    /// Envoy's `allow_on_headers_stop_iteration`.
    pub allow_on_headers_stop_iteration: bool,
    /// Environment variables of its VM.
    pub env: BTreeMap<String, String>,
}

/// Why a replay does not start.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
pub enum StartError {
    /// The module is not accepted.
    #[error("plugin `{plugin}` failed to load: {error}")]
    Load {
        /// The plugin.
        plugin: String,
        /// The reason.
        error: LoadError,
    },
    /// The plugin said no.
    #[error("plugin `{plugin}` failed to load: {reason}")]
    Refused {
        /// The plugin.
        plugin: String,
        /// Envoy's reason (`LOAD-12`).
        reason: &'static str,
        /// What the plugin logged.
        log: Vec<LogLine>,
    },
    /// The plugin trapped.
    #[error("plugin `{plugin}` failed to load: {message}")]
    Trapped {
        /// The plugin.
        plugin: String,
        /// What Envoy logs about the trap.
        message: String,
        /// What the plugin logged.
        log: Vec<LogLine>,
    },
}

/// The value of a metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name, without Envoy's prefix.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// The value; of a histogram, how many values it holds.
    pub value: u64,
}

/// A proxy with its filters, ready to replay.
pub struct Replay {
    host: Box<Host>,
    plugins: Vec<Plugin>,
    /// Two for each VM key: the main thread's and the worker's (`LOAD-31`).
    vms: Vec<Vm>,
    routes: Option<RouteTable>,
    flows: Vec<Flows>,
    run: Run,
    start_log: Vec<LogLine>,
    start_ns: Option<u64>,
    /// What to add to recorded times.
    offset_ns: Option<i128>,
    exchanges: u64,
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay").field("plugins", &self.plugins).finish_non_exhaustive()
    }
}

impl Replay {
    /// Loads and configures the plugins as Envoy does: a canary, the main thread's VM and a worker's (`LOAD-30` to `LOAD-35`).
    ///
    /// # Errors
    /// When Envoy would reject the configuration.
    pub fn start(setup: Setup) -> Result<Self, StartError> {
        let infos = setup.plugins.iter().map(|plugin| PluginInfo {
            name: plugin.name.as_str().into(),
            root_id: plugin.root_id.as_str().into(),
            vm_id: plugin.vm_id.as_str().into(),
            configuration: plugin.configuration.clone().unwrap_or_default(),
        });
        let start_ns = setup.start_ns.unwrap_or(clock::DEFAULT_START_NS);
        let host = Host::new(infos.collect(), Clusters::new(setup.clusters), setup.seed, start_ns);
        let mut replay = Self {
            host: Box::new(host),
            flows: vec![Flows::default(); setup.plugins.len()],
            plugins: setup.plugins,
            vms: Vec::new(),
            routes: setup.routes,
            run: Run::default(),
            start_log: Vec::new(),
            start_ns: setup.start_ns,
            offset_ns: None,
            exchanges: 0,
        };
        replay.load()?;
        Ok(replay)
    }

    /// Replays one exchange.
    pub fn exchange(&mut self, exchange: &Exchange) -> Outcome {
        self.reach_start(exchange.start_ns);
        self.reload_failed();
        self.open(exchange);
        self.run_stream(exchange);
        self.close();
        self.exchanges += 1;
        self.outcome()
    }

    /// What the plugins logged while they started, on the worker.
    #[must_use]
    pub fn start_log(&self) -> &[LogLine] {
        &self.start_log
    }

    /// All metrics that plugins defined, in order of definition.
    #[must_use]
    pub fn metrics(&self) -> Vec<Metric> {
        let named = self.host.metrics.iter().map(|(name, kind, value)| {
            let kind = match kind {
                MetricType::Counter => "counter",
                MetricType::Gauge => "gauge",
                MetricType::Histogram => "histogram",
            };
            Metric { name: name.to_owned(), kind, value }
        });
        named.collect()
    }

    /// Lets time pass; ticks run.
    pub fn advance(&mut self, duration: Duration) {
        let until = self.host.clock.now_ns().saturating_add(nanoseconds(duration));
        self.pass_time(until);
        // What is recorded afterwards counts from here.
        if let Some(offset) = &mut self.offset_ns {
            *offset += i128::from(nanoseconds(duration));
        }
    }

    /// Shuts the proxy down: root contexts are done and deleted (`LOAD-44`).
    pub fn finish(&mut self) {
        for root in 0..self.host.roots.len() {
            let (vm, id) = (self.host.roots[root].vm, self.host.roots[root].id);
            self.host.roots[root].tick = None;
            let done = self.vms[vm].call(&mut self.host, id, |all| &all.done, id);
            if done != Ok(Some(0)) && !self.vms[vm].failed {
                let _ = self.vms[vm].call(&mut self.host, id, |all| &all.delete, id);
            }
        }
        self.host.roots.clear();
        self.host.calls.clear();
    }
}

#[cfg(test)]
mod tests;
