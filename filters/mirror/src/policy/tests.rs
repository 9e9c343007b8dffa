//! Plans as data: which requests are copied, why not, and how much of a body.

use serde_json::{Value, json};
use weir_sdk::{Attributes, HeaderMap, Headers};

use super::back_off::Part;
use super::plan::{Plan, Verdict};
use super::snapshot::Snapshot;
use super::why::Why;
use super::{Inputs, Policy};

/// A request that Envoy routes to a cluster, or not.
struct Routed(HeaderMap, bool, Vec<(Vec<u8>, Vec<u8>)>);

impl Headers for Routed {
    fn map(&self) -> &HeaderMap {
        &self.0
    }
}

impl Attributes for Routed {
    fn attribute(&self, path: &[&str]) -> Option<Vec<u8>> {
        match path {
            ["xds", "cluster_name"] => self.1.then(|| b"primary".to_vec()),
            _ => None,
        }
    }

    fn attribute_map(&self, _: &[&str]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
        Some(self.2.clone())
    }
}

fn routed(lines: &[(&str, &str)]) -> Routed {
    let base = [(":method", "GET"), (":path", "/"), (":authority", "a"), (":scheme", "http")];
    let mut map: HeaderMap = base.into_iter().collect();
    for (name, value) in lines {
        map.set(name, value);
    }
    Routed(map, true, Vec::new())
}

fn policy(config: Value) -> Policy {
    Policy::try_from(serde_json::from_value::<crate::Config>(config).unwrap()).unwrap()
}

fn plan(policy: &Policy, request: &Routed, random: u64, part: Part) -> Plan {
    policy.plan(&Inputs { request, random: &|| random, part: &|_| part })
}

#[track_caller]
fn check(target: Value, request: &Routed, want: Option<Why>) {
    let mut target = target;
    if target.get("cluster_header").is_none() {
        target["cluster"] = json!("shadow");
    }
    let plan = plan(&policy(json!({"targets": [target]})), request, u64::MAX / 2, Part::Halved(0));
    let got = match plan.entries[0].verdict {
        Verdict::Skipped(why) => Some(why),
        _ => None,
    };
    assert_eq!(got, want, "{plan}");
}

#[test]
fn requests_are_copied_or_not_and_why() {
    let get = routed(&[]);
    check(json!({}), &get, None);
    check(json!({}), &routed(&[(":method", "HEAD")]), None);
    for method in ["POST", "PUT", "DELETE", "PATCH", "get"] {
        check(json!({}), &routed(&[(":method", method)]), Some(Why::Method));
    }
    check(json!({"methods": ["POST"]}), &routed(&[(":method", "POST")]), None);
    check(json!({"methods": ["POST"]}), &get, Some(Why::Method));
    check(json!({"methods": ["*"]}), &routed(&[(":method", "BREW")]), None);
    check(json!({"methods": ["*"]}), &routed(&[(":method", "CONNECT")]), Some(Why::Upgrade));
    check(json!({}), &routed(&[("connection", "upgrade"), ("upgrade", "websocket")]), Some(Why::Upgrade));
    check(json!({}), &routed(&[("x-shadow", "0")]), Some(Why::Marked));
    check(json!({"mark": {"name": "x-copy"}}), &routed(&[("x-shadow", "0")]), None);
    let ratings = json!({"match": {"path": {"prefix": "/ratings"}}});
    check(ratings.clone(), &get, Some(Why::Match));
    check(ratings, &routed(&[(":path", "/ratings/0")]), None);
    let header = json!({"cluster_header": "x-to"});
    check(header.clone(), &get, Some(Why::NoCluster));
    check(header.clone(), &routed(&[("x-to", "")]), Some(Why::NoCluster));
    check(header, &routed(&[("x-to", "s")]), None);
    let unrouted = Routed(get.0.clone(), false, Vec::new());
    check(json!({}), &unrouted, Some(Why::Unrouted));
    check(json!({"unrouted": true}), &unrouted, None);
    check(json!({"percentage": 51}), &get, None);
    check(json!({"percentage": 49}), &get, Some(Why::Sample));
    check(json!({"percentage": 0}), &get, Some(Why::Sample));
    check(json!({"sample": {"by": [{"cookie": "u"}]}}), &get, Some(Why::NoKey));
    check(json!({"sample": {"by": [{"cookie": "u"}], "missing": "RANDOM"}}), &get, None);
}

