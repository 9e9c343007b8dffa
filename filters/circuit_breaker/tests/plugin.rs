//! The whole filter on the host in memory: what a stream sees, what is counted, what is logged.

use std::time::Duration;

use circuit_breaker::CircuitBreaker;
use serde_json::{Value, json};
use weir_sdk::Status;
use weir_sdk::testing::{Host, Plugin, Seen, Stream};

/// A stream to the cluster `reviews`.
fn begin(plugin: &Plugin, lines: &[(&str, &str)]) -> (Stream, Seen) {
    begin_to(plugin, "reviews", lines)
}

fn begin_to(plugin: &Plugin, cluster: &str, lines: &[(&str, &str)]) -> (Stream, Seen) {
    let mut stream = plugin.stream();
    stream.set_attribute(&["xds", "cluster_name"], cluster);
    let base = [(":method", "GET"), (":path", "/"), (":authority", "a")];
    let all: Vec<(&str, &str)> = base.iter().chain(lines).copied().collect();
    let seen = stream.request(&all);
    (stream, seen)
}

/// Ends a stream with an answer of the upstream.
fn end(mut stream: Stream, status: i64) -> Seen {
    let seen = stream.response(&[(":status", &status.to_string())]);
    stream.set_attribute(&["response", "code"], status);
    stream.set_attribute(&["response", "code_details"], "via_upstream");
    stream.set_attribute(&["response", "flags"], 0_u64);
    stream.end();
    seen
}

/// Ends a stream as Envoy does, with flags.
fn fail(mut stream: Stream, status: i64, flags: u64) {
    stream.set_attribute(&["response", "code"], status);
    stream.set_attribute(&["response", "code_details"], "upstream_reset_before_response_started");
    stream.set_attribute(&["response", "flags"], flags);
    stream.end();
}

/// One call and its answer: whether it was let through.
fn call(plugin: &Plugin, status: i64) -> bool {
    let (stream, seen) = begin(plugin, &[]);
    let passed = seen.reply().is_none();
    if passed {
        end(stream, status);
    }
    passed
}

fn metrics<const N: usize>(host: &Host, names: [&str; N]) -> [u64; N] {
    names.map(|name| host.metric(&format!("circuit_breaker.{name}")))
}

fn lines(host: &Host) -> Vec<String> {
    let lines = host.log().into_iter().filter(|line| line.level < log_level());
    lines.map(|line| line.text).collect()
}

fn log_level() -> weir_sdk::log::Level {
    weir_sdk::log::Level::Debug
}

fn three_lines() -> Value {
    json!({"open_when": {"errors": 3, "window": {"time": "30s"}}, "open": {"duration": "3m"}})
}

#[test]
fn it_opens_stays_open_probes_and_closes() {
    let mut host = Host::new();
    let plugin = host.plugin::<CircuitBreaker>(three_lines()).unwrap();
    assert_eq!([500, 200, 503, 500].map(|status| call(&plugin, status)), [true; 4]);
    let (_, seen) = begin(&plugin, &[]);
    let reply = seen.reply().unwrap();
    assert_eq!((reply.status, reply.grpc_status, &*reply.details), (503, Some(14), "circuit_breaker_open"));
    assert_eq!(reply.body.as_slice(), b"circuit breaker open");
    assert_eq!(reply.headers, [("retry-after".into(), "180".into())]);
    assert_eq!(metrics(&host, ["opened", "open", "not_permitted", "errors", "successes"]), [1, 1, 1, 3, 1]);

    host.advance(Duration::from_millis(179_500));
    let (_, seen) = begin(&plugin, &[]);
    assert_eq!(seen.reply().unwrap().headers, [("retry-after".into(), "1".into())]);

    host.advance(Duration::from_millis(500));
    let (probe, seen) = begin(&plugin, &[]);
    assert!(seen.reply().is_none());
    assert!(!call(&plugin, 200), "one probe at a time");
    end(probe, 200);
    assert!(call(&plugin, 500));
    assert_eq!(metrics(&host, ["half_opened", "closed", "probes", "open", "half_open"]), [1, 1, 1, 0, 0]);
    assert_eq!(
        lines(&host),
        [
            "circuit `reviews`: closed → open: 3 errors in the window (4 calls); for 3m",
            "circuit `reviews`: open → half-open: the open time is over",
            "circuit `reviews`: half-open → closed: 1 probes succeeded, 0 failed",
        ]
    );
}

