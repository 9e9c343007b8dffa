//! A host in memory: a whole filter, from its configuration to what Envoy would send, in a plain `cargo test`; no Wasm, no Envoy.
//!
//! What it has it does as Envoy 1.40 does: which callbacks come and when, which header maps are there (`HDR-01`), how they change
//! (`HDR-20`), what a local reply passes through (`FLOW-22`), where callouts are answered (`CALL-05`). It only calls what
//! [`register!`](crate::register) names, and what would end an Envoy ends the test. Routes, upstreams and other filters it does
//! not know: those are the harness's, `weir test`.

#![expect(clippy::arithmetic_side_effects, reason = "runs in tests only, where a panic is an answer")]

pub(crate) mod abi;
mod attribute;
mod grpc;
#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))]
mod hostile;
mod lines;
#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))]
mod scripted;
mod state;
mod stream;
#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))]
mod tests;

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use attribute::ToAttribute;
pub use stream::Stream;

use crate::host::{Callbacks, Dispatcher, Registered};
use crate::{Callout, CalloutReply, GrpcReply, HeaderMap, HttpFilter, LocalReply, Status};
use lines::Lines;
use state::State;

/// A proxy with one worker.
#[derive(Default)]
pub struct Host {
    state: Rc<RefCell<State>>,
    /// One VM for each filter, as for plugins with the same module and `vm_id` (`LOAD-30`).
    modules: HashMap<TypeId, Rc<dyn Any>>,
    guests: Vec<Rc<dyn Guest>>,
}

/// What the host sees of a module.
pub(crate) trait Guest {
    fn callbacks(&self) -> Callbacks;
    fn on_context_create(&self, context: u32, root: u32);
    fn on_configure(&self, root: u32, size: u32) -> bool;
    fn on_request_headers(&self, context: u32, end_of_stream: bool) -> u32;
    fn on_request_body(&self, context: u32, size: u32, end_of_stream: bool) -> u32;
    fn on_request_trailers(&self, context: u32) -> u32;
    fn on_response_headers(&self, context: u32, end_of_stream: bool) -> u32;
    fn on_response_body(&self, context: u32, size: u32, end_of_stream: bool) -> u32;
    fn on_response_trailers(&self, context: u32) -> u32;
    fn on_callout_reply(&self, root: u32, token: u32, headers: u32, body_size: u32);
    fn on_grpc_receive(&self, root: u32, token: u32, size: u32);
    fn on_grpc_close(&self, root: u32, token: u32, status: u32);
    fn on_tick(&self, root: u32);
    fn on_queue_ready(&self, root: u32, token: u32);
    fn on_log(&self, context: u32);
    fn on_delete(&self, context: u32);
}

macro_rules! guest {
    ($($name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)*) => {
        impl<F: HttpFilter + Registered> Guest for Dispatcher<F> {
            fn callbacks(&self) -> Callbacks {
                F::CALLBACKS
            }

            $(fn $name(&self, $($argument: $type),*) $(-> $result)? {
                Dispatcher::$name(self, $($argument),*)
            })*
        }
    };
}

guest! {
    on_context_create(context: u32, root: u32);
    on_configure(root: u32, size: u32) -> bool;
    on_request_headers(context: u32, end_of_stream: bool) -> u32;
    on_request_body(context: u32, size: u32, end_of_stream: bool) -> u32;
    on_request_trailers(context: u32) -> u32;
    on_response_headers(context: u32, end_of_stream: bool) -> u32;
    on_response_body(context: u32, size: u32, end_of_stream: bool) -> u32;
    on_response_trailers(context: u32) -> u32;
    on_callout_reply(root: u32, token: u32, headers: u32, body_size: u32);
    on_grpc_receive(root: u32, token: u32, size: u32);
    on_grpc_close(root: u32, token: u32, status: u32);
    on_tick(root: u32);
    on_queue_ready(root: u32, token: u32);
    on_log(context: u32);
    on_delete(context: u32);
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Its level.
    pub level: log::Level,
    /// Its text.
    pub text: String,
}

/// A configuration that the filter has refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What it has logged about it, a line for each problem.
    pub log: Vec<String>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.log.join("\n"))
    }
}

impl std::error::Error for Refused {}

