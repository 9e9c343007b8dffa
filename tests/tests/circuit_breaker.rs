//! A circuit breaker with four workers under load in a real Envoy: it opens once, lets exactly its probes through, closes, and gets lost probes'
//! slots back; beside Envoy's own outlier detection, thresholds, admission control and adaptive concurrency. What is asserted are counts that no timing changes, and least times.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use conformance::tools;
use serde_json::{Value, json};
use weir_harness::build;
use weir_harness::envoy::bootstrap::{self, Plan, Plugin};
use weir_harness::envoy::client::{self, Parties, Wait};
use weir_harness::envoy::process::{Envoy, Started};
use weir_harness::envoy::proxy::{LISTENER, Options, Proxy};
use weir_harness::envoy::server::{Answers, Arrival, Reply, Server};
use weir_harness::exchange::{Exchange, Message};
use weir_harness::headers::Headers;
use weir_harness::scenario::{Filter, Scenario};

/// Clients that ask at the same time, each on connections of its own, so on any worker.
const CLIENTS: u64 = 8;
/// Envoy's.
const WORKERS: u64 = 4;
/// Errors that open the circuit.
const ERRORS: u64 = 20;
/// Probes that decide.
const PROBES: u64 = 3;
/// How long it stays open.
const OPEN: Duration = Duration::from_secs(1);
/// A wait for something that a working filter does in seconds.
const PATIENCE: Duration = Duration::from_secs(120);

fn scenario() -> Scenario {
    let config = json!({
        "open_when": {"errors": ERRORS, "window": {"time": "1h"}},
        "open": {"duration": "1s"},
        // All of them decide; a lost one gives its slot back by itself, as its lease does not end here.
        "probes": {"calls": PROBES, "max_failures": PROBES - 1, "lease": "1h"},
        "refresh": "0s",
    });
    let clusters = json!({"reviews": {
        "match": [
            {"headers": {"x-want": "fail"}, "response": {"status": 500}},
            {"headers": {"x-want": "hang"}, "failure": {"type": "TIMEOUT"}},
        ],
        "response": {"status": 200},
    }});
    Scenario {
        filters: vec![Filter {
            name: "circuit_breaker".to_owned(),
            config: Some(config.to_string().into()),
            ..Filter::default()
        }],
        route_config: Some(bootstrap::everything_to("reviews")),
        clusters: serde_json::from_value(clusters).unwrap(),
        ..Scenario::default()
    }
}

fn request(want: &str) -> Exchange {
    let lines = [
        (":method", "GET"),
        (":path", "/"),
        (":authority", "reviews"),
        (":scheme", "http"),
        ("x-want", want),
    ];
    let request = Message { headers: lines.into_iter().collect::<Headers>(), ..Message::default() };
    Exchange { request, ..Exchange::default() }
}

fn status(message: &Message) -> u16 {
    let status = message.headers.get(b":status").unwrap_or_default();
    String::from_utf8_lossy(status).parse().unwrap_or(0)
}

/// An Envoy under test, and what its servers have received so far.
struct Load {
    proxy: Proxy,
}

impl Load {
    fn metric(&self, name: &str) -> u64 {
        let name = format!("circuit_breaker.{name}");
        let all = self.proxy.envoy().metrics().unwrap();
        all.iter().find(|(key, _)| *key == name).map_or(0, |(_, value)| *value)
    }

    fn metrics<const N: usize>(&self, names: [&str; N]) -> [u64; N] {
        names.map(|name| self.metric(name))
    }

    /// A stream is recorded a moment after its answer is out.
    #[track_caller]
    fn settle(&self, name: &str, want: u64) {
        let begin = Instant::now();
        while self.metric(name) != want && begin.elapsed() < PATIENCE {
            thread::yield_now();
        }
        assert_eq!(self.metric(name), want, "{name}");
    }

