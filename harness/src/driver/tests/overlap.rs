//! Streams that overlap: timers, order and attribution, resuming by others, traps, timeouts, clients that leave, answers that come late.

use super::*;
use crate::outcome::CalloutEnd;

const REQUEST: &str = "func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32)";
const ANSWERED: &str = "func (export \"proxy_on_http_call_response\") (param i32 i32 i32 i32 i32)";
const TICK: &str = "func (export \"proxy_on_tick\") (param i32)";

/// Holds every request for seven seconds, in a queue of `[due, context]`; the tick runs only as long as somebody waits.
const TIMER: &str = r#"
    (global $head (mut i32) (i32.const 131072)) (global $tail (mut i32) (i32.const 131072))
    (func $time (result i64) (drop (call $now (i32.const 24))) (i64.load (i32.const 24)))
    (func (export "proxy_on_configure") (param i32 i32) (result i32) (drop (memory.grow (i32.const 8))) (i32.const 1))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (if (i32.eq (global.get $head) (global.get $tail)) (then (drop (call $tick (i32.const 25)))))
        (i64.store (global.get $tail) (i64.add (call $time) (i64.const 7000000000)))
        (i32.store (i32.add (global.get $tail) (i32.const 8)) (local.get 0))
        (global.set $tail (i32.add (global.get $tail) (i32.const 16)))
        (i32.const 1))
    (func (export "proxy_on_tick") (param i32)
        (block $done (loop $next
            (br_if $done (i32.eq (global.get $head) (global.get $tail)))
            (br_if $done (i64.gt_u (i64.load (global.get $head)) (call $time)))
            (if (i32.eqz (call $effective (i32.load (i32.add (global.get $head) (i32.const 8)))))
                (then (call $log "woken") (drop (call $continue (i32.const 0)))))
            (global.set $head (i32.add (global.get $head) (i32.const 16)))
            (br $next)))
        (drop (call $effective (i32.const 0)))
        (if (i32.eq (global.get $head) (global.get $tail)) (then (drop (call $tick (i32.const 0))))))"#;

/// A pairs block with the three headers that a call needs.
const CALL: &str = "\"\\03\\00\\00\\00\\07\\00\\00\\00\\03\\00\\00\\00\\05\\00\\00\\00\\01\\00\\00\\00\\0a\\00\\00\\00\\01\\00\\00\\00:method\\00GET\\00:path\\00/\\00:authority\\00a\\00\"";

const MS: u64 = 1_000_000;

/// An exchange that begins so many milliseconds after the first.
fn at(milliseconds: u64) -> Exchange {
    let start_ns = Some(1_000_000_000_000 + milliseconds * MS);
    Exchange { origin: format!("at {milliseconds}"), start_ns, ..exchange() }
}

fn milliseconds(duration: Duration) -> u128 {
    duration.as_millis()
}

/// What comes of exchanges, in the order of the input.
fn replay(plugins: Vec<Plugin>, exchanges: Vec<Exchange>) -> Vec<Outcome> {
    let origins: Vec<_> = exchanges.iter().map(|exchange| exchange.origin.clone()).collect();
    let (got, outcomes): (Vec<_>, Vec<_>) =
        start(plugins).outcomes(exchanges).map(|(exchange, outcome)| (exchange.origin, outcome)).unzip();
    assert_eq!(got, origins, "the order of the input");
    outcomes
}

#[test]
fn ten_thousand_streams_wait_at_once_and_each_begins_at_its_time() {
    let outcomes = replay(vec![plugin(TIMER)], (0..10_000).map(|number| at(number / 10)).collect());
    for (number, outcome) in (0..).zip(&outcomes) {
        assert_eq!(milliseconds(outcome.start), number / 10);
        let delay = milliseconds(outcome.delay);
        assert!((7000..7025).contains(&delay), "{number} was held for {delay} ms");
        assert_eq!((outcome.end, logged(outcome).as_str()), (End::Forwarded, "woken"));
    }
    assert_eq!(outcomes.len(), 10_000);
}

#[test]
fn memory_is_used_again() {
    let mut replay = start(vec![plugin(TIMER)]);
    let mut most = 0;
    for number in 0..2000 {
        replay.begin(at(number * 700), Begin::Recorded);
        while replay.next_ready().is_some() {}
        most = most.max(replay.in_flight.len());
    }
    while replay.next_outcome().is_some() {}
    assert_eq!((most, replay.in_flight.len()), (10, 0));
    assert_eq!(replay.free.len(), 10, "as many slots as streams were in flight at once");
}

