//! Our rate_limit and Envoy's own `envoy.filters.http.ratelimit` beside each other in one Envoy, both asking the same Limitador: the same answers;
//! and what becomes of requests when that is slow, dead, or answers nonsense; and what leases save.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use conformance::limits::{self, Client, TYPES, header};
use conformance::tools;
use limitador_service::{Asked, Behaviour, Rule, Service};
use serde_json::{Value, json};
use weir_harness::build;
use weir_harness::envoy::process::{Envoy, Started};
use weir_harness::envoy::wire;

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that answers every request with 200 `ok`, for as long as the test runs.
fn backend() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut input = BufReader::new(&stream);
                while let Ok(Some(_)) = wire::read_request(&mut input) {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                    if (&stream).write_all(answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// A server that says what is no HTTP/2, on every connection.
fn babbler() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.write_all(&[0x5a; 4096]);
            // Until Envoy has had enough of it.
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    address
}

fn cluster(name: &str, address: Option<SocketAddr>, http2: bool) -> Value {
    let endpoints = address.into_iter().map(|address| {
        let socket = json!({"address": address.ip().to_string(), "port_value": address.port()});
        json!({"endpoint": {"address": {"socket_address": socket}}})
    });
    let mut cluster = json!({
        "name": name,
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints.collect::<Vec<_>>()}]},
    });
    if http2 {
        cluster["typed_extension_protocol_options"] = json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": format!("{TYPES}.upstreams.http.v3.HttpProtocolOptions"),
            "explicit_http_config": {"http2_protocol_options": {}},
        }});
    }
    cluster
}

fn listener(name: &str, filter: &Value, access_log: &Path) -> Value {
    let user = json!({"request_headers": {"header_name": "end-user", "descriptor_key": "user"}});
    let route = json!({"cluster": "backend", "rate_limits": [{"actions": [user]}]});
    limits::listener(name, filter, ("route", route), access_log)
}

fn native(service: &str, timeout: &str, denies: bool) -> Value {
    json!({"name": "native", "typed_config": {
        "@type": format!("{TYPES}.filters.http.ratelimit.v3.RateLimit"),
        "domain": "native", "timeout": timeout, "failure_mode_deny": denies,
        "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
        "rate_limit_service": {"transport_api_version": "V3", "grpc_service": {"envoy_grpc": {"cluster_name": service}}},
    }})
}

fn ours(service: Value, limits: &Value, module: &Path) -> Value {
    let config =
        json!({"service": service, "limits": limits, "headers": {"x_ratelimit": true, "retry_after": false}});
    json!({"name": "ours", "typed_config": {
        "@type": format!("{TYPES}.filters.http.wasm.v3.Wasm"),
        "config": {
            "name": "ours",
            "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": config.to_string()},
            "vm_config": {"runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": module}}},
        },
    }})
}

/// What our filter and Envoy's are told.
struct Setup {
    test: &'static str,
    workers: u32,
    /// Where the service's only endpoint is; nothing for a cluster that has none.
    service: Option<SocketAddr>,
    timeout: &'static str,
    denies: bool,
    limits: Value,
}