#[test]
fn what_is_no_answer_of_the_upstream_does_not_count() {
    let mut host = Host::new();
    let plugin = host.plugin::<CircuitBreaker>(json!({"open_when": {"consecutive_errors": 1}})).unwrap();
    // Clients that left, another filter's answer, Envoy's own overflow, a stream that never came here.
    for flags in [0x4000, 0x1000_0000, 0x400, 0x80] {
        let (stream, _) = begin(&plugin, &[]);
        fail(stream, 503, flags);
    }
    fail(plugin.stream(), 503, 0x20);
    assert_eq!(metrics(&host, ["opened", "errors", "ignored"]), [0, 0, 4]);
    let (stream, _) = begin(&plugin, &[]);
    fail(stream, 503, 0x20);
    // Nor do answers of its own.
    assert!(!call(&plugin, 200) && !call(&plugin, 200));
    assert_eq!(metrics(&host, ["opened", "errors", "ignored"]), [1, 1, 4]);
}

#[test]
fn a_probe_whose_client_leaves_gives_its_slot_back() {
    let mut host = Host::new();
    let plugin = host
        .plugin::<CircuitBreaker>(json!({"open_when": {"consecutive_errors": 1}, "open": {"duration": "1s"},
            "probes": {"calls": 2, "max_concurrent": 1, "lease": "10s"}}))
        .unwrap();
    call(&plugin, 500);
    host.advance(Duration::from_secs(1));
    let (left, _) = begin(&plugin, &[]);
    assert!(!call(&plugin, 200));
    fail(left, 0, 0x4000);
    let (never_ends, seen) = begin(&plugin, &[]);
    assert!(seen.reply().is_none());
    host.advance(Duration::from_secs(9));
    assert!(!call(&plugin, 200));
    host.advance(Duration::from_secs(1));
    assert!(call(&plugin, 200));
    // Too late: the slot was another's.
    end(never_ends, 500);
    assert_eq!(metrics(&host, ["probes", "probes_lost", "late", "half_open"]), [3, 2, 1, 1]);
    assert!(call(&plugin, 200) && call(&plugin, 200));
    assert_eq!(metrics(&host, ["opened", "closed", "half_open", "open"]), [1, 1, 0, 0]);
}

#[test]
fn results_from_before_an_opening_are_late() {
    let mut host = Host::new();
    let plugin = host
        .plugin::<CircuitBreaker>(json!({"open_when": {"consecutive_errors": 2}, "open": {"duration": "1s"}}))
        .unwrap();
    let streams: Vec<Stream> = (0..5).map(|_| begin(&plugin, &[]).0).collect();
    for stream in streams {
        end(stream, 500);
    }
    assert_eq!(metrics(&host, ["opened", "late", "errors"]), [1, 3, 5]);
}

#[test]
fn each_cluster_and_tenant_has_its_own() {
    let mut host = Host::new();
    let plugin = host
        .plugin::<CircuitBreaker>(
            json!({"open_when": {"consecutive_errors": 1}, "key": [{"header": "x-tenant"}]}),
        )
        .unwrap();
    let passes = |cluster, tenant, status| {
        let (stream, seen) = begin_to(&plugin, cluster, &[("x-tenant", tenant)]);
        let passed = seen.reply().is_none();
        if passed {
            end(stream, status);
        }
        passed
    };
    assert!(passes("a", "one\nline", 500));
    assert!(!passes("a", "one\nline", 200) && passes("a", "two", 200) && passes("b", "one\nline", 200));
    assert_eq!(lines(&host), ["circuit `a / one\\nline`: closed → open: 1 consecutive errors; for 30s"]);
    let mut stream = plugin.stream();
    stream.request(&[(":method", "GET")]);
    assert_eq!(metrics(&host, ["no_key", "open"]), [1, 1]);
}

