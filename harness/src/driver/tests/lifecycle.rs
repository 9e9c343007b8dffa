//! Loading, contexts, order of callbacks, ticks.

use super::*;

const STREAM: &str = "
    (func (export \"proxy_on_context_create\") (param i32 i32) (if (local.get 1) (then (call $log \"create\"))))
    (func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32) (call $log \"request\") (call $say (local.get 2)) (i32.const 0))
    (func (export \"proxy_on_request_body\") (param i32 i32 i32) (result i32) (call $log \"body\") (call $say (local.get 2)) (i32.const 0))
    (func (export \"proxy_on_response_headers\") (param i32 i32 i32) (result i32) (call $log \"response\") (i32.const 0))
    (func (export \"proxy_on_log\") (param i32) (call $log \"log\"))
    (func (export \"proxy_on_done\") (param i32) (result i32) (call $log \"done\") (i32.const 0))
    (func (export \"proxy_on_delete\") (param i32) (call $log \"delete\"))";

#[test]
fn life_04_and_10_the_order_of_callbacks() {
    let log = "create request 0 body 0 body 1 response log done delete";
    check("LIFE-04, LIFE-10", STREAM, End::Forwarded, 200, log);
    let mut http2 = exchange();
    http2.downstream.protocol = crate::exchange::Protocol::Http2;
    let outcome = start(vec![plugin(STREAM)]).exchange(&http2);
    verify(
        "LIFE-10 HTTP/2",
        &outcome,
        End::Forwarded,
        200,
        "create request 0 body 1 response log done delete",
    );
    let mut get = exchange();
    get.request.body.clear();
    let outcome = start(vec![plugin(STREAM)]).exchange(&get);
    verify(
        "LIFE-10 without a body",
        &outcome,
        End::Forwarded,
        200,
        "create request 1 response log done delete",
    );
}

#[test]
fn life_11_with_trailers_no_body_ends_the_stream() {
    let mut trailers = exchange();
    trailers.request.trailers.push("t", "1");
    let outcome = start(vec![plugin(STREAM)]).exchange(&trailers);
    verify("LIFE-11", &outcome, End::Forwarded, 200, "create request 0 body 0 response log done delete");
    assert_eq!(outcome.upstream_request.unwrap().trailers.get(b"t"), Some(&b"1"[..]));
}

#[test]
fn life_03_filters_that_were_not_reached_get_the_end() {
    let reply = "(func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32)
        (drop (call $send (i32.const 403) \"\" \"\" \"\" (i32.const -1))) (i32.const 0))";
    let outcome = start(vec![plugin(reply), plugin(STREAM)]).exchange(&exchange());
    verify("LIFE-03", &outcome, End::LocalReply, 403, "create log done delete");
}

#[test]
fn load_30_35_ids_count_up_in_a_shared_vm() {
    let code = "(func (export \"proxy_on_context_create\") (param i32 i32) (call $say (local.get 0)) (call $say (local.get 1)))";
    let (first, mut second) = (plugin(code), plugin(code));
    second.name = "q".to_owned();
    let mut replay = start(vec![first.clone(), second.clone()]);
    let roots: Vec<_> = replay.start_log().iter().map(|line| line.message.as_str()).collect();
    assert_eq!(roots, ["1", "0", "2", "0"], "LOAD-35");
    verify("LOAD-35", &replay.exchange(&exchange()), End::Forwarded, 200, "3 1 4 2");
    second.vm_id = "other".to_owned();
    verify("LOAD-30", &start(vec![first, second]).exchange(&exchange()), End::Forwarded, 200, "2 1 2 1");
}

#[test]
fn load_32_configuring_happens_in_the_canary_the_main_thread_and_the_worker() {
    let code = "(func (export \"proxy_on_configure\") (param i32 i32) (result i32)
        (drop (call $define (i32.const 0) \"configured\" (i32.const 40)))
        (call $say (call $increment (i32.load (i32.const 40)) (i64.const 1)))
        (call $say (call $increment (i32.load (i32.const 40)) (i64.const 0)))
        (call $show (call $body (i32.const 7) (i32.const 0) (i32.const 99) (i32.const 16) (i32.const 20))) (i32.const 1))";
    let replay = start(vec![plugin(code)]);
    let metric = Metric { name: "configured".to_owned(), kind: "counter", value: 3 };
    assert_eq!(replay.metrics(), [metric], "LOAD-32");
    let log: Vec<_> = replay.start_log().iter().map(|line| line.message.as_str()).collect();
    assert_eq!(log, ["0", "2", "conf"], "MET-02, LOAD-21");
}

#[test]
fn load_12_refused_starts() {
    let run = |code: &str| Replay::start(Setup { plugins: vec![plugin(code)], ..Setup::default() }).err();
    let refuse = "(call $log \"why\") (i32.const 0))";
    for (name, reason) in [
        ("proxy_on_vm_start", "Failed to start base Wasm"),
        ("proxy_on_configure", "Failed to configure base Wasm plugin"),
    ] {
        let code = format!("(func (export \"{name}\") (param i32 i32) (result i32) {refuse}");
        let line = LogLine { plugin: "p".to_owned(), level: "info", message: "why".to_owned() };
        assert_eq!(
            run(&code),
            Some(StartError::Refused { plugin: "p".to_owned(), reason, log: vec![line] }),
            "LOAD-12"
        );
    }
    let trap = run("(func (export \"proxy_on_configure\") (param i32 i32) (result i32) unreachable)");
    assert!(matches!(trap, Some(StartError::Trapped { .. })), "LOAD-12: {trap:?}");
    let restricted = run("(func (export \"_initialize\") (drop (call $tick (i32.const 1))))");
    let text = restricted.map(|error| error.to_string()).unwrap_or_default();
    assert!(
        text.contains("Function: _initialize failed: Uncaught Error: restricted_callback"),
        "LOAD-08: {text}"
    );
}

#[test]
fn tick_01_ticks_run_on_both_threads_as_time_passes() {
    let code = "(func (export \"proxy_on_configure\") (param i32 i32) (result i32) (drop (call $tick (i32.const 1000))) (i32.const 1))
        (func (export \"proxy_on_tick\") (param i32) (call $log \"tick\"))";
    let mut replay = start(vec![plugin(code)]);
    replay.advance(Duration::from_millis(2500));
    verify("TICK-01", &replay.exchange(&exchange()), End::Forwarded, 200, "tick tick tick tick");
    let mut timed = exchange();
    timed.start_ns = Some(5_000_000_000);
    replay.exchange(&timed);
    timed.start_ns = Some(6_000_000_000);
    verify("TICK-01 between exchanges", &replay.exchange(&timed), End::Forwarded, 200, "tick tick");
    replay.advance(Duration::from_secs(86_400));
    assert_eq!(replay.exchange(&exchange()).log.len(), 2002, "bounded");
}

#[test]
fn the_same_input_gives_the_same_outcome() {
    let code = "(func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32)
        (drop (call $random (i32.const 64) (i32.const 16)))
        (drop (call $add (i32.const 0) \"r\" (i32.const 64) (i32.const 16))) (i32.const 0))";
    let run = || start(vec![plugin(code)]).exchange(&exchange());
    assert_eq!(run(), run());
}
