//! A canary that saves itself, with four workers under load in a real Envoy: it starts to fail, is rolled back on all workers at once, one webhook
//! is told, and no client sees a failure. And what Envoy makes of held and replaced responses. What is asserted are counts that no timing changes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use conformance::{h2, tools};
use serde_json::{Value, json};
use weir_harness::build;
use weir_harness::envoy::client::Wait;
use weir_harness::envoy::process::Envoy;
use weir_harness::envoy::proxy::{LISTENER, Options, Proxy};
use weir_harness::exchange::{Exchange, Message};
use weir_harness::headers::Headers;
use weir_harness::scenario::{Filter, Scenario};

/// Clients that ask at the same time, each on connections of its own, so on any worker.
const CLIENTS: u64 = 8;
/// Envoy's.
const WORKERS: u32 = 4;
/// Of the rollback.
const WINDOW: Duration = Duration::from_secs(30);
/// A wait for something that a working filter does in seconds.
const PATIENCE: Duration = Duration::from_secs(120);

fn routes() -> Value {
    json!({"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
        {"match": {"prefix": "/", "headers": [{"name": "x-canary-arm", "string_match": {"exact": "v2"}}]},
         "route": {"cluster": "reviews-v2"}},
        {"match": {"prefix": "/"}, "route": {"cluster": "reviews-v1"}},
    ]}]})
}

fn start(envoy: &Path, rule: &Value, clusters: Value, workers: u32) -> Proxy {
    let scenario = Scenario {
        filters: vec![Filter {
            name: "canary".to_owned(),
            config: Some(json!({"rules": [rule]}).to_string().into()),
            ..Filter::default()
        }],
        route_config: Some(routes()),
        clusters: serde_json::from_value(clusters).unwrap(),
        ..Scenario::default()
    };
    let module = build::module(&scenario.filters[0], tools::workspace()).unwrap();
    let options = Options { workers, ..Options::default() };
    Proxy::start(envoy, &scenario, Path::new("."), &[module], &options).unwrap().unwrap()
}

fn request(method: &str, path: &str, body: &[u8]) -> Exchange {
    let lines = [(":method", method), (":path", path), (":authority", "reviews"), (":scheme", "http")];
    let headers = lines.into_iter().collect::<Headers>();
    Exchange {
        request: Message { headers, body: body.to_vec(), ..Message::default() },
        ..Exchange::default()
    }
}

fn status(message: &Message) -> u16 {
    let status = message.headers.get(b":status").unwrap_or_default();
    String::from_utf8_lossy(status).parse().unwrap_or(0)
}

fn metric(proxy: &Proxy, name: &str) -> u64 {
    read(proxy.envoy(), name)
}

fn read(envoy: &Envoy, name: &str) -> u64 {
    let name = format!("canary.{name}");
    let all = envoy.metrics().unwrap();
    all.iter().find(|(key, _)| *key == name).map_or(0, |(_, value)| *value)
}

/// A stream is counted a moment after its answer is out.
#[track_caller]
fn settle(envoy: &Envoy, name: &str, want: u64) {
    let begin = Instant::now();
    while read(envoy, name) < want && begin.elapsed() < PATIENCE {
        thread::yield_now();
    }
    assert_eq!(read(envoy, name), want, "{name}");
}

/// When an answer of the stable arm came in the place of a failed one: the first and the last time, in nanoseconds since the test began.
struct Failures {
    test: Instant,
    first: AtomicU64,
    last: AtomicU64,
}

impl Failures {
    fn new() -> Self {
        Self { test: Instant::now(), first: u64::MAX.into(), last: AtomicU64::default() }
    }

    fn note(&self) {
        let now = u64::try_from(self.test.elapsed().as_nanos()).unwrap();
        self.first.fetch_min(now, Ordering::SeqCst);
        self.last.fetch_max(now, Ordering::SeqCst);
    }