#[test]
fn idle_circuits_make_room_and_others_do_not() {
    let mut host = Host::new();
    let config = json!({"open_when": {"consecutive_errors": 1}, "max_keys": 2, "open": {"duration": "1d"}});
    let plugin = host.plugin::<CircuitBreaker>(config).unwrap();
    let passes = |cluster, status| {
        let (stream, seen) = begin_to(&plugin, cluster, &[]);
        let passed = seen.reply().is_none();
        if passed {
            end(stream, status);
        }
        passed
    };
    assert!(passes("a", 500) && passes("b", 200));
    assert!(passes("c", 500) && passes("c", 500), "no room: passes");
    assert_eq!(metrics(&host, ["no_room", "opened"]), [2, 1]);
    host.advance(Duration::from_secs(60 * 60 * 24 - 1));
    assert!(passes("b", 200) && passes("c", 500) && passes("c", 500), "used a moment ago");
    assert!(!passes("a", 200), "an open circuit keeps its place");
}

#[test]
fn a_place_is_given_away_when_its_circuit_was_not_used() {
    let mut host = Host::new();
    let config = json!({"open_when": {"consecutive_errors": 1}, "max_keys": 1, "open": {"duration": "1s"}});
    let plugin = host.plugin::<CircuitBreaker>(config).unwrap();
    let (old, _) = begin_to(&plugin, "a", &[]);
    host.advance(Duration::from_secs(61));
    let (new, _) = begin_to(&plugin, "b", &[]);
    // The call of the one before says nothing about this one.
    end(old, 500);
    assert_eq!(metrics(&host, ["opened", "late", "no_room"]), [0, 1, 0]);
    end(new, 500);
    assert_eq!(metrics(&host, ["opened", "late"]), [1, 1]);
}

#[test]
fn calls_under_way_are_limited() {
    let mut host = Host::new();
    let plugin = host.plugin::<CircuitBreaker>(json!({"concurrency": {"max": 2}})).unwrap();
    let (one, _) = begin(&plugin, &[]);
    let (two, _) = begin(&plugin, &[]);
    let (_, seen) = begin(&plugin, &[]);
    assert_eq!(seen.reply().map(|reply| &*reply.details), Some("reached_concurrency_limit"));
    end(one, 200);
    fail(two, 0, 0x4000);
    let (_one, seen) = begin(&plugin, &[]);
    assert!(seen.reply().is_none());
    let (_two, seen) = begin(&plugin, &[]);
    assert!(seen.reply().is_none());
    assert_eq!(metrics(&host, ["concurrency_limited", "not_permitted"]), [1, 0]);
}

#[test]
fn a_request_waits_for_room_or_is_refused() {
    let mut host = Host::new();
    let config = json!({"concurrency": {"max": 1, "max_wait": "50ms", "max_waiting": 2}});
    let plugin = host.plugin::<CircuitBreaker>(config).unwrap();
    let (one, _) = begin(&plugin, &[]);
    let (two, seen) = begin(&plugin, &[]);
    assert_eq!(seen.outcome, weir_sdk::testing::Outcome::Waiting);
    let (three, _) = begin(&plugin, &[]);
    let (_, seen) = begin(&plugin, &[]);
    assert!(seen.reply().is_some(), "no more than two wait");
    // One that waits leaves, and makes room for another that waits.
    fail(three, 0, 0x4000);
    let (four, seen) = begin(&plugin, &[]);
    assert_eq!(seen.outcome, weir_sdk::testing::Outcome::Waiting);
    host.advance(Duration::from_millis(20));
    end(one, 200);
    host.advance(Duration::from_millis(10));
    assert!(two.seen_request().reply().is_none());
    host.advance(Duration::from_millis(30));
    assert_eq!(four.seen_request().reply().map(|reply| &*reply.details), Some("reached_concurrency_limit"));
    end(two, 200);
    assert!(call(&plugin, 200));
    assert_eq!(metrics(&host, ["waited", "concurrency_limited", "successes"]), [3, 2, 3]);
}

