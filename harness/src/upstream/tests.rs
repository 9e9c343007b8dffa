//! Scripts: rules, sequences, failures, distributions, echoes. The same input gives the same answers.

use proptest::prelude::*;

use super::*;
use crate::headers::Headers;
use crate::yaml;

fn request(method: &str, path: &str, lines: &[(&str, &str)]) -> Message {
    let pseudo = [(":method", method), (":path", path), (":authority", "a")];
    Message { headers: pseudo.iter().chain(lines).copied().collect(), ..Message::default() }
}

fn script(cluster: &str) -> Script {
    let cluster: Cluster = yaml::parse(cluster).unwrap_or_else(|error| panic!("{error}\n{cluster}"));
    cluster.validate().unwrap_or_else(|(field, reason)| panic!("{field}: {reason}"));
    Script::new("c", &cluster, 7)
}

/// An answer in a word: its status, or how it fails.
fn word(turn: &Turn<'_>) -> String {
    let status = |message: &Message| {
        String::from_utf8_lossy(message.headers.get(b":status").unwrap_or_default()).into_owned()
    };
    let answer = match &turn.answer {
        Answer::Message(message) => status(message),
        Answer::ConnectFailure => "connect".to_owned(),
        Answer::Reset => "reset".to_owned(),
        Answer::Cut { message, after_bytes } => format!("{}/{after_bytes}", status(message)),
        Answer::Silence => "silence".to_owned(),
    };
    if turn.latency.is_zero() { answer } else { format!("{answer}@{:?}", turn.latency) }
}

/// What a cluster answers to `GET /` again and again; the recording says 299.
#[track_caller]
fn check(cluster: &str, want: &[&str]) {
    let recorded = Message { headers: [(":status", "299")].into_iter().collect(), ..Message::default() };
    let mut script = script(cluster);
    let got: Vec<_> =
        want.iter().map(|_| word(&script.turn(&request("GET", "/", &[]), Some(&recorded)))).collect();
    assert_eq!(got, want, "{cluster}");
}

#[test]
fn a_script_says_what_comes() {
    check("{}", &["299", "299"]);
    check("response: {status: 201}", &["201", "201"]);
    check("{latency: 20ms}", &["299@20ms", "299@20ms"]);
    check("{failure: CONNECT_FAILURE, latency: 1s}", &["connect@1s"]);
    check("{failure: {type: RESET}}", &["reset"]);
    check("{failure: TIMEOUT}", &["silence"]);
    check("{failure: RESET_IN_BODY, response: {body: hello}}", &["200/2"]);
    check("{failure: {type: RESET_IN_BODY, after_bytes: 4}, response: {body: hello}}", &["200/4"]);
    check("{failure: {type: RESET_IN_BODY, after_bytes: 99}, response: {body: hello}}", &["200/5"]);
    check("{failure: {type: RESET, percentage: 0}}", &["299", "299", "299"]);
    check("{echo: true}", &["200"]);
    check("{grpc: {status: 5}}", &["200"]);
}

#[test]
fn sequences_go_on_in_three_ways() {
    let steps = "[{times: 2, failure: RESET}, {response: {status: 201}, latency: 1ms}]";
    check(&format!("sequence: {steps}"), &["reset", "reset", "201@1ms", "201@1ms", "201@1ms"]);
    check(
        &format!("{{sequence: {steps}, after_sequence: REPEAT, latency: 2ms}}"),
        &["reset@2ms", "reset@2ms", "201@1ms", "reset@2ms"],
    );
    check(
        &format!("{{sequence: {steps}, after_sequence: RECORDED}}"),
        &["reset", "reset", "201@1ms", "299", "299"],
    );
}

#[test]
fn the_first_rule_that_matches_answers() {
    let mut script = script(
        "match:\n- {path_prefix: /a, method: POST, response: {status: 201}}\n\
         - {path_prefix: /a, sequence: [{failure: RESET}, {response: {status: 202}}]}\n\
         - {headers: {x-b: '1,2'}, response: {status: 203}}\nresponse: {status: 204}\nlatency: 3ms\n",
    );
    let rows = [
        ("POST", "/a/x", &[][..], "201@3ms"),
        ("GET", "/a/x", &[], "reset@3ms"),
        ("GET", "/b", &[("x-b", "1"), ("x-b", "2")], "203@3ms"),
        ("GET", "/a", &[], "202@3ms"),
        ("GET", "/b", &[("x-b", "1")], "204@3ms"),
    ];
    for (method, path, lines, want) in rows {
        assert_eq!(word(&script.turn(&request(method, path, lines), None)), want, "{method} {path}");
    }
}