    /// One request; whether it was let through. What is refused must be refused in the right words.
    fn ask(&self, want: &str) -> bool {
        let response = self.proxy.ask(&request(want)).unwrap().expect("an answer");
        if response.body != b"circuit breaker open" {
            assert_eq!(status(&response), if want == "fail" { 500 } else { 200 });
            return true;
        }
        assert_eq!(status(&response), 503);
        assert_eq!(response.headers.get(b"retry-after"), Some(&b"1"[..]));
        false
    }

    /// Asks from all clients at once, each until `enough`.
    fn ask_until(&self, want: &str, enough: impl Fn(u64, bool) -> bool + Sync) -> u64 {
        let begin = Instant::now();
        let client = || {
            let mut passed = 0;
            loop {
                assert!(begin.elapsed() < PATIENCE, "{}", self.proxy.envoy().tail());
                let refused = !self.ask(want);
                passed += u64::from(!refused);
                if enough(passed, refused) {
                    return passed;
                }
            }
        };
        thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
            clients.into_iter().map(|client| client.join().unwrap()).sum()
        })
    }

    /// Asks until the metric is at least that.
    fn ask_until_metric(&self, want: &str, name: &str, least: u64) -> u64 {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let begin = Instant::now();
                while self.metric(name) < least && begin.elapsed() < PATIENCE {
                    thread::yield_now();
                }
                over.store(true, Ordering::SeqCst);
            });
            self.ask_until(want, |_, _| over.load(Ordering::SeqCst))
        })
    }
}

#[test]
fn four_workers_under_load_have_one_circuit() {
    let Some(envoy) = tools::envoy_or_skip("four_workers_under_load_have_one_circuit").unwrap() else {
        return;
    };
    let scenario = scenario();
    let modules: Vec<_> =
        scenario.filters.iter().map(|filter| build::module(filter, tools::workspace()).unwrap()).collect();
    let options = Options { workers: WORKERS as u32, ..Options::default() };
    let proxy = Proxy::start(envoy, &scenario, Path::new("."), &modules, &options).unwrap().unwrap();
    let load = Load { proxy };

    // Opens once: as many errors as it takes, and what was under way then.
    let begin = Instant::now();
    let passed = load.ask_until("fail", |_, refused| refused);
    // Each client may have had one under way, and each worker one that was answered and not yet recorded.
    assert!((ERRORS..ERRORS + CLIENTS + WORKERS).contains(&passed), "{passed}");
    load.settle("errors", passed);
    load.settle("late", passed - ERRORS);
    assert_eq!(load.metrics(["opened", "half_opened", "open"]), [1, 0, 1]);
    assert_eq!(load.proxy.received().len() as u64, passed);

    // Stays open for its time, then exactly its probes pass, and fail; however often that happens until the clients stop.
    let passed = load.ask_until_metric("fail", "half_opened", 1);
    assert!(begin.elapsed() >= OPEN);
    let [half_opened, opened, probes] = load.metrics(["half_opened", "opened", "probes"]);
    assert_eq!(load.proxy.received().len() as u64, passed);
    assert_eq!(passed, probes);
    assert!(
        probes <= half_opened * PROBES && probes > (half_opened - 1) * PROBES,
        "{probes} in {half_opened}"
    );
    assert!((half_opened..=half_opened + 1).contains(&opened));

    // Probes succeed: it closes, and everything passes.
    load.ask_until("ok", |passed, _| passed >= 20);
    assert_eq!(load.metrics(["closed", "open", "half_open"]), [1, 0, 0]);
    let _ = load.proxy.received();

    // Opens once more; clients of probes leave, and it closes all the same.
    let opened = load.metric("opened");
    load.ask_until("fail", |_, refused| refused);
    assert_eq!(load.metric("opened"), opened + 1);
    let patience = Instant::now();
    while load.metric("probes_lost") < 2 * PROBES {
        assert!(patience.elapsed() < PATIENCE, "{}", load.proxy.envoy().tail());
        load.proxy.ask_at(&request("hang"), LISTENER, Wait::Leave(Duration::from_millis(20))).unwrap();
    }
    load.ask_until("ok", |passed, _| passed >= 1);
    assert_eq!(load.metrics(["closed", "open", "half_open"]), [2, 0, 0]);
    assert_eq!(load.metrics(["contended", "no_room"]), [0, 0]);
}

