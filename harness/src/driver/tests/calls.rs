//! Callouts that take time and fail, gRPC calls and streams, shared queues (section 6, `SHR-10` to `SHR-13`). What is wanted is what a real
//! Envoy 1.40 gave the same calls.

use std::time::Duration;

use super::*;
use crate::headers::Headers;
use crate::outcome::CalloutEnd;
use crate::yaml;

/// Says what every callback is told: its letter, the token, numbers of headers or the code, then what is shown to it, then the status of
/// the last call that failed. The stream goes on with the last of as many ends as `$open` says.
const GUEST: &str = r#"
    (global $open (mut i32) (i32.const 1))
    (func $status
        (drop (call $get_status (i32.const 64) (i32.const 16) (i32.const 20)))
        (call $log "status")
        (call $number (i32.load (i32.const 64)))
        (call $log (i32.load (i32.const 16)) (i32.load (i32.const 20))))
    (func $number (param i32)
        (if (i32.lt_u (local.get 0) (i32.const 10)) (then (call $say (local.get 0)))
            (else
                (i32.store8 (i32.const 32) (i32.add (i32.div_u (local.get 0) (i32.const 10)) (i32.const 48)))
                (i32.store8 (i32.const 33) (i32.add (i32.rem_u (local.get 0) (i32.const 10)) (i32.const 48)))
                (call $log (i32.const 32) (i32.const 2)))))
    (func $ended
        (global.set $open (i32.sub (global.get $open) (i32.const 1)))
        (if (i32.eqz (global.get $open)) (then
            (drop (call $effective (i32.const 2))) (drop (call $continue (i32.const 0))))))
    (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32)
        (call $log "http") (call $number (local.get 1)) (call $number (local.get 2)) (call $number (local.get 4))
        (call $show (call $get_ (i32.const 6) ":status" (i32.const 16) (i32.const 20)))
        (call $show (call $get_ (i32.const 6) "x-envoy-upstream-service-time" (i32.const 16) (i32.const 20)))
        (call $show (call $body (i32.const 4) (i32.const 0) (i32.const 200) (i32.const 16) (i32.const 20)))
        (call $status) (call $ended))
    (func (export "proxy_on_grpc_receive_initial_metadata") (param i32 i32 i32)
        (call $log "initial") (call $number (local.get 1)) (call $number (local.get 2))
        (call $show (call $get_ (i32.const 4) ":status" (i32.const 16) (i32.const 20)))
        (call $initial (local.get 1)))
    (func (export "proxy_on_grpc_receive") (param i32 i32 i32)
        (call $log "receive") (call $number (local.get 1)) (call $number (local.get 2))
        (call $show (call $body (i32.const 5) (i32.const 0) (i32.const 200) (i32.const 16) (i32.const 20)))
        (call $receive (local.get 1))
        (if (i32.eq (i32.and (local.get 1) (i32.const 3)) (i32.const 1)) (then (call $ended))))
    (func (export "proxy_on_grpc_receive_trailing_metadata") (param i32 i32 i32)
        (call $log "trailing") (call $number (local.get 1)) (call $number (local.get 2))
        (call $show (call $get_ (i32.const 5) "grpc-status" (i32.const 16) (i32.const 20))))
    (func (export "proxy_on_grpc_close") (param i32 i32 i32)
        (call $log "close") (call $number (local.get 1)) (call $number (local.get 2)) (call $status)
        (call $close_ (local.get 1)) (call $ended))
    (func (export "proxy_on_queue_ready") (param i32 i32)
        (call $log "queue") (call $number (local.get 1)) (call $queue (local.get 1)))"#;

/// The clusters of these tests.
const CLUSTERS: &str = "
plain: {response: {status: 201, headers: {x-b: '1'}, body: hi}}
slow: {latency: 300ms, response: {body: hi}}
silent: {failure: TIMEOUT}
closing: {failure: RESET, latency: 2ms}
refusing: {failure: CONNECT_FAILURE}
cutting: {failure: {type: RESET_IN_BODY, after_bytes: 5}, response: {body: helloworld}}
echoing: {echo: true}
dead: {endpoints: 0}
hello: {grpc: {messages: [hello], message: fine, initial_metadata: {x-i: '1'}}, latency: 20ms}
nope: {grpc: {status: 5, message: no}}
flaky: {sequence: [{failure: RESET}, {response: {status: 204}}]}
";

/// What hooks do where a test does not say.
const HOOKS: [&str; 4] = ["initial", "receive", "close_", "queue"];

