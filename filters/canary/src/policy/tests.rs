//! Decisions as data: a configuration, a request, and what must come of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use weir_sdk::{Attributes, Decision, HeaderMap, Headers, Mutation, parse};

use crate::Config;

use super::{Chosen, Inputs, Policy};

/// Half of all draws.
const HALF: u64 = 1 << 63;

struct Fake {
    headers: HeaderMap,
    attributes: Vec<(String, Vec<u8>)>,
}

impl Headers for Fake {
    fn map(&self) -> &HeaderMap {
        &self.headers
    }
}

impl Attributes for Fake {
    fn attribute(&self, path: &[&str]) -> Option<Vec<u8>> {
        let path = path.join("/");
        self.attributes.iter().find(|(name, _)| *name == path).map(|(_, value)| value.clone())
    }
}

fn request(lines: &[(&str, &str)]) -> Fake {
    let base = [(":method", "GET"), (":path", "/"), (":authority", "reviews")];
    let given = |name: &str| lines.iter().any(|(line, _)| *line == name);
    let headers = base.iter().filter(|(name, _)| !given(name)).chain(lines).copied().collect();
    Fake { headers, attributes: vec![("source/address".into(), b"203.0.113.9:4711".to_vec())] }
}

#[track_caller]
fn policy(config: &str) -> Policy {
    Policy::try_from(parse::<Config>(Some(config.as_bytes())).expect("well-formed")).expect("meaningful")
}

fn decide(policy: &Policy, request: &Fake, now: SystemTime, random: u64) -> (Decision, Chosen) {
    policy.on_request(&Inputs { request, now: &|| now, random: &|| random, rolled_back: &|_| None })
}

/// Changes as a reader writes them.
fn changes(decision: &Decision) -> Vec<String> {
    let text = |bytes: &weir_sdk::Bytes| String::from_utf8_lossy(bytes.as_slice()).into_owned();
    decision
        .mutations
        .iter()
        .map(|mutation| match mutation {
            Mutation::Set(name, value) => format!("{name}: {}", text(value)),
            Mutation::Append(name, value) => format!("+{name}: {}", text(value)),
            Mutation::AddIfAbsent(name, value) => format!("?{name}: {}", text(value)),
            Mutation::Remove(name) => format!("-{name}"),
            Mutation::FilterState(key, value) => format!("state {key}={}", text(value)),
            Mutation::Property(key, value) => format!("property {key}={}", text(value)),
            Mutation::ClearRouteCache => "reroute".to_owned(),
        })
        .collect()
}

#[track_caller]
fn check(config: &str, lines: &[(&str, &str)], why: &str, want: &[&str]) {
    let (decision, _) = decide(&policy(config), &request(lines), UNIX_EPOCH, HALF);
    assert_eq!(decision.explanation.as_ref().map(ToString::to_string).as_deref(), Some(why));
    assert_eq!(changes(&decision), want);
}

#[track_caller]
fn check_response(config: &str, lines: &[(&str, &str)], want: &[&str]) {
    let policy = policy(config);
    let (_, chosen) = decide(&policy, &request(lines), UNIX_EPOCH, HALF);
    assert_eq!(changes(&policy.on_response(&chosen)), want);
}

#[track_caller]
fn refuse(config: &str, want: &[&str]) {
    let error = match parse::<Config>(Some(config.as_bytes())) {
        Err(error) => error,
        Ok(config) => Policy::try_from(config).expect_err("a configuration that means nothing"),
    };
    let problems: Vec<&str> = error.problems().iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(problems, want, "{error}");
}

const JACK: &str = r#"{"rules": [{"name": "jack", "match": {"headers": [{"name": "end-user", "exact": "jack"}]}, "arm": "v2"}, {"arm": "v1"}]}"#;

