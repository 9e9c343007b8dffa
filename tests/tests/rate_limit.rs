//! Envoy's own local_ratelimit beside the filter in one Envoy: the same answers to the same requests, and under the load of many clients on four
//! workers not one request more than the policy says.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use conformance::tools;
use serde_json::{Value, json};
use weir_harness::build;
use weir_harness::envoy::process::{Envoy, Started};
use weir_harness::envoy::wire;
use weir_harness::exchange::Message;
use weir_harness::scenario::Filter;

const TYPES: &str = "type.googleapis.com/envoy.extensions";

/// Clients at the same time, each on a connection of its own: more than workers, so that all workers have some.
const CLIENTS: usize = 24;

/// A connection that stays.
struct Client {
    input: BufReader<TcpStream>,
    output: TcpStream,
}

impl Client {
    fn new(address: SocketAddr) -> Self {
        let output = TcpStream::connect(address).unwrap();
        output.set_nodelay(true).unwrap();
        output.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { input: BufReader::new(output.try_clone().unwrap()), output }
    }

    fn ask(&mut self, more: &[(&str, &str)]) -> Message {
        let lines = [(":method", "GET"), (":path", "/"), (":authority", "a")];
        let headers = lines.into_iter().chain(more.iter().copied()).collect();
        let mut bytes = Vec::new();
        wire::write_request(&mut bytes, &Message { headers, ..Message::default() }).unwrap();
        self.output.write_all(&bytes).unwrap();
        wire::read_response(&mut self.input, false).unwrap().expect("an answer")
    }
}

fn header(message: &Message, name: &str) -> Option<String> {
    message.headers.get(name.as_bytes()).map(|value| String::from_utf8_lossy(value).into_owned())
}

fn is_admitted(answer: &Message) -> bool {
    match header(answer, ":status").as_deref() {
        Some("200") => true,
        Some("429") => false,
        other => panic!("{other:?}"),
    }
}

fn listener(name: &str, filter: Value, access_log: &Path) -> Value {
    let router = json!({"name": "router", "typed_config": {"@type": format!("{TYPES}.filters.http.router.v3.Router")}});
    let log = json!({"name": "log", "typed_config": {
        "@type": format!("{TYPES}.access_loggers.file.v3.FileAccessLog"),
        "path": access_log,
        "log_format": {"json_format": {"listener": name, "code": "%RESPONSE_CODE%", "details": "%RESPONSE_CODE_DETAILS%"}},
    }});
    let answer = json!({"status": 200, "body": {"inline_string": "ok"}});
    let manager = json!({
        "@type": format!("{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": name,
        "access_log": [log],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "direct_response": answer},
        ]}]},
        "http_filters": [filter, router],
    });
    json!({
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "manager", "typed_config": manager}]}],
    })
}

fn native(bucket: &Value) -> Value {
    let all = json!({"default_value": {"numerator": 100}});
    json!({"name": "native", "typed_config": {
        "@type": format!("{TYPES}.filters.http.local_ratelimit.v3.LocalRateLimit"),
        "stat_prefix": "native", "token_bucket": bucket, "filter_enabled": all, "filter_enforced": all,
        "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
    }})
}

fn ours(limits: &Value, module: &Path) -> Value {
    let config = json!({"limits": limits, "headers": {"x_ratelimit": true, "retry_after": false}});
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
    let binary = tools::envoy_or_skip(test).unwrap()?;
    let filter = Filter { name: "rate_limit".to_owned(), ..Filter::default() };
    let module = build::module(&filter, tools::workspace()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let listeners = [listener("native", native(bucket), &log), listener("ours", ours(limits, &module), &log)];
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
    // So slow that no token comes while the test runs, nor a second of `reset` passes.
    let bucket = json!({"max_tokens": 3, "tokens_per_fill": 1, "fill_interval": "86400s"});
    let own = json!({"max_tokens": 3, "tokens_per_fill": 1, "fill_interval": "1d"});
    let limits = json!([{"name": "all", "algorithm": {"token_bucket": own}}]);
    let Some(envoy) = start("answers_are_those_of_envoys_own", 1, &bucket, &limits) else { return };
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
                "retry-after",
            ];
            let seen = names.map(|name| header(&answer, name));
            // Whole seconds that count down: a second may end between the two.
            let reset: i64 = header(&answer, "x-ratelimit-reset").unwrap().parse().unwrap();
            (seen, reset, String::from_utf8_lossy(&answer.body).into_owned())
        })
    });
    for ((ours, reset, body), (theirs, their_reset, their_body)) in ours.iter().zip(&theirs) {
        assert_eq!((ours, body), (theirs, their_body));
        assert!((reset - their_reset).abs() <= 60, "{reset}, not {their_reset}");
    }
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