fn run(id: &str, hooks: &[(&str, &str)], commands: &str) -> Outcome {
    let body = |name: &str| hooks.iter().find(|(hook, _)| *hook == name).map_or("", |(_, code)| *code);
    let hooks: String =
        HOOKS.iter().map(|name| format!("(func ${name} (param i32) {})", body(name))).collect();
    let code = format!(
        "{GUEST} {hooks} (func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32) {commands} (i32.const 0))"
    );
    let clusters = yaml::parse(CLUSTERS).unwrap_or_else(|error| panic!("{error}"));
    let setup = Setup { plugins: vec![plugin(&code)], clusters, seed: 1, ..Setup::default() };
    let mut replay = Replay::start(setup).unwrap_or_else(|error| panic!("{id}: {error}\n{code}"));
    let mut exchange = exchange();
    exchange.request.body.clear();
    exchange.request.headers.remove(b"content-length");
    // Nothing routes there, so it is answered at once; what matters is what the calls do.
    replay.exchange(&exchange)
}

fn http(cluster: &str, timeout_ms: i32) -> String {
    format!(
        "(call $number (call $call \"{cluster}\" \"\\03\\00\\00\\00\\07\\00\\00\\00\\03\\00\\00\\00\\05\\00\\00\\00\\01\\00\\00\\00\
         \\0a\\00\\00\\00\\01\\00\\00\\00:method\\00GET\\00:path\\00/\\00:authority\\00a\\00\" \"\" \"\" (i32.const {timeout_ms}) (i32.const 40)))"
    )
}

/// A serialised `GrpcService` for a cluster.
fn service(cluster: &str) -> String {
    format!("\"\\0a\\{:02x}\\0a\\{:02x}{cluster}\"", cluster.len() + 2, cluster.len())
}

fn call(service: &str, timeout_ms: i32) -> String {
    format!(
        "(call $number (call $grpc_call {service} \"pkg.S\" \"M\" \
         \"\\01\\00\\00\\00\\05\\00\\00\\00\\02\\00\\00\\00x-bin\\00\\00\\01\\00\" \"msg\" (i32.const {timeout_ms}) (i32.const 40)))"
    )
}

fn stream(service: &str) -> String {
    format!("(call $number (call $grpc_stream {service} \"pkg.S\" \"M\" \"\" (i32.const 40)))")
}

/// Hold the stream until the calls have ended.
const HOLD: &str = "(return (i32.const 1))";

/// What the guest logs, when the stream goes on, and how the first call ends.
#[track_caller]
fn check_call(id: &str, commands: &str, log: &str, delay_ms: u64, end: CalloutEnd) -> Outcome {
    let outcome = run(id, &[], commands);
    assert_eq!(logged(&outcome), log, "{id}");
    assert_eq!(outcome.delay, Duration::from_millis(delay_ms), "{id}");
    let callout = &outcome.callouts[0];
    assert_eq!(callout.end, end, "{id}");
    if end != CalloutEnd::Pending && end != CalloutEnd::Refused {
        assert_eq!(callout.latency, Some(Duration::from_millis(delay_ms)), "{id}");
    }
    outcome
}

#[test]
fn call_06_07_answers_and_failures() {
    const BEFORE: &str = "upstream connect error or disconnect/reset before headers. reset reason:";
    let rows = [
        (
            "CALL-06",
            http("plain", 1000),
            "0 http 4 4 0 201 0 hi status 0 ".to_owned(),
            0,
            CalloutEnd::Answered,
        ),
        (
            "CALL-02",
            http("slow", 0),
            "0 http 4 3 0 200 300 hi status 0 ".to_owned(),
            300,
            CalloutEnd::Answered,
        ),
        (
            "in time",
            http("slow", 300),
            "0 http 4 3 0 200 300 hi status 0 ".to_owned(),
            300,
            CalloutEnd::Answered,
        ),
        (
            "CALL-07 late",
            http("slow", 299),
            "0 http 4 3 0 504 1 upstream request timeout status 0 ".to_owned(),
            299,
            CalloutEnd::Timeout,
        ),
        (
            "CALL-07 never",
            http("silent", 100),
            "0 http 4 3 0 504 1 upstream request timeout status 0 ".to_owned(),
            100,
            CalloutEnd::Timeout,
        ),
        (
            "CALL-07 closed",
            http("closing", 100),
            format!("0 http 4 3 0 503 1 {BEFORE} connection termination status 0 "),
            2,
            CalloutEnd::Reset,
        ),
        (
            "CALL-07 refused",
            http("refusing", 100),
            format!("0 http 4 3 0 503 1 {BEFORE} remote connection failure status 0 "),
            0,
            CalloutEnd::ConnectFailure,
        ),
        (
            "CALL-07 broken off",
            http("cutting", 100),
            "0 http 4 0 0 2 2 1 status 11 reset".to_owned(),
            0,
            CalloutEnd::ResetInBody,
        ),
    ];
    for (id, call, log, delay_ms, end) in rows {
        check_call(id, &format!("{call} {HOLD}"), &log, delay_ms, end);
    }
}

