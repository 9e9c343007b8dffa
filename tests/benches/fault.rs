//! How long delays take in a real Envoy, ours beside the native filter's, and what they cost while nothing happens.
//! `cargo bench --workspace --bench fault`, with `-- delays`, `-- storm` or `-- idle` only that; the recorded runs are in `runs/`. Asserts nothing: a
//! busy machine shows in both columns.
#![expect(clippy::unwrap_used, reason = "a measurement fails by panicking")]

use std::time::{Duration, Instant};

use conformance::beside::{Beside, Connection, Pair, get};
use conformance::{h2, tools};
use serde_json::json;

/// Delays in ms, and how many of each are measured: one after the other, in turns. Without a delay the two differ by what a call of a filter in a
/// virtual machine costs; that is in every other row, too.
const DELAYS: [(u64, usize); 4] = [(0, 400), (3, 400), (25, 400), (100, 300)];
/// A long one, measured on so many connections of each side at once, so often.
const LONG: (u64, usize, usize) = (7000, 50, 4);
/// By how much the beginnings of the long ones are apart: no multiple of what a clock may count in.
const APART: Duration = Duration::from_micros(17_300);
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

    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |part: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == part);
    let beside = Beside::start(binary, &[callers.clone(), many], 1).unwrap();
    if is_wanted("idle") {
        println!("idle CPU of Envoy, both filters loaded, before: {:.2} %", idle(&beside));
    }
    if is_wanted("delays") {
        println!(
            "\n| delay | native p50 | ours p50 | native p99 | ours p99 | native least | ours least | native off p50 | ours off p50 | native off p99 | ours off p99 |"
        );
        println!("|---|---|---|---|---|---|---|---|---|---|---|");
        for (ms, rounds) in DELAYS {
            report(ms, in_turns(&beside, ms, rounds));
        }
        report(LONG.0, at_once(&beside, LONG));
    }
    if is_wanted("storm") {
        println!("\n| 10 000 streams at once, delay 5 s, then 503 | first ms late | p50 | last | CPU s |");
        println!("|---|---|---|---|---|");
        for side in ["many-native", "many-ours", "many-native", "many-ours"] {
            storm(&beside, side);
        }
    }
    if is_wanted("idle") {
        println!("\nidle CPU of Envoy, both filters loaded, after: {:.2} %", idle(&beside));
        drop(beside);
        let none = Beside::start(binary, &[], 1).unwrap();
        println!("idle CPU of Envoy without any filter: {:.2} %", idle(&none));
    }
}

const SIDES: [&str; 2] = ["callers-native", "callers-ours"];

fn delayed(ms: u64) -> weir_harness::exchange::Message {
    let ms = ms.to_string();
    let lines = [("x-envoy-fault-delay-request", ms.as_str())];
    get("/", if ms == "0" { &[] } else { &lines })
}

/// Requests on many connections of both sides, one beginning a little after the other.
fn at_once(beside: &Beside, (ms, connections, rounds): (u64, usize, usize)) -> [Vec<Duration>; 2] {
    let begin = Instant::now();
    let threads: Vec<_> = (0..2 * connections)
        .map(|number| {
            let address = beside.address(SIDES[number % 2]).unwrap();
            std::thread::spawn(move || {
                let mut connection = Connection::open(address).unwrap();
                let due = APART * u32::try_from(number).unwrap();
                while begin.elapsed() < due {
                    std::thread::park_timeout(due.saturating_sub(begin.elapsed()));
                }
                (0..rounds).map(|_| connection.exchange(&delayed(ms)).unwrap().1).collect::<Vec<_>>()
            })
        })
        .collect();
    let mut times = [Vec::new(), Vec::new()];
    for (number, thread) in threads.into_iter().enumerate() {
        times[number % 2].extend(thread.join().unwrap());
    }
    times
}

/// Sequential requests on two kept connections, in turns.
fn in_turns(beside: &Beside, ms: u64, rounds: usize) -> [Vec<Duration>; 2] {
    let request = delayed(ms);
    let mut connections = SIDES.map(|side| Connection::open(beside.address(side).unwrap()).unwrap());
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (connection, times) in connections.iter_mut().zip(&mut times) {
            times.push(connection.exchange(&request).unwrap().1);
        }
    }
    times
}

/// A row of the table: the times, and how far they are off, early or late.
fn report(ms: u64, times: [Vec<Duration>; 2]) {
    let at = |sorted: &[f64], percent: usize| sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)];
    let [native, ours] = times.map(|times| {
        let mut times: Vec<f64> = times.into_iter().map(in_ms).collect();
        times.sort_by(f64::total_cmp);
        let mut off: Vec<f64> = times.iter().map(|time| (time - ms as f64).abs()).collect();
        off.sort_by(f64::total_cmp);
        [at(&times, 50), at(&times, 99), times[0], at(&off, 50), at(&off, 99)]
    });
    let cells = native.iter().zip(&ours).map(|(native, ours)| format!(" {native:.2} | {ours:.2} |"));
    println!("| {ms} ms |{}", cells.collect::<String>());
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
