//! What the mirror promises, in a real Envoy under load: no primary waits for a target, whatever that does; our copy beside the one of Envoy's own
//! mirror; secrets that never arrive; clients that leave; long bodies and trailers.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "mirror/record.rs"]
mod record;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::thread;

use conformance::{run, tools};
use serde_json::{Value, json};
use weir_harness::build;
use weir_harness::envoy::proxy::{Options, Proxy};
use weir_harness::envoy::stage::Received;
use weir_harness::exchange::{Exchange, Message};
use weir_harness::scenario::Scenario;

/// Targets that hang do so for longer than [`PATIENCE`](weir_harness::envoy::client::PATIENCE): so long clients wait for an answer.
const HANG: &str = "600s";

/// Header lines of a request.
type Lines<'a> = Vec<(&'a str, &'a [u8])>;

/// What the primary answers.
const ANSWER: &[u8] = b"the primary's answer";

/// A scenario of the mirror with a primary, and with these targets' clusters.
fn scenario(config: &Value, clusters: &Value, mirrors: &Value) -> Scenario {
    let mut all = clusters.clone();
    all["primary"] = json!({"response": {"body": String::from_utf8_lossy(ANSWER)}});
    let route = json!({"cluster": "primary", "timeout": "100s", "request_mirror_policies": mirrors});
    serde_json::from_value(json!({
        "filters": [{"name": "mirror", "config": config}],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]}]},
        "clusters": all,
    }))
    .unwrap()
}

/// An Envoy that runs it; nothing where there is no Envoy.
fn start(test: &str, scenario: &Scenario, workers: u32) -> Option<Proxy> {
    let binary = tools::envoy_or_skip(test).unwrap()?;
    // Built once for all tests of this process.
    let _only = run::modules();
    let base = tools::workspace();
    let modules: Vec<PathBuf> =
        scenario.filters.iter().map(|filter| build::module(filter, base).unwrap()).collect();
    let options = Options { workers, ..Options::default() };
    Some(Proxy::start(binary, scenario, base, &modules, &options).unwrap().unwrap())
}

fn request(method: &str, path: &str, lines: &[(&str, &[u8])], body: &[u8]) -> Exchange {
    let mut request = Message { body: body.to_vec(), ..Message::default() };
    for (name, value) in [(":method", method), (":path", path), (":authority", "orders.example.com:8080")] {
        request.headers.push(name, value);
    }
    for (name, value) in lines {
        request.headers.push(name, value);
    }
    Exchange { request, ..Exchange::default() }
}

#[track_caller]
fn answered(proxy: &Proxy, exchange: &Exchange) {
    let answer = proxy.ask(exchange).unwrap().unwrap();
    assert_eq!((answer.headers.get(b":status"), answer.body.as_slice()), (Some(&b"200"[..]), ANSWER));
}

/// The metrics once they are as they must be. They grow a moment after the answer; how long that takes, nobody waits for by the clock.
#[track_caller]
fn metrics_when(proxy: &Proxy, is_so: impl Fn(&BTreeMap<String, u64>) -> bool) -> BTreeMap<String, u64> {
    let mut metrics = BTreeMap::new();
    for _ in 0..20_000 {
        metrics = proxy.envoy().metrics().unwrap().into_iter().collect();
        if is_so(&metrics) {
            return metrics;
        }
    }
    metrics.retain(|_, value| *value > 0);
    assert!(metrics.is_empty(), "never came about: {metrics:?}");
    metrics
}

fn to(cluster: &str, received: Vec<Received>) -> Vec<Message> {
    received.into_iter().filter(|one| one.cluster == cluster).map(|one| one.request).collect()
}

