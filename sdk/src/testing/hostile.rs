//! A host that keeps no promise: every status from every call in every phase, garbage for answers, callbacks in any order, for any
//! context, and inside one another. Nothing may panic, and nothing may be asked that ends an Envoy (`DIE-01` to `DIE-05`): the
//! in-memory host panics then.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::lines::Lines;
use super::scripted::{Called, Scripted, script};
use super::state::{self, Intercept, Root, State};
use super::{Guest, Host, Outcome};
use crate::host::Dispatcher;
use crate::host::wire::Side;
use crate::{
    Attributes, Callout, Decision, Flow, GrpcCall, Headers, HostError, Json, LocalReply, Mutation,
    PluginHost, Status,
};

/// Every call that the SDK makes.
const CALLS: [&str; 29] = [
    "proxy_log",
    "proxy_get_log_level",
    "proxy_set_effective_context",
    "proxy_get_header_map_pairs",
    "proxy_get_header_map_value",
    "proxy_add_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_remove_header_map_value",
    "proxy_get_buffer_bytes",
    "proxy_set_buffer_bytes",
    "proxy_get_property",
    "proxy_set_property",
    "proxy_send_local_response",
    "proxy_continue_stream",
    "proxy_close_stream",
    "proxy_http_call",
    "proxy_grpc_call",
    "proxy_set_tick_period_milliseconds",
    "proxy_get_current_time_nanoseconds",
    "clock_time_get",
    "random_get",
    "proxy_define_metric",
    "proxy_increment_metric",
    "proxy_get_shared_data",
    "proxy_set_shared_data",
    "proxy_register_shared_queue",
    "proxy_enqueue_shared_queue",
    "proxy_dequeue_shared_queue",
    "proxy_call_foreign_function",
];

/// A small deterministic source of choices.
#[derive(Clone)]
struct Choices {
    state: Rc<Cell<u64>>,
    /// How many callbacks are running.
    nested: Rc<Cell<u32>>,
}

impl Choices {
    fn new(seed: u64) -> Self {
        Self { state: Rc::new(Cell::new(seed)), nested: Rc::default() }
    }

    fn below(&self, end: u64) -> u64 {
        let next =
            self.state.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.state.set(next);
        (next >> 33) % end
    }

    fn bytes(&self) -> Vec<u8> {
        let small = |_| if self.below(2) == 0 { self.below(3) as u8 } else { self.below(256) as u8 };
        (0..self.below(40)).map(small).collect()
    }
}

fn callout() -> Callout {
    let headers = [(":method", "GET"), (":path", "/"), (":authority", "a")];
    Callout {
        cluster: "c".into(),
        headers: headers.map(|(name, value)| (name.into(), value.into())).into(),
        body: "b".into(),
        trailers: Vec::new(),
        timeout: Duration::from_millis(20),
    }
}

fn grpc_call() -> GrpcCall {
    GrpcCall {
        cluster: "c".into(),
        service: "s".into(),
        method: "m".into(),
        metadata: vec![("x-a".into(), "1".into())],
        message: "b".into(),
        timeout: Duration::from_millis(20),
    }
}

/// Uses everything a plugin has.
fn use_plugin(host: &PluginHost) -> Result<(), HostError> {
    host.counter("c")?.add(2);
    host.gauge("g")?.add(-1);
    host.histogram("h")?.record(3);
    let _ =
        (host.counter("c")?.value(), host.gauge("g")?.value(), host.root_id(), host.vm_id(), host.random());
    host.shared::<u64>("u").update(|old| (old.unwrap_or(0).wrapping_add(1), ()))?;
    host.shared::<Json<Vec<u32>>>("j").set(&Json(vec![1]))?;
    host.shared::<Vec<u8>>("v").get()?;
    let _ = (host.now()?, host.vm_configuration()?, host.attribute_map(&["xds", "node"]));
    Ok(())
}

/// Begins what calls back later.
fn begin_more(host: &PluginHost) -> Result<(), HostError> {
    host.wake_after(Duration::from_millis(3))?;
    host.grpc_callout(&grpc_call())?;
    host.callout(&callout()).map(drop)
}

fn use_headers(view: &(impl Headers + Attributes)) {
    let _ = (view.path(), view.joined("x-a"), view.attribute_str(&["a", "b"]), view.attribute_map(&["m"]));
}

