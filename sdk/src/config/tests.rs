//! Configurations and the words they are refused with.

use serde::Deserialize;

use super::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Config {
    rules: Vec<Rule>,
    name: String,
    #[serde(default)]
    limit: u8,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Rule {
    #[serde(default, rename = "match")]
    matches: Option<crate::RequestMatches>,
    outcome: Outcome,
    #[serde(default)]
    wait: Option<ConfigDuration>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Outcome {
    Arm(String),
    Share { percent: Percentage, since: Timestamp },
    Pass,
}

#[track_caller]
fn check(json: &str, want: &[&str]) {
    let got = match parse::<Config>(Some(json.as_bytes())) {
        Ok(_) => Vec::new(),
        Err(error) => error.to_string().lines().map(String::from).collect(),
    };
    assert_eq!(got, want);
}

#[test]
fn all_errors_at_once() {
    check(
        r#"{"rules": [
            {"macth": {}, "outcome": {"arm": "v2"}},
            {"match": {"headers": [{"name": "a", "exact": 3}, {"exact": true}]}, "outcome": "fly"},
            {"match": [{"path": {"prefx": "/a"}}], "outcome": {"share": {"percent": 101, "since": "2026-05-04"}}, "wait": 7}
          ], "limit": "3", "dry_run": "yes", "dry_run": true}"#,
        &[
            "`dry_run`: is there twice; leave one of them",
            "`rules[0].macth`: unknown field; accepted: `match`, `outcome`, `wait`; did you mean `match`?",
            "`rules[1].match.headers[0].exact`: expected a string, found 3; did you mean \"3\"?",
            "`rules[1].match.headers[1].exact`: expected a string, found true; did you mean \"true\"?",
            "`rules[1].match.headers[1].name`: is required, but missing",
            "`rules[1].outcome`: unknown value \"fly\"; accepted: \"arm\", \"share\", \"pass\"",
            "`rules[2].match[0].path.prefx`: unknown field; accepted: `exact`, `prefix`, `segment_prefix`, `suffix`, \
             `contains`, `regex`, `ignore_case`; did you mean `prefix`?",
            "`rules[2].outcome.share.percent`: expected at most 100, found 101",
            "`rules[2].outcome.share.since`: expected a time from 1970 to 9999 in RFC 3339, such as \
             \"2026-05-04T09:00:00Z\" or \"2026-05-04T11:00:00+02:00\", found \"2026-05-04\"; did you mean \
             \"2026-05-04T00:00:00Z\"?",
            "`rules[2].wait`: expected a duration with a unit, such as \"7s\", \"250ms\" or \"1h30m\", found 7; \
             did you mean \"7s\"?",
            "`limit`: expected a whole number from 0 to 255, found \"3\"; did you mean 3?",
            "`dry_run`: expected true or false, found \"yes\"; did you mean true?",
            "`name`: is required, but missing",
        ],
    );
}