#[test]
fn call_07_the_code_stays_and_the_message_goes() {
    let commands =
        format!("(global.set $open (i32.const 2)) {} {} {HOLD}", http("cutting", 100), http("slow", 0));
    let log = "0 0 http 4 0 0 2 2 1 status 11 reset http 8 3 0 200 300 hi status 11 ";
    let outcome = run("CALL-07", &[], &commands);
    assert_eq!(logged(&outcome), log);
}

#[test]
fn answers_come_in_the_order_of_time() {
    let commands = format!(
        "(global.set $open (i32.const 3)) {} {} {} {HOLD}",
        http("slow", 1000),
        http("plain", 1000),
        http("closing", 1000)
    );
    let outcome = run("order", &[], &commands);
    let tokens = outcome.log.windows(2).filter(|pair| pair[0].message == "http");
    let tokens: Vec<_> = tokens.map(|pair| pair[1].message.as_str()).collect();
    assert_eq!(tokens, ["8", "12", "4"]);
    let ends: Vec<_> = outcome.callouts.iter().map(|callout| (callout.end, callout.status)).collect();
    let want = [
        (CalloutEnd::Answered, Some(200)),
        (CalloutEnd::Answered, Some(201)),
        (CalloutEnd::Reset, Some(503)),
    ];
    assert_eq!(ends, want);
}

/// `CALL-02`, `CALL-08`: without a timeout a silent cluster never answers; what is not answered when the exchange ends is pending.
#[test]
fn call_08_what_is_not_answered_is_pending() {
    let outcome = run("silent", &[], &http("silent", 0));
    assert_eq!((outcome.callouts[0].end, outcome.callouts[0].latency), (CalloutEnd::Pending, None));
    let outcome = run("late", &[], &http("slow", 0));
    assert_eq!((logged(&outcome).as_str(), outcome.callouts[0].end), ("0", CalloutEnd::Pending));
}

/// The token of a call that is refused by its cluster is used up, as of a call that is made.
#[test]
fn call_01_03_refused_calls_take_a_token() {
    let outcome =
        run("CALL-01", &[], &format!("{} {} {} {HOLD}", http("dead", 1), http("none", 1), http("plain", 1)));
    assert_eq!(logged(&outcome), "10 2 0 http 8 4 0 201 0 hi status 0 ");
    let ends: Vec<_> = outcome.callouts.iter().map(|callout| callout.end).collect();
    assert_eq!(ends, [CalloutEnd::Refused, CalloutEnd::Answered]);
}

#[test]
fn sequences_belong_to_the_cluster() {
    let commands =
        format!("(global.set $open (i32.const 2)) {} {} {HOLD}", http("flaky", 1), http("flaky", 1));
    let outcome = run("sequence", &[], &commands);
    let statuses: Vec<_> = outcome.callouts.iter().map(|callout| callout.status).collect();
    assert_eq!(statuses, [Some(503), Some(204)]);
}

#[test]
fn call_22_23_grpc_calls() {
    let rows = [
        ("hello", 100, "0 receive 5 5 hello", 20, CalloutEnd::Answered),
        ("nope", 100, "0 close 5 5 status 5 no{via_upstream}", 0, CalloutEnd::Answered),
        ("plain", 100, "0 close 5 2 status 2 via_upstream", 0, CalloutEnd::Answered),
        (
            "silent",
            100,
            "0 close 5 14 status 14 upstream request timeout{response_timeout}",
            100,
            CalloutEnd::Timeout,
        ),
        (
            "hello",
            19,
            "0 close 5 14 status 14 upstream request timeout{response_timeout}",
            19,
            CalloutEnd::Timeout,
        ),
    ];
    for (cluster, timeout, log, delay_ms, end) in rows {
        let commands = format!("{} {HOLD}", call(&service(cluster), timeout));
        check_call(&format!("CALL-22 {cluster}"), &commands, log, delay_ms, end);
    }
    let outcome = run("CALL-27", &[], &format!("{} {HOLD}", call(&service("hello"), 100)));
    let sent: Headers = [
        (":method", "POST"),
        (":path", "/pkg.S/M"),
        (":authority", "hello"),
        (":scheme", "http"),
        ("te", "trailers"),
        ("grpc-timeout", "100m"),
        ("content-type", "application/grpc"),
        ("x-bin", "AAE="),
        ("x-envoy-internal", "true"),
        ("x-envoy-expected-rq-timeout-ms", "100"),
    ]
    .into_iter()
    .collect();
    assert_eq!(outcome.callouts[0].request.headers, sent, "CALL-27");
    assert_eq!(outcome.callouts[0].request.body, b"\0\0\0\0\x03msg");
}