/// One half of a stream, as the next filter, or the client, sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The headers.
    pub headers: HeaderMap,
    /// What has gone on of the body.
    pub body: Vec<u8>,
    /// The trailers.
    pub trailers: HeaderMap,
    /// What the filter has done with the stream.
    pub outcome: Outcome,
}

/// What a filter has done with a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// Let it go on.
    #[default]
    Continued,
    /// Answered it.
    Replied(LocalReply),
    /// Holds it: for a callout, a time, or more of a body.
    Waiting,
    /// Reset it.
    Reset,
}

impl Seen {
    /// The first value of a header, for headers that are text.
    ///
    /// # Panics
    /// The value is not UTF-8: look at it in `headers`.
    #[must_use]
    #[track_caller]
    #[expect(clippy::panic, reason = "an assertion of the test")]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.first(name).map(|value| match std::str::from_utf8(value) {
            Ok(value) => value,
            Err(_) => panic!("`{name}` is not UTF-8: {value:?}"),
        })
    }

    /// The filter's answer, where it has given one.
    #[must_use]
    pub fn reply(&self) -> Option<&LocalReply> {
        match &self.outcome {
            Outcome::Replied(reply) => Some(reply),
            Outcome::Continued | Outcome::Waiting | Outcome::Reset => None,
        }
    }
}

/// A configured plugin.
#[derive(Clone)]
pub struct Plugin {
    state: Rc<RefCell<State>>,
    guest: Rc<dyn Guest>,
    root: u32,
}

impl Plugin {
    /// Begins a stream through this plugin.
    #[must_use]
    pub fn stream(&self) -> Stream {
        Stream::begin(self)
    }

    /// Configures the plugin anew, as it is.
    ///
    /// # Errors
    /// The filter refuses; the old configuration stays.
    pub fn configure(&self, config: &serde_json::Value) -> Result<(), Refused> {
        let bytes = match config {
            serde_json::Value::Null => Vec::new(),
            serde_json::Value::String(text) => text.clone().into_bytes(),
            other => other.to_string().into_bytes(),
        };
        let logged = self.state.borrow().log.len();
        let size = bytes.len() as u32;
        let set = |bytes| {
            if let Some(root) = self.state.borrow_mut().roots.get_mut(&self.root) {
                root.configuration = bytes;
            }
        };
        set(Some(bytes));
        let accepted = state::enter(&self.state, self.root, || self.guest.on_configure(self.root, size));
        set(None);
        if accepted {
            return Ok(());
        }
        Err(Refused {
            log: self.state.borrow().log.iter().skip(logged).map(|line| line.text.clone()).collect(),
        })
    }

    /// Ends the plugin, as a change of the configuration does when the old streams have ended (`LOAD-40`).
    pub fn end(self) {
        state::enter(&self.state, self.root, || self.guest.on_delete(self.root));
        let mut state = self.state.borrow_mut();
        state.roots.remove(&self.root);
        state.calls.retain(|call| call.root != self.root);
        state.grpc_calls.retain(|call| call.root != self.root);
    }
}

impl Host {
    /// A host at 2026-01-01T00:00:00Z that logs from debug on.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A plugin called `test` with this configuration: an object as JSON, a string as it is, `null` for none.
    ///
    /// # Errors
    /// The filter refuses the configuration.
    pub fn plugin<F: HttpFilter + Registered>(
        &mut self,
        config: serde_json::Value,
    ) -> Result<Plugin, Refused> {
        self.plugin_named::<F>("test", config)
    }

    /// As [`Host::plugin`], with a name.
    ///
    /// # Errors
    /// The filter refuses the configuration.
    pub fn plugin_named<F: HttpFilter + Registered>(
        &mut self,
        name: &str,
        config: serde_json::Value,
    ) -> Result<Plugin, Refused> {
        let guest = self.module::<F>();
        let root = {
            let mut state = self.state.borrow_mut();
            state.last_context += 1;
            let root = state.last_context;
            state.roots.insert(root, state::Root { name: name.to_owned(), ..Default::default() });
            root
        };
        state::enter(&self.state, root, || guest.on_context_create(root, 0));
        let plugin = Plugin { state: Rc::clone(&self.state), guest: guest.clone(), root };
        plugin.configure(&config)?;
        self.guests.push(guest);
        Ok(plugin)
    }

