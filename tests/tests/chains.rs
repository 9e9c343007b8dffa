//! What a circuit sees of the route that a canary in front of it has chosen: in Envoy a route is chosen anew when somebody asks for it, and a Wasm
//! filter cannot.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use conformance::tools;
use serde_json::{Value, json};
use weir_harness::build;
use weir_harness::envoy::bootstrap::{self, Cluster, Plan, Plugin};
use weir_harness::envoy::client::{self, Parties, Wait};
use weir_harness::envoy::process::{Envoy, Started};
use weir_harness::envoy::proxy::LISTENER;
use weir_harness::envoy::server::Server;
use weir_harness::exchange::Message;

fn plugin(name: &str, config: &Value) -> Plugin {
    Plugin {
        name: name.to_owned(),
        module: build::named(name, tools::workspace()).unwrap(),
        configuration: Some(config.to_string()),
        ..Plugin::default()
    }
}

/// Canary and circuit breaker, with these of Envoy's own filters between them; what jack of the failing arm gets twice, and then ann of the other.
fn statuses(binary: &Path, breaker: &Value, between: Vec<Value>) -> Vec<String> {
    let server = |status| {
        let answer = Message { headers: [(":status", status)].into_iter().collect(), ..Message::default() };
        Server::start(Arc::new(answer)).unwrap()
    };
    let (well, failing) = (server("200"), server("500"));
    let cluster = |server: &Server| Cluster { ports: vec![server.port()], ..Cluster::default() };
    let rules = json!({"rules": [{"match": {"headers": [{"name": "end-user", "exact": "jack"}]}, "arm": "v2"}, {"arm": "v1"}]});
    let arm = json!([{"name": "x-canary-arm", "string_match": {"exact": "v2"}}]);
    let plan = Plan {
        plugins: vec![plugin("canary", &rules), plugin("circuit_breaker", breaker)],
        route_config: json!({"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": "/", "headers": arm}, "route": {"cluster": "v2"}},
            {"match": {"prefix": "/"}, "route": {"cluster": "v1"}},
        ]}]}),
        clusters: BTreeMap::from([("v1".to_owned(), cluster(&well)), ("v2".to_owned(), cluster(&failing))]),
        ..Plan::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let mut config = bootstrap::bootstrap(&plan, &folder.path().join("access.log"));
    let manager = &mut config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0];
    let filters = manager["typed_config"]["http_filters"].as_array_mut().unwrap();
    filters.splice(1..1, between);
    let Started::Running(envoy) = Envoy::start_with(binary, &config, 1, folder).unwrap() else {
        panic!("refused");
    };
    let ask = |user| {
        let mut request = client::get("/");
        request.headers.push("end-user", user);
        let parties = Parties { source: ([127, 0, 0, 1], 40_000).into(), port: LISTENER };
        let listener = envoy.listener("cases").unwrap();
        let answer = client::exchange(listener, Some(parties), &request, Wait::default()).unwrap();
        let status = answer.unwrap().headers.get(b":status").unwrap_or_default().to_vec();
        String::from_utf8(status).unwrap()
    };
    ["jack", "jack", "ann"].map(ask).into()
}

#[test]
fn a_circuit_behind_a_canary_is_that_of_the_arm_when_told_so() {
    let test = "a_circuit_behind_a_canary_is_that_of_the_arm_when_told_so";
    let Some(envoy) = tools::envoy_or_skip(test).unwrap() else { return };
    let breaker = json!({"open_when": {"consecutive_errors": 1}});
    let by_arm = json!({"open_when": {"consecutive_errors": 1}, "key": [{"header": "x-canary-arm"}]});
    let cors = json!({"name": "envoy.filters.http.cors", "typed_config":
        {"@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors"}});
    // The cluster is that of before the canary's choice: one circuit for both.
    assert_eq!(statuses(envoy, &breaker, Vec::new()), ["500", "503", "503"]);
    assert_eq!(statuses(envoy, &by_arm, Vec::new()), ["500", "503", "200"]);
    // A filter of Envoy's own asks for the route.
    assert_eq!(statuses(envoy, &breaker, vec![cors]), ["500", "503", "200"]);
}