#[test]
fn a_cluster_without_a_script_answers_as_recorded() {
    let mut all = Upstreams::new(&BTreeMap::new(), 0);
    let recorded = Message { headers: [("a", "1")].into_iter().collect(), ..Message::default() };
    let turn = all.turn("any", &request("GET", "/", &[]), Some(&recorded));
    assert_eq!(word(&turn), "200", "a recording without a status is 200");
    let Answer::Message(message) = all.turn("any", &request("GET", "/", &[]), None).answer else { panic!() };
    let want: Headers = [(":status", "200"), ("content-length", "0")].into_iter().collect();
    assert_eq!(message.headers, want);
}

#[test]
fn answers_are_framed() {
    let response = |text: &str| {
        let turn = script(text).turn(&request("GET", "/", &[]), None).into_owned();
        let Answer::Message(message) = turn.answer else { panic!("{text}") };
        message.into_owned()
    };
    let lines = |message: &Message| {
        let line = |(name, value): (&[u8], &[u8])| {
            format!("{}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
        };
        let trailers = message.trailers.iter().map(|pair| format!("+{}", line(pair)));
        message.headers.iter().map(line).chain(trailers).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(lines(&response("response: {body: hi}")), ":status=200 content-length=2");
    assert_eq!(lines(&response("response: {status: 204}")), ":status=204");
    assert_eq!(
        lines(&response("response: {headers: {a: b}, body: {base64: //8=}, trailers: [[t, '1']]}")),
        ":status=200 a=b +t=1"
    );
    let grpc = response("grpc: {messages: [a, {base64: AAE=}], trailing_metadata: {x: y}}");
    assert_eq!(lines(&grpc), ":status=200 content-type=application/grpc +grpc-status=0 +x=y");
    assert_eq!(grpc.body, b"\0\0\0\0\x01a\0\0\0\0\x02\0\x01");
    assert_eq!(
        lines(&response("grpc: {status: 7, message: 'no %', initial_metadata: {i: '1'}}")),
        ":status=200 content-type=application/grpc i=1 grpc-status=7 grpc-message=no %25"
    );
}

#[test]
fn an_echo_says_what_was_received() {
    let mut sent = request(
        "POST",
        "/x?q",
        &[("x-request-id", "r"), ("b", "1"), ("a", "ü"), ("b", "2"), ("transfer-encoding", "chunked")],
    );
    sent.body = b"he\"llo".to_vec();
    let answer = echo(&sent);
    assert_eq!(
        String::from_utf8_lossy(&answer.body),
        r#"{"method":"POST","path":"/x?q","authority":"a","headers":{"a":"ü","b":"1,2"},"body":"he\"llo"}"#
    );
    let length = answer.headers.get(b"content-length").unwrap_or_default();
    assert_eq!(length, answer.body.len().to_string().as_bytes());
    sent.body = b"\xff".to_vec();
    sent.trailers.push("t", "1");
    let body = String::from_utf8(echo(&sent).body).unwrap();
    assert!(body.ends_with(r#""trailers":{"t":"1"},"body_base64":"/w=="}"#), "{body}");
}

/// Every cluster's answers are its own affair: what others are asked changes nothing, and neither does another seed's.
#[test]
fn clusters_do_not_disturb_each_other() {
    let cluster: Cluster =
        yaml::parse("{latency: {uniform: {min: 0ms, max: 1s}}, failure: {type: RESET, percentage: 50}}")
            .unwrap();
    let clusters: BTreeMap<_, _> = [("a".to_owned(), cluster.clone()), ("b".to_owned(), cluster)].into();
    let asked = |order: &str, of: char, seed: u64| {
        let mut all = Upstreams::new(&clusters, seed);
        let mut answers = Vec::new();
        for name in order.chars() {
            let turn = all.turn(&name.to_string(), &request("GET", "/", &[]), None).into_owned();
            if name == of {
                answers.push(turn);
            }
        }
        answers
    };
    let alone = asked("aaaa", 'a', 1);
    assert_eq!(alone, asked("babbabaab", 'a', 1));
    assert_ne!(alone, asked("bbbb", 'b', 1));
    assert_ne!(alone, asked("aaaa", 'a', 2));
    assert!(alone.windows(2).any(|pair| pair[0].latency != pair[1].latency));
}

/// The latencies of many turns, sorted, in milliseconds.
fn latencies(latency: &str) -> Vec<f64> {
    let mut script = script(&format!("latency: {latency}"));
    let get = request("GET", "/", &[]);
    let mut all: Vec<_> =
        (0..20_000).map(|_| script.turn(&get, None).latency.as_secs_f64() * 1000.0).collect();
    all.sort_by(f64::total_cmp);
    all
}

/// A quantile of 20 000 draws: within 6 % of what the distribution says, many times what 20 000 draws can be off by.
#[track_caller]
fn quantile(latency: &str, at: f64, want: f64) {
    let all = latencies(latency);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    let got = all[((all.len() - 1) as f64 * at) as usize];
    assert!((got - want).abs() <= want * 0.06 + 0.2, "{latency}: {got} at {at}, {want} wanted");
}

#[test]
fn distributions_have_their_quantiles() {
    quantile("{uniform: {min: 100ms, max: 200ms}}", 0.5, 150.0);
    quantile("{uniform: {min: 100ms, max: 200ms}}", 0.99, 199.0);
    quantile("{normal: {mean: 100ms, deviation: 10ms}}", 0.5, 100.0);
    quantile("{normal: {mean: 100ms, deviation: 10ms}}", 0.841_345, 110.0);
    quantile("{normal: {mean: 0ms, deviation: 10ms}}", 0.25, 0.0);
    quantile("{lognormal: {median: 20ms, p99: 900ms}}", 0.5, 20.0);
    quantile("{lognormal: {median: 20ms, p99: 25ms}}", 0.99, 25.0);
    quantile("{lognormal: {median: 20ms, p99: 20ms}}", 0.99, 20.0);
    quantile("{percentiles: {p50: 20ms, p99: 900ms}}", 0.5, 20.0);
    quantile("{percentiles: {p50: 20ms, p99: 900ms}}", 0.25, 10.0);
    quantile("{percentiles: {p50: 20ms, p99: 900ms}}", 0.745, 460.0);
    quantile("{percentiles: {p50: 20ms, p99: 900ms}}", 0.999, 900.0);
    quantile("{percentiles: {p0: 5ms, p99.9: 5ms, p100: 1s}}", 0.5, 5.0);
    quantile("{percentiles: {p10: 5ms}}", 0.9, 5.0);
}

#[test]
fn failures_have_their_share() {
    let mut script = script("failure: {type: RESET, percentage: 12.5}");
    let get = request("GET", "/", &[]);
    let failed = (0..20_000).filter(|_| script.turn(&get, None).answer == Answer::Reset).count();
    assert!((2300..=2700).contains(&failed), "{failed} of 20000");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Latencies stay within what their distribution can give, whatever the seed and the cluster.
    #[test]
    fn latencies_stay_in_range(seed: u64, name: String, low in 0_u64..5_000_000, width in 0_u64..5_000_000) {
        let high = low + width;
        let rows = [
            (format!("{{uniform: {{min: {low}us, max: {high}us}}}}"), low, high),
            (format!("{{percentiles: {{p0: {low}us, p100: {high}us}}}}"), low, high),
            (format!("{{percentiles: {{p50: {high}us}}}}"), 0, high),
            (format!("{{normal: {{mean: {low}us, deviation: {high}us}}}}"), 0, u64::MAX),
        ];
        for (latency, low, high) in rows {
            let cluster: Cluster = yaml::parse(&format!("latency: {latency}")).unwrap();
            let mut script = Script::new(&name, &cluster, seed);
            let (mut again, get) = (script.clone(), request("GET", "/", &[]));
            for _ in 0..20 {
                let turn = script.turn(&get, None);
                let us = turn.latency.as_micros();
                // A nanosecond of rounding.
                prop_assert!(us + 1 >= u128::from(low) && us <= u128::from(high) + 1, "{latency}: {us}");
                prop_assert_eq!(turn, again.turn(&get, None));
            }
        }
    }
}
