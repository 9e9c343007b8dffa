//! The Bookinfo example says the same in each of its forms, and its Envoy configurations route.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use conformance::tools;
use serde_json::Value;
use weir_harness::build;
use weir_harness::envoy::client::{self, Wait};
use weir_harness::envoy::process::{Envoy, Started};
use weir_harness::envoy::server::{Answers, Arrival, Reply, Server};
use weir_harness::exchange::{Exchange, Message};
use weir_harness::traffic;
use weir_harness::yaml;

/// The ports that the services have in the example's Envoy configurations; where versions of reviews do not matter, `reviews` has the first's.
const SERVICES: [(&str, u64); 8] = [
    ("productpage", 9081),
    ("details", 9082),
    ("reviews-v1", 9083),
    ("reviews-v2", 9084),
    ("reviews-v3", 9085),
    ("ratings", 9086),
    ("ratings-shadow", 9087),
    ("alarm", 9088),
];

fn example(file: &str) -> PathBuf {
    tools::workspace().join("examples/bookinfo").join(file)
}

fn read(file: &str) -> Value {
    yaml::read(&example(file)).unwrap()
}

/// Calls `change` on each value of that key, however deep.
fn each(value: &mut Value, key: &str, change: &mut impl FnMut(&mut Value)) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| each(item, key, change)),
        Value::Object(fields) => {
            for (name, value) in fields {
                if name == key {
                    change(value);
                } else {
                    each(value, key, change);
                }
            }
        }
        _ => {}
    }
}

/// Whether the forms of `policy` say what these policies say.
#[track_caller]
fn says_the_same(policy: &str, policies: &[&str]) {
    let mut want: Vec<_> = policies.iter().map(|policy| read(&format!("policies/{policy}.yaml"))).collect();
    want.extend(want.clone());
    let mut found = Vec::new();
    each(&mut read(&format!("envoy/{policy}.yaml")), "configuration", &mut |value| {
        let text = value.get("value").and_then(Value::as_str).expect("a StringValue");
        found.push(serde_json::from_str(text).expect("JSON"));
    });
    each(&mut read(&format!("istio/{policy}.yaml")), "pluginConfig", &mut |value| {
        // Istio names its clusters itself.
        each(value, "cluster", &mut |cluster| {
            let parts: Vec<&str> = cluster.as_str().unwrap_or_default().split(['|', '.']).collect();
            match parts.as_slice() {
                ["outbound", "9080", "", service, ..] => *cluster = (*service).into(),
                ["outbound", "9080", subset, service, ..] => *cluster = format!("{service}-{subset}").into(),
                _ => {}
            }
        });
        found.push(value.take());
    });
    assert_eq!(found, want);
}

#[test]
fn every_form_says_the_same() {
    for policy in [
        "request-routing",
        "traffic-shifting",
        "blue-green",
        "delay-everybody",
        "abort-jason",
        "mirror-ratings",
        "rate-limit",
        "circuit-breaker",
        "canary-rollback",
        "zero-error",
    ] {
        says_the_same(policy, &[policy]);
    }
    let five = ["traffic-shifting", "rate-limit", "circuit-breaker", "abort-jason", "mirror-ratings"];
    says_the_same("all-five", &five);
}

