//! What the in-memory host knows, as plain data, and the thread's current host.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use super::lines::Lines;
use crate::host::wire::{MapType, MetricType, Side};
use crate::{Callout, GrpcCall, HostError, LocalReply, Status};

thread_local! {
    /// The host whose callback runs on this thread.
    static CURRENT: RefCell<Option<Rc<RefCell<State>>>> = const { RefCell::new(None) };
}

/// What a test does in place of a call: nothing, or this.
pub(crate) type Intercept = Rc<dyn Fn(&'static str) -> Option<Result<Vec<u8>, Status>>>;

/// Everything the host knows.
pub(crate) struct State {
    /// The last context id (`LOAD-35`).
    pub(crate) last_context: u32,
    /// The context that was called, and the one it acts as (`CTX-01`).
    pub(crate) called: u32,
    pub(crate) effective: u32,
    pub(crate) roots: BTreeMap<u32, Root>,
    pub(crate) streams: BTreeMap<u32, Stream>,
    pub(crate) now_ns: u64,
    pub(crate) monotonic_ns: u64,
    pub(crate) random: u64,
    pub(crate) metric_ids: BTreeMap<u32, (MetricType, Vec<u8>)>,
    pub(crate) counters: BTreeMap<Vec<u8>, u64>,
    pub(crate) gauges: BTreeMap<Vec<u8>, u64>,
    pub(crate) histograms: BTreeMap<Vec<u8>, Vec<u64>>,
    pub(crate) shared: BTreeMap<Vec<u8>, (Vec<u8>, u32)>,
    pub(crate) last_cas: u32,
    /// Shared queues by their token, from 1 on: the name, the root that is told, and what is in it.
    pub(crate) queues: Vec<(Vec<u8>, u32, VecDeque<Vec<u8>>)>,
    /// Roots that are to be told of a queue (`SHR-13`).
    pub(crate) ready: VecDeque<(u32, u32)>,
    pub(crate) log: Vec<super::LogLine>,
    pub(crate) log_level: u32,
    pub(crate) last_token: u32,
    pub(crate) calls: VecDeque<Call>,
    pub(crate) grpc_calls: VecDeque<Call<GrpcCall>>,
    /// The answer to a callout that is being delivered.
    pub(crate) answer: Option<(Lines, Vec<u8>)>,
    /// The message of a gRPC call that is being delivered.
    pub(crate) grpc_message: Option<Vec<u8>>,
    /// What takes effect when the callback has returned (`FLOW-10`).
    pub(crate) deferred: VecDeque<(u32, Deferred)>,
    pub(crate) vm_configuration: Vec<u8>,
    pub(crate) failures: BTreeMap<String, (Status, bool)>,
    pub(crate) intercept: Option<Intercept>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            last_context: 0,
            called: 0,
            effective: 0,
            roots: BTreeMap::new(),
            streams: BTreeMap::new(),
            // 2026-01-01T00:00:00Z.
            now_ns: 1_767_225_600_000_000_000,
            monotonic_ns: 1_000_000_000,
            random: 0,
            metric_ids: BTreeMap::new(),
            counters: BTreeMap::new(),
            gauges: BTreeMap::new(),
            histograms: BTreeMap::new(),
            shared: BTreeMap::new(),
            last_cas: 0,
            queues: Vec::new(),
            ready: VecDeque::new(),
            log: Vec::new(),
            // Debug, so that explanations are there.
            log_level: 1,
            last_token: 0,
            calls: VecDeque::new(),
            grpc_calls: VecDeque::new(),
            answer: None,
            grpc_message: None,
            deferred: VecDeque::new(),
            vm_configuration: Vec::new(),
            failures: BTreeMap::new(),
            intercept: None,
        }
    }
}

/// A root context.
#[derive(Default)]
pub(crate) struct Root {
    pub(crate) name: String,
    pub(crate) root_id: String,
    /// The configuration, readable while it is given (`LOAD-21`).
    pub(crate) configuration: Option<Vec<u8>>,
    /// The tick's period and when it is next due, in ns.
    pub(crate) tick: Option<(u64, u64)>,
}

/// A stream.
pub(crate) struct Stream {
    pub(crate) root: u32,
    pub(crate) halves: [Half; 2],
    pub(crate) attributes: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) reply: Option<LocalReply>,
    pub(crate) reset: bool,
    /// `on_log` or later runs.
    pub(crate) ending: bool,
}