/// Every target that fails in some way, and one of each limit, under load on two workers. A primary that waited for a target that hangs would
/// not be answered before its client gives up.
#[test]
fn no_primary_waits_for_a_target() {
    let targets = ["hangs", "resets", "refuses", "breaks", "empty", "slow", "dies"];
    let clusters = json!({
        "hangs": {"failure": {"type": "TIMEOUT"}},
        "resets": {"failure": {"type": "RESET"}},
        "refuses": {"failure": {"type": "CONNECT_FAILURE"}},
        "breaks": {"response": {"body": "0123456789"}, "failure": {"type": "RESET_IN_BODY"}},
        "empty": {"endpoints": 0},
        "slow": {"latency": HANG},
        "dies": {"sequence": [{"times": 40}, {"times": 40, "failure": {"type": "RESET"}}, {"failure": {"type": "TIMEOUT"}}]},
    });
    let of = |name: &&str| json!({"cluster": name, "methods": ["*"], "timeout": HANG, "max_in_flight": 50, "back_off": {"halvings": 16}});
    let config = json!({"targets": targets.iter().map(of).collect::<Vec<_>>()});
    let Some(proxy) = start("no_primary_waits_for_a_target", &scenario(&config, &clusters, &json!([])), 2)
    else {
        return;
    };
    let (clients, each) = (8, 40);
    thread::scope(|scope| {
        for client in 0..clients {
            let proxy = &proxy;
            scope.spawn(move || {
                for number in 0..each {
                    let path = format!("/{client}/{number}");
                    answered(proxy, &request("POST", &path, &[("content-type", b"text/plain")], b"an order"));
                }
            });
        }
    });
    // Each copy was sent or is counted with its reason.
    let all = clients * each;
    let metrics = metrics_when(&proxy, |metrics| {
        targets.iter().all(|target| {
            let of = |name: &str| metrics.get(&format!("mirror.{target}.{name}")).copied().unwrap_or(0);
            let not_sent = of("skipped_in_flight") + of("skipped_refused") + of("skipped_back_off");
            // What fails at once has done so; of the one that dies some answers are there.
            let over = !["refuses", "resets"].contains(target) || of("in_flight") == 0;
            let begun = *target != "dies" || of("answered") > 0;
            of("sent") + not_sent == all && of("in_flight") <= 50 && over && begun
        })
    });
    let of = |name: &str| metrics.get(&format!("mirror.{name}")).copied().unwrap_or(0);
    assert_eq!((of("hangs.sent"), of("hangs.in_flight"), of("hangs.skipped_in_flight")), (50, 50, all - 50));
    assert_eq!((of("empty.sent"), of("refuses.answered"), of("resets.answered")), (0, 0, 0));
    for target in ["refuses", "resets"] {
        let of = |name: &str| of(&format!("{target}.{name}"));
        // A target that only fails is sent less, whichever limit is met first on this machine.
        let kept_back = of("skipped_back_off") + of("skipped_in_flight") + of("skipped_refused");
        assert!(of("failed") >= 20 && kept_back > 0, "{metrics:?}");
    }
}

/// What both copies of one request look like, and every difference between them.
#[test]
fn our_copy_is_the_native_one_but_for_a_list() {
    let ours =
        json!({"targets": [{"cluster": "ours", "methods": ["*"], "authority": {"suffix": "-shadow"}}]});
    let clusters = json!({"ours": {}, "native": {}});
    let scenario = scenario(&ours, &clusters, &json!([{"cluster": "native"}]));
    let Some(proxy) = start("our_copy_is_the_native_one_but_for_a_list", &scenario, 1) else {
        return;
    };
    let lines: [(&str, &[u8]); 6] = [
        ("x-request-id", b"3f2504e0-4f89-11d3-9a0c-0305e82c3301"),
        ("cookie", b"a=1; b=2"),
        ("x-odd", b"\xff\xfe"),
        ("idempotency-key", b"k1"),
        ("x-envoy-retry-on", b"5xx"),
        ("x-twice", b"1"),
    ];
    let exchanges = [
        request("GET", "/a?b=c", &lines, b""),
        request("POST", "/orders", &[("content-type", b"text/plain"), ("content-length", b"5")], b"hello"),
        request("PUT", "/chunked", &[], b"chunk"),
        request("DELETE", "/nothing", &[("x-twice", b"1"), ("x-twice", b"2")], b""),
    ];
    for exchange in &exchanges {
        answered(&proxy, exchange);
        metrics_when(&proxy, |metrics| metrics.get("mirror.ours.in_flight") == Some(&0));
        let mut received = proxy.received();
        while !["ours", "native"].iter().all(|name| received.iter().any(|one| one.cluster == *name)) {
            received.extend(proxy.received());
        }
        let [native, ours] = ["native", "ours"].map(|name| to(name, received.clone()).remove(0));
        assert_eq!(native.body, ours.body);
        assert_eq!(differences(&native, &ours), expected(exchange), "{:?}", exchange.request.headers);
    }
}

