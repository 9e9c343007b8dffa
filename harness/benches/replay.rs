//! How many exchanges a second does a header filter replay? The engine alone, without reading a recording and without a report.
//!
//! `cargo bench -p weir-harness --bench replay`: some seconds. The filters are built first. A line a chain: the median, the best and the worst
//! of the rounds, and the cost beside a chain without filters. The rounds of the chains take turns, so that all see the same machine.

use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir_harness::driver::{Replay, Setup};
use weir_harness::exchange::{Exchange, Message};
use weir_harness::scenario::Scenario;
use weir_harness::setup::{Modules, setup};

/// Different exchanges of a round.
const EXCHANGES: usize = 1000;
/// How often a round replays them.
const REPEAT: usize = 20;
const ROUNDS: usize = 11;

fn main() -> Result<(), Box<dyn Error>> {
    let hello = json!([{"name": "hello-filter", "config": {"greeting": "hello"}}]);
    let canary = json!([{"name": "canary", "config": {"rules": [
        {"name": "jack", "match": {"headers": [{"name": "end-user", "exact": "jack"}]}, "arm": "v2"},
        {"name": "rest", "split": [{"arm": "v1", "weight": 90}, {"arm": "v3", "weight": 10}]},
    ]}}]);
    let mut modules = Modules::default();
    let mut chains = Vec::new();
    for (name, filters) in [("no filter", json!([])), ("hello", hello), ("canary", canary)] {
        let replay = Replay::start(prepare(filters, &mut modules)?)?;
        chains.push((name, replay, Vec::with_capacity(ROUNDS)));
    }
    let exchanges: Vec<Exchange> = (0..EXCHANGES).map(exchange).collect();
    // The first round warms up.
    for round in 0..=ROUNDS {
        for (_, replay, times) in &mut chains {
            let time = run(replay, &exchanges);
            if round > 0 {
                times.push(time);
            }
        }
    }
    println!("how many exchanges a second does a header filter replay?");
    println!(
        "{:<10} {:>12} {:>10} {:>10} {:>10} {:>8}",
        "chain", "exchanges/s", "median ns", "best", "worst", "ratio"
    );
    let mut base = None;
    for (name, _, mut times) in chains {
        times.sort();
        let nanoseconds = |time: Duration| time.as_nanos() as f64 / (EXCHANGES * REPEAT) as f64;
        let median = nanoseconds(times[ROUNDS / 2]);
        let ratio = median / *base.get_or_insert(median);
        let (best, worst) = (nanoseconds(times[0]), nanoseconds(times[ROUNDS - 1]));
        println!("{name:<10} {:>12.0} {median:>10.0} {best:>10.0} {worst:>10.0} {ratio:>8.2}", 1e9 / median);
    }
    Ok(())
}

/// Three routes by the header that the canary carries its arm in.
fn prepare(filters: Value, modules: &mut Modules) -> Result<Setup, Box<dyn Error>> {
    let route = |arm: &str| {
        let header = json!([{"name": "x-canary-arm", "string_match": {"exact": arm}}]);
        json!({"name": arm, "match": {"prefix": "/", "headers": header}, "route": {"cluster": format!("reviews-{arm}")}})
    };
    let rest = json!({"name": "rest", "match": {"prefix": "/"}, "route": {"cluster": "reviews-v1"}});
    let host = json!({"name": "reviews", "domains": ["reviews.example.com"], "routes": [route("v2"), route("v3"), rest]});
    let scenario: Scenario = serde_json::from_value(json!({
        "filters": filters,
        "route_config": {"virtual_hosts": [host]},
    }))?;
    Ok(setup(&scenario, Path::new(env!("CARGO_MANIFEST_DIR")), modules)?)
}

/// Twelve header lines each way.
fn exchange(number: usize) -> Exchange {
    let user = if number.is_multiple_of(10) { "jack" } else { "jason" };
    let request = [
        (":method", "GET".to_owned()),
        (":authority", "reviews.example.com".to_owned()),
        (":scheme", "http".to_owned()),
        (":path", format!("/reviews/{number}?page=1")),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0".to_owned()),
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8".to_owned()),
        ("accept-encoding", "gzip, deflate, br".to_owned()),
        ("accept-language", "en-US,en;q=0.5".to_owned()),
        ("cookie", format!("session={number:032x}; theme=dark")),
        ("end-user", user.to_owned()),
        ("x-forwarded-proto", "http".to_owned()),
        ("x-request-id", format!("7d3e1a52-8f0b-4c6e-9a1d-{number:012x}")),
    ];
    let response = [
        (":status", "200".to_owned()),
        ("content-type", "application/json".to_owned()),
        ("content-length", "0".to_owned()),
        ("date", "Mon, 04 May 2026 09:00:00 GMT".to_owned()),
        ("cache-control", "private, max-age=0".to_owned()),
        ("etag", format!("\"{number:016x}\"")),
        ("vary", "accept-encoding".to_owned()),
        ("set-cookie", format!("seen={number}; path=/")),
        ("strict-transport-security", "max-age=31536000".to_owned()),
        ("x-content-type-options", "nosniff".to_owned()),
        ("x-frame-options", "DENY".to_owned()),
        ("x-served-by", "reviews-v1-5d8c".to_owned()),
    ];
    Exchange {
        origin: format!("bench: {number}"),
        start_ns: Some(1_777_885_200_000_000_000 + number as u64 * 1_000_000),
        request: message(request),
        response: Some(message(response)),
        ..Exchange::default()
    }
}

fn message(lines: [(&str, String); 12]) -> Message {
    Message { headers: lines.iter().map(|(name, value)| (name, value)).collect(), ..Message::default() }
}

fn run(replay: &mut Replay, exchanges: &[Exchange]) -> Duration {
    let start = Instant::now();
    for _ in 0..REPEAT {
        for exchange in exchanges {
            black_box(replay.exchange(black_box(exchange)));
        }
    }
    start.elapsed()
}
