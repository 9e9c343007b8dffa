//! Keys, costs and what is refused, without any host. The decisions themselves are in `cases` and `tests/plugin.rs`.

use serde_json::{Value, json};
use weir_sdk::{HeaderMap, Problems};

use super::cost::Cost;
use super::key::{Parts, Pattern};
use super::{Policy, Setup};
use crate::config::{Config, KeyPart, Override};

fn parts(parts: Value) -> Parts {
    let parts: Vec<KeyPart> = serde_json::from_value(parts).unwrap();
    let mut problems = Problems::new();
    let parts = Parts::compile(&weir_sdk::At::of("key"), &parts, &mut problems);
    problems.finish().unwrap();
    parts
}

fn request(lines: &[(&str, &str)]) -> HeaderMap {
    lines.iter().copied().collect()
}

#[test]
fn no_two_keys_are_written_alike() {
    let parts = parts(json!([{"header": "a"}, {"header": "b"}]));
    let of = |a: &[(&str, &str)]| parts.of(&request(a)).bytes;
    let all = [
        of(&[("a", "x"), ("b", "y")]),
        of(&[("a", "xy")]),
        of(&[("b", "xy")]),
        of(&[("a", "xy"), ("b", "x")]),
        of(&[("a", "x"), ("b", "yx")]),
        of(&[]),
    ];
    for (index, one) in all.iter().enumerate() {
        assert!(all.iter().skip(index + 1).all(|other| other != one), "{index}");
    }
    assert!(parts.of(&request(&[("a", "x")])).is_missing);
    assert!(!parts.of(&request(&[("a", "x"), ("b", "y")])).is_missing);
}

#[track_caller]
fn check_pattern(pattern: &[&str], lines: &[(&str, &str)], want: bool) {
    let parts = parts(json!([{"header": "a"}, {"header": "b"}]));
    let key = pattern.iter().map(|text| (*text).to_owned()).collect();
    let pattern =
        Pattern::compile(&weir_sdk::At::of(""), &Override { key, algorithm: None }, 2, &mut Problems::new());
    assert_eq!(pattern.is_match(&parts.of(&request(lines))), want);
}

#[test]
fn overrides_are_for_whole_keys() {
    check_pattern(&["x", "y"], &[("a", "x"), ("b", "y")], true);
    check_pattern(&["x", "*"], &[("a", "x"), ("b", "z")], true);
    check_pattern(&["*", "*"], &[], true);
    check_pattern(&["x", "*"], &[("a", "x")], true);
    check_pattern(&["", "*"], &[("b", "y")], false);
    check_pattern(&["x", "y"], &[("a", "xy"), ("b", "y")], false);
    check_pattern(&["x", "y"], &[("a", "x"), ("b", "yy")], false);
}

#[test]
fn a_cost_is_a_number_within_bounds() {
    let written = serde_json::from_value(json!({"header": {"name": "x", "default": 3, "max": 9}})).unwrap();
    let cost = Cost::compile(&weir_sdk::At::of("cost"), Some(&written), &mut Problems::new());
    for (text, want) in [("4", 4), ("0", 1), ("10", 9), ("", 3), ("-1", 3), ("4.5", 3), (" 5 ", 5)] {
        assert_eq!(cost.of(&request(&[("x", text)])), want, "{text}");
    }
    assert_eq!(cost.of(&request(&[("x", "99999999999999999999999999")])), 9);
    assert_eq!(cost.of(&request(&[])), 3);
}

#[track_caller]
fn check_refused(config: Value, want: &str) {
    let config: Config = serde_json::from_value(config).unwrap();
    let error = Policy::compile(&config, &Setup { scope: "", seed: 0 }).unwrap_err().to_string();
    assert!(error.contains(want), "{error}");
}

#[test]
fn what_means_nothing_is_refused() {
    let limit = |more: Value| {
        let mut limit =
            json!({"name": "a", "algorithm": {"token_bucket": {"max_tokens": 1, "fill_interval": "1s"}}});
        for (name, value) in more.as_object().unwrap() {
            limit[name] = value.clone();
        }
        limit
    };
    let one = |more: Value| json!({"limits": [limit(more)]});
    check_refused(json!({}), "`limits`: expected at least one limit");
    check_refused(json!({"limits": [limit(json!({})), limit(json!({}))]}), "`limits[1].name`: `a` is there");
    check_refused(json!({"policies": [{"name": "a"}]}), "`per_route`: is missing");
    check_refused(one(json!({"max_keys": 7})), "`limits[0].max_keys`: expected 8 to 1048576, found 7");
    check_refused(one(json!({"cost": {"fixed": 0}})), "`limits[0].cost.fixed`");
    check_refused(
        one(json!({"cost": {"header": {"name": "x", "min": 2, "max": 1}}})),
        "`min` to be at most `max`",
    );
    check_refused(one(json!({"refund_statuses": [{"start": 500, "end": 500}]})), "refund_statuses[0]");
    check_refused(one(json!({"overrides": [{"key": []}]})), "the limit has no `key`");
    check_refused(one(json!({"charge": {"latency": {"unit": "0s"}}})), "`limits[0].charge.latency.unit`");
    check_refused(
        one(json!({"algorithm": {"gcra": {"requests": 1, "period": "0s"}}})),
        "`limits[0].algorithm.gcra.period`: expected more than 0",
    );
    check_refused(
        one(json!({"algorithm": {"fixed_window": {"max_requests": 1, "window": "1s"}},
            "queue": {"max_queued": 1, "max_wait": "1s"}})),
        "`limits[0].queue`: is for `token_bucket` and `gcra` only",
    );
    let mut replies = one(json!({}));
    replies["reply"] = json!({"details": "a b", "headers": [{"name": ":status", "value": "1"}]});
    check_refused(replies.clone(), "`reply.details`");
    check_refused(replies, "`reply.headers[0].name`");
}
