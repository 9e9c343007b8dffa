//! The Bookinfo example says the same in each of its forms, and its Envoy configurations route.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use conformance::tools;
use serde_json::Value;
use weir_harness::build;
use weir_harness::envoy::client::{self, Wait};
use weir_harness::envoy::process::{Envoy, Started};
use weir_harness::envoy::server::Server;
use weir_harness::exchange::{Exchange, Message};
use weir_harness::scenario::Filter;
use weir_harness::traffic;
use weir_harness::yaml;

/// The ports that the services have in the example's Envoy configurations.
const SERVICES: [(&str, u64); 6] = [
    ("productpage", 9081),
    ("details", 9082),
    ("reviews-v1", 9083),
    ("reviews-v2", 9084),
    ("reviews-v3", 9085),
    ("ratings", 9086),
];

fn example(file: &str) -> PathBuf {
    tools::workspace().join("examples/bookinfo").join(file)
}

fn read(file: &str) -> Value {
    yaml::read(&example(file)).unwrap()
}

/// Calls `change` on each value of that key, however deep.
fn each(value: &mut Value, key: &str, change: &mut impl FnMut(&mut Value)) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| each(item, key, change)),
        Value::Object(fields) => {
            for (name, value) in fields {
                if name == key {
                    change(value);
                } else {
                    each(value, key, change);
                }
            }
        }
        _ => {}
    }
}

#[track_caller]
fn says_the_same(policy: &str) {
    let want = read(&format!("policies/{policy}.yaml"));
    let mut found = Vec::new();
    each(&mut read(&format!("envoy/{policy}.yaml")), "configuration", &mut |value| {
        let text = value.get("value").and_then(Value::as_str).expect("a StringValue");
        found.push(serde_json::from_str(text).expect("JSON"));
    });
    each(&mut read(&format!("istio/{policy}.yaml")), "pluginConfig", &mut |value| found.push(value.take()));
    assert_eq!(found, [want.clone(), want]);
}

#[test]
fn every_form_says_the_same() {
    for policy in ["request-routing", "traffic-shifting", "blue-green"] {
        says_the_same(policy);
    }
}

/// The example's configuration with the module and the ports of this machine.
fn local(policy: &str, upstreams: &[(u64, Server)], module: &Path) -> Value {
    let mut config = read(&format!("envoy/{policy}.yaml"));
    each(&mut config, "filename", &mut |value| *value = module.to_str().into());
    each(&mut config, "port_value", &mut |value| {
        let ours = upstreams.iter().find(|(port, _)| value.as_u64() == Some(*port));
        *value = ours.map_or(0, |(_, upstream)| upstream.port()).into();
    });
    config["admin"] =
        serde_json::json!({"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}});
    config
}

/// Requests for reviews by these users go to these versions; everything else goes where it always goes.
#[track_caller]
fn routes(policy: &str, users: &[(&str, &str)]) {
    let Some(envoy) = tools::envoy_or_skip(policy).unwrap() else { return };
    let canary = Filter { name: "canary".to_owned(), ..Filter::default() };
    let module = build::module(&canary, tools::workspace()).unwrap();
    let upstreams = SERVICES.map(|(name, port)| {
        let headers = [(":status", "200"), ("x-service", name)].into_iter().collect();
        (port, Server::start(Arc::new(Message { headers, ..Message::default() })).unwrap())
    });
    let config = local(policy, &upstreams, &module);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("envoy.json");
    fs::write(&file, config.to_string()).unwrap();
    let validated = Command::new(envoy).args(["--mode", "validate", "-c"]).arg(&file).output().unwrap();
    assert!(validated.status.success(), "{policy}: {}", String::from_utf8_lossy(&validated.stderr));

    let Started::Running(envoy) = Envoy::start_with(envoy, &config, 1, folder).unwrap() else {
        panic!("{policy}: refused")
    };
    let service = |authority: &str, path: &str, user: Option<&str>| {
        let lines = [(":method", "GET"), (":path", path), (":authority", authority)];
        let headers = lines.into_iter().chain(user.map(|user| ("end-user", user))).collect();
        let request = Message { headers, ..Message::default() };
        let listener = envoy.listener("bookinfo").unwrap();
        let response =
            client::exchange(listener, None, &request, Wait::default()).unwrap().expect("an answer");
        String::from_utf8_lossy(response.headers.get(b"x-service").unwrap_or(b"none")).into_owned()
    };
    for (user, version) in users {
        assert_eq!(service("reviews:9080", "/reviews/0", Some(user)), *version, "{policy}: {user}");
    }
    assert_eq!(service("bookinfo.example.com", "/productpage", Some("jack")), "productpage");
    assert_eq!(service("details:9080", "/details/0", Some("jack")), "details");
    assert_eq!(service("ratings:9080", "/ratings/0", None), "ratings");
}

#[test]
fn request_routing_routes() {
    routes("request-routing", &[("jack", "reviews-v2"), ("jason", "reviews-v1"), ("", "reviews-v1")]);
}

#[test]
fn blue_green_routes() {
    routes("blue-green", &[("jack", "reviews-v1"), ("jason", "reviews-v3")]);
}

#[test]
fn traffic_shifting_routes() {
    // Which side a user is on is frozen with the hash.
    routes("traffic-shifting", &[("jack", "reviews-v3"), ("jason", "reviews-v1"), ("hanna", "reviews-v3")]);
}

/// Of each exchange: the authority without its port, the user, and the status.
fn exchanges(recording: &Path) -> Vec<(String, String, String)> {
    let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
    let read = |exchange: Exchange| {
        let request = &exchange.request.headers;
        let response = exchange.response.expect("a response");
        let authority = text(request.get(b":authority")).split(':').next().unwrap_or_default().to_owned();
        (authority, text(request.get(b"end-user")), text(response.headers.get(b":status")))
    };
    let recording = traffic::open(recording, &traffic::Options::default()).unwrap();
    recording.map(|exchange| read(exchange.unwrap())).collect()
}

#[test]
fn the_recording_is_bookinfo() {
    let exchanges = exchanges(&example("traffic.tap.jsonl"));
    assert!(exchanges.len() >= 500, "{}", exchanges.len());
    let count =
        |service: &str, user: &str| exchanges.iter().filter(|(a, u, _)| a == service && u == user).count();
    for (service, user) in [
        ("reviews", "jack"),
        ("reviews", "jason"),
        ("reviews", ""),
        ("details", "jack"),
        ("bookinfo.example.com", ""),
    ] {
        assert!(count(service, user) > 0, "no exchange of `{user}` with {service}");
    }
    for status in ["200", "302", "404"] {
        assert!(exchanges.iter().any(|(_, _, got)| got == status), "no {status}");
    }
}

#[test]
fn anybody_can_record_it_again() {
    let Some(envoy) = tools::envoy_or_skip("anybody_can_record_it_again").unwrap() else { return };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("again.jsonl");
    let mut command = Command::new("python3");
    command.arg(example("record.py")).args(["--visits", "8", "--out"]).arg(&out).env("WEIR_ENVOY", envoy);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with(&format!("{} exchanges", exchanges(&out).len())), "{said}");
}
