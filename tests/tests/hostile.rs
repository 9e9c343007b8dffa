//! What any client can send: header bytes that are no text. A filter on Weir's SDK goes on answering, in the harness and in a real Envoy. The
//! same filter on the stock crate's String getter dies of the first such byte, and every later request of the worker with it (`SDK-02`):
//! the experiment behind the SDK's own ABI layer.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use conformance::run::Run;
use conformance::{run, tools};
use serde_json::{Value, json};
use weir_harness::envoy::compare;
use weir_harness::exchange::{Exchange, Message};
use weir_harness::outcome::End;
use weir_harness::scenario::{Filter, Scenario};

/// Values that are no text, or hardly one; none has control characters, which Envoy's codec refuses before any filter.
const ODD: [&[u8]; 9] = [
    b"\xff",
    b"\xc3\x28",
    b"\xf0\x9f\x92",
    b"ok\x80",
    b"\xed\xa0\x80",
    b"",
    b"\t \t",
    b"a=\xfe; b=\xff; \xff=c",
    "überall".as_bytes(),
];

fn exchange(lines: &[(&str, &[u8])]) -> Exchange {
    let mut request = Message::default();
    for (name, value) in
        [(":method", "GET"), (":path", "/"), (":authority", "example.com"), (":scheme", "http")]
    {
        request.headers.push(name, value);
    }
    for (name, value) in lines {
        request.headers.push(name, value);
    }
    let mut response = Message { body: b"hello".to_vec(), ..Message::default() };
    for (name, value) in [(":status", "200"), ("content-length", "5"), ("x-odd", "\u{fc}")] {
        response.headers.push(name, value);
    }
    Exchange { origin: format!("{lines:?}"), request, response: Some(response), ..Exchange::default() }
}

fn scenario(module: &str, config: Value) -> Scenario {
    let filter = Filter {
        name: module.rsplit('/').next().unwrap_or(module).to_owned(),
        module: Some(module.to_owned()),
        config: Some(config).filter(|config| !config.is_null()),
        ..Filter::default()
    };
    Scenario { filters: vec![filter], ..Scenario::default() }
}

/// Runs the exchanges in the harness and, where there is one, in Envoy; what comes of them is equal. The harness's run.
#[track_caller]
fn both(test: &str, scenario: &Scenario, exchanges: &[Exchange]) -> Run {
    let base = tools::workspace();
    let harness = run::in_harness(scenario, base, exchanges).unwrap();
    assert_eq!(harness.outcomes.len(), exchanges.len(), "{:?}", harness.start_log);
    if let Some(binary) = tools::envoy_or_skip(test).unwrap() {
        let envoy = run::in_envoy(binary, scenario, base, exchanges, &harness).unwrap();
        assert_eq!(envoy.outcomes.len(), exchanges.len(), "{:?}", envoy.start_log);
        for ((ours, theirs), exchange) in harness.outcomes.iter().zip(&envoy.outcomes).zip(exchanges) {
            if let Some(difference) = compare::difference(ours, theirs, true) {
                panic!("{}\n{difference}", exchange.origin);
            }
        }
    }
    harness
}

#[track_caller]
fn lives(test: &str, scenario: &Scenario, names: &[&str]) {
    let odd = ODD.iter().flat_map(|value| names.iter().map(move |name| exchange(&[(name, value)])));
    let twice = names.iter().map(|name| exchange(&[(name, b"\xff"), (name, b"fine"), (name, b"\xfe")]));
    let exchanges: Vec<Exchange> = odd.chain(twice).chain([exchange(&[])]).collect();
    let run = both(test, scenario, &exchanges);
    for (outcome, exchange) in run.outcomes.iter().zip(&exchanges) {
        assert_eq!(outcome.end, End::Forwarded, "{}: {:?}", exchange.origin, outcome.faults);
    }
}

