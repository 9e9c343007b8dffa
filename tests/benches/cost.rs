//! What a request costs Envoy with each filter beside one without: CPU time of a worker, over HTTP/1, answered by the route, with a
//! policy of the usual kind that lets the request pass. `cargo bench --workspace --bench cost`; with `-- canary 30` only rows whose names have the word,
//! and 30 turns each in place of 12; with `-- canary=some/other.wasm` another build of a filter has a row beside it. The recorded runs are in `runs/`.
//! Asserts nothing but that every request is answered.
#![expect(clippy::unwrap_used, reason = "a measurement fails by panicking")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use conformance::beside::Connection;
use conformance::tools;
use serde_json::{Value, json};
use weir_harness::build;
use weir_harness::envoy::proxy::{Options, Proxy};
use weir_harness::exchange::Message;
use weir_harness::scenario::Scenario;

/// Turns of each row, where nothing else is said, and their length.
const TURNS: usize = 12;
const TURN: Duration = Duration::from_millis(1000);

struct Row {
    name: String,
    proxy: Proxy,
    /// Microseconds a request, by turn.
    each: Vec<f64>,
}

fn main() {
    // `cargo test --benches` only wants to know that it runs.
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        return;
    }
    let turns = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(TURNS);
    arguments.retain(|argument| argument != "--bench" && argument.parse::<usize>().is_err());
    let (others, words): (Vec<_>, Vec<_>) = arguments.iter().partition(|argument| argument.contains('='));
    let Some(binary) = tools::envoy_or_skip("cost").unwrap() else { return };
    let mut rows = Vec::new();
    for (name, config) in policies() {
        let wanted =
            name == "no filter" || words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
        let filters = if config.is_null() { json!([]) } else { json!([{"name": name, "config": config}]) };
        if wanted {
            rows.push(Row { name: name.to_owned(), proxy: start(binary, &filters, None), each: Vec::new() });
        }
        for (other, module) in others.iter().filter_map(|other| other.split_once('=')) {
            if other == name {
                let proxy = start(binary, &filters, Some(Path::new(module)));
                rows.push(Row { name: format!("{name}, {module}"), proxy, each: Vec::new() });
            }
        }
    }
    // The first turns warm up: V8 compiles what is hot anew. Each round begins with another row.
    for turn in 0..turns + 2 {
        let count = rows.len();
        for at in 0..count {
            let row = &mut rows[(at + turn) % count];
            let (before, requests) = (cpu(&row.proxy), load(&row.proxy));
            let each = (cpu(&row.proxy) - before) * 1e6 / f64::from(requests);
            if turn > 1 {
                row.each.push(each);
            }
        }
    }
    println!(
        "| {turns} turns of {TURN:?} | µs of CPU a request: median | least | most | more than without a filter | ratio |"
    );
    println!("|---|---|---|---|---|---|");
    let mut base = None;
    for Row { name, mut each, .. } in rows {
        each.sort_by(f64::total_cmp);
        let median = each[each.len() / 2];
        let base = *base.get_or_insert(median);
        let (least, most) = (each[0], each[each.len() - 1]);
        println!(
            "| {name} | {median:.1} | {least:.1} | {most:.1} | {:.1} | {:.2} |",
            median - base,
            median / base
        );
    }
}

/// A policy of the usual kind for each filter, that lets the request of [`request`] pass.
fn policies() -> Vec<(&'static str, Value)> {
    vec![
        ("no filter", Value::Null),
        ("hello-filter", json!({"greeting": "hello"})),
        (
            "canary",
            json!({"rules": [
                {"name": "jack", "match": {"headers": [{"name": "end-user", "exact": "jack"}]}, "arm": "v2"},
                {"name": "rest", "split": [{"arm": "v1", "weight": 90}, {"arm": "v3", "weight": 10}]},
            ]}),
        ),
        (
            "rate_limit",
            json!({"limits": [{"name": "all", "algorithm": {"gcra": {"requests": 1_000_000, "period": "1s", "burst": 1_000_000}}}]}),
        ),
        (
            "circuit_breaker",
            json!({"open_when": {"errors": 5, "window": {"time": "30s"}}, "open": {"duration": "3m"}}),
        ),
        (
            "fault",
            json!({"faults": [{"match": {"headers": [{"name": "end-user", "exact": "jason"}]}, "abort": 500}]}),
        ),
        ("mirror", json!({"targets": [{"cluster": "shadow", "percentage": 0}]})),
    ]
}

fn start(binary: &Path, filters: &Value, module: Option<&Path>) -> Proxy {
    let scenario: Scenario = serde_json::from_value(json!({
        "filters": filters,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "primary"}}}
        ]}]},
        "clusters": {"shadow": {}},
    }))
    .unwrap();
    let base = tools::workspace();
    let modules: Vec<PathBuf> = match module {
        Some(module) => vec![base.join(module)],
        None => scenario.filters.iter().map(|filter| build::module(filter, base).unwrap()).collect(),
    };
    let options = Options { workers: 1, ..Options::default() };
    Proxy::start(binary, &scenario, base, &modules, &options).unwrap().unwrap()
}

/// A turn: how many requests were answered, one after the other on one connection.
fn load(proxy: &Proxy) -> u32 {
    let mut connection = Connection::open_announced(proxy.envoy().listener("cases").unwrap()).unwrap();
    let (begin, request) = (Instant::now(), request());
    let mut requests = 0;
    while begin.elapsed() < TURN {
        let (answer, _) = connection.exchange(&request).unwrap();
        assert_eq!(answer.body, b"primary");
        requests += 1;
    }
    requests
}

/// A GET as a browser's page makes it.
fn request() -> Message {
    let lines = [
        (":method", "GET"),
        (":path", "/api/products?page=2"),
        (":authority", "shop.example.com"),
        ("accept", "application/json"),
        ("accept-encoding", "gzip, br"),
        ("cookie", "session=0123456789abcdef; theme=dark"),
        ("end-user", "joe"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64)"),
        ("x-request-id", "7d3e1a52-8f0b-4c6e-9a1d-000000000001"),
    ];
    Message { headers: lines.into_iter().collect(), ..Message::default() }
}

/// Seconds of CPU that Envoy has used: user and system time, in hundredths (proc(5), `stat`).
fn cpu(proxy: &Proxy) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", proxy.envoy().pid())).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks =
        |at: usize| fields.split_whitespace().nth(at).and_then(|field| field.parse::<f64>().ok()).unwrap();
    (ticks(11) + ticks(12)) / 100.0
}