/// Looks at everything and decides anything.
fn anything(choices: &Choices, called: Called<'_>) -> Result<Decision, HostError> {
    match &called {
        Called::Configure(host)
        | Called::PluginReply(host, _)
        | Called::PluginGrpcReply(host, _)
        | Called::PluginTimer(host) => use_plugin(host)?,
        Called::Request(request) => {
            use_headers(*request);
            let _ = request.now();
            if choices.below(4) == 0 {
                use_plugin(request.plugin())?;
                begin_more(request.plugin())?;
            }
        }
        Called::Response(response) => use_headers(*response),
        Called::RequestTrailers(trailers) => use_headers(*trailers),
        Called::ResponseTrailers(trailers) => use_headers(*trailers),
        Called::Log(ended) => {
            use_headers(ended.request());
            use_headers(ended.response());
            use_plugin(ended.plugin())?;
        }
        Called::RequestBody(body) | Called::ResponseBody(body) => {
            let _ = (body.bytes()?, body.range(3, usize::MAX)?, body.len(), body.is_empty());
            body.replace(b"new")?;
            body.append(b"er")?;
        }
        Called::Reply(_) | Called::GrpcReply(_) | Called::Timer => {}
    }
    let mut decision = Decision::next();
    for _ in 0..choices.below(3) {
        let name = ["x-a", "X-B", "host", ":path", "x-c"][choices.below(5) as usize];
        let value = choices.bytes();
        decision = decision.with(match choices.below(8) {
            0 => Mutation::Set(name.into(), value.into()),
            1 => Mutation::Append(name.into(), value.into()),
            2 => Mutation::AddIfAbsent(name.into(), "v".into()),
            3 => Mutation::Remove(name.into()),
            4 => Mutation::FilterState(name.into(), value.into()),
            5 => Mutation::Property(name.into(), value.into()),
            6 => Mutation::ClearRouteCache,
            _ => Mutation::Set(name.into(), "v".into()),
        });
    }
    decision.flow = match choices.below(10) {
        0 => Flow::Reply(LocalReply {
            status: choices.below(700) as u16,
            headers: vec![("a".into(), choices.bytes().into())],
            body: choices.bytes().into(),
            details: "d".into(),
            grpc_status: Some(choices.below(20) as u8),
        }),
        1 => Flow::Reset,
        2 => Flow::Await(callout()),
        3 => Flow::Wait(Duration::from_millis(choices.below(5))),
        4 => Flow::Wait(Duration::MAX),
        5 => Flow::Buffer,
        6 => Flow::AwaitGrpc(grpc_call()),
        _ => Flow::Continue,
    };
    Ok(if choices.below(3) == 0 { decision.because("of this") } else { decision })
}

/// One exchange with everything in it, and the time that its timers need.
fn whole_life(host: &mut Host, plugin: &super::Plugin) {
    let get = [(":authority", "a"), (":path", "/"), (":method", "GET"), ("x-a", "1")];
    let mut stream = plugin.stream();
    stream.request_headers(&get);
    stream.request_body("some", false);
    stream.request_trailers(&[("x-t", "1")]);
    host.advance(Duration::from_millis(30));
    if !matches!(stream.seen_request().outcome, Outcome::Replied(_) | Outcome::Reset) {
        stream.response_headers(&[(":status", "200")]);
        stream.response_body("some", false);
        stream.response_trailers(&[("x-t", "1")]);
    }
    host.advance(Duration::from_millis(30));
    stream.end();
}

#[test]
fn every_call_may_answer_every_status_in_every_phase() {
    for call in CALLS {
        for status in (1..=13).chain([u32::MAX]) {
            let status = Status::check(status).unwrap_err();
            for seed in 0..6 {
                let choices = Choices::new(seed);
                script(move |called| anything(&choices, called));
                let mut host = Host::new();
                // At configure too: refused then, and nothing else happens.
                host.fail(call, status);
                if host.plugin::<Scripted>(json!({"fail_open": seed % 2 == 0})).is_err() {
                    host.heal();
                }
                let plugin = host.plugin::<Scripted>(json!({})).unwrap();
                whole_life(&mut host, &plugin);
                host.fail(call, status);
                whole_life(&mut host, &plugin);
                host.fail_once(call, status);
                whole_life(&mut host, &plugin);
                plugin.end();
            }
        }
    }
}

/// A filter that lets only those pass that it has marked: whatever the host refuses, nobody passes unmarked.
#[test]
fn nothing_passes_a_filter_that_fails_closed() {
    for call in CALLS {
        for status in 1..=13 {
            script(|called| match called {
                Called::Request(request) => {
                    let _ = request.path();
                    Ok(Decision::call(callout()))
                }
                Called::Reply(_) => Ok(Decision::next().set("x-marked", "1")),
                _ => Ok(Decision::next()),
            });
            let mut host = Host::new();
            let plugin = host.plugin::<Scripted>(json!({})).unwrap();
            host.fail(call, Status::check(status).unwrap_err());
            let mut stream = plugin.stream();
            stream.request(&[(":path", "/")]);
            host.advance(Duration::from_millis(30));
            let seen = stream.seen_request();
            assert!(
                seen.outcome != Outcome::Continued || seen.header("x-marked") == Some("1"),
                "`{call}` answered {status}: {seen:?}"
            );
        }
    }
}