    fn module<F: HttpFilter + Registered>(&mut self) -> Rc<dyn Guest> {
        let new = || Rc::new(Dispatcher::<F>::default()) as Rc<dyn Any>;
        let module = Rc::clone(self.modules.entry(TypeId::of::<F>()).or_insert_with(new));
        match module.downcast::<Dispatcher<F>>() {
            Ok(dispatcher) => dispatcher,
            Err(_) => Rc::new(Dispatcher::<F>::default()),
        }
    }

    /// Lets time pass: ticks and timeouts of callouts come in their order.
    pub fn advance(&mut self, time: Duration) {
        let end = self.state.borrow().monotonic_ns.saturating_add(time.as_nanos() as u64);
        loop {
            let next = {
                let state = self.state.borrow();
                let ticks =
                    state.roots.iter().filter_map(|(id, root)| root.tick.map(|(_, due)| (due, Some(*id))));
                let http = state.calls.iter().filter_map(|call| call.deadline_ns);
                let grpc = state.grpc_calls.iter().filter_map(|call| call.deadline_ns);
                let timeouts = http.chain(grpc).map(|due| (due, None));
                ticks.chain(timeouts).min().filter(|(due, _)| *due <= end)
            };
            let Some((due, root)) = next else { break };
            self.set_clock(due);
            match root {
                Some(root) => self.tick(root),
                None => self.time_out(due),
            }
        }
        self.set_clock(end);
    }

    fn set_clock(&self, monotonic_ns: u64) {
        let mut state = self.state.borrow_mut();
        let passed = monotonic_ns.saturating_sub(state.monotonic_ns);
        state.monotonic_ns += passed;
        state.now_ns += passed;
    }

    fn tick(&self, id: u32) {
        if let Some(root) = self.state.borrow_mut().roots.get_mut(&id) {
            root.tick = root.tick.map(|(period, due)| (period, due + period));
        }
        self.tell(id, Callbacks::ON_TIMER | Callbacks::ON_PLUGIN_TIMER, |guest| guest.on_tick(id));
        // At once, but not within the callback (`SHR-13`).
        loop {
            let ready = self.state.borrow_mut().ready.pop_front();
            let Some((root, token)) = ready else { break };
            self.tell(root, Callbacks::ON_TIMER, |guest| guest.on_queue_ready(root, token));
        }
    }

    /// Calls a root context.
    fn tell(&self, root: u32, callbacks: Callbacks, call: impl Fn(&dyn Guest)) {
        for guest in self.guests_once() {
            if guest.callbacks().has(callbacks) {
                state::enter(&self.state, root, || call(&*guest));
                stream::run_deferred(&self.state, &*guest);
            }
        }
    }

    fn guests_once(&self) -> Vec<Rc<dyn Guest>> {
        let mut guests: Vec<Rc<dyn Guest>> = Vec::new();
        for guest in &self.guests {
            if !guests.iter().any(|other| std::ptr::addr_eq(Rc::as_ptr(other), Rc::as_ptr(guest))) {
                guests.push(Rc::clone(guest));
            }
        }
        guests
    }

    /// The time of day.
    pub fn set_time(&mut self, time: SystemTime) {
        self.state.borrow_mut().now_ns =
            time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
    }

    /// Seeds what plugins that are configured from now on draw.
    pub fn set_random_seed(&mut self, seed: u64) {
        self.state.borrow_mut().random = seed;
    }

    /// The value of a counter or gauge; 0 when there is none of this name.
    #[must_use]
    pub fn metric(&self, name: &str) -> u64 {
        let state = self.state.borrow();
        let found = state.counters.get(name.as_bytes()).or_else(|| state.gauges.get(name.as_bytes()));
        found.copied().unwrap_or_default()
    }

    /// What a histogram has recorded.
    #[must_use]
    pub fn histogram(&self, name: &str) -> Vec<u64> {
        self.state.borrow().histograms.get(name.as_bytes()).cloned().unwrap_or_default()
    }

    /// A value of shared data.
    #[must_use]
    pub fn shared_data(&self, key: &str) -> Option<Vec<u8>> {
        self.state.borrow().shared.get(key.as_bytes()).map(|(value, _)| value.clone())
    }

