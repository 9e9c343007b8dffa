//! `PluginHost`: what a plugin can ask of its host at any time, in any callback.

use std::cell::{Cell, OnceCell, RefCell, RefMut};
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::again::Again;
use super::ids::IdMap;
use super::timers::{Lateness, Sleeper, TimerKey, Timers};
use super::wire::{self, BufferType, Side};
use super::{Callbacks, Counter, Gauge, Histogram, HostError, Shared, SharedValue, Status, abi};
use crate::config::joined;
use crate::signed::Secret;
use crate::{Attributes, Callout, CalloutId, HeaderMap};

/// How many of those that are due one call wakes; the others follow in calls of their own, at once ([`Again`]). What a call asks for happens
/// when it returns, one after the other (`FLOW-10`), and where that calls the module, as an answer does with the response's callbacks, the
/// rest happens inside of that call: each lies on the stack above the one before. In Envoy 1.40 some 330 answers of one tick overflow it,
/// which traps, with no other filter in the chain.
const WOKEN_AT_ONCE: usize = 32;

/// A table that is borrowed nowhere else: one place in the code that says so, as each of them stands in the module.
#[inline(never)]
pub(crate) fn lent<T>(table: &RefCell<T>) -> RefMut<'_, T> {
    table.borrow_mut()
}

/// What all plugins of a VM share.
#[derive(Default)]
pub(crate) struct Vm {
    /// The context that calls act on: the callback's own, or the effective one (`CTX-01`).
    pub(crate) context: Cell<u32>,
    /// Calls that are not answered, by token: tokens are the VM's (`CALL-03`).
    pub(crate) calls: RefCell<IdMap<Caller>>,
}

impl Vm {
    /// From here on it is as if `context` had been called. Returns what to go back to.
    ///
    /// # Errors
    /// The context is not there any more.
    pub(crate) fn go_to(&self, context: u32) -> Result<u32, HostError> {
        let before = self.context.get();
        if before != context {
            abi::set_effective_context(context)?;
            self.context.set(context);
        }
        Ok(before)
    }

    /// Back from [`Vm::go_to`].
    pub(crate) fn go_back(&self, before: u32) {
        if self.context.replace(before) != before {
            // Should the host refuse the way back, it forgets the effective context after the callback anyway.
            let _ = abi::set_effective_context(before);
        }
    }
}

/// Who gets the answer of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    pub(crate) root: u32,
    pub(crate) stream: Option<(u32, Side)>,
}

/// The host as a plugin sees it. A handle: cloning it is cheap, and a filter may keep one.
#[derive(Clone)]
pub struct PluginHost(Rc<Inner>);

struct Inner {
    vm: Rc<Vm>,
    root: u32,
    callbacks: Callbacks,
    name: OnceCell<String>,
    random: Cell<Option<u64>>,
    timers: RefCell<Timers>,
    /// The deadline that the tick is set to; `None` while it is off.
    armed: Cell<Option<u64>>,
    lateness: Cell<Lateness>,
    ticking: Cell<bool>,
    again: Again,
}

impl PluginHost {
    pub(crate) fn new(vm: Rc<Vm>, root: u32, callbacks: Callbacks) -> Self {
        Self(Rc::new(Inner {
            vm,
            root,
            callbacks,
            name: OnceCell::new(),
            random: Cell::new(None),
            timers: RefCell::default(),
            armed: Cell::new(None),
            lateness: Cell::default(),
            ticking: Cell::new(false),
            again: Again::default(),
        }))
    }

    /// The plugin's name in Envoy's configuration; empty when it has none.
    #[must_use]
    pub fn name(&self) -> &str {
        if self.0.name.get().is_none() {
            // Not `get_or_init`: asking calls the host, and the host may call back.
            let _ = self.0.name.set(self.text("plugin_name"));
        }
        self.0.name.get().map_or("", String::as_str)
    }