#[test]
fn jack_sees_v2_and_everybody_else_v1() {
    check(JACK, &[("end-user", "jack")], "rule `jack` → v2", &["x-canary-arm: v2"]);
    check(JACK, &[("end-user", "jason")], "rules[1] → v1", &["x-canary-arm: v1"]);
    check(JACK, &[], "rules[1] → v1", &["x-canary-arm: v1"]);
}

#[test]
fn what_a_client_sends_in_carried_headers_is_removed() {
    let config = r#"{"rules": [{"match": {"headers": [{"name": "a"}]}, "arm": "v2"}],
        "arms": [{"name": "v2", "request_headers": [{"name": "X-Feature", "value": "on"}]}, {"name": "v1"}]}"#;
    check(config, &[("x-canary-arm", "v2")], "no rule matched", &["-x-canary-arm", "-x-feature"]);
    check(config, &[("a", "")], "rules[0] → v2", &["x-canary-arm: v2", "x-feature: on"]);
}

#[test]
fn a_split_goes_by_weight_and_says_what_was_drawn() {
    let config = r#"{"rules": [{"split": [{"arm": "v1", "weight": 50}, {"arm": "v3", "weight": 50}]}]}"#;
    check(config, &[], "rules[0], drawn at random → v3 (draw 50.0000 %)", &["x-canary-arm: v3"]);
    let none = r#"{"rules": [{"split": [{"arm": "v1", "weight": 0}, {"arm": "v3", "weight": 1}]}]}"#;
    check(none, &[], "rules[0], drawn at random → v3 (draw 50.0000 %)", &["x-canary-arm: v3"]);
}

#[test]
fn values_of_the_client_win_over_the_draw_and_the_header_over_the_cookie() {
    let config = r#"{"rules": [{"name": "r", "split": [{"arm": "v2", "weight": 0}, {"arm": "v1", "weight": 100}],
        "force": {"header": "x-canary", "cookie": "canary", "always": "v2", "never": "v1"}}]}"#;
    let forced = "rule `r`, forced by the client → ";
    check(config, &[("x-canary", "always")], &format!("{forced}v2"), &["x-canary-arm: v2"]);
    check(config, &[("cookie", "a=b; canary=always")], &format!("{forced}v2"), &["x-canary-arm: v2"]);
    check(
        config,
        &[("x-canary", "never"), ("cookie", "canary=always")],
        &format!("{forced}v1"),
        &["x-canary-arm: v1"],
    );
    let drawn = "rule `r`, drawn at random → v1 (draw 50.0000 %)";
    check(config, &[("x-canary", "perhaps")], drawn, &["x-canary-arm: v1"]);
}

