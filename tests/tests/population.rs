//! The same user lands on the same arm in the native policy, in the harness, and in Envoy with any number of workers; shares are exact
//! enough, and growing one moves nobody back.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::thread;
use std::time::UNIX_EPOCH;

use canary::{Config, Inputs, Policy};
use conformance::{run, tools};
use serde_json::json;
use weir_harness::build;
use weir_harness::envoy::proxy::{Options, Proxy};
use weir_harness::exchange::{Exchange, Message};
use weir_harness::headers::Headers;
use weir_harness::outcome::End;
use weir_harness::scenario::{Cluster, ClusterResponse, Filter, Scenario};
use weir_harness::traffic;
use weir_sdk::{HeaderMap, Mutation, parse};

/// Users of the recording.
const USERS: usize = 100_000;
/// Users that a real Envoy is asked about, for each number of workers.
const ASKED: usize = 3_000;
/// Clients that ask it at the same time.
const CLIENTS: usize = 4;

fn user(number: usize) -> String {
    format!("user-{number:06}@example.com")
}

fn config(percent: u32) -> String {
    json!({"rules": [{
        "name": "shift",
        "split": [{"arm": "v3", "weight": percent}, {"arm": "v1", "weight": 100 - percent}],
        "sticky": {"by": [{"header": "end-user"}]},
    }]})
    .to_string()
}

/// The arm of each user by the policy alone: whether it is v3.
fn native(percent: u32, users: usize) -> Vec<bool> {
    let config: Config = parse(Some(config(percent).as_bytes())).unwrap();
    let policy = Policy::try_from(config).unwrap();
    let arm = |number| {
        let name = user(number);
        let lines = [
            (":method", "GET"),
            (":path", "/reviews/0"),
            (":authority", "reviews:9080"),
            ("end-user", &name),
        ];
        let request: HeaderMap = lines.into_iter().collect();
        let inputs = Inputs {
            request: &request,
            now: &|| UNIX_EPOCH,
            random: &|| panic!("drawn though sticky"),
            rolled_back: &|_| None,
        };
        let (decision, _) = policy.on_request(&inputs);
        let set = |mutation: &Mutation| match mutation {
            Mutation::Set(name, value) if name.as_ref() == "x-canary-arm" => Some(value.as_slice() == b"v3"),
            _ => None,
        };
        decision.mutations.iter().find_map(set).expect("an arm")
    };
    (0..users).map(arm).collect()
}

fn scenario(percent: u32) -> Scenario {
    let routes = json!({"virtual_hosts": [{"name": "reviews", "domains": ["*"], "routes": [
        {"match": {"prefix": "/", "headers": [{"name": "x-canary-arm", "string_match": {"exact": "v3"}}]}, "route": {"cluster": "v3"}},
        {"match": {"prefix": "/"}, "route": {"cluster": "v1"}},
    ]}]});
    let cluster = |body: &str| Cluster {
        response: Some(ClusterResponse { body: body.into(), ..ClusterResponse::default() }),
        ..Cluster::default()
    };
    Scenario {
        filters: vec![Filter {
            name: "canary".to_owned(),
            config: Some(config(percent).into()),
            ..Filter::default()
        }],
        route_config: Some(routes),
        clusters: BTreeMap::from([("v1".to_owned(), cluster("v1")), ("v3".to_owned(), cluster("v3"))]),
        ..Scenario::default()
    }
}

fn exchange(number: usize) -> Exchange {
    let name = user(number);
    let lines = [
        (":method", "GET"),
        (":path", "/reviews/0"),
        (":authority", "reviews:9080"),
        (":scheme", "http"),
        ("end-user", &name),
    ];
    let request = Message { headers: lines.into_iter().collect::<Headers>(), ..Message::default() };
    Exchange { origin: name.clone(), request, ..Exchange::default() }
}

fn module(scenario: &Scenario) -> Vec<std::path::PathBuf> {
    scenario.filters.iter().map(|filter| build::module(filter, tools::workspace()).unwrap()).collect()
}

#[test]
fn a_quarter_is_a_quarter_in_the_harness_and_the_same_one_as_natively() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users.jsonl");
    let mut out = BufWriter::new(File::create(&path).unwrap());
    for number in 0..USERS {
        traffic::write_jsonl(&exchange(number), &mut out).unwrap();
    }
    out.flush().unwrap();

    let scenario = scenario(25);
    let mut replay = run::replay(&scenario, tools::workspace()).unwrap().unwrap();
    let recording = traffic::open(&path, &traffic::Options::default()).unwrap();
    let in_harness: Vec<bool> = recording
        .map(|exchange| {
            let outcome = replay.exchange(&exchange.unwrap());
            assert_eq!(outcome.end, End::Forwarded);
            outcome.cluster.as_deref() == Some("v3")
        })
        .collect();

    let share = in_harness.iter().filter(|is_v3| **is_v3).count() as f64 * 100.0 / USERS as f64;
    assert!((24.5..=25.5).contains(&share), "{share} %");
    assert!(in_harness == native(25, USERS), "the harness and the native policy disagree");
}

#[test]
fn growing_moves_nobody_back() {
    let mut before = native(0, USERS);
    assert!(before.iter().all(|is_v3| !is_v3));
    for percent in [1, 2, 3, 5, 10, 20, 25, 33, 50, 67, 75, 90, 99, 100] {
        let now = native(percent, USERS);
        let back = before.iter().zip(&now).filter(|(before, now)| **before && !**now).count();
        assert_eq!(back, 0, "moved back at {percent} %");
        let share = now.iter().filter(|is_v3| **is_v3).count() as f64 * 100.0 / USERS as f64;
        assert!((share - f64::from(percent)).abs() <= 0.5, "{share} % at {percent} %");
        before = now;
    }
    assert!(before.iter().all(|is_v3| *is_v3));
}

#[track_caller]
fn check_in_envoy(test: &str, workers: u32) {
    let Some(envoy) = tools::envoy_or_skip(test).unwrap() else { return };
    let scenario = scenario(25);
    let proxy = {
        let options = Options { workers, ..Options::default() };
        Proxy::start(envoy, &scenario, Path::new("."), &module(&scenario), &options).unwrap().unwrap()
    };
    let want = native(25, ASKED);
    let ask = |first: usize| {
        for (number, want) in want.iter().enumerate().skip(first).step_by(CLIENTS) {
            let response = proxy.ask(&exchange(number)).unwrap().expect("an answer");
            let got = String::from_utf8(response.body).unwrap();
            assert_eq!(got, if *want { "v3" } else { "v1" }, "{}", user(number));
        }
    };
    thread::scope(|scope| {
        for first in 0..CLIENTS {
            let ask = &ask;
            scope.spawn(move || ask(first));
        }
    });
    let all = proxy.received();
    let received = |cluster| all.iter().filter(|one| one.cluster == cluster).count();
    let v3 = want.iter().filter(|is_v3| **is_v3).count();
    assert_eq!((received("v1"), received("v3")), (ASKED - v3, v3));
}

#[test]
fn envoy_with_one_worker_agrees() {
    check_in_envoy("envoy_with_one_worker_agrees", 1);
}

#[test]
fn envoy_with_four_workers_agrees() {
    check_in_envoy("envoy_with_four_workers_agrees", 4);
}
