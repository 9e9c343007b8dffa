//! Comparison of answers: whichever comes last, and whatever does not come.

use std::time::Duration;

use serde_json::{Value, json};
use weir_sdk::testing::{Host, Plugin};
use weir_sdk::{CalloutReply, HeaderMap};

use super::{GET, line, metrics, start, stream, target};

fn json_answer(status: u16, body: &str) -> CalloutReply {
    let headers = [("content-type", "application/json"), ("x-envoy-upstream-service-time", "1")];
    CalloutReply { status: Some(status), headers: HeaderMap::from_iter(headers), body: body.into() }
}

fn compared(mut options: Value) -> Value {
    if options.get("compare").is_none() {
        options["compare"] = json!({});
    }
    target(options)
}

/// A request and the primary's answer, in parts.
fn exchange(plugin: &Plugin, body: &str) {
    let mut stream = stream(plugin);
    stream.request(&GET);
    stream.response_headers(&[(":status", "200"), ("content-type", "application/json")]);
    let (first, second) = body.split_at(body.len() / 2);
    stream.response_body(first, false);
    stream.response_body(second, true);
    stream.end();
}

#[track_caller]
fn check(config: Value, copy: CalloutReply, want: &[(&str, u64)]) {
    let (mut host, plugin) = start(compared(config));
    exchange(&plugin, r#"{"price": 1, "id": 7}"#);
    host.answer(copy);
    metrics(&host, want);
}

#[test]
fn answers_are_compared_when_the_copy_is_late() {
    let same = r#"{"id": 7, "price": 1}"#;
    check(
        json!({}),
        json_answer(200, same),
        &[("compare.equal", 1), ("compare.different", 0), ("answered", 1)],
    );
    check(
        json!({}),
        json_answer(500, same),
        &[("compare.different", 1), ("compare.status", 1), ("compare.body", 0)],
    );
    let other = r#"{"id": 7, "price": 2}"#;
    check(
        json!({}),
        json_answer(200, other),
        &[("compare.different", 1), ("compare.status", 0), ("compare.body", 1)],
    );
    check(json!({"compare": {"ignore": ["price"]}}), json_answer(200, other), &[("compare.equal", 1)]);
    check(
        json!({"compare": {"ignore": ["price"]}, "max_answer_bytes": 4}),
        json_answer(200, other),
        &[("compare.equal", 1)],
    );
}

#[test]
fn what_envoy_answers_for_a_target_is_no_answer() {
    let refused = CalloutReply { status: Some(503), ..CalloutReply::default() };
    check(json!({}), refused, &[("compare.missed", 1), ("compare.different", 0), ("failed", 1)]);
    check(json!({}), CalloutReply::default(), &[("compare.missed", 1), ("failed", 1)]);
}

#[test]
fn answers_are_compared_when_the_primary_is_late() {
    let (mut host, plugin) = start(compared(json!({})));
    let mut stream = stream(&plugin);
    stream.request(&GET);
    host.answer(json_answer(200, "{}"));
    metrics(&host, &[("compare.equal", 0), ("compare.missed", 0)]);
    stream.response_headers(&[(":status", "200"), ("content-type", "application/json")]);
    stream.response_body("{}", true);
    stream.end();
    metrics(&host, &[("compare.equal", 1), ("in_flight", 0)]);
}

#[test]
fn a_primary_that_never_answers_is_no_difference() {
    let (mut host, plugin) = start(compared(json!({})));
    let mut stream = stream(&plugin);
    stream.request(&GET);
    stream.end();
    metrics(&host, &[("compare.missed", 1)]);
    host.answer(json_answer(200, "{}"));
    metrics(&host, &[("compare.missed", 1), ("compare.different", 0), ("answered", 1)]);
}

#[test]
fn what_differs_between_two_answers_of_one_version_is_noise() {
    let (mut host, plugin) = start(compared(json!({"control": {"cluster": "primary"}, "redact": {}})));
    let mut stream = stream(&plugin);
    stream.request(&[(":method", "GET"), (":path", "/"), (":authority", "a"), ("authorization", "secret")]);
    stream.response_headers(&[(":status", "200"), ("content-type", "application/json")]);
    stream.response_body(r#"{"now": 1, "price": 5}"#, true);
    stream.end();
    let calls = host.callouts();
    assert_eq!((&*calls[0].cluster, line(&calls[0], "authorization")), ("shadow", None));
    assert_eq!((&*calls[1].cluster, line(&calls[1], "authorization")), ("primary", Some(&b"secret"[..])));
    assert_eq!(line(&calls[1], "x-shadow"), Some(&b"1"[..]));
    host.answer(json_answer(200, r#"{"now": 2, "price": 5}"#));
    metrics(&host, &[("compare.noise", 0)]);
    host.answer(json_answer(200, r#"{"now": 3, "price": 5}"#));
    metrics(
        &host,
        &[("compare.noise", 1), ("compare.different", 0), ("compare.controls", 1), ("in_flight", 0)],
    );
}

#[test]
fn records_of_differences_are_collected_and_sent_together() {
    let mut config = compared(json!({"redact": {"query": [{"key": "token"}]}}));
    config["report"] = json!({"cluster": "collector", "interval": "1s"});
    let (mut host, plugin) = start(config);
    for _ in 0..2 {
        let mut stream = stream(&plugin);
        stream.request(&[(":method", "GET"), (":path", "/?token=s3cret"), (":authority", "a")]);
        stream.response(&[(":status", "200")]);
        stream.end();
        host.answer(json_answer(500, ""));
    }
    assert_eq!(host.callouts(), []);
    host.advance(Duration::from_secs(1));
    let batch = &host.callouts()[0];
    assert_eq!((&*batch.cluster, line(batch, ":path")), ("collector", Some(&b"/mirror"[..])));
    let body = String::from_utf8(batch.body.as_slice().to_vec()).unwrap();
    let records: Vec<Value> = body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 2);
    assert_eq!(
        (&records[0]["path"], &records[0]["status"]),
        (&json!("/?token=redacted"), &json!([200, 500]))
    );
    assert_eq!(host.metric("mirror.report_records"), 2);
    host.answer(CalloutReply { status: Some(503), ..CalloutReply::default() });
    assert_eq!(host.metric("mirror.report_failed"), 1);
    // Nothing to be told: nothing is sent.
    host.advance(Duration::from_secs(10));
    assert_eq!(host.callouts(), []);
}

#[test]
fn without_a_collector_the_log_has_the_records() {
    let mut config = compared(json!({}));
    config["report"] = json!({});
    let (mut host, plugin) = start(config);
    exchange(&plugin, "{}");
    host.answer(json_answer(404, "{}"));
    let said = |host: &Host| host.log().iter().filter(|line| line.text.starts_with("difference: {")).count();
    assert_eq!(said(&host), 1);
}