/// The example's configuration with the modules and the ports of this machine.
fn local(policy: &str, upstreams: &[(u64, Server)]) -> Value {
    let mut config = read(&format!("envoy/{policy}.yaml"));
    each(&mut config, "filename", &mut |value| {
        let name = value.as_str().and_then(|file| Path::new(file).file_stem()?.to_str()).expect("a module");
        *value = build::named(name, tools::workspace()).unwrap().to_str().into();
    });
    each(&mut config, "port_value", &mut |value| {
        let ours = upstreams.iter().find(|(port, _)| value.as_u64() == Some(*port));
        *value = ours.map_or(0, |(_, upstream)| upstream.port()).into();
    });
    config["admin"] =
        serde_json::json!({"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}});
    config
}

/// The example's Envoy, and the services behind it.
struct Bookinfo {
    // Dropped first, so that the services end without open connections.
    envoy: Envoy,
    services: Vec<(u64, Arc<Service>)>,
    _servers: Vec<(u64, Server)>,
}

/// Answers its name, or 503 when asked for `/broken`, and keeps what it receives.
struct Service {
    name: &'static str,
    received: Mutex<Vec<Message>>,
}

impl Answers for Service {
    fn reply(&self, arrival: Arrival) -> Reply {
        let status = if arrival.request.headers.get(b":path") == Some(b"/broken") { "503" } else { "200" };
        self.received.lock().unwrap().push(arrival.request);
        let headers = [(":status", status), ("x-service", self.name)].into_iter().collect();
        Reply::Answer(Duration::ZERO, Message { headers, ..Message::default() })
    }
}

impl Bookinfo {
    /// Starts it with a policy's configuration; nothing where there is no Envoy.
    fn start(policy: &str) -> Option<Self> {
        let envoy = tools::envoy_or_skip(policy).unwrap()?;
        let services =
            SERVICES.map(|(name, port)| (port, Arc::new(Service { name, received: Mutex::default() })));
        let serve = |(port, service): &(u64, Arc<Service>)| {
            (*port, Server::start(Arc::clone(service) as Arc<dyn Answers>).unwrap())
        };
        let servers: Vec<_> = services.iter().map(serve).collect();
        let config = local(policy, &servers);

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("envoy.json");
        fs::write(&file, config.to_string()).unwrap();
        let validated = Command::new(envoy).args(["--mode", "validate", "-c"]).arg(&file).output().unwrap();
        assert!(validated.status.success(), "{policy}: {}", String::from_utf8_lossy(&validated.stderr));

        let Started::Running(envoy) = Envoy::start_with(envoy, &config, 1, folder).unwrap() else {
            panic!("{policy}: refused")
        };
        Some(Self { envoy: *envoy, services: services.into(), _servers: servers })
    }

    /// The status, and the service that answered.
    fn ask(&self, authority: &str, path: &str, more: &[(&str, &str)]) -> (String, String) {
        let lines = [(":method", "GET"), (":path", path), (":authority", authority)];
        let headers = lines.into_iter().chain(more.iter().copied()).collect();
        let request = Message { headers, ..Message::default() };
        let listener = self.envoy.listener("bookinfo").unwrap();
        let answer = client::exchange(listener, None, &request, Wait::default());
        let response = answer.unwrap().expect("an answer");
        let text =
            |name: &[u8]| String::from_utf8_lossy(response.headers.get(name).unwrap_or(b"none")).into_owned();
        (text(b":status"), text(b"x-service"))
    }

    /// What is not spoken of goes where it always goes.
    #[track_caller]
    fn others_are_left_alone(&self) {
        for (authority, path, service) in [
            ("bookinfo.example.com", "/productpage", "productpage"),
            ("details:9080", "/details/0", "details"),
        ] {
            let got = self.ask(authority, path, &[("end-user", "jack")]);
            assert_eq!(got, ("200".to_owned(), service.to_owned()));
        }
    }

    /// What the service of a port has received since the last time.
    fn received(&self, port: u64) -> Vec<Message> {
        let services = self.services.iter().filter(|(own, _)| *own == port);
        services.flat_map(|(_, service)| std::mem::take(&mut *service.received.lock().unwrap())).collect()
    }
}

/// Requests for reviews by these users go to these versions.
#[track_caller]
fn routes(policy: &str, users: &[(&str, &str)]) {
    let Some(bookinfo) = Bookinfo::start(policy) else { return };
    for (user, version) in users {
        let (_, service) = bookinfo.ask("reviews:9080", "/reviews/0", &[("end-user", user)]);
        assert_eq!(service, *version, "{policy}: {user}");
    }
    bookinfo.others_are_left_alone();
    assert_eq!(bookinfo.ask("ratings:9080", "/ratings/0", &[]).1, "ratings");
}

#[test]
fn request_routing_routes() {
    routes("request-routing", &[("jack", "reviews-v2"), ("jason", "reviews-v1"), ("", "reviews-v1")]);
}

#[test]
fn blue_green_routes() {
    routes("blue-green", &[("jack", "reviews-v1"), ("jason", "reviews-v3")]);
}

#[test]
fn traffic_shifting_routes() {
    // Which side a user is on is frozen with the hash.
    routes("traffic-shifting", &[("jack", "reviews-v3"), ("jason", "reviews-v1"), ("hanna", "reviews-v3")]);
}

#[test]
fn arms_that_save_themselves_route() {
    for policy in ["canary-rollback", "zero-error"] {
        routes(policy, &[("jack", "reviews-v3"), ("jason", "reviews-v1")]);
    }
}

#[test]
fn ratings_take_seven_seconds() {
    let Some(bookinfo) = Bookinfo::start("delay-everybody") else { return };
    let start = Instant::now();
    assert_eq!(bookinfo.ask("ratings:9080", "/ratings/0", &[]).1, "ratings");
    assert!(start.elapsed() >= Duration::from_secs(7), "{:?}", start.elapsed());
    bookinfo.others_are_left_alone();
}

#[test]
fn ratings_fail_for_jason() {
    let Some(bookinfo) = Bookinfo::start("abort-jason") else { return };
    let ratings = |user| bookinfo.ask("ratings:9080", "/ratings/0", &[("end-user", user)]);
    assert_eq!(ratings("jason"), ("500".to_owned(), "none".to_owned()));
    assert_eq!(ratings("jack"), ("200".to_owned(), "ratings".to_owned()));
    assert_eq!(bookinfo.ask("reviews:9080", "/reviews/0", &[("end-user", "jason")]).0, "200");
    bookinfo.others_are_left_alone();
}

#[test]
fn a_tenth_of_the_ratings_is_copied() {
    const REQUESTS: usize = 400;
    let Some(bookinfo) = Bookinfo::start("mirror-ratings") else { return };
    for number in 0..REQUESTS {
        let id = format!("{number:08x}-0000-4000-8000-000000000000");
        let (_, service) = bookinfo.ask("ratings:9080", "/ratings/0", &[("x-request-id", &id)]);
        assert_eq!(service, "ratings");
    }
    bookinfo.others_are_left_alone();
    let copies = bookinfo.received(9087);
    // The sample is frozen with the hash; three standard deviations beside a tenth would be 22 to 58.
    assert!((22..=58).contains(&copies.len()), "{}", copies.len());
    assert!(copies.iter().all(|copy| copy.headers.get(b"x-shadow") == Some(b"1")));
    assert_eq!(bookinfo.received(9086).len(), REQUESTS);
}

#[test]
fn ten_reviews_an_hour() {
    let Some(bookinfo) = Bookinfo::start("rate-limit") else { return };
    let reviews = |user| bookinfo.ask("reviews:9080", "/reviews/0", &[("end-user", user)]).0;
    for user in ["jack", "jason"] {
        assert!((0..10).all(|_| reviews(user) == "200"));
        assert_eq!(reviews(user), "429", "{user}");
    }
    let visitors = || bookinfo.ask("reviews:9080", "/reviews/0", &[]).0;
    assert!((0..20).all(|_| visitors() == "200"));
    assert_eq!(visitors(), "429");
    bookinfo.others_are_left_alone();
}

#[test]
fn five_errors_of_ratings_are_enough() {
    let Some(bookinfo) = Bookinfo::start("circuit-breaker") else { return };
    let broken = || bookinfo.ask("ratings:9080", "/broken", &[]);
    assert!((0..5).all(|_| broken() == ("503".to_owned(), "ratings".to_owned())));
    assert_eq!(broken(), ("503".to_owned(), "none".to_owned()));
    assert_eq!(bookinfo.ask("ratings:9080", "/ratings/0", &[]).1, "none");
    assert_eq!(bookinfo.received(9086).len(), 5);
    assert_eq!(bookinfo.ask("reviews:9080", "/reviews/0", &[]).1, "reviews-v1");
    bookinfo.others_are_left_alone();
}

#[test]
fn all_five_do_what_each_does() {
    let Some(bookinfo) = Bookinfo::start("all-five") else { return };
    let ask = |service, path, user| bookinfo.ask(service, path, &[("end-user", user)]);
    assert_eq!(ask("reviews:9080", "/reviews/0", "jack").1, "reviews-v3");
    assert_eq!(ask("reviews:9080", "/reviews/0", "jason").1, "reviews-v1");
    assert!((0..9).all(|_| ask("reviews:9080", "/reviews/0", "jack").0 == "200"));
    assert_eq!(ask("reviews:9080", "/reviews/0", "jack").0, "429");
    // What a fault answers is no error of ratings.
    for _ in 0..6 {
        assert_eq!(ask("ratings:9080", "/ratings/0", "jason"), ("500".to_owned(), "none".to_owned()));
    }
    assert_eq!(ask("ratings:9080", "/ratings/0", "jack").1, "ratings");
    assert!((0..5).all(|_| ask("ratings:9080", "/broken", "jack").1 == "ratings"));
    assert_eq!(ask("ratings:9080", "/ratings/0", "jason"), ("503".to_owned(), "none".to_owned()));
    bookinfo.others_are_left_alone();
}

/// Of each exchange: the authority without its port, the user, and the status.
fn exchanges(recording: &Path) -> Vec<(String, String, String)> {
    let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
    let read = |exchange: Exchange| {
        let request = &exchange.request.headers;
        let response = exchange.response.expect("a response");
        let authority = text(request.get(b":authority")).split(':').next().unwrap_or_default().to_owned();
        (authority, text(request.get(b"end-user")), text(response.headers.get(b":status")))
    };
    let recording = traffic::open(recording, &traffic::Options::default()).unwrap();
    recording.map(|exchange| read(exchange.unwrap())).collect()
}

#[test]
fn the_recording_is_bookinfo() {
    let exchanges = exchanges(&example("traffic.tap.jsonl"));
    assert!(exchanges.len() >= 500, "{}", exchanges.len());
    let count =
        |service: &str, user: &str| exchanges.iter().filter(|(a, u, _)| a == service && u == user).count();
    for (service, user) in [
        ("reviews", "jack"),
        ("reviews", "jason"),
        ("reviews", ""),
        ("details", "jack"),
        ("bookinfo.example.com", ""),
    ] {
        assert!(count(service, user) > 0, "no exchange of `{user}` with {service}");
    }
    for status in ["200", "302", "404"] {
        assert!(exchanges.iter().any(|(_, _, got)| got == status), "no {status}");
    }
}

#[test]
fn anybody_can_record_it_again() {
    let Some(envoy) = tools::envoy_or_skip("anybody_can_record_it_again").unwrap() else { return };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("again.jsonl");
    let mut command = Command::new("python3");
    command.arg(example("record.py")).args(["--visits", "8", "--out"]).arg(&out).env("WEIR_ENVOY", envoy);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with(&format!("{} exchanges", exchanges(&out).len())), "{said}");
}