#[test]
fn a_user_is_in_the_sample_or_not_and_a_smaller_sample_is_a_part_of_it() {
    let users: Vec<Routed> = (0..1000).map(|user| routed(&[("end-user", &format!("user-{user}"))])).collect();
    let sampled = |percentage: u32, part: Part| -> Vec<bool> {
        let target = json!({"cluster": "s", "percentage": percentage, "sample": {"by": [{"header": "end-user"}], "salt": "t"}});
        let policy = policy(json!({"targets": [target]}));
        let of = |user: &Routed, random| plan(&policy, user, random, part).is_pending();
        users
            .iter()
            .map(|user| {
                assert_eq!(of(user, 0), of(user, u64::MAX));
                of(user, 0)
            })
            .collect()
    };
    let (all, ten, five) =
        (sampled(100, Part::Halved(0)), sampled(10, Part::Halved(0)), sampled(10, Part::Halved(1)));
    assert!(all.iter().all(|is_in| *is_in) && !sampled(100, Part::Nothing).contains(&true));
    let count = |sample: &[bool]| sample.iter().filter(|is_in| **is_in).count();
    assert!(
        (70..130).contains(&count(&ten)) && (30..70).contains(&count(&five)),
        "{} {}",
        count(&ten),
        count(&five)
    );
    assert!(five.iter().zip(&ten).all(|(small, large)| !small || *large));
    assert_eq!(sampled(5, Part::Halved(0)), five);
}

#[test]
fn routes_choose_targets() {
    let policy = policy(json!({
        "per_route": {"namespace": "weir.mirror"},
        "targets": [{"cluster": "a"}],
        "policies": [{"name": "two", "targets": [{"cluster": "b"}, {"cluster": "c"}]}, {"name": "none"}]
    }));
    let names = |route: &[(&str, &[u8])]| {
        let request = Routed(
            routed(&[]).0,
            true,
            route.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.to_vec())).collect(),
        );
        let plan = plan(&policy, &request, 0, Part::Halved(0));
        (plan.to_string(), plan.dry_run, plan.route_invalid)
    };
    assert_eq!(names(&[]), ("a: wanted".into(), false, false));
    assert_eq!(names(&[("policy", b"two"), ("dry_run", &[1])]), ("b: wanted; c: wanted".into(), true, false));
    assert_eq!(names(&[("policy", b"none")]), ("no target".into(), false, false));
    assert_eq!(names(&[("policy", b"?")]), ("a: wanted".into(), false, true));
    assert_eq!(names(&[("disabled", &[1])]), ("a: not copied, disabled by the route".into(), false, false));
}

/// The copy's body and what it says of the whole, or why there is none.
#[track_caller]
fn check_body(target: Value, body: &[u8], want: Result<(&[u8], Option<&str>), Why>) {
    let mut target = target;
    target["cluster"] = json!("shadow");
    let policy = policy(json!({"targets": [target]}));
    let mut plan = plan(&policy, &routed(&[("content-length", "x")]), u64::MAX / 2, Part::Halved(0));
    let mut snapshot = Snapshot::new(routed(&[]).0, plan.body_limit());
    for part in body.chunks(2) {
        let room = snapshot.room(part.len());
        snapshot.add(part.len(), &part[..room]);
        plan.grow(snapshot.length);
    }
    let got = match &plan.entries[0].verdict {
        Verdict::Wanted(wanted) => {
            let target = &policy.targets()[0];
            let mut copy = target.copy(wanted, &snapshot);
            target.change(wanted, &mut copy, snapshot.length).map(|()| copy)
        }
        Verdict::Skipped(why) => Err((*why).into()),
        Verdict::Sent | Verdict::Recorded => unreachable!(),
    };
    let got = got.map(|copy| (copy.body, copy.headers.first("x-shadow-truncated").map(<[u8]>::to_vec)));
    let got = got.map_err(|refused| refused.why);
    assert_eq!(got, want.map(|(body, whole)| (body.to_vec(), whole.map(|whole| whole.as_bytes().to_vec()))));
}

#[test]
fn bodies_are_whole_cut_or_the_reason_for_no_copy() {
    let limit = |over: &str| json!({"body": {"max_bytes": 5, "over_limit": over}});
    check_body(limit("SKIP"), b"12345", Ok((b"12345", None)));
    check_body(limit("SKIP"), b"123456", Err(Why::Body));
    check_body(limit("TRUNCATE"), b"12345", Ok((b"12345", None)));
    check_body(limit("TRUNCATE"), b"1234567", Ok((b"12345", Some("7"))));
    check_body(json!({"body": {"max_bytes": 0}}), b"", Ok((b"", None)));
    check_body(json!({"body": {"percentage": 0}}), b"123", Ok((b"", Some("3"))));
    let redact =
        |unreadable: &str| json!({"redact": {"json": [{"path": "card"}], "unreadable_body": unreadable}});
    check_body(redact("REFUSE"), b"{\"card\": 1}", Err(Why::Redaction));
    check_body(redact("DROP_BODY"), b"{\"card\": 1}", Ok((b"", Some("11"))));
}

