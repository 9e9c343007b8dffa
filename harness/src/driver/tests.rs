//! Statements of the host semantics, one row each: a hand-written module, an exchange, what comes of it.

mod calls;
mod faults;
mod lifecycle;
mod overlap;
mod streams;
mod upstreams;
mod values;
mod wasm;
mod workers;

use serde_json::json;

use super::*;
use crate::exchange::{Exchange, Message};
use crate::outcome::{End, Outcome};
use crate::scenario::{ClusterResponse, Latency};

/// A plugin of a module whose callbacks are `code`.
fn plugin(code: &str) -> Plugin {
    let module =
        Module::compile("test", &wasm::module(code)).unwrap_or_else(|error| panic!("{error}\n{code}"));
    Plugin {
        name: "p".to_owned(),
        root_id: "r".to_owned(),
        vm_id: String::new(),
        module,
        configuration: Some(b"conf".to_vec()),
        failure_policy: FailurePolicy::FailClosed,
        allow_on_headers_stop_iteration: false,
        env: BTreeMap::new(),
    }
}

fn routes() -> RouteTable {
    let route = json!({"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [
        {"name": "blue", "match": {"prefix": "/", "headers": [{"name": "x-go", "string_match": {"exact": "blue"}}]},
         "route": {"cluster": "blue"}},
        {"name": "green", "match": {"prefix": "/"}, "route": {"cluster": "green"},
         "metadata": {"filter_metadata": {"ns": {"a": {"b": "deep"}, "n": 2}}}},
    ]}]});
    RouteTable::from_value(&route).unwrap()
}

fn start(plugins: Vec<Plugin>) -> Replay {
    let response = ClusterResponse { status: 201, body: "answer".into(), ..ClusterResponse::default() };
    let answering = Cluster { response: Some(response), ..Cluster::default() };
    let one = Cluster::default();
    let none = Cluster { endpoints: 0, ..one.clone() };
    let late = Latency::fixed(Duration::from_millis(100));
    let late = Cluster { latency: Some(late), ..answering.clone() };
    let clusters =
        [("blue", one.clone()), ("green", one), ("auth", answering), ("dead", none), ("late", late)];
    let clusters = clusters.into_iter().map(|(name, cluster)| (name.to_owned(), cluster)).collect();
    start_with(Setup { plugins, routes: Some(routes()), clusters, seed: 1, ..Setup::default() })
}

fn start_with(setup: Setup) -> Replay {
    Replay::start(setup).unwrap_or_else(|error| panic!("{error}"))
}

/// A POST with the body `hello`, answered with 200 and the body `hi`.
fn exchange() -> Exchange {
    let request = [
        (":method", "POST"),
        (":path", "/x?q=1"),
        (":authority", "host"),
        ("content-length", "5"),
        ("a", "1"),
    ];
    let response = [(":status", "200"), ("content-length", "2")];
    Exchange {
        request: Message {
            headers: request.into_iter().collect(),
            body: b"hello".to_vec(),
            ..Message::default()
        },
        response: Some(Message {
            headers: response.into_iter().collect(),
            body: b"hi".to_vec(),
            ..Message::default()
        }),
        ..Exchange::default()
    }
}

fn logged(outcome: &Outcome) -> String {
    outcome.log.iter().map(|line| line.message.as_str()).collect::<Vec<_>>().join(" ")
}

/// The end of an exchange through one filter, the status that the client gets (0: none) and what the filter logged.
#[track_caller]
fn check(id: &str, code: &str, end: End, status: u16, log: &str) -> Outcome {
    let outcome = start(vec![plugin(code)]).exchange(&exchange());
    verify(id, &outcome, end, status, log);
    outcome
}

#[track_caller]
fn verify(id: &str, outcome: &Outcome, end: End, status: u16, log: &str) {
    let got = outcome.response.as_ref().and_then(|response| crate::host::status(&response.headers));
    assert_eq!(
        (outcome.end, got.unwrap_or(0), logged(outcome).as_str()),
        (end, status, log),
        "{id}: {outcome:#?}"
    );
}