/// Lines that only one of them has: `-` of the native copy, `+` of ours.
fn differences(native: &Message, ours: &Message) -> Vec<String> {
    let lines = |message: &Message| -> Vec<String> {
        let text = |(name, value): (&[u8], &[u8])| match name {
            // The address of this machine.
            b"x-forwarded-for" => "x-forwarded-for: …".to_owned(),
            _ => format!("{}: {}", name.escape_ascii(), value.escape_ascii()),
        };
        message.headers.iter().map(text).collect()
    };
    let (native, ours) = (lines(native), lines(ours));
    let gone = native.iter().filter(|line| !ours.contains(line)).map(|line| format!("-{line}"));
    let new = ours.iter().filter(|line| !native.contains(line)).map(|line| format!("+{line}"));
    let mut all: Vec<String> = gone.chain(new).collect();
    all.sort();
    all
}

/// The list of the README.
fn expected(exchange: &Exchange) -> Vec<String> {
    let headers = &exchange.request.headers;
    let mut all = vec!["+x-envoy-expected-rq-timeout-ms: 5000".to_owned(), "+x-shadow: 1".to_owned()];
    all.extend(["-x-envoy-expected-rq-timeout-ms: 100000".to_owned(), "-x-forwarded-for: …".to_owned()]);
    if headers.get(b"idempotency-key").is_some() {
        all.extend(["+idempotency-key: k1-shadow".to_owned(), "-idempotency-key: k1".to_owned()]);
    }
    if exchange.request.body.len() == 5 && headers.get(b"content-length").is_none() {
        all.extend(["+content-length: 5".to_owned(), "-transfer-encoding: chunked".to_owned()]);
    }
    all.sort();
    all
}

