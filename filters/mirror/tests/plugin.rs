//! The whole filter on the host in memory: what is sent, what is counted, what is logged, and what is given back.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "plugin/compare.rs"]
mod compare;
#[path = "plugin/record.rs"]
mod record;

use std::time::Duration;

use mirror::Mirror;
use serde_json::{Value, json};
use weir_sdk::testing::{Host, Outcome, Plugin, Stream};
use weir_sdk::{Callout, CalloutReply, HeaderMap, Status};

const POST: [(&str, &str); 4] =
    [(":method", "POST"), (":path", "/orders?a=1"), (":authority", "orders"), ("x-request-id", "r1")];
const GET: [(&str, &str); 3] = [(":method", "GET"), (":path", "/"), (":authority", "a")];

fn start(config: Value) -> (Host, Plugin) {
    let mut host = Host::new();
    let plugin = host.plugin::<Mirror>(config).unwrap();
    (host, plugin)
}

fn target(options: Value) -> Value {
    let mut target = options;
    target["cluster"] = json!("shadow");
    target["name"] = json!("t");
    json!({"targets": [target]})
}

fn stream(plugin: &Plugin) -> Stream {
    let mut stream = plugin.stream();
    stream.set_attribute(&["xds", "cluster_name"], "primary");
    stream
}

fn get(plugin: &Plugin) {
    let mut stream = stream(plugin);
    assert_eq!(stream.request(&GET).outcome, Outcome::Continued);
    stream.response(&[(":status", "200")]);
    stream.end();
}

fn ok() -> CalloutReply {
    let headers = HeaderMap::from_iter([("x-envoy-upstream-service-time", "1")]);
    CalloutReply { status: Some(200), headers, ..CalloutReply::default() }
}

fn line<'a>(callout: &'a Callout, name: &str) -> Option<&'a [u8]> {
    callout.headers.iter().find(|(key, _)| &**key == name).map(|(_, value)| value.as_slice())
}

#[track_caller]
fn metrics(host: &Host, want: &[(&str, u64)]) {
    for (name, value) in want {
        assert_eq!(host.metric(&format!("mirror.t.{name}")), *value, "{name}");
    }
}

#[test]
fn a_copy_has_body_and_trailers_and_outlives_its_request() {
    let (mut host, plugin) = start(target(json!({"methods": ["POST"]})));
    let mut stream = stream(&plugin);
    stream.request_headers(&POST);
    for part in ["one ", "two"] {
        assert_eq!(stream.request_body(part, false).outcome, Outcome::Continued);
        assert_eq!(host.callouts(), []);
    }
    stream.request_trailers(&[("x-sum", "7")]);
    stream.response(&[(":status", "200")]);
    stream.end();
    let copy = &host.callouts()[0];
    assert_eq!((&*copy.cluster, copy.body.as_slice()), ("shadow", &b"one two"[..]));
    assert_eq!(line(copy, ":path"), Some(&b"/orders?a=1"[..]));
    assert_eq!((line(copy, "x-shadow"), line(copy, "x-request-id")), (Some(&b"1"[..]), Some(&b"r1"[..])));
    assert_eq!((&*copy.trailers[0].0, copy.trailers[0].1.as_slice()), ("x-sum", &b"7"[..]));
    metrics(&host, &[("sent", 1), ("bytes", 7), ("in_flight", 1), ("answered", 0)]);
    host.answer(ok());
    metrics(&host, &[("sent", 1), ("in_flight", 0), ("answered", 1), ("answered_5xx", 0)]);
    assert_eq!(host.log().last().unwrap().text, "decision: t: copied");
}

#[test]
fn answers_are_told_apart() {
    let (mut host, plugin) = start(target(json!({"timeout": "2s"})));
    for _ in 0..4 {
        get(&plugin);
    }
    host.answer(CalloutReply { status: Some(503), ..ok() });
    host.answer(CalloutReply { status: Some(503), ..CalloutReply::default() });
    host.answer(CalloutReply::default());
    host.advance(Duration::from_secs(2));
    metrics(
        &host,
        &[("answered", 1), ("answered_5xx", 1), ("failed", 2), ("timed_out", 1), ("in_flight", 0)],
    );
    assert_eq!(host.histogram("mirror.t.latency_ms"), [0, 0, 0, 2000]);
}

#[test]
fn a_client_that_leaves_in_the_middle_leaves_nothing_behind() {
    let (host, plugin) = start(target(json!({"methods": ["*"], "body": {"max_bytes": 100}})));
    let mut stream = stream(&plugin);
    stream.request_headers(&POST);
    stream.request_body("half", false);
    stream.end();
    assert_eq!(host.callouts(), []);
    metrics(&host, &[("sent", 0), ("skipped_incomplete", 1), ("in_flight", 0)]);
    assert_eq!(host.log().last().unwrap().text, "decision: t: not copied, the request never came to its end");
}