/// An upstream that knows how many requests it had at once.
#[derive(Default)]
struct Crowd {
    here: AtomicUsize,
    most: AtomicUsize,
}

impl Answers for Crowd {
    fn reply(&self, _: Arrival) -> Reply {
        let here = self.here.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(here, Ordering::SeqCst);
        // Long enough for others to come, where they may.
        (0..100).for_each(|_| thread::yield_now());
        self.here.fetch_sub(1, Ordering::SeqCst);
        let message = Message { headers: [(":status", "200")].into_iter().collect(), ..Message::default() };
        Reply::Answer(Duration::ZERO, message)
    }
}

/// Never more than two calls at once over four workers, as the upstream sees it; nobody is refused who waits.
#[test]
fn a_limit_of_calls_under_way_is_exact() {
    let Some(envoy) = tools::envoy_or_skip("a_limit_of_calls_under_way_is_exact").unwrap() else { return };
    let crowd = Arc::new(Crowd::default());
    let server = Server::start(Arc::clone(&crowd) as Arc<dyn Answers>).unwrap();
    let config = json!({"concurrency": {"max": 2, "max_wait": "1m"}});
    let envoy = ours_before(envoy, &server, &config, WORKERS);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| (0..20).for_each(|_| assert_eq!(status(&ask_native(&envoy)), 200)));
        }
    });
    assert!(crowd.most.load(Ordering::SeqCst) <= 2, "{crowd:?}", crowd = crowd.most);
    let metrics: BTreeMap<String, u64> = envoy.metrics().unwrap().into_iter().collect();
    assert_eq!(metrics["circuit_breaker.concurrency_limited"], 0);
    assert_eq!(metrics["circuit_breaker.contended"], 0);
}

/// An Envoy without filters, whose only cluster has these settings, and a server behind it that answers 500.
fn native(envoy: &Path, settings: &Value) -> (Envoy, Server) {
    let failing = Message { headers: [(":status", "500")].into_iter().collect(), ..Message::default() };
    let server = Server::start(Arc::new(failing)).unwrap();
    (native_before(envoy, &server, settings, None), server)
}

/// An Envoy before that server.
fn plan(server: &Server) -> Plan {
    let cluster = bootstrap::Cluster { ports: vec![server.port()], ..bootstrap::Cluster::default() };
    Plan {
        route_config: bootstrap::everything_to("reviews"),
        clusters: BTreeMap::from([("reviews".to_owned(), cluster)]),
        idle: PATIENCE,
        ..Plan::default()
    }
}

/// An Envoy before that server, with one of its own filters.
fn native_before(envoy: &Path, server: &Server, settings: &Value, filter: Option<Value>) -> Envoy {
    let plan = plan(server);
    let folder = tempfile::tempdir().unwrap();
    let mut config = bootstrap::bootstrap(&plan, &folder.path().join("access.log"));
    let written = config["static_resources"]["clusters"][0].as_object_mut().unwrap();
    written.extend(settings.as_object().unwrap().clone());
    let manager = &mut config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0];
    let filters = manager["typed_config"]["http_filters"].as_array_mut().unwrap();
    filters.splice(0..0, filter);
    match Envoy::start_with(envoy, &config, 1, folder).unwrap() {
        Started::Running(envoy) => *envoy,
        Started::Refused(log) => panic!("{log}"),
    }
}

fn ask_native(envoy: &Envoy) -> Message {
    let parties = Parties { source: ([127, 0, 0, 1], 40_000).into(), port: LISTENER };
    let answer = client::exchange(
        envoy.listener("cases").unwrap(),
        Some(parties),
        &request("").request,
        Wait::default(),
    );
    answer.unwrap().expect("an answer")
}

