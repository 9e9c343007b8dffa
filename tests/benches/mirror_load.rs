//! What a mirror beside it costs the primary under load: requests that begin at a fixed rate, whether or not the ones before are answered, with
//! targets that answer, hang, refuse, reset and die; without a mirror, with Envoy's own and with ours. `cargo bench --workspace --bench mirror_load`;
//! with `-- mirror answers 9` only rows whose names have one of these words, and nine turns each in place of three. The recorded runs are in `runs/`. Asserts nothing but that every primary is answered.
#![expect(clippy::unwrap_used, reason = "a measurement fails by panicking")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use conformance::beside::Connection;
use conformance::tools;
use serde_json::{Value, json};
use weir_harness::build;
use weir_harness::envoy::proxy::{Options, Proxy};
use weir_harness::exchange::Message;
use weir_harness::scenario::Scenario;

/// Requests a second, over all connections.
const RATE: u32 = 400;
/// Connections that are kept, and take turns.
const CONNECTIONS: u32 = 8;
/// Rounds, in which each Envoy has its turn of this length, where nothing else is said.
const ROUNDS: usize = 3;
const TURN: Duration = Duration::from_millis(1500);

struct Row {
    name: String,
    proxy: Proxy,
    times: Vec<Duration>,
    /// Of each turn.
    cpu: Vec<f64>,
}

fn main() {
    // `cargo test --benches` only wants to know that it runs.
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        return;
    }
    let rounds = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(ROUNDS);
    arguments.retain(|argument| argument != "--bench" && argument.parse::<usize>().is_err());
    let Some(binary) = tools::envoy_or_skip("mirror_load").unwrap() else { return };
    let target = |more: Value| {
        let mut target = json!({"cluster": "shadow", "methods": ["*"], "timeout": "60s"});
        target.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!([{"name": "mirror", "config": {"targets": [target]}}])
    };
    let (none, native) = (json!([]), json!([{"cluster": "shadow"}]));
    let fails = |how: &str| json!({"failure": {"type": how}});
    let shadows = [
        ("answers", json!({})),
        ("hangs", fails("TIMEOUT")),
        ("refuses", fails("CONNECT_FAILURE")),
        ("resets", fails("RESET")),
        (
            "dies",
            json!({"sequence": [{"times": 300}, {"times": 300, "failure": {"type": "RESET"}}, {"failure": {"type": "TIMEOUT"}}]}),
        ),
    ];
    let mut scenarios = vec![
        ("no mirror".to_owned(), none.clone(), none.clone(), json!({})),
        ("ours, 0 %".to_owned(), target(json!({"percentage": 0})), none.clone(), json!({})),
    ];
    for (name, shadow) in shadows {
        let never = json!({"back_off": {"max_failures": 100}});
        scenarios.push((format!("target {name}, native"), none.clone(), native.clone(), shadow.clone()));
        scenarios.push((format!("target {name}, ours"), target(json!({})), none.clone(), shadow.clone()));
        scenarios.push((
            format!("target {name}, ours, never backing off"),
            target(never),
            none.clone(),
            shadow,
        ));
    }
    let mut rows: Vec<Row> = scenarios
        .into_iter()
        .filter(|(name, ..)| arguments.is_empty() || arguments.iter().any(|word| name.contains(word)))
        .map(|(name, filters, mirrors, shadow)| {
            let proxy = start(binary, &filters, &mirrors, &shadow);
            Row { name, proxy, times: Vec::new(), cpu: Vec::new() }
        })
        .collect();
    // The first round warms up. Each round begins with another one.
    for round in 0..=rounds {
        let count = rows.len();
        rows.rotate_left((round * 5) % count);
        for row in &mut rows {
            let before = cpu(&row.proxy);
            let times = load(row.proxy.envoy().listener("cases").unwrap());
            if round > 0 {
                row.times.extend(times);
                row.cpu.push(cpu(&row.proxy) - before);
            }
        }
    }
    rows.sort_by(|one, other| one.name.cmp(&other.name));
    println!(
        "| {RATE} requests/s, {rounds} turns of {TURN:?} | p50 ms | p90 ms | p99 ms | Envoy's CPU, ms a request | turn by turn | copies sent |"
    );
    println!("|---|---|---|---|---|---|---|");
    for Row { name, proxy, mut times, cpu } in rows {
        times.sort_unstable();
        let at =
            |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)].as_secs_f64() * 1000.0;
        let metrics = proxy.envoy().metrics().unwrap();
        let sent = metrics.iter().find(|(other, _)| other == "mirror.shadow.sent");
        let sent = sent.map_or("–".to_owned(), |(_, value)| value.to_string());
        let each = cpu.iter().sum::<f64>() * 1000.0 / times.len() as f64;
        let turn = |cpu: &f64| format!("{:.2}", cpu * 1000.0 * rounds as f64 / times.len() as f64);
        let turns = cpu.iter().map(turn).collect::<Vec<_>>().join(" ");
        println!("| {name} | {:.2} | {:.2} | {:.2} | {each:.3} | {turns} | {sent} |", at(50), at(90), at(99));
    }
}

fn start(binary: &std::path::Path, filters: &Value, mirrors: &Value, shadow: &Value) -> Proxy {
    let scenario: Scenario = serde_json::from_value(json!({
        "filters": filters,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "route": {"cluster": "primary", "request_mirror_policies": mirrors}}
        ]}]},
        "clusters": {"primary": {"response": {"body": "primary"}}, "shadow": shadow},
    }))
    .unwrap();
    let base = tools::workspace();
    let modules: Vec<PathBuf> =
        scenario.filters.iter().map(|filter| build::module(filter, base).unwrap()).collect();
    let options = Options { workers: 1, ..Options::default() };
    Proxy::start(binary, &scenario, base, &modules, &options).unwrap().unwrap()
}

/// A turn: how long each request took, from when it was due.
fn load(address: SocketAddr) -> Vec<Duration> {
    let begin = Instant::now() + Duration::from_millis(20);
    let each = Duration::from_secs(1) / RATE;
    let requests = u32::try_from(TURN.as_micros() / each.as_micros()).unwrap();
    let threads: Vec<_> = (0..CONNECTIONS)
        .map(|first| {
            thread::spawn(move || {
                let mut connection = Connection::open_announced(address).unwrap();
                let mut times = Vec::new();
                for number in (first..requests).step_by(CONNECTIONS as usize) {
                    let due = begin + each * number;
                    while Instant::now() < due {
                        thread::park_timeout(due.saturating_duration_since(Instant::now()));
                    }
                    let (answer, _) = connection.exchange(&request()).unwrap();
                    times.push(due.elapsed());
                    assert_eq!(answer.body, b"primary");
                }
                times
            })
        })
        .collect();
    threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
}

/// A POST as a service sends it.
fn request() -> Message {
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
    Message {
        headers: lines.into_iter().collect(),
        body: b"{\"order\": 4711, \"n\"}".to_vec(),
        ..Message::default()
    }
}

/// Seconds of CPU that Envoy has used: user and system time, in hundredths (proc(5), `stat`).
fn cpu(proxy: &Proxy) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", proxy.envoy().pid())).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks =
        |at: usize| fields.split_whitespace().nth(at).and_then(|field| field.parse::<f64>().ok()).unwrap();
    (ticks(11) + ticks(12)) / 100.0
}