#[test]
fn two_runs_are_equal() {
    let random = format!(
        "({REQUEST} (drop (call $random (i32.const 64) (i32.const 16)))
            (drop (call $add (i32.const 0) \"r\" (i32.const 64) (i32.const 16))) (i32.const 0))"
    );
    let run =
        || replay(vec![plugin(&random), plugin(TIMER)], (0..500).map(|number| at(number * 7 % 50)).collect());
    assert_eq!(run(), run());
}

#[test]
fn who_begins_earlier_begins_earlier_whatever_the_order_of_the_lines() {
    let log = format!("({REQUEST} (call $say (i32.sub (local.get 0) (i32.const 2))) (i32.const 0))");
    let outcomes = replay(vec![plugin(&log)], vec![at(20), at(10), at(0), at(30)]);
    let seen: Vec<_> =
        outcomes.iter().map(|outcome| (logged(outcome), milliseconds(outcome.start))).collect();
    let want = [("2", 20), ("1", 10), ("0", 0), ("3", 30)];
    assert_eq!(seen, want.map(|(log, start)| (log.to_owned(), start)));
}

#[test]
fn a_second_recording_begins_where_the_first_had_come_to() {
    let mut replay = start(Vec::new());
    for (recording, times) in [[5000, 6000], [0, 500], [7000, 9000]].iter().enumerate() {
        if recording > 0 {
            replay.begin_recording();
        }
        for time in times {
            replay.begin(at(*time), Begin::Recorded);
        }
    }
    let mut starts = Vec::new();
    while let Some((_, outcome)) = replay.next_outcome() {
        starts.push(milliseconds(outcome.start));
    }
    assert_eq!(starts, [0, 1000, 1000, 1500, 8000, 10_000]);
}

#[test]
fn exchanges_begin_after_others_began_or_were_over() {
    let mut replay = start(vec![plugin(TIMER)]);
    let begins = [
        Begin::Next,
        Begin::After(Duration::from_millis(50)),
        Begin::After(Duration::from_millis(50)),
        Begin::Next,
        Begin::After(Duration::ZERO),
    ];
    for begin in begins {
        replay.begin(at(0), begin);
    }
    let mut starts = Vec::new();
    while let Some((_, outcome)) = replay.next_outcome() {
        starts.push(milliseconds(outcome.start));
    }
    // The tick of 25 ms runs since the first began.
    assert_eq!(starts, [0, 50, 100, 7100, 7100]);
}

#[test]
fn exchanges_without_times_follow_each_other() {
    let untimed = || Exchange { start_ns: None, ..exchange() };
    let outcomes = replay(vec![plugin(TIMER)], vec![untimed(), untimed()]);
    let starts = outcomes.iter().map(|outcome| milliseconds(outcome.start));
    assert_eq!(starts.collect::<Vec<_>>(), [0, 7000]);
}

#[test]
fn flow_18_a_stream_is_resumed_from_the_callback_of_another() {
    // The first waits; the second resumes it, and reads and answers in its name.
    let code = format!(
        "(global $first (mut i32) (i32.const 0))
        ({REQUEST}
            (if (i32.eqz (global.get $first)) (then (global.set $first (local.get 0)) (return (i32.const 1))))
            (drop (call $effective (global.get $first)))
            (call $log \"by the second\")
            (call $show (call $get_ (i32.const 0) \"who\" (i32.const 16) (i32.const 20)))
            (drop (call $add (i32.const 0) \"x-go\" \"blue\"))
            (drop (call $continue (i32.const 0)))
            (drop (call $effective (i32.const 0)))
            (call $show (call $get_ (i32.const 0) \"who\" (i32.const 16) (i32.const 20)))
            (i32.const 0))"
    );
    let [mut first, mut second] = [at(0), at(2000)];
    first.request.headers.push("who", "one");
    second.request.headers.push("who", "two");
    let outcomes = replay(vec![plugin(&code)], vec![first, second]);
    verify("FLOW-18", &outcomes[0], End::Forwarded, 200, "by the second one");
    verify("FLOW-18", &outcomes[1], End::Forwarded, 200, "two");
    assert_eq!(outcomes[0].cluster.as_deref(), Some("blue"), "HDR-40");
    assert_eq!([&outcomes[0], &outcomes[1]].map(|outcome| milliseconds(outcome.delay)), [2000, 0]);
}

#[test]
fn flow_04_a_reply_to_another_stream_leaves_the_own_one_stopped() {
    let code = format!(
        "(global $first (mut i32) (i32.const 0))
        ({REQUEST}
            (if (i32.eqz (global.get $first)) (then (global.set $first (local.get 0)) (return (i32.const 1))))
            (drop (call $effective (global.get $first)))
            (drop (call $send (i32.const 418) \"\" \"tea\" \"\" (i32.const -1)))
            (i32.const 0))"
    );
    let outcomes = replay(vec![plugin(&code)], vec![at(0), at(10)]);
    verify("FLOW-22", &outcomes[0], End::LocalReply, 418, "");
    verify("FLOW-04", &outcomes[1], End::Stalled, 504, "");
}

#[test]
fn fault_06_a_trap_leaves_the_waiting_to_their_timers() {
    let code = format!(
        "{TIMER}
        (func (export \"proxy_on_request_body\") (param i32 i32 i32) (result i32) unreachable)"
    );
    let mut plugin = plugin(&code);
    plugin.allow_on_headers_stop_iteration = true;
    let bodiless = |time: u64| {
        let mut exchange = at(time);
        exchange.request.body.clear();
        exchange
    };
    // Of the second the body callback runs, and traps.
    let outcomes = replay(vec![plugin], vec![bodiless(0), at(1000), bodiless(2000)]);
    assert_eq!(
        outcomes[0].end,
        End::Trapped,
        "the timer's reply meets the failed filter: {:#?}",
        outcomes[0]
    );
    assert_eq!(
        (outcomes[0].details.as_str(), milliseconds(outcomes[0].delay)),
        ("wasm_fail_stream", 300_000)
    );
    assert_eq!(outcomes[0].faults.len(), 2, "held, and failed: {:?}", outcomes[0].faults);
    assert_eq!((outcomes[1].end, milliseconds(outcomes[1].delay)), (End::Trapped, 0), "FAULT-03");
    assert_eq!((outcomes[2].end, milliseconds(outcomes[2].delay)), (End::Trapped, 0), "FAULT-04");
}

/// How long streams are held, which timer ends them, and what is left of it.
#[test]
fn flow_30_timeouts_of_the_connection_manager() {
    let second = Duration::from_secs(1);
    let rows = [
        // Headers, then all of the body: nothing more happens.
        (
            Timeouts { stream_idle: 5 * second, ..Timeouts::default() },
            End::Stalled,
            504,
            "stream_idle_timeout",
            5000,
        ),
        (
            Timeouts { stream_idle: Duration::ZERO, ..Timeouts::default() },
            End::Forwarded,
            200,
            "via_upstream",
            7000,
        ),
        (
            Timeouts { request: 3 * second, ..Timeouts::default() },
            End::Stalled,
            504,
            "request_overall_timeout",
            3000,
        ),
        (Timeouts { request: 9 * second, ..Timeouts::default() }, End::Forwarded, 200, "via_upstream", 7000),
    ];
    for (timeouts, end, status, details, delay) in rows {
        let setup = Setup { plugins: vec![plugin(TIMER)], timeouts, ..Setup::default() };
        let outcome = start_with(setup).exchange(&at(0));
        let log = if end == End::Forwarded { "woken" } else { "" };
        verify(&format!("{timeouts:?}"), &outcome, end, status, log);
        assert_eq!((outcome.details.as_str(), milliseconds(outcome.delay)), (details, delay), "{timeouts:?}");
    }
}

#[test]
fn a_route_has_an_idle_timeout_of_its_own() {
    let route = json!({"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [
        {"match": {"prefix": "/"}, "route": {"cluster": "up", "idle_timeout": "2s"}},
    ]}]});
    let routes = Some(RouteTable::from_value(&route).unwrap());
    let setup = Setup { plugins: vec![plugin(TIMER)], routes, ..Setup::default() };
    let outcome = start_with(setup).exchange(&at(0));
    verify("FLOW-30", &outcome, End::Stalled, 504, "");
    assert_eq!(milliseconds(outcome.delay), 2000);
}

#[test]
fn life_12_a_client_leaves() {
    let ends = "(func (export \"proxy_on_log\") (param i32) (call $log \"log\")
            (call $show (call $property \"response\\00code_details\" (i32.const 16) (i32.const 20)))
            (call $say (call $property \"response\\00code\" (i32.const 16) (i32.const 20))))
        (func (export \"proxy_on_done\") (param i32) (result i32) (call $log \"done\") (i32.const 0))
        (func (export \"proxy_on_delete\") (param i32) (call $log \"delete\"))";
    let leaving = Exchange { abort_after: Some(Duration::from_millis(100)), ..at(0) };
    let outcomes = replay(vec![plugin(&format!("{TIMER} {ends}"))], vec![leaving.clone(), at(10)]);
    verify("LIFE-12", &outcomes[0], End::Aborted, 0, "log downstream_remote_disconnect 1 done delete");
    assert_eq!((outcomes[0].flags.as_str(), milliseconds(outcomes[0].duration)), ("DC", 100));
    assert_eq!(
        (outcomes[1].end, milliseconds(outcomes[1].delay)),
        (End::Forwarded, 7015),
        "nobody else is touched"
    );
    // Who is answered before does not leave.
    let outcome = start(Vec::new()).exchange(&leaving);
    verify("LIFE-12", &outcome, End::Forwarded, 200, "");
}

#[test]
fn call_08_an_answer_comes_after_the_end_of_the_stream() {
    let code = format!(
        "({REQUEST} (drop (call $call \"late\" {CALL} \"\" \"\" (i32.const 1000) (i32.const 40))) (i32.const 0))
        ({ANSWERED} (call $log \"answered\"))"
    );
    let mut replay = start(vec![plugin(&code)]);
    let outcome = replay.exchange(&at(0));
    verify("CALL-08", &outcome, End::Forwarded, 200, "");
    assert_eq!(outcome.callouts[0].end, CalloutEnd::Pending);
    let outcome = replay.exchange(&at(10_000));
    verify("the answer of the first is no matter of the second", &outcome, End::Forwarded, 200, "");
    replay.finish();
    let log: Vec<_> = replay.apart().log.into_iter().map(|line| line.message).collect();
    assert_eq!(log, ["answered", "answered"], "both, the second in the time that `finish` lets pass");
}

#[test]
fn call_05_an_answer_belongs_to_the_exchange_that_called() {
    // Both call and wait; the answers come while both are in flight.
    let code = format!(
        "({REQUEST} (drop (call $call \"late\" {CALL} \"\" \"\" (i32.const 1000) (i32.const 40))) (i32.const 1))
        ({ANSWERED} (call $say (i32.shr_u (local.get 1) (i32.const 2)))
            (drop (call $effective (i32.add (i32.shr_u (local.get 1) (i32.const 2)) (i32.const 1))))
            (drop (call $continue (i32.const 0))))"
    );
    let outcomes = replay(vec![plugin(&code)], vec![at(0), at(10)]);
    verify("the first", &outcomes[0], End::Forwarded, 200, "1");
    verify("the second", &outcomes[1], End::Forwarded, 200, "2");
    assert_eq!(outcomes.iter().map(|outcome| milliseconds(outcome.delay)).collect::<Vec<_>>(), [100, 100]);
}

#[test]
fn a_tick_belongs_to_the_only_stream_to_the_next_or_to_none() {
    let code = format!(
        "(func (export \"proxy_on_configure\") (param i32 i32) (result i32) (drop (call $tick (i32.const 1000))) (i32.const 1))
        ({REQUEST} (i32.const 1)) ({TICK} (call $log \"tick\"))"
    );
    let setup = |idle| {
        let timeouts = Timeouts { stream_idle: Duration::from_millis(idle), ..Timeouts::default() };
        start_with(Setup { plugins: vec![plugin(&code)], timeouts, ..Setup::default() })
    };
    // Ticks run on the main thread and on the worker.
    let mut replay = setup(500);
    let logs = [at(0), at(700), at(2600)].map(|exchange| logged(&replay.exchange(&exchange)));
    assert_eq!(logs, ["", "tick tick", "tick tick tick tick"]);
    let mut replay = setup(1200);
    let logs: Vec<_> = replay.outcomes([at(0), at(600)]).map(|(_, outcome)| logged(&outcome)).collect();
    assert_eq!(logs, ["", ""]);
    assert_eq!(replay.apart().log.len(), 2);
}