/// A callback by number, with any arguments.
fn call_back(state: &Rc<RefCell<State>>, guest: &dyn Guest, choices: &Choices) {
    let context = choices.below(7) as u32;
    let (end, size) = (choices.below(2) == 0, [0, 1, 9, u32::MAX][choices.below(4) as usize]);
    let lines = || Some(Lines::new(true, &[(":path", "/"), ("x-a", "1")]));
    let which = choices.below(15);
    let nested = choices.nested.get() > 0;
    if which == 9 && nested {
        // Not even this host ends a stream inside of a callback.
        return;
    }
    choices.nested.set(choices.nested.get() + 1);
    if let Some(stream) = state.borrow_mut().streams.get_mut(&context) {
        // What is there when Envoy makes such a call.
        let half = stream.half(if which < 6 { Side::Request } else { Side::Response });
        half.headers_open = choices.below(2) == 0;
        half.visible = (choices.below(2) == 0).then(|| choices.bytes());
        if which < 9 {
            half.headers = half.headers.take().or_else(lines);
        }
        stream.ending = !nested && (which == 9 || which == 10);
    }
    if choices.below(2) == 0 {
        state.borrow_mut().answer =
            Some((Lines::new(false, &[(":status", choices.bytes())]), choices.bytes()));
    }
    state::enter(state, context, || match which {
        0 | 1 => guest.on_context_create(context, choices.below(4) as u32),
        2 => {
            guest.on_configure(context, size);
        }
        3 => {
            guest.on_request_headers(context, end);
        }
        4 => {
            guest.on_request_body(context, size, end);
        }
        5 => {
            guest.on_request_trailers(context);
        }
        6 => {
            guest.on_response_headers(context, end);
        }
        7 => {
            guest.on_response_body(context, size, end);
        }
        8 => {
            guest.on_response_trailers(context);
        }
        9 => guest.on_log(context),
        10 => guest.on_delete(context),
        11 => guest.on_callout_reply(context, choices.below(40) as u32, size, size),
        12 => guest.on_grpc_receive(context, choices.below(40) as u32, size),
        13 => guest.on_grpc_close(context, choices.below(40) as u32, size),
        _ => {
            state.borrow_mut().monotonic_ns += 2_000_000;
            guest.on_tick(context);
        }
    });
    choices.nested.set(choices.nested.get() - 1);
}

/// Whatever the choices: a module that survives this survives any host.
fn chaos(seed: u64) {
    let choices = Choices::new(seed);
    let decide = choices.clone();
    script(move |called| anything(&decide, called));
    let state = Rc::new(RefCell::new(State::default()));
    for id in 1..4 {
        let configuration = Some(b"{}".to_vec());
        state.borrow_mut().roots.insert(id, Root { configuration, ..Root::default() });
        state.borrow_mut().streams.insert(id + 3, state::Stream::new(id));
    }
    let guest: Rc<dyn Guest> = Rc::new(Dispatcher::<Scripted>::default());
    let (inner_state, inner_guest, inner) = (Rc::downgrade(&state), Rc::downgrade(&guest), choices.clone());
    let intercept: Intercept = Rc::new(move |call| {
        if let (Some(state), Some(guest)) = (inner_state.upgrade(), inner_guest.upgrade())
            && inner.below(12) == 0
            && inner.nested.get() < 4
        {
            call_back(&state, &*guest, &inner);
        }
        match inner.below(8) {
            0 => Status::check(inner.below(14) as u32 + 1).err().map(Err),
            // Not even this host says that it is at another stream when it is not: what is meant for one would go to the other.
            1 if call != "proxy_set_effective_context" => Some(Ok(inner.bytes())),
            _ => None,
        }
    });
    for id in 1..4 {
        state::enter(&state, id, || guest.on_configure(id, 2));
        state::enter(&state, id + 3, || guest.on_context_create(id + 3, id));
    }
    state.borrow_mut().intercept = Some(intercept);
    for _ in 0..120 {
        call_back(&state, &*guest, &choices);
        if choices.below(3) == 0 {
            state.borrow_mut().deferred.clear();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_order_of_callbacks_and_no_garbage_traps(seed in any::<u64>()) {
        chaos(seed);
    }

    #[test]
    fn no_bytes_are_misread_as_a_header_map(bytes in prop::collection::vec(0_u8..4, 0..80)) {
        if let Some(map) = crate::HeaderMap::from_pairs(bytes) {
            let _ = map.iter().count();
        }
    }

    #[test]
    fn a_header_map_comes_back(lines in prop::collection::vec((any::<Vec<u8>>(), any::<Vec<u8>>()), 0..8)) {
        let map = crate::HeaderMap::from_iter(lines.iter().map(|(name, value)| (name.to_ascii_lowercase(), value)));
        let bytes = Lines::new(false, &lines.iter().map(|(name, value)| ([b"n", &name[..]].concat(), value)).collect::<Vec<_>>()).bytes();
        let read = crate::HeaderMap::from_pairs(bytes).unwrap();
        prop_assert_eq!(read.len(), map.len());
        for ((read, value), (name, want)) in read.iter().zip(map.iter()) {
            prop_assert_eq!((&read[1..], value), (name, want));
        }
    }
}