#[test]
fn a_key_keeps_a_client_on_one_side() {
    let config = |by: &str| {
        format!(
            r#"{{"rules": [{{"name": "r", "split": [{{"arm": "v2", "weight": 25}}, {{"arm": "v1", "weight": 75}}],
            "sticky": {{"by": [{by}], "missing": "STABLE"}}}}]}}"#
        )
    };
    let by_header = config(r#"{"header": "end-user"}"#);
    let policy = policy(&by_header);
    for user in 0..50 {
        let user = format!("user-{user}");
        let one = decide(&policy, &request(&[("end-user", &user)]), UNIX_EPOCH, 0);
        let other = decide(&policy, &request(&[("end-user", &user)]), SystemTime::now(), u64::MAX);
        assert_eq!(one, other);
    }
    check(&by_header, &[], "rule `r`, no key → v1", &["x-canary-arm: v1"]);
    check(&by_header, &[("end-user", "")], "rule `r`, no key → v1", &["x-canary-arm: v1"]);
    let drawn = |by: &str, lines: &[(&str, &str)]| {
        let (decision, _) = decide(&self::policy(&config(by)), &request(lines), UNIX_EPOCH, 7);
        decision.explanation.expect("an explanation").draw_ppm
    };
    let ann = drawn(r#"{"header": "end-user"}"#, &[("end-user", "ann")]);
    assert!(ann.is_some());
    assert_eq!(ann, drawn(r#"{"cookie": "uid"}"#, &[("cookie", "uid=ann")]));
    assert_eq!(ann, drawn(r#"{"query_parameter": "u"}"#, &[(":path", "/?a=b&u=ann")]));
    let address = drawn(r#"{"source_address": {}}"#, &[]);
    assert_eq!(address, drawn(r#"{"header": "end-user"}"#, &[("end-user", "203.0.113.9")]));
    let network = drawn(r#"{"source_address": {"prefix_len_v4": 24}}"#, &[]);
    assert_eq!(network, drawn(r#"{"header": "end-user"}"#, &[("end-user", "203.0.113.0")]));
    let hop = drawn(
        r#"{"source_address": {"xff_num_trusted_hops": 1}}"#,
        &[("x-forwarded-for", "198.51.100.1, 192.0.2.3")],
    );
    assert_eq!(hop, drawn(r#"{"header": "end-user"}"#, &[("end-user", "198.51.100.1")]));
}

#[test]
fn the_own_cookie_is_set_once() {
    let config = |value: &str| {
        format!(
            r#"{{"rules": [{{"split": [{{"arm": "v2", "weight": 50}}, {{"arm": "v1", "weight": 50}}],
            "sticky": {{"by": [{{"own_cookie": {{"value": "{value}", "cookie": {{"name": "uid", "max_age": "86400s", "secure": true,
            "http_only": true, "same_site": "LAX"}}}}}}]}}}}]}}"#
        )
    };
    let attributes = "; Path=/; Max-Age=86400; Secure; HttpOnly; SameSite=Lax";
    check_response(&config("KEY"), &[], &[&format!("+set-cookie: uid=8000000000000000{attributes}")]);
    check_response(&config("KEY"), &[("cookie", "uid=abc")], &[]);
    check_response(&config("ARM"), &[], &[&format!("+set-cookie: uid=v1{attributes}")]);
    check_response(&config("ARM"), &[("cookie", "uid=v2")], &[]);
    check(
        &config("ARM"),
        &[("cookie", "uid=v2")],
        "rules[0], by own cookie `uid` → v2",
        &["x-canary-arm: v2"],
    );
    let gone = config("ARM").replace(r#""weight": 50"#, r#""weight": 0"#).replacen(
        r#""weight": 0"#,
        r#""weight": 1"#,
        1,
    );
    check_response(&gone, &[("cookie", "uid=v1")], &[&format!("+set-cookie: uid=v2{attributes}")]);
}

#[test]
fn a_ramp_goes_by_the_clock() {
    let linear = r#"{"rules": [{"ramp": {"from": "v1", "to": "v2", "start": "2026-01-01T00:00:00Z", "duration": "100s"}}]}"#;
    let steps = linear.replace(r#""100s""#, r#""100s", "steps": [10, 60]"#);
    let start = UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    let arm = |config: &str, seconds: u64, percent: u64| {
        let now = start + Duration::from_secs(seconds);
        let (decision, _) = decide(&policy(config), &request(&[]), now, (u64::MAX / 100) * percent + 1000);
        decision.explanation.and_then(|why| why.choice).expect("an arm").to_string()
    };
    for (seconds, percent, want) in
        [(0, 0, "v1"), (50, 49, "v2"), (50, 50, "v1"), (99, 98, "v2"), (100, 99, "v2"), (1000, 99, "v2")]
    {
        assert_eq!(arm(linear, seconds, percent), want, "{seconds} s, {percent} %");
    }
    for (seconds, percent, want) in
        [(0, 9, "v2"), (49, 10, "v1"), (50, 59, "v2"), (99, 60, "v1"), (1000, 60, "v1"), (1000, 59, "v2")]
    {
        assert_eq!(arm(&steps, seconds, percent), want, "{seconds} s, {percent} %, in steps");
    }
    let before = decide(&policy(linear), &request(&[]), UNIX_EPOCH, 0).0;
    assert_eq!(changes(&before), ["x-canary-arm: v1"]);
}

#[test]
fn blue_green_is_one_switch() {
    let config = |live: &str| {
        format!(
            r#"{{"rules": [{{"blue_green": {{"blue": "v1", "green": "v2", "live": "{live}",
            "preview": {{"headers": [{{"name": "x-preview", "exact": "true"}}]}}}}}}]}}"#
        )
    };
    check(&config("BLUE"), &[], "rules[0] → v1", &["x-canary-arm: v1"]);
    check(&config("BLUE"), &[("x-preview", "true")], "rules[0], preview → v2", &["x-canary-arm: v2"]);
    check(&config("GREEN"), &[], "rules[0] → v2", &["x-canary-arm: v2"]);
    check(&config("GREEN"), &[("x-preview", "true")], "rules[0], preview → v1", &["x-canary-arm: v1"]);
}

#[test]
fn a_decision_travels_as_configured() {
    let carry = |carry: &str| {
        format!(
            r#"{{"carry": [{carry}], "arms": [{{"name": "v2", "cluster": "reviews-v2", "authority": "v2.reviews", "header_value": "two"}},
            {{"name": "v1", "authority": "v1.reviews"}}],
            "rules": [{{"match": {{"headers": [{{"name": "a"}}]}}, "arm": "v2"}},
            {{"split": [{{"arm": "v1", "weight": 30}}, {{"arm": "v2", "weight": 70}}]}}]}}"#
        )
    };
    let to_v2 = |given: &str, want: &[&str]| check(&carry(given), &[("a", "")], "rules[0] → v2", want);
    to_v2(r#"{"request_header": "X-Arm"}"#, &["x-arm: two"]);
    to_v2(r#"{"authority": {}}"#, &[":authority: v2.reviews"]);
    to_v2(r#"{"cluster_header": "x-cluster"}"#, &["x-cluster: reviews-v2"]);
    to_v2(r#"{"weighted_clusters_header": "x-pick"}"#, &["x-pick: 30"]);
    to_v2(r#"{"filter_state": "envoy.string"}"#, &["state envoy.string=two", "reroute"]);
    to_v2(r#"{"property": "canary"}"#, &["property canary=two", "reroute"]);
    to_v2(
        r#"{"request_header": "x-arm"}, {"cluster_header": "x-cluster"}"#,
        &["x-arm: two", "x-cluster: reviews-v2"],
    );
}

#[test]
fn an_arm_travels_on_and_is_followed_where_it_is_trusted() {
    let config = r#"{"baggage": "canary", "follow": {"baggage": "canary", "when": {"headers": [{"name": "x-mesh"}]}},
        "rules": [{"match": {"headers": [{"name": "a"}]}, "arm": "v2"}, {"match": {"headers": [{"name": "b"}]}, "arm": "v1"}]}"#;
    check(config, &[("a", "")], "rules[0] → v2", &["x-canary-arm: v2", "baggage: canary=v2"]);
    let spoofed = [("b", ""), ("baggage", "k=1, canary=v2;p=1 , l=2")];
    check(config, &spoofed, "rules[1] → v1", &["x-canary-arm: v1", "baggage: k=1,l=2,canary=v1"]);
    let trusted = [("b", ""), ("x-mesh", ""), ("baggage", "canary=v2")];
    check(config, &trusted, "followed baggage `canary` → v2", &["x-canary-arm: v2", "baggage: canary=v2"]);
    check(config, &[("baggage", "canary=v2")], "no rule matched", &["-x-canary-arm", "-baggage"]);
    check(config, &[("baggage", "k=1")], "no rule matched", &["-x-canary-arm"]);
    let header =
        r#"{"follow": {"header": "x-arm", "when": {}}, "rules": [{"arm": "v1"}], "default_arm": "v2"}"#;
    check(header, &[("x-arm", "v2")], "followed header `x-arm` → v2", &["x-canary-arm: v2"]);
    check(header, &[("x-arm", "v9")], "rules[0] → v1", &["x-canary-arm: v1"]);
}

#[test]
fn responses_name_the_arm() {
    let config = r#"{"response_header": "X-Served-By", "arm_cookie": {"name": "arm"}, "rules": [{"arm": "v2"}],
        "arms": [{"name": "v2", "response_headers": [{"name": "x-beta", "value": "yes"}]}]}"#;
    let named = ["x-beta: yes", "x-served-by: v2"];
    check_response(config, &[("cookie", "arm=v2")], &named);
    check_response(config, &[("cookie", "arm=v1")], &[named[0], named[1], "+set-cookie: arm=v2; Path=/"]);
}

#[test]
fn a_route_overrides() {
    let policy = policy(
        r#"{"per_route": {}, "rules": [{"arm": "v1"}], "policies": [{"name": "beta", "rules": [{"arm": "v2"}]}]}"#,
    );
    let metadata = |pairs: &[(&str, &[u8])]| {
        let size = |length: usize| u32::try_from(length).unwrap().to_le_bytes();
        let mut bytes = size(pairs.len()).to_vec();
        for (key, value) in pairs {
            bytes.extend([size(key.len()), size(value.len())].concat());
        }
        for (key, value) in pairs {
            bytes.extend([key.as_bytes(), b"\0", value, b"\0"].concat());
        }
        let mut request = request(&[]);
        request.attributes.push(("xds/route_metadata/filter_metadata/weir.canary".into(), bytes));
        let (decision, chosen) = decide(&policy, &request, UNIX_EPOCH, 0);
        let names = policy.counters();
        let counts: Vec<String> = chosen.counts.iter().flatten().map(|index| names[*index].clone()).collect();
        (decision.explanation.as_ref().unwrap().to_string(), changes(&decision), counts)
    };
    let case = |pairs: &[(&str, &[u8])], why: &str, changes: &[&str], counts: &[&str]| {
        let got = metadata(pairs);
        assert_eq!(
            (got.0.as_str(), got.1, got.2),
            (
                why,
                changes.iter().map(ToString::to_string).collect(),
                counts.iter().map(ToString::to_string).collect()
            )
        );
    };
    case(&[], "rules[0] → v1", &["x-canary-arm: v1"], &["canary.arm.v1"]);
    case(&[("disabled", &[1])], "disabled by the route", &[], &[]);
    case(
        &[("arm", b"v2")],
        "the route's metadata → v2",
        &["x-canary-arm: v2"],
        &["canary.arm.v2", "canary.route"],
    );
    case(
        &[("arm", b"v9")],
        "rules[0] → v1",
        &["x-canary-arm: v1"],
        &["canary.arm.v1", "canary.route_invalid"],
    );
    case(&[("policy", b"beta")], "policies[0].rules[0] → v2", &["x-canary-arm: v2"], &["canary.arm.v2"]);
    case(
        &[("policy", b"gamma")],
        "rules[0] → v1",
        &["x-canary-arm: v1"],
        &["canary.arm.v1", "canary.route_invalid"],
    );
    case(&[("dry_run", &[1])], "rules[0] → v1", &[], &["canary.dry_run.arm.v1"]);
}

#[test]
fn a_dry_run_changes_nothing() {
    let config = JACK.replacen('{', r#"{"dry_run": true, "response_header": "x-arm", "#, 1);
    check(&config, &[("end-user", "jack"), ("x-canary-arm", "v9")], "rule `jack` → v2", &[]);
    check_response(&config, &[("end-user", "jack")], &[]);
}

#[test]
fn what_means_nothing_is_refused_by_its_path() {
    refuse("{}", &["rules"]);
    refuse(r#"{"rules": [{}]}"#, &["rules[0]"]);
    refuse(r#"{"rules": [{"arm": "a", "split": []}]}"#, &["rules[0]"]);
    refuse(
        r#"{"rules": [{"split": []}, {"split": [{"arm": "a", "weight": 0}]}]}"#,
        &["rules[0].split", "rules[1].split"],
    );
    refuse(
        r#"{"rules": [{"split": [{"arm": "a", "weight": 1}, {"arm": "a", "weight": 1}]}]}"#,
        &["rules[0].split[1].arm"],
    );
    refuse(r#"{"rules": [{"arm": "a b"}]}"#, &["rules[0].arm"]);
    refuse(
        r#"{"rules": [{"arm": "v3"}], "arms": [{"name": "v1"}, {"name": "v1"}]}"#,
        &["arms[1].name", "rules[0].arm"],
    );
    refuse(r#"{"rules": [{"arm": "a", "sticky": {"by": []}}]}"#, &["rules[0].sticky.by", "rules[0].sticky"]);
    refuse(
        r#"{"rules": [{"split": [{"arm": "a", "weight": 1}], "sticky": {"by": [
        {"own_cookie": {"cookie": {"name": "a b", "path": "x", "same_site": "NONE", "max_age": "1500ms"}}}, {"header": ":path"},
        {"source_address": {"prefix_len_v4": 0}}], "stable": "a"}}]}"#,
        &[
            "rules[0].sticky.by[0]",
            "rules[0].sticky.by[0].own_cookie.cookie.name",
            "rules[0].sticky.by[0].own_cookie.cookie.path",
            "rules[0].sticky.by[0].own_cookie.cookie.max_age",
            "rules[0].sticky.by[0].own_cookie.cookie.same_site",
            "rules[0].sticky.by[2].source_address.prefix_len_v4",
            "rules[0].sticky.stable",
        ],
    );
    refuse(
        r#"{"rules": [{"ramp": {"from": "a", "to": "a", "start": "2026-01-01T00:00:00Z", "duration": "0s", "steps": [2, 1]}}]}"#,
        &["rules[0].ramp.to", "rules[0].ramp.duration", "rules[0].ramp.steps[1]"],
    );
    refuse(
        r#"{"rules": [{"blue_green": {"blue": "a", "green": "a", "live": "BLUE"}}]}"#,
        &["rules[0].blue_green.green"],
    );
    refuse(
        r#"{"rules": [{"arm": "a", "force": {"always_value": "x", "never_value": "x"}}]}"#,
        &["rules[0].force", "rules[0].force", "rules[0].force.never_value"],
    );
    refuse(
        r#"{"rules": [{"arm": "a"}], "carry": [{"request_header": ":path"}, {"authority": {}}]}"#,
        &["carry[0].request_header", "carry[1].authority"],
    );
    refuse(
        r#"{"rules": [{"arm": "a"}], "carry": [{"weighted_clusters_header": "x"}]}"#,
        &["carry[0].weighted_clusters_header"],
    );
    refuse(
        r#"{"rules": [{"arm": "a"}], "carry": [{"request_header": "x"}, {"cluster_header": "X"}]}"#,
        &["carry[1].cluster_header"],
    );
    refuse(
        r#"{"rules": [{"arm": "a"}], "follow": {"when": {}}, "stat_prefix": "", "baggage": "a b"}"#,
        &["stat_prefix", "follow", "baggage"],
    );
    refuse(
        r#"{"policies": [{"name": "p", "rules": [{"arm": "a"}]}, {"name": "p"}]}"#,
        &["policies[1].name", "per_route"],
    );
    refuse(
        r#"{"rules": [{"arm": "a"}], "arms": [{"name": "a", "request_headers": [{"name": "x", "value": "a\nb"}, {"name": "host", "value": ""}]}]}"#,
        &["arms[0].request_headers[0].value", "arms[0].request_headers[1].name"],
    );
}