    /// From the first to the last.
    fn time(&self) -> Duration {
        let [first, last] = [&self.first, &self.last].map(|time| time.load(Ordering::SeqCst));
        Duration::from_nanos(last.checked_sub(first).expect("a failure"))
    }
}

/// Each client asks until `enough`; every answer must be a success.
fn ask_until(proxy: &Proxy, failures: &Failures, enough: impl Fn(u64) -> bool + Sync) {
    let begin = Instant::now();
    let client = || {
        for number in 1.. {
            let answer = proxy.ask(&request("GET", "/", b"")).unwrap().expect("an answer");
            assert_eq!(status(&answer), 200, "{}", proxy.envoy().tail());
            if answer.headers.get(b"x-saved").is_some() {
                failures.note();
            }
            if enough(number) {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "{}", proxy.envoy().tail());
        }
    };
    thread::scope(|scope| (0..CLIENTS).for_each(|_| drop(scope.spawn(client))));
}

#[test]
fn a_canary_that_starts_to_fail_is_rolled_back_and_no_client_sees_it() {
    let test = "a_canary_that_starts_to_fail_is_rolled_back_and_no_client_sees_it";
    let Some(envoy) = tools::envoy_or_skip(test).unwrap() else { return };
    let rule = json!({
        "split": [{"arm": "v2", "weight": 30}, {"arm": "v1", "weight": 70}],
        "rollback": {"window": format!("{}s", WINDOW.as_secs()), "webhook": {"cluster": "alarm", "authority": "alarm"}},
        "zero_error": {"cluster": "reviews-v1", "budget": {"percent": 100}, "response_header": {"name": "x-saved", "value": "1"}},
    });
    let failures = Failures::new();
    let clusters = json!({
        "reviews-v1": {},
        // Well at first, then no longer.
        "reviews-v2": {"sequence": [{"times": 100, "response": {"status": 200}}, {"response": {"status": 503}}]},
        "alarm": {},
    });
    let proxy = start(envoy, &rule, clusters, WORKERS);
    ask_until(&proxy, &failures, |number| number % 16 == 0 && metric(&proxy, "rollbacks") > 0);
    // A worker's copy is at most half a second old.
    ask_until(&proxy, &failures, |number| number % 16 == 0 && metric(&proxy, "rolled_back") > 100);
    let begin = Instant::now();
    let mut seen = metric(&proxy, "arm.v2");
    loop {
        ask_until(&proxy, &failures, |number| number >= 50);
        let now = metric(&proxy, "arm.v2");
        if now == seen {
            break;
        }
        seen = now;
        assert!(begin.elapsed() < PATIENCE, "{}", proxy.envoy().tail());
    }
    let all = ["rollbacks", "rolled_back_arms", "webhook_told", "webhook_failed", "contended"];
    assert_eq!(all.map(|name| metric(&proxy, name)), [1, 1, 1, 0, 0]);
    settle(proxy.envoy(), "zero_error.saved", seen - 100);
    assert_eq!(metric(&proxy, "zero_error.unsaved"), 0);
    // The calls that make it certain, a part of the window until a test is due, a second until all know: some 3 s. A window is ten times that.
    let time = failures.time();
    tools::say(&format!(
        "{} failures of {seen} calls of the arm, the last {time:.2?} after the first",
        seen - 100
    ));
    assert!(time <= WINDOW, "{time:?}");
    let received = proxy.received();
    assert_eq!(received.iter().filter(|one| one.cluster == "alarm").count(), 1);
    assert_eq!(received.iter().filter(|one| one.cluster == "reviews-v2").count() as u64, seen);
}

const FAILING: &str = "broken";

/// One arm, which fails with a body of this size.
fn failing(envoy: &Path, size: usize, zero_error: &Value) -> Proxy {
    let rule = json!({"arm": "v2", "stable": "v1", "zero_error": zero_error});
    let body = FAILING.repeat(size / FAILING.len() + 1);
    let clusters = json!({
        "reviews-v1": {"match": [{"path_prefix": "/slow", "latency": "200ms", "response": {"body": "late"}}],
            "response": {"body": "well"}},
        "reviews-v2": {"response": {"status": 500, "body": body}},
    });
    start(envoy, &rule, clusters, 1)
}

