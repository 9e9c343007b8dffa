//! What a proxy knows, as plain data: time, plugins, the stream, shared data, metrics. Hostcalls read and write it, the driver moves it
//! on; it knows neither Wasm nor the order of callbacks.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, Random};
use crate::exchange::Message;
use crate::outcome::{CalloutEnd, CalloutKind, CalloutOutcome, LogLine};
use crate::upstream::Upstreams;

pub(crate) mod attributes;
pub(crate) mod calls;
pub(crate) mod clusters;
pub(crate) mod grpc;
pub(crate) mod guest;
mod metrics;
mod notes;
mod queues;
mod shared;
mod slots;
mod stream;
pub(crate) mod value;

pub(crate) use calls::{Call, Calls, Ending, Event};
pub(crate) use clusters::{Clusters, State as ClusterState};
pub(crate) use guest::{Abi, Guest, Owner};
pub(crate) use metrics::{Metrics, Type as MetricType};
pub(crate) use notes::Notes;
pub(crate) use queues::Queues;
pub(crate) use shared::{CasMismatch, SharedData};
pub(crate) use slots::{Slot, Slots, StreamId};
pub(crate) use stream::{Access, Filter, Info, Phase, Reply, Stream, View};

/// The proxy, as its filters can see and change it.
#[derive(Debug)]
pub(crate) struct Host {
    pub clock: Clock,
    pub random: Random,
    pub plugins: Vec<PluginInfo>,
    pub roots: Vec<Root>,
    pub clusters: Clusters,
    /// What clusters answer.
    pub upstreams: Upstreams,
    pub shared: SharedData,
    pub queues: Queues,
    pub metrics: Metrics,
    /// The filters of a new stream, in order, by worker.
    pub chains: Vec<Vec<Filter>>,
    /// The streams in flight, by slot.
    pub streams: Slots<Stream>,
    /// The stream that a callback is told of where its effective context is a root: see [`Host::notes`].
    pub noting: Option<StreamId>,
    /// What belongs to no stream.
    pub apart: Notes,
    /// Calls that wait for their answer.
    pub calls: Calls,
    next_callout: u64,
    /// What would kill the process (`DIE-*`), as the driver will report it.
    pub fatal: Option<String>,
    /// The rest of a proxy with several workers, while a callback of one of them runs.
    pub beside: Option<Box<dyn Beside>>,
}

/// What goes on beside a callback of one of several workers.
pub(crate) trait Beside: Send + std::fmt::Debug {
    /// The callback touches what workers share: others may have their turn before. Gives the proxy back.
    fn pause(self: Box<Self>, host: Box<Host>) -> Box<Host>;

    /// Itself, to whom knows what it is.
    fn into_any(self: Box<Self>) -> Box<dyn std::any::Any>;
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
    /// The thread that this VM is of: 0 is the main thread, the workers follow.
    pub thread: usize,
    /// Its context id there; 0 before it is created.
    pub id: u32,
    /// Its timer.
    pub tick: Option<Tick>,
    /// Code and message of its last call that failed (`CALL-07`, `CALL-23`): the code stays, the message is of one callback only.
    pub status: (u32, Vec<u8>),
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
    Continue { at: Slot, filter: usize, response: bool },
    /// Reset the stream.
    Close(Slot),
    /// Answer in place of the upstream.
    Reply(Slot, Reply),
    /// Tell of a gRPC call that could not be made (`CALL-21`).
    Call(Call),
}

impl Host {
    pub(crate) fn new(plugins: Vec<PluginInfo>, clusters: Clusters, seed: u64, start_ns: u64) -> Self {
        Self {
            clock: Clock::new(start_ns),
            random: Random::new(seed),
            plugins,
            roots: Vec::new(),
            upstreams: clusters.upstreams(seed),
            clusters,
            shared: SharedData::default(),
            queues: Queues::default(),
            metrics: Metrics::default(),
            chains: Vec::new(),
            streams: Slots::default(),
            noting: None,
            apart: Notes::default(),
            calls: Calls::default(),
            next_callout: 0,
            fatal: None,
            beside: None,
        }
    }

    /// A callback is about to touch what workers share: with several, others may have their turn before.
    pub(crate) fn pause(host: &mut Box<Self>) {
        if let Some(beside) = host.beside.take() {
            let given = std::mem::replace(host, Self::idle());
            *host = beside.pause(given);
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
            Owner::Stream { at, filter } => self.streams[at].filters.get(filter).map(|filter| filter.plugin),
        }
    }

    /// The root context that an owner belongs to.
    pub(crate) fn root_of(&self, owner: Owner) -> Option<usize> {
        match owner {
            Owner::Root(root) => Some(root),
            Owner::Stream { at, filter } => self.streams[at].filters.get(filter).map(|filter| filter.root),
        }
    }

    /// The stream that `owner` acts on: its own, or the one that its callback is told of.
    pub(crate) fn told_of(&self, owner: Option<Owner>) -> Option<StreamId> {
        match owner {
            Some(Owner::Stream { at, .. }) => Some(StreamId { slot: at, number: self.streams[at].number }),
            _ => self.noting,
        }
    }

    /// Where what `owner` does is noted: with the stream of its effective context, else with the one that the callback is told of, else
    /// apart.
    pub(crate) fn notes(&mut self, owner: Option<Owner>) -> &mut Notes {
        match (owner, self.noting) {
            (Some(Owner::Stream { at, .. }), _) => &mut self.streams[at].notes,
            (_, Some(id)) => &mut self.streams[id.slot].notes,
            _ => &mut self.apart,
        }
    }

    /// Notes a call that `owner` is making, with what it sends; gives the id of its outcome, and the stream that it belongs to.
    pub(crate) fn note_callout(
        &mut self,
        owner: Option<Owner>,
        kind: CalloutKind,
        cluster: &str,
        request: Message,
        end: CalloutEnd,
    ) -> (u64, Option<StreamId>) {
        let id = self.next_callout;
        self.next_callout += 1;
        let by = self.told_of(owner);
        let start = by.map(|by| self.streams[by.slot].info.start_ns);
        let at = Duration::from_nanos(start.map_or(0, |start| self.clock.now_ns().saturating_sub(start)));
        let cluster = cluster.to_owned();
        let callout = CalloutOutcome { id, kind, cluster, request, at, end, ..CalloutOutcome::default() };
        self.notes(owner).callouts.push(callout);
        (id, by)
    }

    /// The outcome of a call whose exchange, if it belongs to one, is still going on.
    pub(crate) fn callout_mut(&mut self, by: Option<StreamId>, id: u64) -> Option<&mut CalloutOutcome> {
        let notes = match by {
            Some(by) => {
                let stream = &mut self.streams[by.slot];
                (stream.number == by.number && stream.phase != Phase::None).then_some(&mut stream.notes)?
            }
            None => &mut self.apart,
        };
        // The latest are last.
        notes.callouts.iter_mut().rev().find(|callout| callout.id == id)
    }

    /// Notes what a filter did that would end the process (section 13); the driver reports it.
    pub(crate) fn kills_envoy(&mut self, what: &str) {
        self.fatal.get_or_insert_with(|| format!("this kills Envoy: {what}"));
    }

    /// Writes a line to the log in the name of `plugin`.
    pub(crate) fn log(
        &mut self,
        owner: Option<Owner>,
        plugin: Option<usize>,
        level: &'static str,
        message: String,
    ) {
        let plugin = plugin
            .and_then(|plugin| self.plugins.get(plugin))
            .map_or_else(String::new, |plugin| plugin.name.to_string());
        self.notes(owner).log.push(LogLine { plugin, level, message });
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