#[test]
fn never_more_in_flight_than_may_be() {
    let (mut host, plugin) = start(target(json!({"max_in_flight": 3})));
    for _ in 0..5 {
        get(&plugin);
    }
    metrics(&host, &[("sent", 3), ("skipped_in_flight", 2), ("in_flight", 3)]);
    host.answer(ok());
    get(&plugin);
    get(&plugin);
    metrics(&host, &[("sent", 4), ("skipped_in_flight", 3), ("in_flight", 3)]);
    // A plugin that goes takes its copies' answers with it, and gives back their places.
    plugin.end();
    metrics(&host, &[("in_flight", 0)]);
}

#[test]
fn never_more_in_a_time_than_may_be() {
    let (mut host, plugin) = start(target(json!({"rate": {"max_tokens": 2, "fill_interval": "10s"}})));
    for _ in 0..3 {
        get(&plugin);
    }
    metrics(&host, &[("sent", 2), ("skipped_rate", 1), ("in_flight", 2)]);
    host.advance(Duration::from_secs(10));
    get(&plugin);
    get(&plugin);
    metrics(&host, &[("sent", 3), ("skipped_rate", 2)]);
}

#[test]
fn a_cluster_that_is_not_there_is_counted_and_said_once() {
    let (mut host, plugin) = start(target(json!({})));
    for status in [Status::BadArgument, Status::InternalFailure] {
        host.fail("proxy_http_call", status);
        get(&plugin);
    }
    metrics(&host, &[("sent", 0), ("skipped_refused", 2), ("in_flight", 0)]);
    let warnings = host.log().into_iter().filter(|line| line.level == weir_sdk::log::Level::Warn).count();
    assert_eq!(warnings, 1);
}

#[test]
fn no_refusal_of_the_host_stops_a_request() {
    let calls = [
        "proxy_http_call",
        "proxy_get_header_map_pairs",
        "proxy_get_buffer_bytes",
        "proxy_get_property",
        "proxy_get_metric",
        "proxy_increment_metric",
        "proxy_get_shared_data",
        "proxy_set_shared_data",
        "proxy_get_current_time_nanoseconds",
        "proxy_log",
    ];
    let options = json!({"methods": ["*"], "rate": {"max_tokens": 9}, "back_off": {}, "percentage": 99});
    for call in calls {
        for status in [Status::NotFound, Status::BadArgument, Status::InternalFailure, Status::Other(77)] {
            let (mut host, plugin) = start(target(options.clone()));
            host.fail(call, status);
            let mut stream = stream(&plugin);
            stream.request_headers(&POST);
            stream.request_body("x", false);
            let seen = stream.request_trailers(&[("a", "b")]);
            assert_eq!(
                (seen.outcome, seen.body.as_slice()),
                (Outcome::Continued, &b"x"[..]),
                "{call} {status}"
            );
            assert_eq!(stream.response(&[(":status", "200")]).header(":status"), Some("200"));
            stream.end();
        }
    }
}

#[test]
fn memory_has_an_end_and_comes_back() {
    let mut config = target(json!({"methods": ["*"], "body": {"max_bytes": 1000}}));
    config["max_held_bytes"] = json!(1200);
    let (host, plugin) = start(config);
    let mut first = stream(&plugin);
    first.request_headers(&POST);
    first.request_body([0; 700], false);
    let mut second = stream(&plugin);
    second.request_headers(&POST);
    second.request_body([0; 700], true);
    metrics(&host, &[("sent", 0), ("skipped_memory", 1)]);
    first.request_body([0; 300], true);
    metrics(&host, &[("sent", 1), ("skipped_memory", 1)]);
    let mut third = stream(&plugin);
    third.request_headers(&POST);
    third.request_body([0; 700], true);
    metrics(&host, &[("sent", 2), ("bytes", 1700), ("skipped_memory", 1)]);
}

#[test]
fn a_target_that_suffers_gets_less_and_comes_back() {
    let back_off = json!({"min_samples": 4, "halvings": 0, "pause": "60s"});
    let (mut host, plugin) = start(target(json!({"timeout": "1s", "back_off": back_off})));
    for _ in 0..4 {
        get(&plugin);
    }
    host.advance(Duration::from_secs(1));
    get(&plugin);
    metrics(&host, &[("sent", 4), ("timed_out", 4), ("skipped_back_off", 1)]);
    host.advance(Duration::from_secs(60));
    get(&plugin);
    metrics(&host, &[("sent", 5), ("skipped_back_off", 1)]);
    let said: Vec<_> =
        host.log().into_iter().filter(|line| line.level == weir_sdk::log::Level::Info).collect();
    assert_eq!(said[0].text, "target `t`: gets nothing for a time");
}

#[test]
fn a_dry_run_counts_and_sends_nothing() {
    let mut config = target(json!({"methods": ["*"]}));
    config["dry_run"] = json!(true);
    let (host, plugin) = start(config);
    let mut stream = stream(&plugin);
    stream.request_headers(&POST);
    stream.request_body("body", true);
    stream.end();
    assert_eq!(host.callouts(), []);
    assert_eq!((host.metric("mirror.dry_run.t.sent"), host.metric("mirror.dry_run.t.bytes")), (1, 4));
    assert_eq!(host.log().last().unwrap().text, "decision: t: would be copied");
}