#[test]
fn a_fallback_gets_what_is_not_let_through_and_clients_may_ask_for_it() {
    let mut host = Host::new();
    let config = json!({"open_when": {"consecutive_errors": 1},
        "fallback": {"request_header": {"name": "x-breaker-fallback", "value": "static"}},
        "export": {"request_header": "x-breaker", "response_header": "x-breaker"}});
    let plugin = host.plugin::<CircuitBreaker>(config).unwrap();
    let (stream, seen) = begin(&plugin, &[("x-breaker", "open")]);
    assert_eq!((seen.header("x-breaker-fallback"), seen.header("x-breaker")), (None, None));
    assert_eq!(end(stream, 500).header("x-breaker"), None);
    let (stream, seen) = begin(&plugin, &[]);
    assert_eq!(seen.header("x-breaker-fallback"), Some("static"));
    assert_eq!(seen.header("x-breaker"), Some("open;retry-after=30"));
    assert_eq!(end(stream, 500).header("x-breaker"), Some("open;retry-after=30"));
    assert_eq!(metrics(&host, ["fallback", "not_permitted", "errors"]), [1, 1, 1]);
    let (stream, seen) = begin(&plugin, &[("x-breaker-fallback", "admin"), ("x-breaker", "open")]);
    assert_eq!((seen.header("x-breaker-fallback"), seen.header("x-breaker")), (Some("static"), None));
    end(stream, 500);
    assert_eq!(metrics(&host, ["fallback_asked", "fallback", "errors"]), [1, 1, 1]);
}

#[test]
fn a_dry_run_lets_all_through() {
    let mut host = Host::new();
    let config = json!({"open_when": {"consecutive_errors": 1}, "dry_run": true});
    let plugin = host.plugin::<CircuitBreaker>(config).unwrap();
    assert_eq!([500, 500, 200].map(|status| call(&plugin, status)), [true; 3]);
    assert_eq!(metrics(&host, ["opened", "not_permitted", "dry_run.not_permitted"]), [1, 0, 2]);
}

#[test]
fn states_can_be_forced() {
    let mut host = Host::new();
    let open =
        host.plugin_named::<CircuitBreaker>("one", json!({"force": "OPEN", "stat_prefix": "one"})).unwrap();
    let closed = json!({"force": "CLOSED", "open_when": {"consecutive_errors": 1}, "stat_prefix": "two"});
    let closed = host.plugin_named::<CircuitBreaker>("two", closed).unwrap();
    assert!(!call(&open, 200));
    assert_eq!([500, 500].map(|status| call(&closed, status)), [true; 2]);
    assert_eq!(
        [host.metric("one.not_permitted"), host.metric("two.errors"), host.metric("two.opened")],
        [1, 2, 0]
    );
}

#[test]
fn a_host_that_refuses_stops_nobody() {
    let mut host = Host::new();
    let plugin = host.plugin::<CircuitBreaker>(json!({"open_when": {"consecutive_errors": 1}})).unwrap();
    for refused in ["proxy_get_shared_data", "proxy_set_shared_data", "proxy_get_current_time_nanoseconds"] {
        host.fail(refused, Status::InternalFailure);
        assert!(call(&plugin, 200), "{refused}");
        host.heal();
    }
}

#[test]
fn foreign_bytes_in_shared_data_stop_nobody() {
    let mut host = Host::new();
    let config = json!({"open_when": {"consecutive_errors": 1}, "max_keys": 1});
    let plugin = host.plugin::<CircuitBreaker>(config).unwrap();
    for bytes in [&b""[..], b"x", &[0; 40], &[0xff; 4000]] {
        host.set_shared_data("circuit_breaker.v1.test.circuit_breaker.0", bytes);
        host.advance(Duration::from_secs(1));
        assert!(call(&plugin, 200), "{bytes:?}");
    }
    assert!(call(&plugin, 500) && !call(&plugin, 200));
}