/// A failed answer that is longer than Envoy's buffers is held and replaced all the same; what the client sent is longer than them, too.
#[test]
fn long_bodies_are_replaced_and_sent_again() {
    let Some(envoy) = tools::envoy_or_skip("long_bodies_are_replaced_and_sent_again").unwrap() else {
        return;
    };
    let zero_error = json!({"cluster": "reviews-v1", "methods": ["GET", "PUT"], "max_request_bytes": 4_000_000, "budget": {"percent": 100}});
    let proxy = failing(envoy, 3_000_000, &zero_error);
    let long = vec![b'x'; 2_000_000];
    for exchange in [request("GET", "/", b""), request("PUT", "/", &long)] {
        let answer = proxy.ask(&exchange).unwrap().expect("an answer");
        assert_eq!((status(&answer), answer.body.as_slice()), (200, &b"well"[..]));
    }
    let again: Vec<_> = proxy.received().into_iter().filter(|one| one.cluster == "reviews-v1").collect();
    assert_eq!(again.iter().map(|one| one.request.body.len()).collect::<Vec<_>>(), [0, long.len()]);
    settle(proxy.envoy(), "zero_error.saved", 2);
}

/// Clients that leave while the stable arm is asked: Envoy lives, nothing is held, the arm has failed each time.
#[test]
fn clients_leave_while_the_stable_arm_is_asked() {
    let Some(envoy) = tools::envoy_or_skip("clients_leave_while_the_stable_arm_is_asked").unwrap() else {
        return;
    };
    let proxy = failing(envoy, 10, &json!({"cluster": "reviews-v1", "budget": {"percent": 100}}));
    // Some may leave before the arm has failed them: they say nothing of it.
    let begin = Instant::now();
    while metric(&proxy, "zero_error.unsaved") < 5 {
        assert!(begin.elapsed() < PATIENCE, "{}", proxy.envoy().tail());
        proxy
            .ask_at(&request("GET", "/slow", b""), LISTENER, Wait::Leave(Duration::from_millis(100)))
            .unwrap();
    }
    let answer = proxy.ask(&request("GET", "/slow", b"")).unwrap().expect("an answer");
    assert_eq!((status(&answer), answer.body.as_slice()), (200, &b"late"[..]));
}

/// Many streams at once on each HTTP/2 connection, with failed answers longer than what a stream may send unasked: those in the budget are replaced, the
/// others go out whole, and no stream is reset.
#[test]
fn long_failed_answers_are_replaced_on_http2_too() {
    const STREAMS: u32 = 100;
    const CONNECTIONS: u32 = 4;
    const SIZE: usize = 100_000;
    const WITHIN: u32 = 300;
    let test = "long_failed_answers_are_replaced_on_http2_too";
    let Some(envoy) = tools::envoy_or_skip(test).unwrap() else { return };
    for within in [STREAMS * CONNECTIONS, WITHIN] {
        let budget = json!({"cluster": "reviews-v1", "budget": {"percent": 0, "burst": within}});
        let proxy = failing(envoy, SIZE, &budget);
        let address = proxy.envoy().listener("cases").unwrap();
        let line = b"PROXY TCP4 127.0.0.1 127.0.0.1 40000 10000\r\n";
        let answers = h2::storm_after(address, line, CONNECTIONS as usize, STREAMS, "/").unwrap();
        let (well, own): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(_, body)| body == b"well");
        assert_eq!(well.len(), within as usize, "{}", proxy.envoy().tail());
        assert!(own.iter().all(|(_, body)| body.len() > SIZE), "{}", proxy.envoy().tail());
        settle(proxy.envoy(), "zero_error.saved", within.into());
        settle(proxy.envoy(), "zero_error.over_budget", u64::from(STREAMS * CONNECTIONS - within));
    }
}