/// A secret in every place that a client can think of: nothing of it arrives, and nothing of it is lost for the primary.
#[test]
fn secrets_never_arrive() {
    const SECRET: &str = "s3cret";
    const CARD: &str = "4111111111111111";
    let redact = json!({
        "headers": [{"name": "x-internal"}],
        "query": [{"key": "token"}],
        "json": [{"path": "**.password"}],
        "form": [{"key": "password"}],
        "patterns": [{"find": {"card_number": {}}}, {"find": {"email": {}}}, {"find": {"credentials": {}}}],
    });
    let config = json!({"targets": [{"cluster": "shadow", "methods": ["*"], "redact": redact, "body": {"max_bytes": 4096}}]});
    let scenario = scenario(&config, &json!({"shadow": {}}), &json!([]));
    let Some(proxy) = start("secrets_never_arrive", &scenario, 1) else {
        return;
    };
    let kind = |kind: &'static str| ("content-type", kind.as_bytes());
    let json_kind = kind("application/json");
    let long = format!("{{\"a\": \"{}\", \"password\": \"{SECRET}\"}}", "x".repeat(5000));
    let bodies: Vec<(Lines, Vec<u8>)> = vec![
        (vec![json_kind], format!("{{\"password\": \"{SECRET}\"}}").into()),
        (vec![json_kind], format!("{{\"p\\u0061ssword\": \"{SECRET}\"}}").into()),
        (vec![json_kind], format!("{{\"PassWord\": [{{\"x\": \"{SECRET}\"}}]}}").into()),
        (vec![json_kind], format!("{{\"password\": \"a\", \"password\": \"{SECRET}\"}}").into()),
        (vec![json_kind], format!("{{\"in\": \"{{\\\"password\\\": \\\"{SECRET}\\\"}}\"}}").into()),
        (vec![json_kind], format!("{{\"password\": \"{SECRET}\"").into()),
        (vec![json_kind], format!("{{\"password\": \"{SECRET}\"}} trailing").into()),
        (vec![json_kind], format!("\u{feff}{{\"password\": \"{SECRET}\"}}").into()),
        (vec![json_kind], [b"{\"password\": \"\xff", SECRET.as_bytes(), b"\"}"].concat()),
        (
            vec![json_kind],
            format!("{}{{\"password\": \"{SECRET}\"}}{}", "[".repeat(2000), "]".repeat(2000)).into(),
        ),
        (vec![json_kind], long.into()),
        (vec![json_kind, ("content-encoding", b"gzip")], format!("{{\"password\": \"{SECRET}\"}}").into()),
        (vec![kind("text/plain")], format!("{{\"password\": \"{SECRET}\"}}").into()),
        (vec![kind("application/octet-stream")], SECRET.into()),
        (vec![], SECRET.into()),
        (vec![json_kind, kind("text/html")], format!("{{\"password\": \"{SECRET}\"}}").into()),
        (
            vec![json_kind],
            format!("{{\"card\": \"{CARD}\", \"number\": {CARD}, \"spaced\": \"4111 1111 1111 1111\"}}")
                .into(),
        ),
        (
            vec![json_kind],
            b"{\"mail\": \"jack+s3cret@example.com\", \"auth\": \"Bearer s3cret.token\"}".to_vec(),
        ),
        (vec![kind("application/x-www-form-urlencoded")], format!("a=b&p%61ssword={SECRET}").into()),
    ];
    let headers: [Lines; 4] = [
        vec![("authorization", b"Bearer s3cret")],
        vec![("cookie", b"session=s3cret"), ("cookie", b"other=s3cret")],
        vec![("x-internal", b"s3cret"), ("X-API-Key", b"s3cret")],
        vec![("x-note", b"card 4111-1111-1111-1111 of jack.s3cret@example.com")],
    ];
    let paths = [
        "/?token=s3cret",
        "/?a=1&t%6fken=s3cret&token=s3cret",
        "/?TOKEN=s3cret",
        "/?mail=s3cret@example.com",
    ];
    let mut all: Vec<Exchange> =
        bodies.iter().map(|(lines, body)| request("POST", "/", lines, body)).collect();
    all.extend(headers.iter().map(|lines| request("GET", "/", lines, b"")));
    all.extend(paths.iter().map(|path| request("GET", path, &[], b"")));
    for exchange in &all {
        answered(&proxy, exchange);
    }
    let count = all.len() as u64;
    let metrics = metrics_when(&proxy, |metrics| {
        let of = |name: &str| metrics.get(&format!("mirror.shadow.{name}")).copied().unwrap_or(0);
        of("sent") + of("skipped_redaction") + of("skipped_body") == count && of("in_flight") == 0
    });
    let received = proxy.received();
    let (primaries, copies) = (to("primary", received.clone()), to("shadow", received));
    // Some are clean, so that this is no test of a mirror that sends nothing.
    assert!(copies.len() >= 10 && copies.len() as u64 == metrics["mirror.shadow.sent"], "{metrics:?}");
    for copy in &copies {
        let text = format!("{:?}\n{}", copy.headers, String::from_utf8_lossy(&copy.body));
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        assert!(!text.contains(SECRET) && !digits.contains(CARD), "{text}");
    }
    assert_eq!(primaries.len(), all.len());
    for (exchange, primary) in all.iter().zip(&primaries) {
        assert_eq!(exchange.request.body, primary.body);
    }
}

/// A client that goes in the middle of its body: nothing is sent, nothing is kept.
#[test]
fn a_client_that_leaves_in_its_body_is_not_copied() {
    let config = json!({"targets": [{"cluster": "shadow", "methods": ["*"]}]});
    let scenario = scenario(&config, &json!({"shadow": {}}), &json!([]));
    let Some(proxy) = start("a_client_that_leaves_in_its_body_is_not_copied", &scenario, 1) else {
        return;
    };
    for _ in 0..3 {
        let mut client = TcpStream::connect(proxy.envoy().listener("cases").unwrap()).unwrap();
        let head = "PROXY TCP4 127.0.0.1 127.0.0.1 40000 10000\r\nPOST /half HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nhalf";
        client.write_all(head.as_bytes()).unwrap();
        client.shutdown(Shutdown::Both).unwrap();
    }
    metrics_when(&proxy, |metrics| metrics.get("mirror.shadow.skipped_incomplete") == Some(&3));
    answered(&proxy, &request("POST", "/whole", &[], b"whole"));
    metrics_when(&proxy, |metrics| {
        metrics.get("mirror.shadow.sent") == Some(&1) && metrics.get("mirror.shadow.in_flight") == Some(&0)
    });
    let copies = to("shadow", proxy.received());
    assert_eq!(copies.iter().map(|copy| copy.body.as_slice()).collect::<Vec<_>>(), [b"whole"]);
}