/// One direction of a stream.
#[derive(Default)]
pub(crate) struct Half {
    pub(crate) headers: Option<Lines>,
    pub(crate) trailers: Option<Lines>,
    /// From the headers callback until it has continued (`HDR-01`).
    pub(crate) headers_open: bool,
    pub(crate) trailers_open: bool,
    /// What a body callback sees.
    pub(crate) visible: Option<Vec<u8>>,
    /// Held by `StopIterationAndBuffer`.
    pub(crate) held: Vec<u8>,
    /// What has gone on.
    pub(crate) sent: Vec<u8>,
    pub(crate) ended: bool,
    pub(crate) stopped: Option<Stopped>,
    /// What comes after the hold.
    pub(crate) pending: VecDeque<Event>,
}

/// Where a half is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// In the headers: nothing more is shown.
    All,
    /// In the body: more is shown and decides anew (`BODY-03`).
    Body,
    Trailers,
}

/// A later part of a message.
pub(crate) enum Event {
    Body(Vec<u8>, bool),
    Trailers(Lines),
}

pub(crate) enum Deferred {
    Reply(LocalReply),
    Continue(Side),
    Close,
}

/// A callout that is not answered.
pub(crate) struct Call<C = Callout> {
    pub(crate) token: u32,
    pub(crate) root: u32,
    pub(crate) callout: C,
    /// On the monotonic clock; `None` without a timeout.
    pub(crate) deadline_ns: Option<u64>,
}

impl State {
    pub(crate) fn context(&self) -> u32 {
        if self.effective == 0 { self.called } else { self.effective }
    }

    pub(crate) fn stream(&mut self) -> Option<&mut Stream> {
        self.streams.get_mut(&self.context())
    }

    /// The root of the context that a call acts for.
    pub(crate) fn root(&mut self) -> Option<(u32, &mut Root)> {
        let context = self.context();
        let root = self.streams.get(&context).map_or(context, |stream| stream.root);
        self.roots.get_mut(&root).map(|found| (root, found))
    }

    /// A header map, where it is available; for reading at the end of a stream too (`LIFE-07`).
    pub(crate) fn map(&mut self, which: MapType, write: bool) -> Option<&mut Lines> {
        if which == MapType::CalloutHeaders {
            return if write { None } else { self.answer.as_mut().map(|(headers, _)| headers) };
        }
        let stream = self.stream()?;
        let readable = stream.ending && !write;
        let [request, response] = &mut stream.halves;
        let half = match which {
            MapType::RequestHeaders | MapType::RequestTrailers => request,
            _ => response,
        };
        match which {
            MapType::RequestHeaders | MapType::ResponseHeaders if half.headers_open || readable => {
                half.headers.as_mut()
            }
            // Of the trailers, only the response's are there at the end.
            MapType::ResponseTrailers if half.trailers_open || readable => half.trailers.as_mut(),
            MapType::RequestTrailers if half.trailers_open => half.trailers.as_mut(),
            _ => None,
        }
    }
}

impl Stream {
    pub(crate) fn new(root: u32) -> Self {
        Self {
            root,
            halves: Default::default(),
            attributes: BTreeMap::new(),
            reply: None,
            reset: false,
            ending: false,
        }
    }

    pub(crate) fn half(&mut self, side: Side) -> &mut Half {
        let [request, response] = &mut self.halves;
        match side {
            Side::Request => request,
            Side::Response => response,
        }
    }
}

/// Runs a callback with this host behind the calls it makes.
pub(crate) fn enter<R>(state: &Rc<RefCell<State>>, context: u32, callback: impl FnOnce() -> R) -> R {
    let before = CURRENT.replace(Some(Rc::clone(state)));
    let (called, effective) = {
        let mut state = state.borrow_mut();
        (std::mem::replace(&mut state.called, context), std::mem::take(&mut state.effective))
    };
    let result = callback();
    {
        let mut state = state.borrow_mut();
        state.called = called;
        state.effective = effective;
    }
    CURRENT.set(before);
    result
}

/// What a call finds before it does anything: the host, or what the test has put in its place.
pub(crate) enum Begun {
    Host(Rc<RefCell<State>>),
    Instead(Vec<u8>),
}

pub(crate) fn begin(call: &'static str) -> Result<Begun, HostError> {
    let refused = |status| HostError { call, status };
    let Some(state) = CURRENT.with_borrow(Clone::clone) else {
        // Outside of every callback, where a module cannot run either.
        return Err(refused(Status::InternalFailure));
    };
    let intercept = state.borrow().intercept.clone();
    if let Some(instead) = intercept.and_then(|intercept| intercept(call)) {
        return instead.map(Begun::Instead).map_err(refused);
    }
    let mut known = state.borrow_mut();
    if let Some((status, once)) = known.failures.get(call).copied() {
        if once {
            known.failures.remove(call);
        }
        return Err(refused(status));
    }
    drop(known);
    Ok(Begun::Host(state))
}