/// An Envoy with the two listeners `native` and `ours`; `None` where no Envoy can be had.
fn start(setup: &Setup) -> Option<Box<Envoy>> {
    let Setup { test, workers, service, timeout, denies, limits } = setup;
    let binary = tools::envoy_or_skip(test).unwrap()?;
    let module = build::named("rate_limit", tools::workspace()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let told =
        json!({"cluster": "limitador", "domain": "ours", "timeout": timeout, "failure_mode_deny": denies});
    let listeners = [
        listener("native", &native("limitador", timeout, *denies), &log),
        listener("ours", &ours(told, limits, &module), &log),
    ];
    let config = json!({
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "static_resources": {
            "listeners": listeners,
            "clusters": [cluster("backend", Some(backend()), false), cluster("limitador", *service, true)],
        },
    });
    match Envoy::start_with(binary, &config, *workers, folder).unwrap() {
        Started::Running(envoy) => Some(envoy),
        Started::Refused(log) => panic!("{test}: {log}"),
    }
}

/// A limit of so many in a day, long enough that no window ends while a test runs, for both domains.
fn daily(most: u64) -> Service {
    let rule = |domain| Rule { domain, name: "per-user", entry: "user", most, seconds: 86_400 };
    Service::start(&[rule("native"), rule("ours")]).unwrap()
}

fn per_user(more: Value) -> Value {
    let mut global = json!({"entries": ["user"]});
    for (name, value) in more.as_object().unwrap() {
        global[name] = value.clone();
    }
    json!([{"name": "per-user", "key": [{"header": "end-user"}], "algorithm": {"global": global}}])
}

fn metric(envoy: &Envoy, name: &str) -> u64 {
    let metrics = envoy.metrics().unwrap();
    metrics.iter().find(|(key, _)| key == name).map_or(0, |(_, value)| *value)
}

#[test]
fn answers_are_those_of_envoys_own() {
    let service = daily(3);
    let setup = Setup {
        test: "answers_are_those_of_envoys_own",
        workers: 1,
        service: Some(service.address()),
        timeout: "30s",
        denies: true,
        limits: per_user(json!({})),
    };
    let Some(envoy) = start(&setup) else { return };
    let [theirs, ours] = ["native", "ours"].map(|name| {
        let mut client = Client::new(envoy.listener(name).unwrap());
        let plain = || vec![("end-user", "ann")];
        let grpc = || vec![("end-user", "ann"), ("content-type", "application/grpc")];
        let asks = [plain(), plain(), plain(), plain(), grpc(), vec![("end-user", "bob")], Vec::new()];
        asks.map(|lines| {
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
            // Whole seconds that count down: one may end between the two.
            let reset = header(&answer, "x-ratelimit-reset").map_or(0, |reset| reset.parse::<i64>().unwrap());
            (seen, reset, String::from_utf8_lossy(&answer.body).into_owned())
        })
    });
    for ((ours, reset, body), (theirs, their_reset, their_body)) in ours.iter().zip(&theirs) {
        assert_eq!((ours, body), (theirs, their_body));
        assert!((reset - their_reset).abs() <= 60, "{reset}, not {their_reset}");
    }
    assert_eq!(ours[3].0[0].as_deref(), Some("429"));
    assert_eq!(ours[3].0[5].as_deref(), Some("3, 3;w=86400;name=\"per-user\""));
    assert_eq!(ours[4].0[3].as_deref(), Some("14"));
    // The same was asked, but for the domain; who has no key asks nothing.
    let asked = service.take_asked();
    let (first, second) = asked.split_at(6);
    let of = |asked: &[Asked]| asked.iter().map(|asked| asked.descriptors.clone()).collect::<Vec<_>>();
    assert_eq!((asked.len(), of(first)), (12, of(second)));
    let details: Vec<_> =
        envoy.access_log(14).unwrap().iter().map(|entry| entry["details"].clone()).collect();
    assert_eq!(details[..7], details[7..]);
    assert_eq!(details[3], "request_rate_limited");
}

#[test]
fn a_service_that_does_not_answer_is_as_the_failure_mode_says() {
    for denies in [false, true] {
        let service = daily(1);
        let setup = Setup {
            test: "a_service_that_does_not_answer_is_as_the_failure_mode_says",
            workers: 1,
            service: Some(service.address()),
            timeout: "0.1s",
            denies,
            limits: per_user(json!({})),
        };
        let Some(envoy) = start(&setup) else { return };
        let mut clients = ["native", "ours"].map(|name| Client::new(envoy.listener(name).unwrap()));
        let want = if denies { "500" } else { "200" };
        for behaviour in [Behaviour::Silent, Behaviour::Fail] {
            service.behave(behaviour);
            for client in &mut clients {
                assert_eq!(client.status("ann"), want, "{behaviour:?}");
            }
        }
        // Envoy's own takes `UNKNOWN` for `OK`; ours does not.
        service.behave(Behaviour::Unknown);
        assert_eq!(clients[1].status("ann"), want);
        // And when there is nobody any more.
        drop(service);
        for client in &mut clients {
            assert_eq!(client.status("ann"), want);
        }
        let failed = metric(&envoy, "rate_limit.service.error");
        let allowed = metric(&envoy, "rate_limit.service.failure_mode_allowed");
        assert_eq!((failed, allowed), (4, if denies { 0 } else { 4 }));
        let details = envoy.access_log(7).unwrap();
        for entry in details {
            let want = if denies { "rate_limiter_error" } else { "via_upstream" };
            assert_eq!(entry["details"], want);
        }
    }
}

#[test]
fn a_service_that_babbles_is_no_service() {
    let setup = Setup {
        test: "a_service_that_babbles_is_no_service",
        workers: 1,
        service: Some(babbler()),
        timeout: "30s",
        denies: true,
        limits: per_user(json!({"lease": {"tokens": 10, "hot_after": 0}})),
    };
    let Some(envoy) = start(&setup) else { return };
    for name in ["native", "ours"] {
        let mut client = Client::new(envoy.listener(name).unwrap());
        for _ in 0..3 {
            assert_eq!(client.status("ann"), "500", "{name}");
        }
    }
    assert!(metric(&envoy, "rate_limit.service.error") >= 3);
}

#[test]
fn a_service_without_endpoints_is_no_service() {
    // Two calls that fail at once in the same callback: the request's own and the one for its lease.
    let setup = Setup {
        test: "a_service_without_endpoints_is_no_service",
        workers: 1,
        service: None,
        timeout: "30s",
        denies: true,
        limits: per_user(json!({"lease": {"tokens": 10, "duration": "1ms", "hot_after": 0}})),
    };
    let Some(envoy) = start(&setup) else { return };
    for name in ["native", "ours"] {
        let mut client = Client::new(envoy.listener(name).unwrap());
        for _ in 0..20 {
            assert_eq!(client.status("ann"), "500", "{name}");
        }
    }
    assert!(metric(&envoy, "rate_limit.service.lease_requests") >= 1);
}

/// Clients at the same time, each on a connection of its own.
const CLIENTS: usize = 12;
const EACH: usize = 100;

/// How many of all clients' requests, by one user, are admitted.
fn load(address: SocketAddr) -> usize {
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(move || {
                    let mut client = Client::new(address);
                    (0..EACH).filter(|_| client.status("ann") == "200").count()
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    })
}

#[test]
fn without_leases_each_request_asks_and_the_limit_is_exact() {
    let service = daily(300);
    let setup = Setup {
        test: "without_leases_each_request_asks_and_the_limit_is_exact",
        workers: 4,
        service: Some(service.address()),
        timeout: "30s",
        denies: true,
        limits: per_user(json!({})),
    };
    let Some(envoy) = start(&setup) else { return };
    for name in ["native", "ours"] {
        assert_eq!(load(envoy.listener(name).unwrap()), 300, "{name}");
        assert_eq!(service.take_asked().len(), CLIENTS * EACH, "{name}");
    }
}

#[test]
fn leases_spare_the_service() {
    // More than is asked for in all, so that what is counted are calls; and in a window of its own, so that nothing expires.
    let service = daily(1_000_000);
    let lease = json!({"tokens": 200, "refill_below": 150, "duration": "1h", "hot_after": 2});
    let setup = Setup {
        test: "leases_spare_the_service",
        workers: 4,
        service: Some(service.address()),
        timeout: "30s",
        denies: true,
        limits: per_user(json!({"lease": lease})),
    };
    let Some(envoy) = start(&setup) else { return };
    let address = envoy.listener("ours").unwrap();
    // Until there are tokens.
    let mut client = Client::new(address);
    let deadline = Instant::now() + PATIENCE;
    while metric(&envoy, "rate_limit.lease.spent") == 0 {
        assert!(Instant::now() < deadline, "no tokens");
        assert_eq!(client.status("ann"), "200");
    }
    assert_eq!(load(address), CLIENTS * EACH);
    let asked = service.take_asked();
    let granted: u64 = asked.iter().map(|asked| asked.hits.max(1)).sum();
    let spent = metric(&envoy, "rate_limit.lease.spent");
    // All that was spent was granted, and no more than the tokens of one lease is unspent.
    let total = metric(&envoy, "rate_limit.ok");
    assert!(total <= granted && granted <= total + 200, "{total} of {granted}");
    assert!(spent > total / 2, "{spent} of {total}");
    assert!(asked.len() < CLIENTS * EACH / 4, "{} requests to the service", asked.len());
    assert_eq!(metric(&envoy, "rate_limit.service.requests"), asked.len() as u64);
    tools::say(&format!(
        "{total} requests asked the service {} times, {} of those for leases",
        asked.len(),
        metric(&envoy, "rate_limit.service.lease_requests"),
    ));
}

#[test]
fn leases_admit_no_more_than_the_service_grants() {
    const MOST: u64 = 300;
    let service = daily(MOST);
    let lease = json!({"tokens": 40, "duration": "1h", "hot_after": 0});
    let setup = Setup {
        test: "leases_admit_no_more_than_the_service_grants",
        workers: 4,
        service: Some(service.address()),
        timeout: "30s",
        denies: true,
        limits: per_user(json!({"lease": lease})),
    };
    let Some(envoy) = start(&setup) else { return };
    let admitted = load(envoy.listener("ours").unwrap());
    // What is left over of the last lease at most.
    let least = (MOST - 40) as usize;
    assert!((least..=MOST as usize).contains(&admitted), "{admitted}");
    let asked = service.take_asked().len();
    assert!(asked < CLIENTS * EACH, "{asked}");
    assert_eq!(metric(&envoy, "rate_limit.service.error"), 0);
}

#[test]
fn a_lease_outlives_its_service_and_no_longer() {
    let service = daily(1_000);
    let lease = json!({"tokens": 50, "refill_below": 1, "duration": "1h", "hot_after": 0});
    let setup = Setup {
        test: "a_lease_outlives_its_service_and_no_longer",
        workers: 1,
        service: Some(service.address()),
        timeout: "1s",
        denies: true,
        limits: per_user(json!({"lease": lease})),
    };
    let Some(envoy) = start(&setup) else { return };
    let mut client = Client::new(envoy.listener("ours").unwrap());
    let deadline = Instant::now() + PATIENCE;
    while metric(&envoy, "rate_limit.lease.spent") == 0 {
        assert!(Instant::now() < deadline, "no tokens");
        assert_eq!(client.status("ann"), "200");
    }
    drop(service);
    // One was spent of the fifty.
    for _ in 0..49 {
        assert_eq!(client.status("ann"), "200");
    }
    for _ in 0..3 {
        assert_eq!(client.status("ann"), "500");
    }
}