#[test]
fn call_21_grpc_calls_that_cannot_be_made() {
    let unhealthy = "status 14 no healthy upstream{no_healthy_upstream}";
    let commands = format!("{} {} {HOLD}", call(&service("dead"), 1), "(call $log \"after\")");
    check_call("CALL-21", &commands, &format!("10 after close 5 14 {unhealthy}"), 0, CalloutEnd::Refused);
    let commands = format!("{} {HOLD}", stream(&service("none")));
    check_call("CALL-21", &commands, "10 close 6 14 status 14 Cluster not available", 0, CalloutEnd::Refused);
    let commands = format!("{} (call $log \"after\") {HOLD}", stream(&service("dead")));
    let log = format!("initial 6 0 1 trailing 6 4 14 10 after close 6 14 {unhealthy}");
    check_call("CALL-26", &commands, &log, 0, CalloutEnd::Refused);
}

/// Envoy would go on until its stack is full.
#[test]
fn a_call_from_every_end_of_a_call_is_cut_off() {
    let again = [("close_", call(&service("dead"), 1))];
    let hooks: Vec<_> = again.iter().map(|(hook, code)| (*hook, code.as_str())).collect();
    let commands = format!("(global.set $open (i32.const 100000)) {} {HOLD}", call(&service("dead"), 1));
    let outcome = run("endless", &hooks, &commands);
    assert!(outcome.faults.iter().any(|fault| fault.contains("more callouts while no time passes")));
}

#[test]
fn call_20_the_service_argument() {
    let outcome = run("CALL-20", &[], &call("\"nobody\"", 1));
    assert_eq!(logged(&outcome), "4");
    let outcome = run("CALL-20", &[], &format!("{} {HOLD}", call("\"hello\"", 100)));
    assert_eq!(logged(&outcome), "0 receive 5 5 hello");
    for name in ["", "users", "analytics"] {
        let outcome = run("DIE-05", &[], &call(&format!("\"{name}\""), 1));
        assert_eq!(outcome.end, End::Trapped, "DIE-05");
        assert!(outcome.faults[0].contains("unset oneof"), "{:?}", outcome.faults);
    }
}

#[test]
fn call_24_grpc_streams() {
    let hello = service("hello");
    let send = |token: u32, end: u32| {
        format!("(call $number (call $grpc_send (i32.const {token}) \"ab\" (i32.const {end})))")
    };
    let told = "initial 6 4 200 receive 6 5 hello trailing 6 2 0 close 6 0 status 0 fine{via_upstream}";
    let commands = format!("{} {} {} {} {HOLD}", stream(&hello), send(6, 0), send(6, 1), send(6, 0));
    let outcome = check_call("CALL-24", &commands, &format!("0 0 0 0 {told}"), 20, CalloutEnd::Answered);
    assert_eq!(outcome.callouts[0].request.body, b"\0\0\0\0\x02ab\0\0\0\0\x02ab");
    let commands = format!("{} (call $number (call $grpc_close (i32.const 6))) {HOLD}", stream(&hello));
    check_call("CALL-24", &commands, &format!("0 0 {told}"), 20, CalloutEnd::Answered);
    let refused = "0 initial 6 0 1 trailing 6 4 14 close 6 14 status 14 upstream connect error or disconnect/reset before headers. \
                   reset reason: remote connection failure{upstream_reset_before_response_started{remote_connection_failure|\
                   delayed_connect_error:_Connection_refused}}";
    let commands = format!("{} {HOLD}", stream(&service("refusing")));
    check_call("CALL-24", &commands, refused, 0, CalloutEnd::ConnectFailure);
    // Who never sends the end is never answered.
    let outcome = run("CALL-24", &[], &stream(&hello));
    assert_eq!((logged(&outcome).as_str(), outcome.callouts[0].end), ("0", CalloutEnd::Pending));
}

