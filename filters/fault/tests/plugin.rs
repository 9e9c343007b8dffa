//! The whole filter on the host in memory: what a stream sees, waits for and leaves behind; what is counted and logged.

use std::time::Duration;

use fault::Fault;
use serde_json::{Value, json};
use weir_sdk::testing::{Host, Outcome, Plugin, Seen, Stream};

const REQUEST: [(&str, &str); 3] = [(":method", "GET"), (":path", "/"), (":authority", "a")];
const OK: [(&str, &str); 1] = [(":status", "200")];

#[track_caller]
fn plugin(host: &mut Host, config: Value) -> Plugin {
    host.plugin::<Fault>(config).map_err(|refused| refused.to_string()).expect("an accepted configuration")
}

fn request(plugin: &Plugin, lines: &[(&str, &str)]) -> (Stream, Seen) {
    let mut stream = plugin.stream();
    let lines: Vec<_> = REQUEST.iter().chain(lines).copied().collect();
    let seen = stream.request(&lines);
    (stream, seen)
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn seven_seconds_for_everybody() {
    let mut host = Host::new();
    let plugin = plugin(&mut host, json!({"faults": [{"delay": "7s"}]}));
    let (stream, seen) = request(&plugin, &[]);
    assert_eq!(seen.outcome, Outcome::Waiting);
    host.advance(ms(6_999));
    assert_eq!(stream.seen_request().outcome, Outcome::Waiting);
    host.advance(ms(1));
    assert_eq!(stream.seen_request().outcome, Outcome::Continued);
    assert_eq!([host.metric("fault.delays_injected"), host.metric("fault.active_faults")], [1, 1]);
    stream.end();
    assert_eq!(host.metric("fault.active_faults"), 0);
    assert_eq!(host.log().last().unwrap().text, "decision: faults[0] → delay 7s");
}

#[test]
fn a_client_that_leaves_gives_its_place_back() {
    let mut host = Host::new();
    let plugin = plugin(&mut host, json!({"faults": [{"delay": "7s"}], "max_active_faults": 1}));
    let (first, _) = request(&plugin, &[]);
    let (second, seen) = request(&plugin, &[]);
    assert_eq!(seen.outcome, Outcome::Continued, "one too many passes");
    assert_eq!([host.metric("fault.faults_overflow"), host.metric("fault.active_faults")], [1, 1]);
    first.end();
    second.end();
    assert_eq!(host.metric("fault.active_faults"), 0);
    assert_eq!(request(&plugin, &[]).1.outcome, Outcome::Waiting);
}

#[test]
fn a_response_is_held_changed_and_cut() {
    let mut host = Host::new();
    let config = json!({"faults": [{"response": {"delay": "50ms", "truncate": {"after_bytes": 3}}}]});
    let plugin = plugin(&mut host, config);
    let (mut stream, seen) = request(&plugin, &[]);
    assert_eq!(seen.outcome, Outcome::Continued);
    let seen = stream.response_headers(&[OK[0], ("content-length", "6")]);
    assert_eq!(seen.outcome, Outcome::Waiting);
    host.advance(ms(50));
    assert_eq!(stream.seen_response().header("content-length"), Some("3"));
    stream.response_body("ab", false);
    stream.response_body("cdef", false);
    assert_eq!(stream.response_body("", true).body, b"abc");
    stream.end();
    let names = ["response_delays_injected", "truncations_injected", "active_faults", "delays_injected"];
    assert_eq!(names.map(|name| host.metric(&format!("fault.{name}"))), [1, 1, 0, 0]);
}

#[test]
fn the_first_two_of_each_user_fail() {
    let mut host = Host::new();
    let config = json!({"faults": [{"name": "flaky", "abort": 503,
        "first": {"requests": 2, "by": [{"header": "end-user"}]}}]});
    let plugin = plugin(&mut host, config);
    let aborted = |user: &str| request(&plugin, &[("end-user", user)]).1.reply().is_some();
    assert_eq!(["a", "b", "a", "a", "b", "b"].map(aborted), [true, true, true, false, true, false]);
    assert!(request(&plugin, &[]).1.reply().is_none(), "without a key nobody is taken");
}

#[test]
fn two_of_five_exactly() {
    let mut host = Host::new();
    let plugin = plugin(&mut host, json!({"faults": [{"abort": 503, "exactly": {"faults": 2, "of": 5}}]}));
    let aborted = (0..50).filter(|_| request(&plugin, &[]).1.reply().is_some()).count();
    assert_eq!(aborted, 20);
}

#[test]
fn trouble_of_the_service_stops_the_faults() {
    let mut host = Host::new();
    let config = json!({"faults": [{"abort": 418, "percentage": 50, "sticky": {"by": [{"header": "u"}]}}],
        "blast_radius": {"max_error_percentage": 50, "min_requests": 4, "resume_after": "10s"}});
    let plugin = plugin(&mut host, config);
    let aborted = |status: &str| {
        let (mut stream, seen) = request(&plugin, &[("u", "victim-2")]);
        if seen.reply().is_none() {
            stream.response(&[(":status", status)]);
        }
        seen.reply().is_some()
    };
    assert!(aborted("500"), "the one whose luck is looked at");
    for _ in 0..4 {
        let (mut stream, _) = request(&plugin, &[]);
        stream.response(&[(":status", "503")]);
    }
    assert!(!aborted("200"));
    assert_eq!([host.metric("fault.service_errors"), host.metric("fault.faults_stopped")], [4, 1]);
    host.advance(Duration::from_secs(10));
    let (_, seen) = request(&plugin, &[("u", "victim-2")]);
    assert!(seen.reply().is_some());
}

#[test]
fn bandwidth_is_asked_of_envoy_and_by_nobody_else() {
    let mut host = Host::new();
    let config = json!({"faults": [{"match": {"path": {"prefix": "/slow"}},
        "response_rate_limit": {"fixed_limit": {"limit_kbps": 64}}}]});
    let plugin = plugin(&mut host, config);
    let name = "x-envoy-fault-throughput-response";
    let (_, seen) = request(&plugin, &[(name, "1"), ("x-envoy-fault-throughput-response-percentage", "100")]);
    assert_eq!(seen.header(name), None);
    assert_eq!(seen.header("x-envoy-fault-throughput-response-percentage"), None);
    let mut stream = plugin.stream();
    let seen = stream.request(&[(":method", "GET"), (":path", "/slow"), (":authority", "a"), (name, "1")]);
    assert_eq!(seen.header(name), Some("64"));
    assert_eq!(host.metric("fault.response_rl_injected"), 1);
}

#[test]
fn only_requests_of_these_nodes_for_this_cluster() {
    let mut host = Host::new();
    let config =
        json!({"faults": [{"abort": 501, "upstream_cluster": "reviews", "downstream_nodes": ["a", "b"]}]});
    let plugin = plugin(&mut host, config);
    let aborted = |cluster: &str, node: &str| {
        let mut stream = plugin.stream();
        stream.set_attribute(&["xds", "cluster_name"], cluster);
        let node = ("x-envoy-downstream-service-node", node);
        stream.request(&[REQUEST[0], REQUEST[1], REQUEST[2], node]).reply().is_some()
    };
    assert!(aborted("reviews", "a") && aborted("reviews", "b"));
    assert!(!aborted("reviews", "c") && !aborted("ratings", "a"));
}

/// What Envoy's idle timer would end first is refused, unless the timer is said to be another.
#[test]
fn no_wait_is_longer_than_envoy_lets_a_stream_wait() {
    let accepted =
        |config: Value| Host::new().plugin::<Fault>(config).map(drop).map_err(|refused| refused.to_string());
    let hole = |duration: &str| json!({"duration": duration});
    for (config, want) in [
        (json!({"faults": [{"delay": "299s"}]}), None),
        (json!({"faults": [{"delay": "5m"}]}), Some("`faults[0].delay`")),
        (json!({"faults": [{"delay": "5m"}], "stream_idle_timeout": "10m"}), None),
        (json!({"faults": [{"delay": "1h"}], "stream_idle_timeout": "0s"}), None),
        (json!({"faults": [{"delay": "61m"}], "stream_idle_timeout": "0s"}), Some("at most `1h`")),
        (json!({"faults": [{"black_hole": hole("5m")}]}), Some("`faults[0].black_hole.duration`")),
        (json!({"faults": [{"delay": "4m", "black_hole": hole("2m")}]}), Some("together")),
        (
            json!({"faults": [{"delay": {"exponential": {"mean": "1s"}, "max_delay": "1m"}, "black_hole": hole("2m")}]}),
            None,
        ),
        (json!({"faults": [{"response": {"delay": "5m"}}]}), Some("`faults[0].response.delay`")),
        (json!({"faults": [{"delay": "700ms"}], "stream_idle_timeout": "1s"}), Some("at most `500ms`")),
    ] {
        match (accepted(config.clone()), want) {
            (Ok(()), None) => {}
            (Err(said), Some(want)) => assert!(said.contains(want), "{config}: {said}"),
            (got, want) => panic!("{config}: {got:?}, not {want:?}"),
        }
    }
}