#[test]
fn hello_filter_lives() {
    lives(
        "hello_filter_lives",
        &scenario("examples/hello-filter", json!({"greeting": "hello"})),
        &["x-name", "cookie", "user-agent"],
    );
}

#[test]
fn canary_lives() {
    let config = json!({
        "rules": [
            {"match": [
                {"headers": [{"name": "end-user", "regex": "jack|jill"}]},
                {"cookies": [{"name": "b", "prefix": "beta"}]},
                {"query_parameters": [{"name": "arm", "exact": "v2"}]},
                {"headers": [{"name": "x-build", "range": {"start": 10, "end": 20}}]},
            ], "arm": "v2"},
            {"split": [{"arm": "v3", "weight": 50}, {"arm": "v1", "weight": 50}],
             "sticky": {"by": [{"header": "end-user"}, {"cookie": "b"}, {"header": "user-agent"}], "missing": "SOURCE_ADDRESS"},
             "force": {"header": "x-canary", "cookie": "a", "always": "v3", "never": "v1"}},
        ],
        "baggage": "arm",
        "response_header": "x-arm",
    });
    let names = [
        "end-user",
        "cookie",
        "x-build",
        "x-canary",
        "x-canary-arm",
        "baggage",
        "x-forwarded-for",
        "user-agent",
    ];
    lives("canary_lives", &scenario("filters/canary", config), &names);
}

#[test]
fn fault_lives() {
    let by = json!([{"header": "end-user"}, {"cookie": "b"}, {"query_parameter": "q"}]);
    let asked = json!({"delay": {"header_delay": {}}, "abort": {"header_abort": {}}, "response_rate_limit": {"header_limit": {}}});
    let config = json!({
        "seed": "hostile",
        "faults": [
            {"match": {"headers": [{"name": "x-request-id", "regex": "never"}]}, "abort": 500},
            {"downstream_nodes": ["a"], "upstream_cluster": "b", "abort": 500},
            {"sticky": {"by": by}, "percentage": 0, "abort": 500},
            {"name": "none", "first": {"requests": 1, "by": by}, "delay": {"fixed_delay": "1s", "percentage": 0}},
            asked,
        ],
        "policies": [{"name": "signed", "faults": [asked]}],
        "per_route": {"namespace": "weir.fault"},
        "blast_radius": {"max_error_percentage": 50},
        "max_active_faults": 1,
    });
    let names = [
        "end-user",
        "cookie",
        "x-request-id",
        "x-envoy-fault-delay-request",
        "x-envoy-fault-delay-request-percentage",
        "x-envoy-fault-abort-request",
        "x-envoy-fault-abort-grpc-request",
        "x-envoy-fault-abort-request-percentage",
        "x-envoy-fault-throughput-response",
        "x-envoy-fault-signature",
    ];
    lives("fault_lives", &scenario("filters/fault", config.clone()), &names);
    let mut signed = config;
    signed["signature"] = json!({"secrets": [{"inline": "a secret of thirty-two characters"}]});
    lives("fault_lives", &scenario("filters/fault", signed), &names);
}

#[test]
fn the_stock_getter_dies_and_takes_all_later_requests_with_it() {
    let scenario = scenario("tests/guests/stock", Value::Null);
    let exchanges = [
        exchange(&[("x-name", b"ann")]),
        exchange(&[("x-name", b"\xff")]),
        exchange(&[("x-name", b"bob")]),
        exchange(&[]),
    ];
    let run = both("the_stock_getter_dies_and_takes_all_later_requests_with_it", &scenario, &exchanges);
    let ends: Vec<End> = run.outcomes.iter().map(|outcome| outcome.end).collect();
    assert_eq!(ends, [End::Forwarded, End::Trapped, End::Trapped, End::Trapped]);
    let statuses: Vec<_> =
        run.outcomes.iter().map(|outcome| outcome.response.as_ref()?.headers.get(b":status")).collect();
    assert_eq!(statuses, [Some(&b"200"[..]), Some(b"503"), Some(b"503"), Some(b"503")]);
}
