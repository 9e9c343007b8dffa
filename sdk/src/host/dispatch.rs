//! From the host's callbacks to the filter's, and the only place where a failure meets the failure policy.
//!
//! No callback is trusted to come in order, for a context that exists, or while no other runs: a table is never borrowed while the
//! filter or the host is called, and a stream's state is lent out for the time of its callback.

mod answers;
mod configure;

use std::cell::{OnceCell, RefCell};
use std::mem;
use std::rc::Rc;

use answers::grpc_refused;
use configure::configure;

use super::apply::{Applied, apply, fail_closed};
use super::ids::IdMap;
use super::plugin::{Vm, lent};
use super::stream::{Action, Hold, Holds, Point, Section, Until};
use super::timers::{Sleeper, TimerKey};
use super::views::{Block, Ended, Part};
use super::wire::{BufferType, MapType, Side};
use super::{
    Body, Callbacks, HostError, PluginHost, Registered, Request, RequestTrailers, Response, ResponseTrailers,
    logger,
};
use crate::config::joined;
use crate::{CalloutReply, Decision, FailurePolicy, Flow, HeaderMap, HttpFilter};

/// How many callouts in a row of one stream may be refused at once before that is a failure.
const REFUSALS: u32 = 8;

/// All plugins and streams of a filter in one VM: the other side of the module's exports. Made by [`register!`](crate::register).
pub struct Dispatcher<F: HttpFilter> {
    /// Made when it is first needed, so that a dispatcher is a constant.
    vm: OnceCell<Rc<Vm>>,
    /// By root context; few, so a list.
    plugins: RefCell<Vec<Rc<Plugin<F>>>>,
    streams: RefCell<IdMap<Stream<F>>>,
}

struct Plugin<F> {
    host: PluginHost,
    filter: RefCell<Rc<F>>,
}

impl<F> Plugin<F> {
    fn filter(&self) -> Rc<F> {
        Rc::clone(&lent(&self.filter))
    }
}

/// What a callback has decided; what the host refused to show it, as a decision that rests on that is none; and the map that its mutations
/// change, where it has read it.
struct Called {
    decision: Result<Decision, HostError>,
    failure: Option<HostError>,
    known: Option<HeaderMap>,
}

impl Called {
    /// What has failed in a callback of a filter that only watches.
    #[inline(never)]
    fn refusal(&self) -> Option<HostError> {
        match (self.failure, &self.decision) {
            (Some(error), _) => Some(error),
            (None, Err(error)) => Some(*error),
            (None, Ok(Decision { mutations, flow: Flow::Continue, explanation: None }))
                if mutations.is_empty() =>
            {
                None
            }
            _ => Some(HostError::new("ONLY_WATCHES", super::Status::Unimplemented)),
        }
    }
}

/// What decides where a stream goes on.
type Resumed<'a, F> = &'a mut dyn FnMut(&F, &mut <F as HttpFilter>::Stream) -> Result<Decision, HostError>;

/// What a callback of a stream works with.
type Lent<F> = (Rc<Plugin<F>>, <F as HttpFilter>::Stream);

struct Stream<F: HttpFilter> {
    plugin: Rc<Plugin<F>>,
    /// `None` while a callback has it.
    state: Option<F::Stream>,
    holds: Holds,
}

impl<F: HttpFilter + Registered> Default for Dispatcher<F> {
    fn default() -> Self {
        Self::new()
    }
}

impl<F: HttpFilter + Registered> Dispatcher<F> {
    /// No plugin and no stream.
    #[must_use]
    pub const fn new() -> Self {
        Self { vm: OnceCell::new(), plugins: RefCell::new(Vec::new()), streams: RefCell::new(IdMap::new()) }
    }

    #[inline(never)]
    fn vm(&self) -> &Rc<Vm> {
        self.vm.get_or_init(Rc::default)
    }

    fn plugin(&self, root: u32) -> Option<Rc<Plugin<F>>> {
        lent(&self.plugins).iter().find(|plugin| plugin.host.root() == root).map(Rc::clone)
    }