#[test]
fn call_25_tokens_of_another_kind() {
    let number = |code: &str, token: u32| format!("(call $number (call ${code} (i32.const {token})))");
    let send =
        |token: u32| format!("(call $number (call $grpc_send (i32.const {token}) \"\" (i32.const 0)))");
    let commands = [
        call(&service("silent"), 0),
        send(5),
        number("grpc_cancel", 5),
        number("grpc_cancel", 5),
        number("grpc_close", 5),
        number("grpc_cancel", 4),
        number("grpc_close", 4),
        send(4),
        send(6),
        number("grpc_close", 6),
        number("grpc_cancel", 7),
        call(&service("silent"), 0),
        number("grpc_close", 9),
        number("grpc_cancel", 9),
    ];
    let outcome = run("CALL-25", &[], &commands.join(" "));
    assert_eq!(logged(&outcome), "0 2 0 1 1 2 2 2 1 1 2 0 0 1");
    assert!(outcome.callouts.iter().all(|callout| callout.end == CalloutEnd::Cancelled));
}

#[test]
fn call_25_no_callback_after_a_cancel() {
    let commands = format!("{} (call $number (call $grpc_close (i32.const 6)))", stream(&service("hello")));
    let hold = format!("{commands} {HOLD}");
    let cancel = [("receive", "(call $number (call $grpc_cancel (i32.const 6))) (call $ended)")];
    let outcome = run("CALL-25", &cancel, &hold);
    assert_eq!(logged(&outcome), "0 0 initial 6 4 200 receive 6 5 hello 0");
    assert_eq!(outcome.callouts[0].end, CalloutEnd::Cancelled);
    let close = "(call $number (call $grpc_send (i32.const 6) \"\" (i32.const 0))) \
                 (call $number (call $grpc_close (i32.const 6))) (call $number (call $grpc_cancel (i32.const 6)))";
    let outcome = run("CALL-25", &[("close_", close)], &hold);
    assert!(logged(&outcome).ends_with("status 0 fine{via_upstream} 0 0 1"), "{}", logged(&outcome));
}

#[test]
fn die_06_a_stream_that_fails_at_once_beside_another_call_that_did() {
    let dead = service("dead");
    let rows = [
        (format!("{} {}", call(&dead, 1), stream(&dead)), true),
        (format!("{} {}", stream(&dead), stream(&dead)), true),
        (format!("{} {}", call(&service("none"), 1), stream(&dead)), true),
        (format!("{} {}", stream(&dead), call(&dead, 1)), false),
        (format!("{} {}", call(&dead, 1), call(&dead, 1)), false),
        (format!("{} {}", stream(&service("none")), stream(&service("none"))), false),
    ];
    for (commands, dies) in rows {
        let outcome = run("DIE-06", &[], &commands);
        let spins = outcome.faults.first().is_some_and(|fault| fault.contains("spins for ever"));
        assert_eq!(spins, dies, "DIE-06 {commands}: {:?}", outcome.faults);
    }
    let cancel = [("initial", "(drop (call $grpc_cancel (local.get 0)))")];
    let outcome = run("CALL-26", &cancel, &stream(&dead));
    assert!(outcome.faults[0].contains("cancelling"), "{:?}", outcome.faults);
}

#[test]
fn shr_10_to_13_queues() {
    let enqueue = |token: u32| format!("(call $number (call $enqueue (i32.const {token}) \"item\"))");
    let dequeue = |token: u32| {
        format!("(call $show (call $dequeue (i32.const {token}) (i32.const 16) (i32.const 20)))")
    };
    let register = |name: &str| {
        format!(
            "(call $number (call $register \"{name}\" (i32.const 40))) (call $number (i32.load (i32.const 40)))"
        )
    };
    let commands = [
        register("q"),
        register("q"),
        register("r"),
        "(call $number (call $resolve \"\" \"q\" (i32.const 40))) (call $number (i32.load (i32.const 40)))"
            .to_owned(),
        "(call $number (call $resolve \"\" \"none\" (i32.const 40)))".to_owned(),
        "(call $number (call $resolve \"x\" \"q\" (i32.const 40)))".to_owned(),
        enqueue(1),
        enqueue(1),
        enqueue(9),
        dequeue(1),
        dequeue(2),
        dequeue(99),
    ];
    let hold = format!("(global.set $open (i32.const 2)) {} {HOLD}", commands.join(" "));
    let queue = format!("{} {} (call $ended)", dequeue(1), dequeue(1));
    let outcome = run("SHR-10", &[("queue", &queue)], &hold);
    // Told twice, though the second time nothing is left.
    assert_eq!(logged(&outcome), "0 1 0 1 0 2 0 1 1 1 0 0 1 item 7 1 queue 1 item 7 queue 1 7 7");
}