    /// The plugin's `root_id`.
    #[must_use]
    pub fn root_id(&self) -> String {
        self.text("plugin_root_id")
    }

    /// The plugin's `vm_id`: plugins with the same one share [`Shared`] data.
    #[must_use]
    pub fn vm_id(&self) -> String {
        self.text("plugin_vm_id")
    }

    /// The bytes of `vm_config.configuration`; empty when there are none.
    ///
    /// # Errors
    /// The host refuses.
    pub fn vm_configuration(&self) -> Result<Vec<u8>, HostError> {
        abi::buffer(BufferType::VmConfiguration, 0, usize::MAX >> 1).map(Option::unwrap_or_default)
    }

    /// Looks a secret up, wherever it is; nothing where it is not there.
    #[must_use]
    pub fn secret(&self, secret: &Secret) -> Option<Vec<u8>> {
        match secret {
            Secret::Inline(_) | Secret::VmConfiguration(false) => secret.inline(),
            Secret::Environment(name) => {
                let all = abi::environment().ok()?;
                let mut values = all
                    .split(|byte| *byte == 0)
                    .filter_map(|variable| variable.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
                values.next().map(<[u8]>::to_vec)
            }
            Secret::VmConfiguration(true) => self.vm_configuration().ok().filter(|bytes| !bytes.is_empty()),
        }
    }

    /// Defines a counter. Do it at configure: every call makes a new id (`MET-01`).
    ///
    /// # Errors
    /// The host refuses.
    pub fn counter(&self, name: &str) -> Result<Counter, HostError> {
        Counter::define(name)
    }

    /// Defines several counters whose names begin alike, at configure.
    ///
    /// # Errors
    /// The host refuses one.
    pub fn counters<const N: usize>(
        &self,
        prefix: &str,
        names: [&str; N],
    ) -> Result<[Counter; N], HostError> {
        let mut counters = [Counter::NONE; N];
        for (counter, name) in counters.iter_mut().zip(names) {
            *counter = self.counter(&joined(prefix, name, ""))?;
        }
        Ok(counters)
    }

    /// Defines a gauge, at configure.
    ///
    /// # Errors
    /// The host refuses.
    pub fn gauge(&self, name: &str) -> Result<Gauge, HostError> {
        Gauge::define(name)
    }

    /// Defines a histogram, at configure. End the name in the unit: `_ms`, `_bytes`.
    ///
    /// # Errors
    /// The host refuses.
    pub fn histogram(&self, name: &str) -> Result<Histogram, HostError> {
        Histogram::define(name)
    }

    /// A value shared by all workers, under this key. Makes no host call yet.
    #[must_use]
    pub fn shared<T: SharedValue>(&self, key: &str) -> Shared<T> {
        Shared::new(key.as_bytes())
    }

    /// The time of day.
    ///
    /// # Errors
    /// The host does not tell.
    pub fn now(&self) -> Result<SystemTime, HostError> {
        self.now_ns().map(time_of)
    }

    /// As [`PluginHost::now`], in nanoseconds since 1970.
    ///
    /// # Errors
    /// The host does not tell.
    pub fn now_ns(&self) -> Result<u64, HostError> {
        abi::now_ns()
    }

    /// Nanoseconds on a clock that nobody sets, the same for all workers; where there is none, the time of day.
    ///
    /// # Errors
    /// The host does not tell.
    pub fn monotonic_ns(&self) -> Result<u64, HostError> {
        clock_ns()
    }

    /// A random number, uniform over `u64`: SplitMix64, seeded once per plugin and worker by the host, so no host call.
    /// Not for secrets.
    #[must_use]
    pub fn random(&self) -> u64 {
        // Without a seed of the host's, as under restricted capabilities, the clock and the plugin tell workers apart.
        let seed = || {
            abi::random().or_else(|_| abi::now_ns()).unwrap_or_default()
                ^ u64::from(self.0.root).rotate_right(8)
        };
        let state = self.0.random.get().unwrap_or_else(seed).wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.random.set(Some(state));
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Calls [`HttpFilter::on_plugin_timer`](crate::HttpFilter::on_plugin_timer) once, after this time; never early, and late by
    /// less than 1 ms and what the worker is busy with. Several may run.
    ///
    /// # Errors
    /// The host refuses; [`Status::Unimplemented`] when `on_plugin_timer` is not registered.
    pub fn wake_after(&self, time: Duration) -> Result<(), HostError> {
        if !self.0.callbacks.has(Callbacks::ON_PLUGIN_TIMER) {
            return Err(HostError::new("on_plugin_timer", Status::Unimplemented));
        }
        self.sleep(time, Sleeper::Plugin).map(|_| ())
    }

    /// Makes a call that no stream waits for; the answer goes to
    /// [`HttpFilter::on_plugin_callout_reply`](crate::HttpFilter::on_plugin_callout_reply), or nowhere when that is not registered.
    ///
    /// # Errors
    /// [`Status::BadArgument`] for a cluster that does not exist or headers without `:method`, `:path` or `:authority`;
    /// [`Status::InternalFailure`] for a cluster without healthy hosts (`CALL-01`).
    pub fn callout(&self, callout: &Callout) -> Result<CalloutId, HostError> {
        self.call(callout, None).map(CalloutId)
    }

    /// As [`PluginHost::callout`], of parts that are only borrowed: for what a filter passes on as it is.
    ///
    /// # Errors
    /// As for [`PluginHost::callout`].
    pub fn callout_of(
        &self,
        cluster: &[u8],
        headers: &HeaderMap,
        body: &[u8],
        trailers: &HeaderMap,
        timeout: Duration,
    ) -> Result<CalloutId, HostError> {
        let headers = wire::pairs("proxy_http_call", headers.iter())?;
        // No trailers are no bytes: an empty list would be four.
        let trailers = match trailers.is_empty() {
            true => Vec::new(),
            false => wire::pairs("proxy_http_call", trailers.iter())?,
        };
        self.send(cluster, &headers, body, &trailers, timeout, None).map(CalloutId)
    }

    /// The time on a clock that nobody sets, from a beginning that means nothing: for distances. All workers have the same one.
    ///
    /// # Errors
    /// The host does not tell.
    pub fn uptime(&self) -> Result<Duration, HostError> {
        clock_ns().map(Duration::from_nanos)
    }

    pub(crate) fn root(&self) -> u32 {
        self.0.root
    }

    /// Makes a call and notes who gets the answer.
    pub(crate) fn call(&self, callout: &Callout, stream: Option<(u32, Side)>) -> Result<u32, HostError> {
        let headers = wire::lines("proxy_http_call", &callout.headers)?;
        let trailers = wire::lines_or_none("proxy_http_call", &callout.trailers)?;
        self.send(
            callout.cluster.as_bytes(),
            &headers,
            callout.body.as_slice(),
            &trailers,
            callout.timeout,
            stream,
        )
    }

    /// Makes a call whose headers and trailers are written already.
    fn send(
        &self,
        cluster: &[u8],
        headers: &[u8],
        body: &[u8],
        trailers: &[u8],
        timeout: Duration,
        stream: Option<(u32, Side)>,
    ) -> Result<u32, HostError> {
        let token = abi::http_call(cluster, headers, body, trailers, wire::timeout_ms(timeout))?;
        self.note_call(token, Callbacks::ON_CALLOUT_REPLY | Callbacks::ON_PLUGIN_CALLOUT_REPLY, stream);
        Ok(token)
    }

    /// Notes who gets the answer of a call, where one of these callbacks is there to hear it.
    pub(super) fn note_call(&self, token: u32, listeners: Callbacks, stream: Option<(u32, Side)>) {
        if self.0.callbacks.has(listeners) {
            lent(&self.0.vm.calls).insert(token, Caller { root: self.0.root, stream });
        }
    }

    /// Adds a timer and sets the tick to it where it is the nearest.
    pub(crate) fn sleep(&self, time: Duration, sleeper: Sleeper) -> Result<TimerKey, HostError> {
        let now = clock_ns()?;
        let key = lent(&self.0.timers).add(now, time, sleeper);
        self.arm().inspect_err(|_| lent(&self.0.timers).remove(key))?;
        Ok(key)
    }

    /// Forgets a timer. A tick that was set to it comes, finds nothing and is set again.
    pub(crate) fn wake(&self, key: TimerKey) {
        lent(&self.0.timers).remove(key);
    }

    /// The tick has come, or a queue has something: hands out what is due, then sets the tick anew. Tells whether more is due.
    pub(crate) fn wake_due(
        &self,
        queue: Option<u32>,
        wake: &mut dyn FnMut(TimerKey, Sleeper),
    ) -> Result<bool, HostError> {
        let armed = match queue {
            // Not what [`PluginHost::again`] has asked for.
            Some(token) if !self.0.again.comes(token) => return Ok(false),
            Some(_) => None,
            // The period that has just passed is not the next one.
            None => self.0.armed.replace(Some(0)),
        };
        if queue.is_none()
            && let Ok(now) = clock_ns()
        {
            let mut lateness = self.0.lateness.get();
            lateness.came(now);
            self.0.lateness.set(lateness);
        }
        self.0.ticking.set(true);
        let now = clock_ns();
        let due = now.map(|now| lent(&self.0.timers).take_due(now, armed, WOKEN_AT_ONCE)).unwrap_or_default();
        for (key, sleeper) in due {
            wake(key, sleeper);
        }
        self.0.ticking.set(false);
        self.arm()?;
        now.map(|now| lent(&self.0.timers).is_due(now))
    }

    /// Has more woken at once, where the host can. The tick is set as well: it comes where that does not.
    pub(crate) fn again(&self) {
        self.0.again.ask();
    }

    /// Sets the tick to the nearest deadline, or off; makes no host call when it is so already.
    fn arm(&self) -> Result<(), HostError> {
        let nearest = lent(&self.0.timers).nearest();
        let deadline = nearest.map(|(deadline, _)| deadline);
        if self.0.ticking.get() || deadline == self.0.armed.get() {
            return Ok(());
        }
        let period = match nearest {
            Some(nearest) => {
                let mut lateness = self.0.lateness.get();
                let period = lateness.period_ms(clock_ns()?, nearest);
                self.0.lateness.set(lateness);
                period
            }
            None => 0,
        };
        let before = self.0.vm.go_to(self.0.root)?;
        let set = abi::set_tick_period(period);
        self.0.vm.go_back(before);
        if set.is_ok() {
            self.0.armed.set(deadline);
        }
        set
    }

    fn text(&self, attribute: &str) -> String {
        let value = abi::property(attribute.as_bytes()).ok().flatten().unwrap_or_default();
        // What is no UTF-8 is no name: the host has them from messages of protobuf, where they always are.
        String::from_utf8(value).unwrap_or_default()
    }
}

/// Nanoseconds since 1970 as a time, which always fits: a `u64` of them ends in 2554.
pub(crate) fn time_of(ns: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_nanos(ns)).unwrap_or(UNIX_EPOCH)
}

/// A clock that nobody sets. Where there is none, the time of day.
fn clock_ns() -> Result<u64, HostError> {
    abi::monotonic_ns().or_else(|_| abi::now_ns())
}

impl Attributes for PluginHost {
    /// Attributes of the node (`["xds", "node", "id"]`); in a stream's callback also that stream's.
    fn attribute(&self, path: &[&str]) -> Option<Vec<u8>> {
        abi::property(&wire::path(path)).ok().flatten()
    }
}

impl fmt::Debug for PluginHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginHost").field("root", &self.0.root).finish_non_exhaustive()
    }
}