    /// A callback for `context` begins. Returns what to go back to: callbacks may nest.
    fn enter(&self, context: u32) -> u32 {
        self.vm().context.replace(context)
    }

    fn leave(&self, before: u32) {
        self.vm().context.set(before);
    }

    /// `proxy_on_context_create`. Several plugins may share the VM (`LOAD-30`), so this is what tells whose a stream is.
    pub fn on_context_create(&self, context: u32, root: u32) {
        if let Some(plugin) = self.plugin(root) {
            // A filter's own `default` is not called while the table is borrowed.
            let stream = Stream { plugin, state: Some(F::Stream::default()), holds: Holds::default() };
            lent(&self.streams).insert(context, stream);
        }
    }

    /// `proxy_on_configure`. A configuration that is refused leaves everything as it was.
    pub fn on_configure(&self, root: u32, size: u32) -> bool {
        logger::install();
        let before = self.enter(root);
        let host = match self.plugin(root) {
            Some(plugin) => plugin.host.clone(),
            None => PluginHost::new(Rc::clone(self.vm()), root, F::CALLBACKS),
        };
        let filter = configure::<F>(&host, size);
        self.leave(before);
        let Some(filter) = filter else {
            return false;
        };
        match self.plugin(root) {
            Some(plugin) => {
                let before = mem::replace(&mut *lent(&plugin.filter), filter);
                // A filter's own `drop` may call the host.
                drop(before);
            }
            None => lent(&self.plugins).push(Rc::new(Plugin { host, filter: RefCell::new(filter) })),
        }
        true
    }

    /// `proxy_on_request_headers`.
    pub fn on_request_headers(&self, context: u32, end_of_stream: bool) -> u32 {
        let point = Point { side: Side::Request, section: Section::Headers, end_of_stream };
        self.callback(context, point, &|plugin, filter, stream| {
            let request = Request(Block::new(plugin, MapType::RequestHeaders, end_of_stream));
            let decision = filter.on_request_headers(stream, &request);
            Called { decision, failure: request.0.view.failure(), known: known_of::<F>(request.0) }
        })
    }

    /// `proxy_on_request_body`.
    pub fn on_request_body(&self, context: u32, size: u32, end_of_stream: bool) -> u32 {
        let point = Point { side: Side::Request, section: Section::Body, end_of_stream };
        self.callback(context, point, &|plugin, filter, stream| {
            let body = Body(Part::new(plugin, BufferType::RequestBody, size, end_of_stream));
            let decision = filter.on_request_body(stream, &body);
            Called { decision, failure: body.0.failure(), known: None }
        })
    }

    /// `proxy_on_request_trailers`.
    pub fn on_request_trailers(&self, context: u32) -> u32 {
        let point = Point { side: Side::Request, section: Section::Trailers, end_of_stream: true };
        self.callback(context, point, &|plugin, filter, stream| {
            let trailers = RequestTrailers(Block::new(plugin, MapType::RequestTrailers, true));
            let decision = filter.on_request_trailers(stream, &trailers);
            Called { decision, failure: trailers.0.view.failure(), known: known_of::<F>(trailers.0) }
        })
    }

    /// `proxy_on_response_headers`.
    pub fn on_response_headers(&self, context: u32, end_of_stream: bool) -> u32 {
        let point = Point { side: Side::Response, section: Section::Headers, end_of_stream };
        self.callback(context, point, &|plugin, filter, stream| {
            let response = Response(Block::new(plugin, MapType::ResponseHeaders, end_of_stream));
            let decision = filter.on_response_headers(stream, &response);
            Called { decision, failure: response.0.view.failure(), known: known_of::<F>(response.0) }
        })
    }

