//! What the proxy keeps for one VM: contexts, ids, tokens, environment. Knows nothing of how the VM runs.

use std::collections::VecDeque;

use super::grpc::Grpc;
use super::{Action, MetricType, Slot};
use crate::exchange::Message;
use crate::headers::Headers;

/// The version of the ABI that a module speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Abi {
    V0_1_0,
    V0_2_0,
    V0_2_1,
}

/// Whose context an id names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A root context, by its index in `Host::roots`.
    Root(usize),
    /// A filter's context of a stream, by its place in the chain.
    Stream { at: Slot, filter: usize },
}

/// Which hostcalls may be made now (`LOAD-08`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// All.
    All,
    /// Those of a start function.
    Start,
    /// Those of an allocator.
    Allocate,
}

/// What hostcalls of one callback may cost, so that a module cannot eat the machine: far more than any filter needs, far less than there is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    calls: u32,
    bytes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { calls: 100_000, bytes: 256 << 20 }
    }
}

impl Budget {
    /// Takes a call from the budget; whether there was one.
    pub(crate) fn call(&mut self) -> bool {
        self.calls = self.calls.saturating_sub(1);
        self.calls > 0
    }

    /// Takes bytes that the proxy keeps from the budget; whether there were so many.
    pub(crate) fn keep(&mut self, bytes: usize) -> bool {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.bytes > 0
    }
}

/// One VM's side of the proxy.
#[derive(Debug)]
pub(crate) struct Guest {
    pub abi: Abi,
    pub vm_id: std::sync::Arc<str>,
    pub allowed: Allowed,
    /// The context of the callback that runs; 0 outside.
    pub context: u32,
    /// The context that hostcalls act on (`CTX-01`).
    pub effective: u32,
    /// The plugin whose first use starts the VM.
    pub starting: Option<usize>,
    next_context: u32,
    contexts: Contexts,
    /// What hostcalls asked for and the driver does when the guest callback has returned (`FLOW-10`).
    pub actions: VecDeque<Action>,
    pub environment: Vec<(String, String)>,
    /// The root that is being configured (`LOAD-21`).
    pub configuring: Option<usize>,
    /// The answer that is being delivered (`CALL-06`).
    pub call: Option<Message>,
    /// Its gRPC calls and streams.
    pub grpc: Grpc,
    /// A local reply was asked for in this callback (`FLOW-04`).
    pub stop: bool,
    next_call: u32,
    /// Metrics by type, in order of their ids.
    metrics: [Vec<usize>; 3],
    /// What hostcalls of the running callback may still cost.
    pub budget: Budget,
    /// Roots that answered 0 to `on_done` (`LOAD-43`).
    pub pending_done: Vec<u32>,
}

impl Guest {
    pub(crate) fn new(abi: Abi, vm_id: std::sync::Arc<str>, environment: Vec<(String, String)>) -> Self {
        Self {
            abi,
            vm_id,
            allowed: Allowed::All,
            context: 0,
            effective: 0,
            starting: None,
            next_context: 1,
            contexts: Contexts::default(),
            actions: VecDeque::new(),
            environment,
            configuring: None,
            call: None,
            grpc: Grpc::default(),
            stop: false,
            next_call: 4,
            metrics: [const { Vec::new() }; 3],
            budget: Budget::default(),
            pending_done: Vec::new(),
        }
    }

    /// A new context id (`LOAD-35`).
    pub(crate) fn create(&mut self, owner: Owner) -> u32 {
        let id = self.next_context;
        self.next_context = self.next_context.wrapping_add(1);
        self.contexts.add(id, owner);
        id
    }

    /// Forgets a context.
    pub(crate) fn delete(&mut self, id: u32) {
        self.contexts.remove(id);
    }

    /// Whose context `id` is.
    pub(crate) fn find(&self, id: u32) -> Option<Owner> {
        self.contexts.find(id)
    }

    /// Whose context hostcalls act on now; absent outside of root and stream contexts.
    pub(crate) fn owner(&self) -> Option<Owner> {
        self.find(self.effective)
    }

    /// The plugin that a log line belongs to: the one of the context, or the one that the VM was started for.
    pub(crate) fn speaker(&self, host: &super::Host) -> Option<usize> {
        self.owner().and_then(|owner| host.plugin_of(owner)).or(self.starting)
    }

    /// A new token of an HTTP call (`CALL-03`).
    pub(crate) fn call_token(&mut self) -> u32 {
        let token = self.next_call;
        self.next_call = self.next_call.wrapping_add(4);
        token
    }

    /// A new metric id: 4, 8, … for counters, 5, 9, … for gauges, 6, 10, … for histograms (`MET-01`).
    pub(crate) fn define(&mut self, kind: MetricType, metric: usize) -> u32 {
        let known = &mut self.metrics[kind as usize];
        known.push(metric);
        u32::try_from(known.len() * 4 + kind as usize).unwrap_or(u32::MAX)
    }

    /// The metric of an id.
    pub(crate) fn metric(&self, id: u32) -> Option<(MetricType, usize)> {
        let kind = match id % 4 {
            0 => MetricType::Counter,
            1 => MetricType::Gauge,
            2 => MetricType::Histogram,
            _ => return None,
        };
        let index = (id as usize / 4).checked_sub(1)?;
        self.metrics[kind as usize].get(index).map(|metric| (kind, *metric))
    }

    /// Headers or trailers of the answer that is being delivered.
    pub(crate) fn call_headers(&self, trailers: bool) -> Option<&Headers> {
        self.call.as_ref().map(|call| if trailers { &call.trailers } else { &call.headers })
    }
}

/// The contexts of a VM, in order of their ids: streams come and go by the thousand, and any of them can be meant by any callback.
#[derive(Debug, Default)]
struct Contexts {
    all: Vec<(u32, Option<Owner>)>,
    gone: usize,
}

impl Contexts {
    fn add(&mut self, id: u32, owner: Owner) {
        self.all.push((id, Some(owner)));
    }

    fn place(&self, id: u32) -> Option<usize> {
        match self.all.last() {
            Some((last, _)) if *last == id => Some(self.all.len() - 1),
            _ => self.all.binary_search_by_key(&id, |(known, _)| *known).ok(),
        }
    }

    fn find(&self, id: u32) -> Option<Owner> {
        self.all[self.place(id)?].1
    }

    /// Places of the gone are given back together, so that each costs the same however many there are.
    fn remove(&mut self, id: u32) {
        let Some(place) = self.place(id) else { return };
        self.gone += usize::from(self.all[place].1.take().is_some());
        while self.all.last().is_some_and(|(_, owner)| owner.is_none()) {
            self.all.pop();
            self.gone -= 1;
        }
        if self.gone > 32 && self.gone > self.all.len() / 2 {
            self.all.retain(|(_, owner)| owner.is_some());
            self.gone = 0;
        }
    }
}
