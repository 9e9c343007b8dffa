//! Rollback and zero-error on the host in memory: who is told, what is sent again, what the client sees.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use canary::Canary;
use serde_json::{Value, json};
use weir_sdk::testing::{Host, Plugin, Seen, Stream};
use weir_sdk::{CalloutReply, HeaderMap};

const REQUEST: [(&str, &str); 3] = [(":method", "GET"), (":path", "/reviews/0"), (":authority", "reviews")];

fn rule(guard: &Value) -> Value {
    let mut rule = json!({
        "name": "r",
        "split": [{"arm": "v2", "weight": 1}, {"arm": "v1", "weight": 1}],
        "force": {"header": "x-arm", "always": "v2", "never": "v1"},
    });
    rule.as_object_mut().unwrap().extend(guard.as_object().unwrap().clone());
    json!({"rules": [rule]})
}

fn begin(plugin: &Plugin, force: &str) -> (Stream, Seen) {
    let mut stream = plugin.stream();
    let seen = stream.request(&[&REQUEST[..], &[("x-arm", force)]].concat());
    (stream, seen)
}

/// The upstream has answered.
fn answered(stream: &mut Stream, status: i64) -> Seen {
    stream.set_attribute(&["response", "flags"], 0_u64);
    stream.set_attribute(&["response", "code"], status);
    stream.set_attribute(&["response", "code_details"], "via_upstream");
    stream.response_headers(&[(":status", status.to_string())])
}

fn call(plugin: &Plugin, force: &str, status: i64) -> Seen {
    let (mut stream, seen) = begin(plugin, force);
    answered(&mut stream, status);
    stream.end();
    seen
}

fn metrics<const N: usize>(host: &Host, names: [&str; N]) -> [u64; N] {
    names.map(|name| host.metric(&format!("canary.{name}")))
}

fn reply(status: u16) -> CalloutReply {
    let headers = HeaderMap::from_iter([
        ("x-envoy-upstream-service-time", "1"),
        ("content-type", "text/html"),
        ("connection", "close"),
    ]);
    CalloutReply { status: Some(status), headers, body: b"well".to_vec() }
}

#[test]
fn a_rollback_is_told_once_and_stays() {
    let mut host = Host::new();
    let webhook = json!({"cluster": "alarm", "authority": "alarm"});
    let plugin =
        host.plugin::<Canary>(rule(&json!({"rollback": {"window": "30s", "webhook": webhook}}))).unwrap();
    for _ in 0..20 {
        call(&plugin, "never", 200);
        assert_eq!(call(&plugin, "always", 503).header("x-canary-arm"), Some("v2"));
    }
    // A test is made at most once a second; the webhook has five to answer.
    for _ in 0..2 {
        host.advance(Duration::from_secs(1));
        call(&plugin, "never", 200);
    }
    host.advance(Duration::from_secs(1));
    assert_eq!(host.callouts().len(), 1);
    assert!(host.callouts()[0].body.as_slice().starts_with(b"{\"event\":\"rolled_back\""));
    host.answer(CalloutReply { status: Some(204), ..reply(204) });
    assert_eq!(call(&plugin, "always", 200).header("x-canary-arm"), Some("v1"));
    // Another plugin's worker, or the same after an update with the same `rollback`, knows it from the beginning.
    plugin
        .configure(&rule(&json!({"rollback": {"window": "30s"}, "errors_are": {"statuses": ["500"]}})))
        .unwrap();
    assert_eq!(call(&plugin, "always", 200).header("x-canary-arm"), Some("v1"));
    assert_eq!(
        metrics(&host, ["rollbacks", "rolled_back_arms", "webhook_told", "webhook_failed"]),
        [1, 1, 1, 0]
    );
    // Another generation does not.
    plugin.configure(&rule(&json!({"rollback": {"window": "30s", "generation": "2.1.1"}}))).unwrap();
    assert_eq!(call(&plugin, "always", 200).header("x-canary-arm"), Some("v2"));
    assert_eq!(metrics(&host, ["rolled_back_arms"]), [0]);
}

#[test]
fn what_fails_is_sent_again_and_answered() {
    let mut host = Host::new();
    let guard = json!({"zero_error": {"cluster": "reviews-v1", "budget": {"percent": 100}}});
    let plugin = host.plugin::<Canary>(rule(&guard)).unwrap();
    let (mut stream, _) = begin(&plugin, "always");
    answered(&mut stream, 503);
    let again = host.callouts().pop().expect("a call");
    let line = |name: &str| {
        again.headers.iter().find(|(other, _)| &**other == name).map(|(_, value)| value.as_slice())
    };
    assert_eq!(
        (&*again.cluster, line(":path"), line("x-canary-arm")),
        ("reviews-v1", Some(&b"/reviews/0"[..]), Some(&b"v1"[..]))
    );
    host.answer(reply(200));
    let seen = stream.seen_response();
    let given = seen.reply().expect("an answer");
    assert_eq!(
        (given.status, given.body.as_slice(), &*given.details),
        (200, &b"well"[..], "canary_answered_by_stable")
    );
    assert_eq!(given.headers, [("content-type".into(), "text/html".into())]);
    stream.end();
    assert_eq!(metrics(&host, ["zero_error.sent", "zero_error.saved", "zero_error.unsaved"]), [1, 1, 0]);

    // The stable arm fails, too; then a request that is not complete, and one of gRPC.
    let (mut stream, _) = begin(&plugin, "always");
    answered(&mut stream, 503);
    host.answer(reply(500));
    assert!(stream.seen_response().reply().is_none());
    stream.end();
    let mut stream = plugin.stream();
    stream.request_headers(&[&REQUEST[..], &[("x-arm", "always"), ("content-length", "4")]].concat());
    stream.request_body("ab", false);
    answered(&mut stream, 503);
    stream.end();
    let mut stream = plugin.stream();
    stream.request(&[&REQUEST[..], &[("x-arm", "always"), ("content-type", "application/grpc")]].concat());
    answered(&mut stream, 503);
    stream.end();
    assert!(host.callouts().is_empty());
    assert_eq!(metrics(&host, ["zero_error.sent", "zero_error.saved", "zero_error.unsaved"]), [2, 1, 3]);
}