/// An Envoy before that server, with our filter.
fn ours_before(envoy: &Path, server: &Server, config: &Value, workers: u64) -> Envoy {
    let plugin = Plugin {
        name: "circuit_breaker".to_owned(),
        module: build::named("circuit_breaker", tools::workspace()).unwrap(),
        configuration: Some(config.to_string()),
        ..Plugin::default()
    };
    let plan = Plan { plugins: vec![plugin], ..plan(server) };
    match Envoy::start(envoy, &plan, workers as u32).unwrap() {
        Started::Running(envoy) => *envoy,
        Started::Refused(log) => panic!("{log}"),
    }
}

fn ours(envoy: &Path, config: &Value) -> Proxy {
    let mut scenario = scenario();
    scenario.filters[0].config = Some(config.to_string().into());
    scenario.clusters = serde_json::from_value(json!({"reviews": {"response": {"status": 500}}})).unwrap();
    let module = build::module(&scenario.filters[0], tools::workspace()).unwrap();
    Proxy::start(envoy, &scenario, Path::new("."), &[module], &Options::default()).unwrap().unwrap()
}

/// Both stop after five errors in a row. Envoy ejects the host, on another thread, a moment later; ours has opened when the fifth answer is out.
#[test]
fn outlier_detection_beside_ours() {
    let Some(envoy) = tools::envoy_or_skip("outlier_detection_beside_ours").unwrap() else { return };
    let settings = json!({
        "outlier_detection": {"consecutive_5xx": 5, "max_ejection_percent": 100, "base_ejection_time": "300s"},
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
    });
    let (native, _server) = native(envoy, &settings);
    let proxy = ours(envoy, &json!({"open_when": {"consecutive_errors": 5}}));
    for _ in 0..5 {
        assert_eq!(status(&ask_native(&native)), 500);
        assert_eq!(status(&proxy.ask(&request("")).unwrap().unwrap()), 500);
    }
    let begin = Instant::now();
    let refused = loop {
        let answer = ask_native(&native);
        if status(&answer) == 503 {
            break answer;
        }
        assert!(begin.elapsed() < PATIENCE);
    };
    assert_eq!(refused.body, b"no healthy upstream");
    let answer = proxy.ask(&request("")).unwrap().unwrap();
    assert_eq!((status(&answer), answer.body.as_slice()), (503, &b"circuit breaker open"[..]));
    assert_eq!(answer.headers.get(b"retry-after"), Some(&b"30"[..]));
    // Five, and the one above was not among them.
    assert_eq!(proxy.received().len(), 5);
}

/// Envoy's own filter of this name.
fn filter(name: &str, config: Value) -> Option<Value> {
    let mut config = config;
    config["@type"] = format!("type.googleapis.com/envoy.extensions.filters.http.{name}").into();
    Some(json!({"name": "native", "typed_config": config}))
}

/// All header lines but the date, and the body.
/// Header lines, and a body.
type Answer = (Vec<(Vec<u8>, Vec<u8>)>, Vec<u8>);

fn seen(message: &Message) -> Answer {
    let headers = message.headers.iter().filter(|(name, _)| *name != b"date");
    let mut headers: Vec<_> = headers.map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    headers.sort();
    (headers, message.body.clone())
}

/// An upstream that always fails: both shed four of five requests, as `max_probability` says, and in the same words.
#[test]
fn admission_control_beside_ours() {
    const REQUESTS: usize = 1500;
    let Some(envoy) = tools::envoy_or_skip("admission_control_beside_ours").unwrap() else { return };
    let failing = Message { headers: [(":status", "500")].into_iter().collect(), ..Message::default() };
    let server = Server::start(Arc::new(failing)).unwrap();
    let criteria = json!({"http_criteria": {"http_success_status": [{"start": 100, "end": 500}]}});
    let native = json!({"success_criteria": criteria, "sampling_window": "3600s"});
    let native = filter("admission_control.v3.AdmissionControl", native);
    let native = native_before(envoy, &server, &json!({}), native);
    let ours = ours_before(envoy, &server, &json!({"shed": {"window": "1h"}}), 1);
    let mut refused = Vec::new();
    for envoy in [&native, &ours] {
        let answers: Vec<Message> = (0..REQUESTS).map(|_| ask_native(envoy)).collect();
        let shed: Vec<&Message> = answers.iter().filter(|answer| status(answer) == 503).collect();
        // 1200; five standard deviations are 78, and what is let through before there are enough calls to tell is some tens.
        assert!((1080..=1278).contains(&shed.len()), "{}", shed.len());
        refused.push(seen(shed[0]));
    }
    assert_eq!(refused[0], refused[1]);
}

