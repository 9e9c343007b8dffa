//! What the primary's latency is with a mirror beside it, whatever the mirror's target does: in one run, in turns, in real Envoys.
//! `cargo bench --workspace --bench mirror`; the recorded runs are in `runs/`. Asserts nothing but that every primary is answered: a busy machine
//! shows in all rows.
#![expect(clippy::unwrap_used, reason = "a measurement fails by panicking")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use conformance::tools;
use serde_json::json;
use weir_harness::build;
use weir_harness::envoy::proxy::{Options, Proxy};
use weir_harness::exchange::{Exchange, Message};
use weir_harness::scenario::Scenario;

/// Rounds, in which each Envoy has its turn.
const ROUNDS: usize = 30;
/// Requests of a turn, one after another, each on a connection of its own.
const REQUESTS: usize = 25;

fn main() {
    // `cargo test --benches` only wants to know that it runs.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let Some(binary) = tools::envoy_or_skip("mirror").unwrap() else { return };
    let ours = |percentage: u32| {
        let target =
            json!({"cluster": "shadow", "methods": ["*"], "timeout": "60s", "percentage": percentage});
        json!([{"name": "mirror", "config": {"targets": [target]}}])
    };
    let (none, native) = (json!([]), json!([{"cluster": "shadow"}]));
    let fails = |how: &str| json!({"failure": {"type": how}});
    let (answers, hangs, refuses, resets) =
        (json!({}), fails("TIMEOUT"), fails("CONNECT_FAILURE"), fails("RESET"));
    let rows = [
        ("no mirror", none.clone(), none.clone(), answers.clone()),
        ("ours, 0 %", ours(0), none.clone(), answers.clone()),
        ("native, target answers", none.clone(), native.clone(), answers.clone()),
        ("ours, target answers", ours(100), none.clone(), answers),
        ("native, target hangs", none.clone(), native.clone(), hangs.clone()),
        ("ours, target hangs", ours(100), none.clone(), hangs),
        ("native, target refuses", none.clone(), native.clone(), refuses.clone()),
        ("ours, target refuses", ours(100), none.clone(), refuses),
        ("native, target resets", none.clone(), native, resets.clone()),
        ("ours, target resets", ours(100), none, resets),
    ];
    let names = rows.clone().map(|(name, ..)| name);
    let mut proxies: Vec<(&str, Proxy, Vec<Duration>)> = rows
        .into_iter()
        .map(|(name, filters, mirrors, shadow)| {
            let scenario: Scenario = serde_json::from_value(json!({
                "filters": filters,
                "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
                    {"match": {"prefix": "/"}, "route": {"cluster": "primary", "request_mirror_policies": mirrors}}
                ]}]},
                "clusters": {"primary": {"response": {"body": "primary"}}, "shadow": shadow},
            }))
            .unwrap();
            let base = tools::workspace();
            let modules = scenario.filters.iter().map(|filter| build::module(filter, base).unwrap());
            let modules: Vec<PathBuf> = modules.collect();
            let options = Options { workers: 1, ..Options::default() };
            let proxy = Proxy::start(binary, &scenario, base, &modules, &options).unwrap().unwrap();
            (name, proxy, Vec::with_capacity(ROUNDS * REQUESTS))
        })
        .collect();
    let exchange = request();
    // The first round warms up.
    for round in 0..=ROUNDS {
        // Another order each time, so that nobody always comes behind the same one.
        let count = proxies.len();
        proxies.rotate_left(round % count);
        if round % 2 == 1 {
            proxies.reverse();
        }
        for (_, proxy, times) in &mut proxies {
            for _ in 0..REQUESTS {
                let start = Instant::now();
                let answer = proxy.ask(&exchange).unwrap().unwrap();
                let time = start.elapsed();
                assert_eq!(answer.body, b"primary");
                if round > 0 {
                    times.push(time);
                }
            }
        }
    }
    println!(
        "| {ROUNDS} rounds of {REQUESTS} in turns | p50 ms | p90 ms | p99 ms | copies sent | without an answer now |"
    );
    println!("|---|---|---|---|---|---|");
    proxies.sort_by_key(|(name, ..)| names.iter().position(|other| other == name));
    for (name, proxy, mut times) in proxies {
        times.sort_unstable();
        let at = |percent: usize| {
            let time = times.get(times.len() * percent / 100).copied().unwrap_or_default();
            format!("{:.2}", time.as_secs_f64() * 1000.0)
        };
        let metrics = proxy.envoy().metrics().unwrap();
        let of = |name: &str| {
            metrics
                .iter()
                .find(|(other, _)| other == name)
                .map_or("–".to_owned(), |(_, value)| value.to_string())
        };
        let (sent, open) = (of("mirror.shadow.sent"), of("mirror.shadow.in_flight"));
        println!("| {name} | {} | {} | {} | {sent} | {open} |", at(50), at(90), at(99));
    }
}

/// A POST as a service sends it.
fn request() -> Exchange {
    let lines = [
        (":method", "POST"),
        (":path", "/orders"),
        (":authority", "orders.example.com"),
        ("content-type", "application/json"),
        ("content-length", "20"),
        ("user-agent", "bench"),
        ("x-request-id", "7d3e1a52-8f0b-4c6e-9a1d-000000000001"),
        ("cookie", "session=0123456789abcdef"),
    ];
    let request = Message {
        headers: lines.into_iter().collect(),
        body: b"{\"order\": 4711, \"n\"}".to_vec(),
        ..Message::default()
    };
    Exchange { request, ..Exchange::default() }
}