#[test]
fn what_means_nothing_is_refused_by_its_path() {
    for (config, field) in [
        (json!({}), "`targets`: expected at least one target"),
        (json!({"targets": [{}]}), "`targets[0]`: expected exactly one of `cluster` and `cluster_header`"),
        (json!({"targets": [{"cluster": "a", "cluster_header": "b"}]}), "exactly one"),
        (json!({"targets": [{"cluster": ""}]}), "`targets[0].cluster`"),
        (json!({"targets": [{"cluster_header": "a b"}]}), "`targets[0].cluster_header`"),
        (json!({"targets": [{"cluster": "a"}, {"cluster": "a"}]}), "`targets[1].name`: `a` is there already"),
        (json!({"targets": [{"cluster": "a", "name": "a b"}]}), "`targets[0].name`"),
        (json!({"targets": [{"cluster": "a", "methods": []}]}), "`targets[0].methods`"),
        (json!({"targets": [{"cluster": "a", "methods": ["get"]}]}), "`targets[0].methods[0]`"),
        (json!({"targets": [{"cluster": "a", "methods": ["CONNECT"]}]}), "`targets[0].methods[0]`"),
        (json!({"targets": [{"cluster": "a", "timeout": "0s"}]}), "`targets[0].timeout`"),
        (json!({"targets": [{"cluster": "a", "max_in_flight": 0}]}), "`targets[0].max_in_flight`"),
        (
            json!({"targets": [{"cluster": "a", "body": {"max_bytes": 100_000_000}}]}),
            "`targets[0].body.max_bytes`",
        ),
        (json!({"targets": [{"cluster": "a", "rate": {"max_tokens": 0}}]}), "`targets[0].rate.max_tokens`"),
        (
            json!({"targets": [{"cluster": "a", "rate": {"max_tokens": 1, "fill_interval": "0s"}}]}),
            "`targets[0].rate.fill_interval`",
        ),
        (
            json!({"targets": [{"cluster": "a", "back_off": {"halvings": 17}}]}),
            "`targets[0].back_off.halvings`",
        ),
        (
            json!({"targets": [{"cluster": "a", "back_off": {"interval": "1ms"}}]}),
            "`targets[0].back_off.interval`",
        ),
        (json!({"targets": [{"cluster": "a", "sample": {"by": []}}]}), "`targets[0].sample.by`"),
        (json!({"targets": [{"cluster": "a"}], "max_held_bytes": 0}), "`max_held_bytes`"),
        (json!({"targets": [{"cluster": "a"}], "stat_prefix": ""}), "`stat_prefix`"),
        (json!({"targets": [{"cluster": "a"}], "report": {}}), "`report`: is for targets with `compare`"),
        (json!({"targets": [{"cluster": "a", "control": {"cluster": "b"}}]}), "`targets[0].control`: is for"),
        (
            json!({"targets": [{"cluster": "a", "compare": {}, "control": {"cluster": ""}}]}),
            "`targets[0].control.cluster`",
        ),
        (
            json!({"targets": [{"cluster": "a", "compare": {}, "max_answer_bytes": 100_000_000}]}),
            "`targets[0].max_answer_bytes`",
        ),
        (
            json!({"targets": [{"cluster": "a", "compare": {}}], "report": {"interval": "1ms"}}),
            "`report.interval`",
        ),
        (json!({"targets": [{"cluster": "a", "compare": {}}], "report": {"path": "x"}}), "`report.path`"),
        (
            json!({"targets": [{"cluster": "a", "compare": {}}], "report": {"max_bytes": 1}}),
            "`report.max_bytes`",
        ),
        (json!({"policies": [{"name": "a"}]}), "`per_route`: is missing"),
    ] {
        let config = serde_json::from_value::<crate::Config>(config).unwrap();
        let error = Policy::try_from(config).unwrap_err().to_string();
        assert!(error.contains(field), "{error}");
    }
}

#[test]
fn names_of_istio_become_names_of_metrics() {
    let policy = policy(json!({"targets": [{"cluster": "outbound|80||shadow.default.svc.cluster.local"}]}));
    assert_eq!(&*policy.targets()[0].name, "outbound_80__shadow.default.svc.cluster.local");
}
