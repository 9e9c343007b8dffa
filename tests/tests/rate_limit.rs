//! Envoy's own local_ratelimit beside the filter in one Envoy: the same answers to the same requests, and under the load of many clients on four
//! workers not one request more than the policy says.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use conformance::limits::{self, Client, TYPES, header};
use conformance::tools;
use serde_json::{Value, json};
use weir_harness::build;
use weir_harness::envoy::process::{Envoy, Started};
use weir_harness::exchange::Message;
use weir_harness::scenario::Filter;

/// Clients at the same time, each on a connection of its own: more than workers, so that all workers have some.
const CLIENTS: usize = 24;

fn is_admitted(answer: &Message) -> bool {
    match header(answer, ":status").as_deref() {
        Some("200") => true,
        Some("429") => false,
        other => panic!("{other:?}"),
    }
}

fn listener(name: &str, filter: &Value, access_log: &Path) -> Value {
    let answer = json!({"status": 200, "body": {"inline_string": "ok"}});
    limits::listener(name, filter, ("direct_response", answer), access_log)
}

fn native(bucket: &Value, exhausted: bool) -> Value {
    let all = json!({"default_value": {"numerator": 100}});
    json!({"name": "native", "typed_config": {
        "@type": format!("{TYPES}.filters.http.local_ratelimit.v3.LocalRateLimit"),
        "stat_prefix": "native", "token_bucket": bucket, "filter_enabled": all, "filter_enforced": all,
        "enable_x_ratelimit_headers": "DRAFT_VERSION_03", "enable_retry_after_header": true,
        "rate_limited_as_resource_exhausted": exhausted,
    }})
}

fn ours(limits: &Value, module: &Path, exhausted: bool) -> Value {
    let reply = json!({"grpc_status": if exhausted { "RESOURCE_EXHAUSTED" } else { "UNAVAILABLE" }});
    let config = json!({"limits": limits, "headers": {"x_ratelimit": true}, "reply": reply});
    json!({"name": "ours", "typed_config": {
        "@type": format!("{TYPES}.filters.http.wasm.v3.Wasm"),
        "config": {
            "name": "ours",
            "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": config.to_string()},
            "vm_config": {"runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": module}}},
        },
    }})
}

/// An Envoy with the two listeners `native` and `ours`; `None` where no Envoy can be had.
#[track_caller]
fn start(test: &str, workers: u32, bucket: &Value, limits: &Value) -> Option<Box<Envoy>> {
    start_with(test, workers, bucket, limits, false)
}

