//! The only loop: exchanges → callbacks in Envoy's order → [`Outcome`](crate::outcome::Outcome)s. Knows no recording format and no report.
//!
//! Time is virtual, and streams overlap as they would in a proxy: each begins when it was recorded, whatever others wait for. What is due next
//! happens next: answers of callouts, what happens to streams (the upstream's answer, timeouts, the client leaves), ticks, new streams; at one
//! moment in this order. Ticks run as time passes: while no stream is in flight and no callout under way at most [`MAX_TICKS_PER_GAP`] of each
//! timer (the last ones before the next exchange; the others are left out, so that a timer of a millisecond does not make a day's recording
//! endless), else all.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::clock;
use crate::host::{Clusters, Host, MetricType, Notes, PluginInfo, Slot, Slots};
use crate::outcome::{Apart, LogLine};
use crate::routes::RouteTable;
use crate::scenario::{Cluster, FailurePolicy};
use crate::vm::{LoadError, Module, Vm};

mod actions;
mod baton;
mod calls;
mod events;
mod flow;
mod line;
mod prepare;
mod reply;
mod response;
mod router;
mod run;
mod start;
mod stream;
mod ticks;
mod timeouts;
mod upstream;
mod workers;

use events::Events;
use line::Line;
pub use line::{Begin, LOOK_AHEAD};
pub use run::Outcomes;
use stream::Live;
pub use ticks::MAX_TICKS_PER_GAP;
use workers::Turns;

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
    /// The connection manager's timeouts.
    pub timeouts: Timeouts,
    /// How many workers there are; 0 is 1.
    pub workers: u32,
    /// Seed of who runs when, with several workers: which of them serves a connection, and how they interleave. Absent: `seed`.
    pub interleaving: Option<u64>,
}

/// Timeouts of the HTTP connection manager; zero is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// `stream_idle_timeout`: Envoy's default of five minutes.
    pub stream_idle: Duration,
    /// `request_timeout`; Envoy's default is none.
    pub request: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { stream_idle: Duration::from_secs(300), request: Duration::ZERO }
    }
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
    /// For each VM key the main thread's and one for each worker (`LOAD-31`).
    vms: Vec<Vm>,
    routes: Option<RouteTable>,
    timeouts: Timeouts,
    /// What goes on in the streams, by slot.
    lives: Slots<Live>,
    free: Vec<Slot>,
    /// The streams in flight, in no order.
    in_flight: Vec<Slot>,
    /// Streams that are over and still to be closed.
    ended: VecDeque<Slot>,
    /// Streams whose request has just gone upstream.
    asked: VecDeque<Slot>,
    /// By worker.
    events: Vec<Events>,
    line: Line,
    /// What belongs to no exchange.
    apart: Notes,
    start_log: Vec<LogLine>,
    start_ns: Option<u64>,
    /// What to add to recorded times.
    offset_ns: Option<i128>,
    /// The latest time that an exchange was to begin at.
    latest_ns: u64,
    /// The next exchange is the first of a recording.
    new_recording: bool,
    /// How many exchanges there were.
    exchanges: u64,
    /// Whether the first has begun.
    begun: bool,
    /// Ticks without anything else between them.
    ticks_in_row: u64,
    /// How many more answers of calls may follow each other at this moment.
    calls_left: u64,
    /// A filter is being told of a gRPC call that could not be made.
    telling: bool,
    /// The threads, where there are several workers.
    turns: Option<Box<Turns>>,
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay").field("plugins", &self.plugins).finish_non_exhaustive()
    }
}

impl Replay {
    /// Loads and configures the plugins as Envoy does: a canary, the main thread's VM and each worker's (`LOAD-30` to `LOAD-35`).
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
        let mut replay = Self::empty(Box::new(host));
        replay.plugins = setup.plugins;
        replay.routes = setup.routes;
        replay.timeouts = setup.timeouts;
        replay.start_ns = setup.start_ns;
        replay.begun = setup.start_ns.is_some();
        let workers = usize::try_from(setup.workers).unwrap_or(1).max(1);
        replay.events.resize_with(workers, Events::default);
        if workers > 1 {
            replay.turns = Some(Box::new(Turns::new(workers, setup.interleaving.unwrap_or(setup.seed))));
        }
        replay.load()?;
        Ok(replay)
    }

    /// A proxy without anything.
    fn empty(host: Box<Host>) -> Self {
        Self {
            host,
            plugins: Vec::new(),
            vms: Vec::new(),
            routes: None,
            timeouts: Timeouts::default(),
            lives: Slots::default(),
            free: Vec::new(),
            in_flight: Vec::new(),
            ended: VecDeque::new(),
            asked: VecDeque::new(),
            events: Vec::new(),
            line: Line::default(),
            apart: Notes::default(),
            start_log: Vec::new(),
            start_ns: None,
            offset_ns: None,
            latest_ns: 0,
            new_recording: false,
            exchanges: 0,
            begun: false,
            ticks_in_row: 0,
            calls_left: 0,
            telling: false,
            turns: None,
        }
    }

    /// What the plugins logged while they started, on the workers.
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

    /// What belongs to no exchange: what filters logged, called and counted in ticks and in answers of callouts that came when their exchange
    /// was over. Complete after [`Replay::finish`].
    #[must_use]
    pub fn apart(&self) -> Apart {
        let notes = &self.apart;
        Apart {
            callouts: notes.callouts.clone(),
            log: notes.log.clone(),
            metric_deltas: self.host.metrics.named(&notes.changes),
            faults: notes.faults.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