/// An upstream that keeps its requests until so many answers have been seen elsewhere.
struct Holds(AtomicBool);

impl Answers for Holds {
    fn reply(&self, _: Arrival) -> Reply {
        let begin = Instant::now();
        while !self.0.load(Ordering::SeqCst) && begin.elapsed() < PATIENCE {
            thread::yield_now();
        }
        let message = Message { headers: [(":status", "200")].into_iter().collect(), ..Message::default() };
        Reply::Answer(Duration::ZERO, message)
    }
}

/// Both begin with three at a time, and refuse others in the same words.
#[test]
fn adaptive_concurrency_beside_ours() {
    let Some(envoy) = tools::envoy_or_skip("adaptive_concurrency_beside_ours").unwrap() else { return };
    let holds = Arc::new(Holds(AtomicBool::new(false)));
    let server = Server::start(Arc::clone(&holds) as Arc<dyn Answers>).unwrap();
    let native = json!({"gradient_controller_config": {
        "sample_aggregate_percentile": {"value": 50},
        "concurrency_limit_params": {"concurrency_update_interval": "1s"},
        "min_rtt_calc_params": {"interval": "60s", "request_count": 50, "min_concurrency": 3},
    }});
    let native = filter("adaptive_concurrency.v3.AdaptiveConcurrency", native);
    let native = native_before(envoy, &server, &json!({}), native);
    let config = json!({"concurrency": {"max": 1000, "adaptive": {"min": 3, "gradient": {}}}});
    let ours = ours_before(envoy, &server, &config, 1);
    let mut refused = Vec::new();
    for envoy in [&native, &ours] {
        holds.0.store(false, Ordering::SeqCst);
        let refusals = AtomicUsize::new(0);
        let ask = || {
            let answer = ask_native(envoy);
            // The last of those that are refused lets the others go.
            if status(&answer) == 503 && refusals.fetch_add(1, Ordering::SeqCst) + 1 == CLIENTS as usize - 3 {
                holds.0.store(true, Ordering::SeqCst);
            }
            answer
        };
        let answers: Vec<Message> = thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(ask)).collect();
            clients.into_iter().map(|client| client.join().unwrap()).collect()
        });
        let shed: Vec<&Message> = answers.iter().filter(|answer| status(answer) == 503).collect();
        assert_eq!(shed.len(), CLIENTS as usize - 3);
        refused.push(seen(shed[0]));
    }
    assert_eq!(refused[0], refused[1]);
    assert_eq!(refused[0].1, b"reached concurrency limit");
}

/// What Envoy says when its own thresholds are full, and what ours says when asked to.
#[test]
fn overload_is_said_in_envoys_words() {
    let Some(envoy) = tools::envoy_or_skip("overload_is_said_in_envoys_words").unwrap() else { return };
    let (native, _server) =
        native(envoy, &json!({"circuit_breakers": {"thresholds": [{"max_requests": 0}]}}));
    let refused = ask_native(&native);
    assert_eq!(status(&refused), 503);
    assert_eq!(refused.headers.get(b"x-envoy-overloaded"), Some(&b"true"[..]));
    let text = "upstream connect error or disconnect/reset before headers. reset reason: overflow";
    assert_eq!(String::from_utf8_lossy(&refused.body), text);

    let reply = json!({"overloaded": true, "body": text, "retry_after": false});
    let proxy = ours(envoy, &json!({"force": "OPEN", "reply": reply}));
    let answer = proxy.ask(&request("")).unwrap().unwrap();
    assert_eq!(seen(&answer), seen(&refused));
}