/// Two megabytes, in whatever parts they come; a body without a length, with trailers.
#[test]
fn long_bodies_and_trailers_arrive() {
    let config = json!({"targets": [
        {"cluster": "whole", "methods": ["*"], "body": {"max_bytes": 4 << 20}},
        {"cluster": "begun", "methods": ["*"], "body": {"max_bytes": 1000, "over_limit": "TRUNCATE"}},
    ]});
    let clusters = json!({"whole": {}, "begun": {}});
    let Some(proxy) = start("long_bodies_and_trailers_arrive", &scenario(&config, &clusters, &json!([])), 1)
    else {
        return;
    };
    let body: Vec<u8> = (0..2_000_000_u32).map(|number| (number % 251) as u8).collect();
    answered(&proxy, &request("POST", "/long", &[], &body));
    let mut chunked = request("POST", "/chunked", &[("trailer", b"x-sum")], b"chunked");
    chunked.request.trailers.push("x-sum", b"7");
    answered(&proxy, &chunked);
    metrics_when(&proxy, |metrics| {
        ["whole", "begun"].iter().all(|target| metrics.get(&format!("mirror.{target}.answered")) == Some(&2))
    });
    let received = proxy.received();
    // A long copy may be whole at its target after a short one that began later.
    let [whole, begun] = ["whole", "begun"].map(|name| {
        let mut copies = to(name, received.clone());
        copies.sort_by_key(|copy| copy.headers.get(b":path") != Some(&b"/long"[..]));
        copies
    });
    assert!(whole[0].body == body && begun[0].body == body[..1000]);
    assert_eq!(begun[0].headers.get(b"x-shadow-truncated"), Some(&b"2000000"[..]));
    // Calls of filters have no trailers in Envoy 1.40.
    assert_eq!((whole[1].body.as_slice(), whole[1].trailers.len()), (&b"chunked"[..], 0));
}

/// Late answers are compared on two workers, and the records of what differs arrive at the collector, redacted.
#[test]
fn differences_arrive_at_the_collector() {
    let shadow = json!({
        "cluster": "shadow", "compare": {"record_values": "REDACTED"},
        "redact": {"query": [{"key": "token"}], "patterns": [{"find": {"email": {}}}]},
    });
    let config = json!({"targets": [shadow], "report": {"cluster": "collector", "interval": "100ms"}});
    let body = "{\"mail\": \"s3cret@example.com\"}";
    let clusters = json!({
        "shadow": {"latency": "50ms", "response": {"headers": {"content-type": "application/json"}, "body": body}},
        "collector": {},
    });
    let scenario = scenario(&config, &clusters, &json!([]));
    let Some(proxy) = start("differences_arrive_at_the_collector", &scenario, 2) else {
        return;
    };
    for number in 0..10 {
        answered(&proxy, &request("GET", &format!("/{number}?token=s3cret"), &[], b""));
    }
    metrics_when(&proxy, |metrics| {
        metrics.get("mirror.shadow.compare.different") == Some(&10)
            && metrics.get("mirror.report_records") == Some(&10)
    });
    let mut records = String::new();
    while records.lines().count() < 10 {
        for batch in to("collector", proxy.received()) {
            assert_eq!(batch.headers.get(b"content-type"), Some(&b"application/x-ndjson"[..]));
            records.push_str(str::from_utf8(&batch.body).unwrap());
        }
    }
    for record in records.lines() {
        let parsed: Value = serde_json::from_str(record).unwrap();
        assert_eq!((&parsed["target"], &parsed["verdict"]), (&json!("shadow"), &json!("different")));
        assert!(
            parsed["path"].as_str().unwrap().ends_with("?token=redacted") && !record.contains("s3cret"),
            "{record}"
        );
    }
}
