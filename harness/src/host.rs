//! What a proxy knows, as plain data: time, plugins, the stream, shared data, metrics. Hostcalls read and write it, the driver moves it
//! on; it knows neither Wasm nor the order of callbacks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, Random};
use crate::exchange::Message;
use crate::outcome::{CalloutEnd, CalloutKind, CalloutOutcome, LogLine};
use crate::upstream::Upstreams;

pub(crate) mod attributes;
pub(crate) mod calls;
pub(crate) mod clusters;
pub(crate) mod guest;
mod metrics;
mod shared;
mod stream;
pub(crate) mod value;

pub(crate) use calls::{Call, Calls, Ending, Event};
pub(crate) use clusters::{Clusters, State as ClusterState};
pub(crate) use guest::{Abi, Guest, Owner};
pub(crate) use metrics::{Metrics, Type as MetricType};
pub(crate) use shared::{CasMismatch, SharedData};
pub(crate) use stream::{Access, Info, Phase, Reply, Stream, View};

/// The proxy, as its filters can see and change it.
#[derive(Debug)]
pub(crate) struct Host {
    pub clock: Clock,
    pub random: Random,
    pub log: Vec<LogLine>,
    pub plugins: Vec<PluginInfo>,
    pub roots: Vec<Root>,
    pub clusters: Clusters,
    /// What clusters answer.
    pub upstreams: Upstreams,
    pub shared: SharedData,
    pub metrics: Metrics,
    pub stream: Stream,
    /// What hostcalls asked for and the driver does when the guest callback has returned (`FLOW-10`).
    pub actions: VecDeque<Action>,
    /// Calls that wait for their answer.
    pub calls: Calls,
    /// Calls made since the driver last took them.
    pub callouts: Vec<CalloutOutcome>,
    next_callout: u64,
    /// What would kill the process (`DIE-*`), as the driver will report it.
    pub fatal: Option<String>,
}

/// One plugin, as configured.
#[derive(Clone, Debug, Default)]
pub(crate) struct PluginInfo {
    pub name: Arc<str>,
    pub root_id: Arc<str>,
    pub vm_id: Arc<str>,
    pub configuration: Vec<u8>,
}

/// One root context: a plugin on a thread.
#[derive(Clone, Debug)]
pub(crate) struct Root {
    /// Index of the (first) plugin whose root it is.
    pub plugin: usize,
    /// Index of the VM it lives in.
    pub vm: usize,
    /// Its context id there; 0 before it is created.
    pub id: u32,
    /// Its timer.
    pub tick: Option<Tick>,
}

/// An armed timer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tick {
    pub period_ns: u64,
    pub next_ns: u64,
}

/// What runs after the guest callback.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// Let the stream go on at the filter.
    Continue { filter: usize, response: bool },
    /// Reset the stream.
    Close,
    /// Answer in place of the upstream.
    Reply(Reply),
}

impl Host {
    pub(crate) fn new(plugins: Vec<PluginInfo>, clusters: Clusters, seed: u64, start_ns: u64) -> Self {
        Self {
            clock: Clock::new(start_ns),
            random: Random::new(seed),
            log: Vec::new(),
            plugins,
            roots: Vec::new(),
            upstreams: clusters.upstreams(seed),
            clusters,
            shared: SharedData::default(),
            metrics: Metrics::default(),
            stream: Stream::default(),
            actions: VecDeque::new(),
            calls: Calls::default(),
            callouts: Vec::new(),
            next_callout: 0,
            fatal: None,
        }
    }

    /// A place-holder for a VM that is not running.
    pub(crate) fn idle() -> Box<Self> {
        Box::new(Self::new(Vec::new(), Clusters::default(), 0, 0))
    }

    /// The plugin that an owner of a context belongs to.
    pub(crate) fn plugin_of(&self, owner: Owner) -> Option<usize> {
        match owner {
            Owner::Root(root) => self.roots.get(root).map(|root| root.plugin),
            Owner::Stream(filter) => self.stream.filters.get(filter).map(|filter| filter.plugin),
        }
    }

    /// The root context that an owner belongs to.
    pub(crate) fn root_of(&self, owner: Owner) -> Option<usize> {
        match owner {
            Owner::Root(root) => Some(root),
            Owner::Stream(filter) => self.stream.filters.get(filter).map(|filter| filter.root),
        }
    }

    /// Notes a call that is being made, with what it sends; gives the id of its outcome.
    pub(crate) fn note_callout(
        &mut self,
        kind: CalloutKind,
        cluster: &str,
        request: Message,
        end: CalloutEnd,
    ) -> u64 {
        let id = self.next_callout;
        self.next_callout += 1;
        let at = match self.stream.phase {
            Phase::None => 0,
            _ => self.clock.now_ns().saturating_sub(self.stream.info.start_ns),
        };
        let at = Duration::from_nanos(at);
        let cluster = cluster.to_owned();
        self.callouts.push(CalloutOutcome {
            id,
            kind,
            cluster,
            request,
            at,
            end,
            ..CalloutOutcome::default()
        });
        id
    }

    /// Notes what a filter did that would end the process (section 13); the driver reports it.
    pub(crate) fn kills_envoy(&mut self, what: &str) {
        self.fatal.get_or_insert_with(|| format!("this kills Envoy: {what}"));
    }

    /// Writes a line to the log in the name of `plugin`.
    pub(crate) fn log(&mut self, plugin: Option<usize>, level: &'static str, message: String) {
        let plugin = plugin
            .and_then(|plugin| self.plugins.get(plugin))
            .map_or_else(String::new, |plugin| plugin.name.to_string());
        self.log.push(LogLine { plugin, level, message });
    }
}

/// The gRPC status that stands for an HTTP status (`FLOW-29`).
pub(crate) fn grpc_status(http: u32) -> u64 {
    match http {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

/// The status of a response, when it is a number.
pub(crate) fn status(headers: &crate::headers::Headers) -> Option<u16> {
    std::str::from_utf8(headers.get(b":status")?).ok()?.parse().ok()
}