    /// `proxy_on_response_body`.
    pub fn on_response_body(&self, context: u32, size: u32, end_of_stream: bool) -> u32 {
        let point = Point { side: Side::Response, section: Section::Body, end_of_stream };
        self.callback(context, point, &|plugin, filter, stream| {
            let body = Body(Part::new(plugin, BufferType::ResponseBody, size, end_of_stream));
            let decision = filter.on_response_body(stream, &body);
            Called { decision, failure: body.0.failure(), known: None }
        })
    }

    /// `proxy_on_response_trailers`.
    pub fn on_response_trailers(&self, context: u32) -> u32 {
        let point = Point { side: Side::Response, section: Section::Trailers, end_of_stream: true };
        self.callback(context, point, &|plugin, filter, stream| {
            let trailers = ResponseTrailers(Block::new(plugin, MapType::ResponseTrailers, true));
            let decision = filter.on_response_trailers(stream, &trailers);
            Called { decision, failure: trailers.0.view.failure(), known: known_of::<F>(trailers.0) }
        })
    }

    /// `proxy_on_tick`.
    pub fn on_tick(&self, root: u32) {
        self.on_due(root, None);
    }

    /// `proxy_on_queue_ready`: more is due than one callback wakes.
    pub fn on_queue_ready(&self, root: u32, token: u32) {
        self.on_due(root, Some(token));
    }

    /// Wakes what is due, by the tick or by a queue.
    fn on_due(&self, root: u32, queue: Option<u32>) {
        let Some(plugin) = self.plugin(root) else {
            return;
        };
        let before = self.enter(root);
        let more = plugin.host.wake_due(queue, &mut |key, sleeper| self.wake(&plugin, key, sleeper));
        match more {
            // Only streams are many, and only a module with their callback hears of queues.
            Ok(true) if F::CALLBACKS.has(Callbacks::ON_TIMER) => plugin.host.again(),
            Ok(_) => {}
            Err(error) => failed(&plugin.host, ": timers", &error),
        }
        self.leave(before);
    }

    fn wake(&self, plugin: &Plugin<F>, key: TimerKey, sleeper: Sleeper) {
        match sleeper {
            Sleeper::Plugin if F::CALLBACKS.has(Callbacks::ON_PLUGIN_TIMER) => {
                plugin.filter().on_plugin_timer(&plugin.host);
            }
            Sleeper::Stream(stream, side) if F::CALLBACKS.has(Callbacks::ON_TIMER) => {
                self.resume(stream, side, Until::Timer(key), &mut |filter, state| filter.on_timer(state));
            }
            Sleeper::Plugin | Sleeper::Stream(..) => {}
        }
    }

    /// `proxy_on_log`: the end of a stream. Comes also for streams that never came to this filter (`LIFE-03`), with a state that is
    /// as new. Nothing can be decided any more: a local reply here would end Envoy (`DIE-02`).
    pub fn on_log(&self, context: u32) {
        let before = self.enter(context);
        if let Ok((plugin, mut state)) = self.lend(context, None) {
            // From here on nothing may be let go, answered or reset (`DIE-03`, `DIE-04`), so nothing waits.
            if F::CALLBACKS.has(Callbacks::ON_TIMER) {
                forget_timers::<F>(&plugin.host, &self.holds(context));
            }
            plugin.filter().on_log(&mut state, &Ended::new(&plugin.host));
            self.give_back(context, state, &[(Side::Request, None), (Side::Response, None)]);
        }
        self.leave(before);
    }

    /// `proxy_on_delete`: of a stream or of a plugin.
    pub fn on_delete(&self, context: u32) {
        let gone = lent(&self.streams).remove(context);
        if let Some(stream) = gone {
            forget_timers::<F>(&stream.plugin.host, &stream.holds);
            return;
        }
        let mut plugins = lent(&self.plugins);
        if let Some(place) = plugins.iter().position(|plugin| plugin.host.root() == context) {
            let gone = plugins.remove(place);
            // A filter's own `drop` may call the host.
            drop(plugins);
            drop(gone);
            if F::CALLBACKS.has(Callbacks::REPLIES) {
                lent(&self.vm().calls).keep(|caller| caller.root != context);
            }
        }
    }

