//! Upstreams that are late or fail, as a real Envoy 1.40 was seen to answer for them.

use super::*;

/// What comes of the exchange where the cluster and its route are these: end, status (0: none), details, flags, the time the upstream took.
#[track_caller]
fn check_cluster(
    cluster: serde_json::Value,
    route: serde_json::Value,
    want: (End, u16, &str, &str, u128),
) -> Outcome {
    let name = format!("{cluster} {route}");
    let clusters = [("up".to_owned(), serde_json::from_value(cluster).unwrap())];
    let mut action = json!({"cluster": "up"});
    action.as_object_mut().unwrap().extend(route.as_object().unwrap().clone());
    let table = json!({"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [
        {"match": {"prefix": "/"}, "route": action}
    ]}]});
    let routes = Some(RouteTable::from_value(&table).unwrap());
    let mut replay =
        start_with(Setup { clusters: clusters.into_iter().collect(), routes, ..Setup::default() });
    let outcome = replay.exchange(&exchange());
    let status = outcome.response.as_ref().and_then(|response| crate::host::status(&response.headers));
    let (end, details, flags) = (outcome.end, outcome.details.as_str(), outcome.flags.as_str());
    let took = outcome.duration.as_millis();
    assert_eq!((end, status.unwrap_or(0), details, flags, took), want, "{name}");
    assert_eq!(outcome.delay, if end == End::Stalled { outcome.delay } else { Duration::ZERO }, "{name}");
    outcome
}

fn body(outcome: &Outcome) -> String {
    String::from_utf8_lossy(&outcome.response.as_ref().unwrap().body).into_owned()
}

#[test]
fn a_late_answer_takes_its_time() {
    let outcome =
        check_cluster(json!({"latency": "250ms"}), json!({}), (End::Forwarded, 200, "via_upstream", "", 250));
    let headers = outcome.response.unwrap().headers;
    assert_eq!(headers.get(b"x-envoy-upstream-service-time"), Some(&b"250"[..]));
}

#[test]
fn failures_before_an_answer() {
    let reset = "upstream connect error or disconnect/reset before headers. reset reason: ";
    let details = "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}";
    let outcome = check_cluster(
        json!({"failure": "CONNECT_FAILURE"}),
        json!({}),
        (End::Refused, 503, details, "UF", 0),
    );
    assert_eq!(body(&outcome), format!("{reset}remote connection failure"));
    let details = "upstream_reset_before_response_started{connection_termination}";
    let outcome = check_cluster(
        json!({"failure": "RESET", "latency": "20ms"}),
        json!({}),
        (End::Refused, 503, details, "UC", 20),
    );
    assert_eq!(body(&outcome), format!("{reset}connection termination"));
}

#[test]
fn an_answer_that_breaks_off() {
    let cluster = json!({"failure": {"type": "RESET_IN_BODY", "after_bytes": 1}});
    let details = "upstream_reset_after_response_started{protocol_error}";
    let outcome = check_cluster(cluster, json!({}), (End::Reset, 200, details, "UPE", 0));
    assert_eq!((body(&outcome).as_str(), outcome.response.unwrap().body_truncated), ("h", true));
}

#[test]
fn timeouts_of_routes() {
    let timeout = |ms| (End::Refused, 504, "response_timeout", "UT", ms);
    let outcome = check_cluster(json!({"failure": "TIMEOUT"}), json!({}), timeout(15_000));
    assert_eq!(body(&outcome), "upstream request timeout");
    check_cluster(json!({"latency": "20s"}), json!({"timeout": "0.5s"}), timeout(500));
    let late = (End::Forwarded, 200, "via_upstream", "", 20_000);
    check_cluster(json!({"latency": "20s"}), json!({"timeout": "0s"}), late);
    let idle = (End::Stalled, 504, "stream_idle_timeout", "SI", 300_000);
    let outcome = check_cluster(json!({"failure": "TIMEOUT"}), json!({"timeout": "0s"}), idle);
    assert!(outcome.faults.is_empty(), "no filter is to blame");
}

#[test]
fn a_filter_gives_the_request_another_timeout() {
    let code = |value: &str| {
        format!(
            "(func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32)
                (drop (call $add (i32.const 0) \"x-envoy-upstream-rq-timeout-ms\" \"{value}\")) (i32.const 0))"
        )
    };
    for (value, left, told, took) in [("100", None, "100", 100), ("abc", Some("abc"), "15000", 15_000)] {
        let silent = serde_json::from_value(json!({"failure": "TIMEOUT"})).unwrap();
        let clusters = [("up".to_owned(), silent)].into_iter().collect();
        let mut replay =
            start_with(Setup { plugins: vec![plugin(&code(value))], clusters, ..Setup::default() });
        let outcome = replay.exchange(&exchange());
        let sent = outcome.upstream_request.unwrap().headers;
        assert_eq!(outcome.duration.as_millis(), took, "{value}");
        assert_eq!(sent.get(b"x-envoy-upstream-rq-timeout-ms"), left.map(str::as_bytes), "{value}");
        assert_eq!(sent.get(b"x-envoy-expected-rq-timeout-ms"), Some(told.as_bytes()), "{value}");
    }
}

#[test]
fn a_client_leaves_while_the_upstream_thinks() {
    let clusters = [("up".to_owned(), serde_json::from_value(json!({"latency": "1s"})).unwrap())];
    let mut replay = start_with(Setup { clusters: clusters.into_iter().collect(), ..Setup::default() });
    let outcome = replay.exchange(&Exchange { abort_after: Some(Duration::from_millis(300)), ..exchange() });
    verify("LIFE-12", &outcome, End::Aborted, 0, "");
    assert_eq!((outcome.duration.as_millis(), outcome.delay.as_millis()), (300, 0));
    assert!(outcome.upstream_request.is_some(), "the upstream had it");
}
