//! How long delays take in a real Envoy, ours beside the native filter's, and what they cost while nothing happens.
//! `cargo bench --workspace --bench fault`; the recorded runs are in `runs/`. Asserts nothing: a busy machine shows in both columns.
#![expect(clippy::unwrap_used, reason = "a measurement fails by panicking")]

use std::time::{Duration, Instant};

use conformance::beside::{Beside, Connection, Pair, get};
use conformance::{h2, tools};
use serde_json::json;

/// Delays in ms, and how many of each are measured.
const DELAYS: [(u64, usize); 4] = [(3, 400), (25, 200), (100, 100), (7000, 8)];
/// How long Envoy's idle CPU is measured.
const IDLE: Duration = Duration::from_secs(15);

fn main() {
    // `cargo test --benches` only wants to know that it runs.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let Some(binary) = tools::envoy_or_skip("fault").unwrap() else { return };
    let all = json!({"numerator": 100});
    let callers = Pair {
        name: "callers",
        native: json!({"delay": {"header_delay": {}, "percentage": all}}),
        ours: json!({"faults": [{"delay": {"header_delay": {}}}]}),
        behind: None,
    };
    let many = Pair {
        name: "many",
        native: json!({"delay": {"fixed_delay": "5s", "percentage": all}, "abort": {"http_status": 503, "percentage": all}}),
        ours: json!({"faults": [{"delay": "5s", "abort": 503}]}),
        behind: None,
    };

    let beside = Beside::start(binary, &[callers.clone(), many], 1).unwrap();
    println!("idle CPU of Envoy, both filters loaded, before: {:.2} %", idle(&beside));
    println!("\n| delay | native p50 | ours p50 | native p99 | ours p99 | native least | ours least |");
    println!("|---|---|---|---|---|---|---|");
    for (ms, rounds) in DELAYS {
        delays(&beside, ms, rounds);
    }
    println!("\n| 10 000 streams at once, delay 5 s, then 503 | first ms late | p50 | last | CPU s |");
    println!("|---|---|---|---|---|");
    for side in ["many-native", "many-ours"] {
        storm(&beside, side);
    }
    println!("\nidle CPU of Envoy, both filters loaded, after: {:.2} %", idle(&beside));
    drop(beside);
    let none = Beside::start(binary, &[], 1).unwrap();
    println!("idle CPU of Envoy without any filter: {:.2} %", idle(&none));
}

/// Sequential requests on two kept connections, in turns.
fn delays(beside: &Beside, ms: u64, rounds: usize) {
    let request = get("/", &[("x-envoy-fault-delay-request", &ms.to_string())]);
    let sides = ["callers-native", "callers-ours"];
    let mut connections = sides.map(|side| Connection::open(beside.address(side).unwrap()).unwrap());
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (connection, times) in connections.iter_mut().zip(&mut times) {
            times.push(connection.exchange(&request).unwrap().1);
        }
    }
    let [native, ours] = times.map(|mut times| {
        times.sort_unstable();
        let at = |percent: usize| in_ms(times[(times.len() * percent / 100).min(times.len() - 1)]);
        (at(50), at(99), in_ms(times[0]))
    });
    println!(
        "| {ms} ms | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} |",
        native.0, ours.0, native.1, ours.1, native.2, ours.2
    );
}

fn storm(beside: &Beside, side: &str) {
    let before = cpu(beside);
    let mut late: Vec<f64> = h2::storm(beside.address(side).unwrap(), 20, 500, "/")
        .unwrap()
        .into_iter()
        .map(|(took, _)| in_ms(took) - 5000.0)
        .collect();
    late.sort_by(f64::total_cmp);
    let used = cpu(beside) - before;
    println!(
        "| {side} | {:.0} | {:.0} | {:.0} | {used:.2} |",
        late[0],
        late[late.len() / 2],
        late[late.len() - 1]
    );
}

fn in_ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Percent of a CPU.
fn idle(beside: &Beside) -> f64 {
    let (begin, before) = (Instant::now(), cpu(beside));
    while begin.elapsed() < IDLE {
        std::thread::park_timeout(IDLE.saturating_sub(begin.elapsed()));
    }
    (cpu(beside) - before) / begin.elapsed().as_secs_f64() * 100.0
}

/// Seconds of CPU that Envoy has used: user and system time, in hundredths (proc(5), `stat`).
fn cpu(beside: &Beside) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", beside.envoy().pid())).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks =
        |at: usize| fields.split_whitespace().nth(at).and_then(|field| field.parse::<f64>().ok()).unwrap();
    (ticks(11) + ticks(12)) / 100.0
}