    /// Takes a stream's state for a callback, of its own at a point or of another. What to answer instead for a stream that nobody has announced, or
    /// that a callback has already; and where it waits, as what waits goes on waiting, whatever comes behind it: asserted anew in every
    /// callback (`BODY-03`).
    fn lend(&self, context: u32, point: Option<Point>) -> Result<Lent<F>, Action> {
        let mut streams = lent(&self.streams);
        let stream = streams.get_mut(context).ok_or(Action::Continue)?;
        if let Some(point) = point
            && stream.holds.see(point)
        {
            return Err(point.hold());
        }
        let state = stream.state.take().ok_or(Action::Continue)?;
        Ok((Rc::clone(&stream.plugin), state))
    }

    /// What holds a stream.
    fn holds(&self, context: u32) -> Holds {
        lent(&self.streams).get(context).map(|stream| stream.holds).unwrap_or_default()
    }

    /// Puts the state back, unless the stream has ended meanwhile, and notes which of its halves are held now. The others may have come to
    /// their end meanwhile.
    #[inline(never)]
    fn give_back(&self, context: u32, state: F::Stream, held: &[(Side, Option<Hold>)]) {
        let mut streams = lent(&self.streams);
        let Some(stream) = streams.get_mut(context) else {
            // A stream's own `drop` may call the host.
            drop(streams);
            drop(state);
            return;
        };
        stream.state = Some(state);
        for (side, hold) in held {
            *stream.holds.of(*side) = *hold;
        }
    }

    /// One of a stream's own callbacks.
    fn callback(
        &self,
        context: u32,
        point: Point,
        call: &dyn Fn(&PluginHost, &F, &mut F::Stream) -> Called,
    ) -> u32 {
        let (plugin, mut state) = match self.lend(context, Some(point)) {
            Ok(lent) => lent,
            Err(action) => return action as u32,
        };
        let before = self.enter(context);
        let filter = plugin.filter();
        let mut called = call(&plugin.host, &filter, &mut state);
        let applied = match F::ONLY_WATCHES {
            true => called.refusal().map_or(Applied::Continue, |error| give_in(&*filter, point, &error)),
            false => settle(&plugin.host, &*filter, &mut state, context, point, &mut called),
        };
        self.leave(before);
        let (held, action) = match applied {
            Applied::Continue => ((point.side, None), Action::Continue),
            applied => held_by(applied, point),
        };
        self.give_back(context, state, &[held]);
        action as u32
    }

    /// What a stream waited for is there: from a callback of the root context.
    fn resume(&self, context: u32, side: Side, until: Until, call: Resumed<'_, F>) {
        // Of a filter that only watches nothing waits.
        if F::ONLY_WATCHES
            || lent(&self.streams).get(context).and_then(|stream| stream.holds.waits(side, &until)).is_none()
        {
            return;
        }
        // A context that the host has forgotten is one that it deletes.
        if let Ok(before) = self.vm().go_to(context) {
            self.resume_here(context, side, &until, call);
            self.vm().go_back(before);
        }
    }

    fn resume_here(&self, context: u32, side: Side, until: &Until, call: Resumed<'_, F>) {
        let Ok((plugin, mut state)) = self.lend(context, None) else {
            return;
        };
        let Some(point) = self.holds(context).waits(side, until) else {
            self.give_back(context, state, &[]);
            return;
        };
        let filter = plugin.filter();
        let mut called = Called { decision: call(&filter, &mut state), failure: None, known: None };
        let applied = settle(&plugin.host, &*filter, &mut state, context, point, &mut called);
        let (mut held, _) = held_by(applied, point);
        if goes_on(applied, point)
            && let Err(error) = point.go_on()
        {
            logger::failed("the stream is held", &error);
            held.1 = Some(Hold { point, until: Until::Never });
        }
        self.give_back(context, state, &[held]);
    }
}