    /// Writes shared data, as another worker does.
    pub fn set_shared_data(&mut self, key: &str, value: &[u8]) {
        let mut state = self.state.borrow_mut();
        state.last_cas += 1;
        let cas = state.last_cas;
        state.shared.insert(key.as_bytes().to_vec(), (value.to_vec(), cas));
    }

    /// The bytes of `vm_config.configuration`.
    pub fn set_vm_configuration(&mut self, bytes: &[u8]) {
        self.state.borrow_mut().vm_configuration = bytes.to_vec();
    }

    /// Everything logged so far.
    #[must_use]
    pub fn log(&self) -> Vec<LogLine> {
        self.state.borrow().log.clone()
    }

    /// The lowest level that is logged.
    pub fn set_log_level(&mut self, level: log::Level) {
        // `Error` is 1, `Trace` 5; the ABI counts the other way.
        self.state.borrow_mut().log_level = 5 - level as u32;
    }

    /// The callouts that are not answered, oldest first.
    #[must_use]
    pub fn callouts(&self) -> Vec<Callout> {
        self.state.borrow().calls.iter().map(|call| call.callout.clone()).collect()
    }

    /// Answers the oldest callout. A `status` is added to the headers as `:status`; without one the answer breaks (`CALL-07`).
    ///
    /// # Panics
    /// No callout is waiting for an answer.
    #[track_caller]
    #[expect(
        clippy::panic,
        clippy::needless_pass_by_value,
        reason = "an assertion of the test; reads best with a literal"
    )]
    pub fn answer(&mut self, reply: CalloutReply) {
        let Some(call) = self.state.borrow_mut().calls.pop_front() else {
            panic!("no callout is waiting for an answer");
        };
        self.deliver(&call, &reply);
    }

    fn time_out(&self, due: u64) {
        fn take<C>(calls: &mut VecDeque<state::Call<C>>, due: u64) -> Option<state::Call<C>> {
            let index = calls.iter().position(|call| call.deadline_ns.is_some_and(|at| at <= due))?;
            calls.remove(index)
        }
        let grpc = take(&mut self.state.borrow_mut().grpc_calls, due);
        if let Some(call) = grpc {
            // Not 4, `DEADLINE_EXCEEDED` (`CALL-23`).
            return self.deliver_grpc(&call, &GrpcReply::failed(13));
        }
        let call = take(&mut self.state.borrow_mut().calls, due);
        if let Some(call) = call {
            let headers = HeaderMap::from_iter([("content-length", "24"), ("content-type", "text/plain")]);
            let body = b"upstream request timeout".to_vec();
            self.deliver(&call, &CalloutReply { status: Some(504), headers, body });
        }
    }

    fn deliver(&self, call: &state::Call, reply: &CalloutReply) {
        let mut lines = Lines::new(false, &reply.headers.iter().collect::<Vec<_>>());
        if let Some(status) = reply.status {
            lines.replace(b":status", status.to_string().as_bytes());
        }
        let (count, size) = (lines.len() as u32, reply.body.len() as u32);
        let before = self.state.borrow_mut().answer.replace((lines, reply.body.clone()));
        for guest in self.guests_once() {
            if guest.callbacks().has(Callbacks::ON_CALLOUT_REPLY | Callbacks::ON_PLUGIN_CALLOUT_REPLY) {
                state::enter(&self.state, call.root, || {
                    guest.on_callout_reply(call.root, call.token, count, size)
                });
                stream::run_deferred(&self.state, &*guest);
            }
        }
        self.state.borrow_mut().answer = before;
    }

    /// Makes a host call, by its name in the ABI, answer this status from now on.
    pub fn fail(&mut self, call: &str, status: Status) {
        self.state.borrow_mut().failures.insert(call.to_owned(), (status, false));
    }

    /// Makes a host call answer this status, once.
    pub fn fail_once(&mut self, call: &str, status: Status) {
        self.state.borrow_mut().failures.insert(call.to_owned(), (status, true));
    }

    /// Ends what [`Host::fail`] has begun.
    pub fn heal(&mut self) {
        self.state.borrow_mut().failures.clear();
    }
}