/// The same; gRPC requests are refused with `RESOURCE_EXHAUSTED` if `exhausted`.
#[track_caller]
fn start_with(
    test: &str,
    workers: u32,
    bucket: &Value,
    limits: &Value,
    exhausted: bool,
) -> Option<Box<Envoy>> {
    let binary = tools::envoy_or_skip(test).unwrap()?;
    let filter = Filter { name: "rate_limit".to_owned(), ..Filter::default() };
    let module = build::module(&filter, tools::workspace()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let listeners = [
        listener("native", &native(bucket, exhausted), &log),
        listener("ours", &ours(limits, &module, exhausted), &log),
    ];
    let config = json!({
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "static_resources": {"listeners": listeners},
    });
    match Envoy::start_with(binary, &config, workers, folder).unwrap() {
        Started::Running(envoy) => Some(envoy),
        Started::Refused(log) => panic!("{test}: {log}"),
    }
}

#[test]
fn answers_are_those_of_envoys_own() {
    for exhausted in [false, true] {
        compare_answers(exhausted);
    }
}

fn compare_answers(exhausted: bool) {
    // So slow that no token comes while the test runs, nor a second of `reset` passes.
    let bucket = json!({"max_tokens": 3, "tokens_per_fill": 1, "fill_interval": "86400s"});
    let own = json!({"max_tokens": 3, "tokens_per_fill": 1, "fill_interval": "1d"});
    let limits = json!([{"name": "all", "algorithm": {"token_bucket": own}}]);
    let test = "answers_are_those_of_envoys_own";
    let Some(envoy) = start_with(test, 1, &bucket, &limits, exhausted) else { return };
    let [theirs, ours] = ["native", "ours"].map(|name| {
        let mut client = Client::new(envoy.listener(name).unwrap());
        let plain = || Vec::new();
        let grpc = || vec![("content-type", "application/grpc")];
        [plain(), plain(), plain(), plain(), grpc(), plain()].map(|lines| {
            let answer = client.ask(&lines);
            let names = [
                ":status",
                "content-type",
                "content-length",
                "grpc-status",
                "grpc-message",
                "x-ratelimit-limit",
                "x-ratelimit-remaining",
                "x-envoy-ratelimited",
            ];
            let seen = names.map(|name| header(&answer, name));
            // Whole seconds that count down: a second may end between the two.
            let seconds = ["x-ratelimit-reset", "retry-after"]
                .map(|name| header(&answer, name).map(|seconds| seconds.parse::<i64>().unwrap()));
            (seen, seconds, String::from_utf8_lossy(&answer.body).into_owned())
        })
    });
    for ((ours, seconds, body), (theirs, their_seconds, their_body)) in ours.iter().zip(&theirs) {
        assert_eq!((ours, body), (theirs, their_body));
        for (own, their) in seconds.iter().zip(their_seconds) {
            assert_eq!(own.is_some(), their.is_some(), "{seconds:?}, not {their_seconds:?}");
            assert!(
                (own.unwrap_or(0) - their.unwrap_or(0)).abs() <= 60,
                "{seconds:?}, not {their_seconds:?}"
            );
        }
    }
    assert!(ours[3].1[1].is_some(), "retry-after");
    assert_eq!(ours[4].0[3].as_deref(), Some(if exhausted { "8" } else { "14" }));
    assert_eq!(ours[3].0[0].as_deref(), Some("429"));
    for entry in envoy.access_log(12).unwrap() {
        let refused = entry["code"] == 429 || entry["details"] == "local_rate_limited";
        assert_eq!(refused, entry["details"] == "local_rate_limited", "{entry}");
    }
}

/// How many of so many requests, by all clients, are admitted.
fn load(address: SocketAddr, each: usize, lines: &(impl Fn(usize) -> String + Sync)) -> (usize, Duration) {
    let start = Instant::now();
    let admitted = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                scope.spawn(move || {
                    let mut client = Client::new(address);
                    let ask = |turn: usize| client.ask(&[("end-user", &lines(number + turn * CLIENTS))]);
                    (0..each).map(ask).filter(is_admitted).count()
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    (admitted, start.elapsed())
}

fn metric(envoy: &Envoy, name: &str) -> u64 {
    let metrics = envoy.metrics().unwrap();
    metrics.iter().find(|(key, _)| key == name).map_or(0, |(_, value)| *value)
}

#[test]
fn four_workers_admit_what_the_policy_says_and_not_one_more() {
    const EACH: usize = 250;
    const MAX: usize = 600;
    let day = |max| json!({"max_tokens": max, "tokens_per_fill": 1, "fill_interval": "86400s"});
    let own = |max| json!({"max_tokens": max, "tokens_per_fill": 1, "fill_interval": "1d"});
    let limits = json!([{"name": "all", "algorithm": {"token_bucket": own(MAX)}}]);
    let test = "four_workers_admit_what_the_policy_says_and_not_one_more";
    let Some(envoy) = start(test, 4, &day(MAX), &limits) else { return };
    for name in ["native", "ours"] {
        let (admitted, _) = load(envoy.listener(name).unwrap(), EACH, &|_| String::new());
        assert_eq!(admitted, MAX, "{name}");
    }
    let total = (CLIENTS * EACH) as u64;
    let want = [MAX as u64, total - MAX as u64];
    assert_eq!([metric(&envoy, "rate_limit.ok"), metric(&envoy, "rate_limit.enforced")], want);
    assert_eq!(metric(&envoy, "rate_limit.contended"), 0);
}

#[test]
fn every_key_and_all_together_are_exact() {
    const EACH: usize = 200;
    const KEYS: usize = 40;
    // 4800 requests, 120 of each key: 30 of each are admitted, which is just what all together may.
    let own = |max| json!({"gcra": {"requests": 1, "period": "1d", "burst": max}});
    let limits = json!([
        {"name": "user", "key": [{"header": "end-user"}], "algorithm": own(30)},
        {"name": "day", "algorithm": {"fixed_window": {"max_requests": 1_000_000, "window": "365d"}}},
        {"name": "all", "algorithm": own(30 * KEYS)},
    ]);
    let bucket = json!({"max_tokens": 1, "fill_interval": "1s"});
    let Some(envoy) = start("every_key_and_all_together_are_exact", 4, &bucket, &limits) else { return };
    let user = |number: usize| format!("user-{}", number % KEYS);
    let (admitted, _) = load(envoy.listener("ours").unwrap(), EACH, &user);
    assert_eq!(admitted, 30 * KEYS);
    assert_eq!(metric(&envoy, "rate_limit.limit.all.rate_limited"), 0);
}

#[test]
fn a_rate_is_kept_under_load() {
    const EACH: usize = 300;
    let bucket = json!({"max_tokens": 50, "tokens_per_fill": 100, "fill_interval": "1s"});
    let limits = json!([{"name": "all", "algorithm": {"token_bucket": bucket}}]);
    let Some(envoy) = start("a_rate_is_kept_under_load", 4, &bucket, &limits) else { return };
    for name in ["native", "ours"] {
        let (admitted, time) = load(envoy.listener(name).unwrap(), EACH, &|_| String::new());
        let most = 50 + (time.as_nanos() * 100 / 1_000_000_000) as usize;
        // However slow the machine is: a full bucket was there, and no more than what has come in the time that was measured.
        assert!((50..=most).contains(&admitted), "{name}: {admitted} in {time:?}");
    }
}

/// A number that a recorded run sets, else a small one.
fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().map_or(otherwise, |text| text.parse().unwrap())
}

/// At ten times the limit and more, for as many seconds as `WEIR_LOAD_SECONDS` says (Envoy's own for at most five): both admit what the policy says for the time that was
/// measured, and not one more; what clients count is what the filter counts.
#[test]
fn not_one_more_at_ten_times_the_limit() {
    const RATE: u64 = 100;
    let seconds = number("WEIR_LOAD_SECONDS", 3);
    let bucket = json!({"max_tokens": RATE, "tokens_per_fill": RATE, "fill_interval": "1s"});
    let limits = json!([{"name": "all", "algorithm": {"token_bucket": bucket}}]);
    let Some(envoy) = start("not_one_more_at_ten_times_the_limit", 4, &bucket, &limits) else { return };
    for (name, seconds) in [("native", seconds.min(5)), ("ours", seconds)] {
        let address = envoy.listener(name).unwrap();
        // As many requests as ten times the limit makes of the time, or the time, whichever takes longer.
        let least = usize::try_from(10 * RATE * seconds).unwrap() / CLIENTS + 1;
        let begin = Instant::now();
        let client = || {
            let mut client = Client::new(address);
            let (mut asked, mut admitted) = (0, 0);
            while asked < least || begin.elapsed().as_secs() < seconds {
                asked += 1;
                admitted += usize::from(is_admitted(&client.ask(&[])));
            }
            (asked, admitted)
        };
        let counts: Vec<_> = thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
            clients.into_iter().map(|client| client.join().unwrap()).collect()
        });
        let time = begin.elapsed();
        let (asked, admitted) = counts.iter().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
        let most = (u128::from(RATE) + time.as_nanos() * u128::from(RATE) / 1_000_000_000) as usize;
        tools::say(&format!("{name}: {asked} requests in {time:.2?}, {admitted} admitted of at most {most}"));
        assert!(asked >= 10 * (RATE * seconds) as usize && admitted <= most && admitted >= RATE as usize);
        if name == "ours" {
            let counted =
                ["ok", "enforced"].map(|name| metric(&envoy, &format!("rate_limit.{name}")) as usize);
            assert_eq!(counted, [admitted, asked - admitted]);
        }
    }
}