/// The map of a block that has been read, where mutations may change it.
fn known_of<F: HttpFilter>(block: Block) -> Option<HeaderMap> {
    if F::ONLY_WATCHES { None } else { block.into_known() }
}

/// Whether a stream that is not in one of its callbacks has to be told to go on. More of a body that is buffered comes by itself.
fn goes_on(applied: Applied, point: Point) -> bool {
    match applied {
        Applied::Continue | Applied::Refused | Applied::GrpcRefused => true,
        Applied::Buffer => point.section != Section::Body || point.end_of_stream,
        Applied::Hold(_) | Applied::Over => false,
    }
}

fn forget_timers<F: Registered>(host: &PluginHost, holds: &Holds) {
    if F::CALLBACKS.has(Callbacks::ON_TIMER) {
        for key in holds.timers() {
            host.wake(key);
        }
    }
}

/// Which half is held, or not any more, and what the callback answers.
#[inline(never)]
fn held_by(applied: Applied, point: Point) -> ((Side, Option<Hold>), Action) {
    let until = match applied {
        Applied::Hold(until) => Some(until),
        Applied::Over => Some(Until::Never),
        Applied::Continue | Applied::Refused | Applied::GrpcRefused | Applied::Buffer => None,
    };
    let action = match applied {
        Applied::Hold(_) | Applied::Over => point.hold(),
        Applied::Buffer if point.section == Section::Body && !point.end_of_stream => Action::Stop,
        // Elsewhere nothing would come that lets go of it (`BODY-04`, `FLOW-01`).
        Applied::Buffer | Applied::Continue | Applied::Refused | Applied::GrpcRefused => Action::Continue,
    };
    ((point.side, until.map(|until| Hold { point, until })), action)
}

/// Carries out what a callback decided, and what becomes of it where that fails.
fn settle<F: HttpFilter + Registered>(
    host: &PluginHost,
    filter: &F,
    state: &mut F::Stream,
    stream: u32,
    point: Point,
    called: &mut Called,
) -> Applied {
    let mut refusals = 0;
    let error = loop {
        let applied = match (called.failure, &called.decision) {
            (Some(error), _) => break error,
            (None, Err(error)) => break *error,
            (None, Ok(decision)) => apply::<F>(decision, host, stream, point, called.known.as_ref()),
        };
        let applied = match applied {
            Ok(applied) => applied,
            Err(error) => break error,
        };
        // Known when the module is built, so that nothing is linked for calls that a filter does not make.
        let is_grpc = match applied {
            Applied::Refused if F::CALLBACKS.has(Callbacks::ON_CALLOUT_REPLY) => false,
            Applied::GrpcRefused if F::CALLBACKS.has(Callbacks::ON_GRPC_REPLY) => true,
            _ => return applied,
        };
        if refusals == REFUSALS {
            let call = if is_grpc { "proxy_grpc_call" } else { "proxy_http_call" };
            break HostError::new(call, super::Status::InternalFailure);
        }
        refusals = refusals.saturating_add(1);
        // The mutations before the call have been made.
        called.known = None;
        called.decision = match is_grpc {
            true => filter.on_grpc_reply(state, grpc_refused()),
            false => filter.on_callout_reply(state, CalloutReply::default()),
        };
    };
    give_in(filter, point, &error)
}

/// A callback has failed.
fn give_in<F: HttpFilter>(filter: &F, point: Point, error: &HostError) -> Applied {
    // The host writes the plugin's name before what a stream logs (`LOG-01`).
    logger::failed("callback failed", error);
    match filter.failure_policy() {
        FailurePolicy::FailOpen => Applied::Continue,
        FailurePolicy::FailClosed => {
            if let Err(error) = fail_closed(point) {
                logger::failed("the stream is held", &error);
            }
            Applied::Over
        }
    }
}

/// Logs what has failed for a plugin.
#[cold]
#[inline(never)]
fn failed(host: &PluginHost, what: &str, error: &HostError) {
    logger::failed(&joined(host.name(), what, ""), error);
}
