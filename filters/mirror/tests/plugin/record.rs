//! Records of whole exchanges: collected, posted together, and lost where that must be.

use std::time::Duration;

use serde_json::{Value, json};
use weir_sdk::testing::{Host, Plugin};
use weir_sdk::{Callout, CalloutReply};

use super::{GET, POST, get, line, metrics, ok, start, stream, target};

fn recorded(mut options: Value) -> (Host, Plugin) {
    if options.get("record").is_none() {
        options["record"] = json!({"interval": "1s"});
    }
    start(target(options))
}

fn records(callout: &Callout) -> Vec<Value> {
    let body = String::from_utf8(callout.body.as_slice().to_vec()).unwrap();
    body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn exchanges_are_collected_and_posted_together() {
    let (mut host, plugin) = recorded(json!({"headers": {"set": [{"name": "authorization", "value": "c"}]}}));
    let mut first = stream(&plugin);
    first.request_headers(&POST);
    first.request_body("one ", false);
    first.request_body("two", true);
    assert_eq!(host.log().last().unwrap().text, "decision: t: recorded");
    first.response_headers(&[(":status", "201")]);
    first.response_body("three", false);
    first.response_trailers(&[("grpc-status", "0")]);
    first.end();
    get(&plugin);
    assert_eq!(host.callouts(), []);
    metrics(&host, &[("sent", 2), ("in_flight", 0), ("record.batches", 0)]);
    host.advance(Duration::from_secs(1));
    let batch = &host.callouts()[0];
    assert_eq!((&*batch.cluster, line(batch, ":path")), ("shadow", Some(&b"/record"[..])));
    assert_eq!((line(batch, "authorization"), line(batch, "x-shadow")), (Some(&b"c"[..]), Some(&b"1"[..])));
    let records = records(batch);
    assert_eq!(records.len(), 2);
    assert_eq!(
        (&records[0]["request"]["body"], &records[0]["response"]["body"]),
        (&json!("one two"), &json!("three"))
    );
    assert_eq!(records[0]["response"]["trailers"], json!([["grpc-status", "0"]]));
    assert_eq!(records[0]["response"].get("body_truncated"), None);
    metrics(&host, &[("record.batches", 1), ("in_flight", 1), ("record.lost", 0)]);
    host.answer(CalloutReply { status: Some(404), ..ok() });
    metrics(&host, &[("record.lost", 2), ("in_flight", 0), ("answered", 1)]);
    // Nothing waits: nothing is sent.
    host.advance(Duration::from_secs(10));
    assert_eq!(host.callouts(), []);
}

#[test]
fn much_does_not_wait() {
    let (host, plugin) = recorded(json!({"record": {"max_bytes": 1024, "interval": "1h"}}));
    for _ in 0..20 {
        get(&plugin);
    }
    let batches = host.callouts();
    assert!(batches.len() > 2, "{}", batches.len());
    assert!(batches.iter().all(|batch| (1024..2048).contains(&batch.body.as_slice().len())));
}

#[test]
fn what_cannot_be_redacted_is_not_recorded() {
    let (mut host, plugin) = recorded(json!({"redact": {"json": [{"path": "token"}]}}));
    let mut stream = stream(&plugin);
    stream.request(&GET);
    stream.response_headers(&[(":status", "200"), ("content-encoding", "gzip")]);
    stream.response_body("s3cret", true);
    stream.end();
    assert!(host.log().last().unwrap().text.ends_with("not recorded, cannot be redacted encoded"));
    metrics(&host, &[("sent", 0), ("skipped_redaction", 1)]);
    host.advance(Duration::from_secs(1));
    assert_eq!(host.callouts(), []);
}

#[test]
fn an_answer_that_is_cut_off_says_so_and_one_that_never_came_is_none() {
    let (mut host, plugin) = recorded(json!({}));
    let mut cut = stream(&plugin);
    cut.request(&GET);
    cut.response_headers(&[(":status", "200")]);
    cut.response_body("half", false);
    cut.set_attribute(&["response", "flags"], 0x4000u64);
    cut.set_attribute(&["request", "duration"], 5i64);
    cut.end();
    let mut none = stream(&plugin);
    none.request(&GET);
    none.end();
    host.advance(Duration::from_secs(1));
    let records = records(&host.callouts()[0]);
    assert_eq!(
        (&records[0]["response"]["body_truncated"], &records[0]["abort_after_ns"]),
        (&json!(true), &json!(5))
    );
    assert_eq!(records[1].get("response"), None);
}

#[test]
fn limits_hold_for_records_too() {
    let mut config = target(
        json!({"record": {}, "rate": {"max_tokens": 2, "fill_interval": "10s"}, "body": {"max_bytes": 2000}}),
    );
    config["max_held_bytes"] = json!(3000);
    let (host, plugin) = start(config);
    get(&plugin);
    // An answer that does not fit.
    let mut large = stream(&plugin);
    large.request(&GET);
    large.response_headers(&[(":status", "200")]);
    large.response_body([b'a'; 3000], true);
    large.end();
    get(&plugin);
    metrics(&host, &[("sent", 1), ("skipped_memory", 1), ("skipped_rate", 1)]);
}

#[test]
fn bodies_are_compressed_by_the_host() {
    let (mut host, plugin) = start(target(json!({"methods": ["POST"], "body": {"gzip_from_bytes": 5}})));
    let send = |lines: &[(&str, &str)], body: &str| {
        let mut stream = stream(&plugin);
        let lines: Vec<(&str, &str)> = POST.iter().chain(lines).copied().collect();
        stream.request_headers(&lines);
        stream.request_body(body, true);
    };
    send(&[("content-length", "5"), ("digest", "x")], "abcde");
    send(&[], "abcd");
    send(&[("content-encoding", "br")], "abcde");
    let copies = host.callouts();
    let encoding = |at: usize| line(&copies[at], "content-encoding");
    assert_eq!((encoding(0), encoding(1), encoding(2)), (Some(&b"gzip"[..]), None, Some(&b"br"[..])));
    assert_eq!((&copies[0].body.as_slice()[..3], line(&copies[0], "digest")), (&b"\x1f\x8b\x08"[..], None));
    assert_eq!((copies[1].body.as_slice(), copies[2].body.as_slice()), (&b"abcd"[..], &b"abcde"[..]));
    host.fail("proxy_call_foreign_function", weir_sdk::Status::NotFound);
    send(&[], "abcde");
    assert_eq!(host.callouts().last().unwrap().body.as_slice(), b"abcde");
    metrics(&host, &[("gzipped", 1), ("gzip_failed", 1), ("sent", 4)]);
}