/// Heap bytes of Envoy, where shared data is. What V8 has is elsewhere.
fn allocated(envoy: &Envoy) -> u64 {
    let memory: Value = serde_json::from_str(&envoy.get("/memory").unwrap()).unwrap();
    memory["allocated"].as_str().unwrap().parse().unwrap()
}

/// As many distinct keys as `WEIR_KEYS` says: the memory is that of the places, and what is admitted is what the places and those that are shared
/// allow.
#[test]
fn memory_does_not_grow_with_keys() {
    const PLACES: usize = 1024;
    let keys = usize::try_from(number("WEIR_KEYS", 20_000)).unwrap() / CLIENTS;
    let limits = json!([{
        "name": "user", "key": [{"header": "end-user"}], "max_keys": PLACES,
        "algorithm": {"token_bucket": {"max_tokens": 1, "fill_interval": "1d"}},
    }]);
    let bucket = json!({"max_tokens": 1, "fill_interval": "1s"});
    let Some(envoy) = start("memory_does_not_grow_with_keys", 4, &bucket, &limits) else { return };
    let address = envoy.listener("ours").unwrap();
    // So many that all places and shared states are used.
    let first = 20 * PLACES / CLIENTS;
    let filled = load(address, first, &|number| format!("first-{number}")).0;
    assert_eq!(metric(&envoy, "rate_limit.ok"), filled as u64);
    let before = allocated(&envoy);
    let (admitted, time) = load(address, keys, &|number| format!("user-{number}"));
    let after = allocated(&envoy);
    let count = keys * CLIENTS;
    tools::say(&format!(
        "{count} more keys in {time:.2?}: {before} bytes allocated before, {after} after; {filled} and {admitted} admitted"
    ));
    // A place for each of `PLACES` keys, and one shared by the others of each set of eight.
    assert_eq!((filled, admitted), (PLACES + PLACES / 8, 0));
    // A key that stayed would be some hundred bytes.
    assert!(after.saturating_sub(before) < 100 * count as u64 / 2, "{before}, {after}");
}

#[test]
fn what_runs_at_the_same_time_is_given_back() {
    let limits = json!([{"name": "at-once", "key": [{"header": "end-user"}], "algorithm": {"concurrency": {"max_requests": 2}}}]);
    let bucket = json!({"max_tokens": 1, "fill_interval": "1s"});
    let Some(envoy) = start("what_runs_at_the_same_time_is_given_back", 4, &bucket, &limits) else { return };
    let address = envoy.listener("ours").unwrap();
    load(address, 100, &|_| "ann".to_owned());
    // After all that, there is room again for one after the other.
    let mut client = Client::new(address);
    let mut ask = || is_admitted(&client.ask(&[("end-user", "ann")]));
    // A worker may still be about to end its last stream.
    assert!((0..1000).any(|_| ask()));
    assert!((0..20).all(|_| ask()));
}
