//! The whole filter on the host in memory: what a stream sees, what is counted, what is logged.

use canary::Canary;
use serde_json::{Value, json};
use weir_sdk::testing::{Host, Seen};

fn reviews(
    host: &Host,
    plugin: &weir_sdk::testing::Plugin,
    lines: &[(&str, &[u8])],
) -> (Seen, Seen, Vec<String>) {
    let before = host.log().len();
    let mut stream = plugin.stream();
    let base: [(&str, &[u8]); 3] =
        [(":method", b"GET"), (":path", b"/reviews/0"), (":authority", b"reviews")];
    let all: Vec<(&str, &[u8])> = base.iter().chain(lines).copied().collect();
    let request = stream.request(&all);
    let response = stream.response(&[(":status", "200")]);
    stream.end();
    let log = host.log().into_iter().skip(before).map(|line| line.text).collect();
    (request, response, log)
}

fn jack() -> Value {
    json!({
        "response_header": "x-served-by",
        "rules": [
            {"name": "jack", "match": {"headers": [{"name": "end-user", "exact": "jack"}]}, "arm": "v2"},
            {"arm": "v1"}
        ]
    })
}

#[test]
fn jack_sees_v2_and_everybody_else_v1() {
    let mut host = Host::new();
    let plugin = host.plugin::<Canary>(jack()).unwrap();
    for (user, arm, why) in [("jack", "v2", "rule `jack` → v2"), ("jason", "v1", "rules[1] → v1")] {
        let (request, response, log) = reviews(&host, &plugin, &[("end-user", user.as_bytes())]);
        assert_eq!(request.header("x-canary-arm"), Some(arm));
        assert_eq!(response.header("x-served-by"), Some(arm));
        assert_eq!(log, [format!("decision: {why}")]);
    }
    assert_eq!(
        [host.metric("canary.arm.v1"), host.metric("canary.arm.v2"), host.metric("canary.no_arm")],
        [1, 1, 0]
    );
}

#[test]
fn bytes_that_are_no_text_keep_their_side() {
    let mut host = Host::new();
    let plugin = host
        .plugin::<Canary>(json!({"rules": [{"name": "r",
            "split": [{"arm": "v1", "weight": 1}, {"arm": "v2", "weight": 1}], "sticky": {"by": [{"header": "x-id"}]}}]}))
        .unwrap();
    for id in [&b"\xff\xfe"[..], b"\x80", b"caf\xe9", b"\xf0\x9f"] {
        let arms = [0; 5].map(|_| {
            reviews(&host, &plugin, &[("x-id", id)]).0.headers.first("x-canary-arm").map(<[u8]>::to_vec)
        });
        assert!(arms[0].is_some() && arms.iter().all(|arm| *arm == arms[0]), "{id:?}: {arms:?}");
    }
}

#[test]
fn two_plugins_of_one_vm_do_not_mix() {
    let mut host = Host::new();
    let one =
        host.plugin_named::<Canary>("one", json!({"rules": [{"arm": "v1"}], "stat_prefix": "one"})).unwrap();
    let two =
        host.plugin_named::<Canary>("two", json!({"rules": [{"arm": "v2"}], "stat_prefix": "two"})).unwrap();
    let (mut first, mut second) = (one.stream(), two.stream());
    let request = [(":method", "GET"), (":path", "/"), (":authority", "a")];
    assert_eq!(second.request(&request).header("x-canary-arm"), Some("v2"));
    assert_eq!(first.request(&request).header("x-canary-arm"), Some("v1"));
    assert_eq!([host.metric("one.arm.v1"), host.metric("two.arm.v2")], [1, 1]);
}

#[test]
fn a_refused_configuration_changes_nothing() {
    let mut host = Host::new();
    let plugin = host.plugin::<Canary>(jack()).unwrap();
    let refused =
        plugin.configure(&json!({"rules": [{"arm": "v1", "matches": {}}, {"split": 3}]})).unwrap_err();
    let text = refused.to_string();
    assert!(
        text.contains("rules[0].matches") && text.contains("`match`") && text.contains("rules[1].split"),
        "{text}"
    );
    assert_eq!(reviews(&host, &plugin, &[("end-user", b"jack")]).0.header("x-canary-arm"), Some("v2"));
}
