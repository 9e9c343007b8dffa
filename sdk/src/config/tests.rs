//! Configurations and the words they are refused with.

#[cfg(not(target_arch = "wasm32"))]
mod json;
mod values;

use std::collections::BTreeMap;

#[cfg(not(target_arch = "wasm32"))]
use serde::Deserialize;

use super::*;
use crate::RequestMatches;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// The same types, read by our decoder and by serde's.
macro_rules! types {
    ($module:ident, $derive:ident) => {
        mod $module {
            use super::*;

            #[derive(Debug, $derive, PartialEq)]
            #[serde(deny_unknown_fields)]
            pub(super) struct Config {
                pub(super) rules: Vec<Rule>,
                pub(super) name: String,
                #[serde(default)]
                pub(super) limit: u8,
                #[serde(default)]
                pub(super) dry_run: bool,
                #[serde(default)]
                pub(super) labels: BTreeMap<String, u32>,
                #[serde(default)]
                pub(super) ports: BTreeMap<u16, String>,
                #[serde(default)]
                pub(super) pair: Option<(u8, String)>,
                #[serde(default)]
                pub(super) ratio: f64,
            }

            #[derive(Debug, $derive, PartialEq)]
            #[serde(deny_unknown_fields)]
            pub(super) struct Rule {
                #[serde(default, rename = "match")]
                pub(super) matches: Option<RequestMatches>,
                pub(super) outcome: Outcome,
                #[serde(default)]
                pub(super) wait: Option<ConfigDuration>,
            }

            #[derive(Debug, $derive, PartialEq)]
            #[serde(rename_all = "snake_case", deny_unknown_fields)]
            pub(super) enum Outcome {
                Arm(String),
                Share { percent: Percentage, since: Timestamp },
                Not(Box<Outcome>),
                Pass,
            }
        }
    };
}
types!(ours, FromConfig);
#[cfg(not(target_arch = "wasm32"))]
types!(serdes, Deserialize);
use ours::{Config, Outcome};

#[track_caller]
fn check<T: FromConfig>(bytes: &[u8], want: &[&str]) {
    let got = match parse::<T>(Some(bytes)) {
        Ok(_) => Vec::new(),
        Err(error) => error.to_string().lines().map(String::from).collect(),
    };
    assert_eq!(got, want);
}

/// A whole configuration with these fields added.
#[track_caller]
fn check_fields(fields: &str, want: &[&str]) {
    check::<Config>(format!(r#"{{"rules": [], "name": "n", {fields}}}"#).as_bytes(), want);
}

#[track_caller]
fn check_outcome(json: &str, want: &[&str]) {
    check::<Config>(format!(r#"{{"rules": [{{"outcome": {json}}}], "name": "n"}}"#).as_bytes(), want);
}

#[test]
fn all_errors_at_once() {
    check::<Config>(
        br#"{"rules": [
            {"macth": {}, "outcome": {"arm": "v2"}},
            {"match": {"headers": [{"name": "a", "exact": 3}, {"exact": true}]}, "outcome": "fly"},
            {"match": [{"path": {"prefx": "/a"}}], "outcome": {"share": {"percent": 101, "since": "2026-05-04"}},
             "wait": 7}
          ], "limit": "3", "dry_run": "yes", "dry_run": true}"#,
        &[
            "`dry_run`: is there twice; leave one of them",
            "`rules[0].macth`: unknown field; accepted: `match`, `outcome`, `wait`; did you mean `match`?",
            "`rules[1].match.headers[0].exact`: expected a string, found 3; did you mean \"3\"?",
            "`rules[1].match.headers[1].exact`: expected a string, found true; did you mean \"true\"?",
            "`rules[1].match.headers[1].name`: is required, but missing",
            "`rules[1].outcome`: unknown value \"fly\"; accepted: \"arm\", \"share\", \"not\", \"pass\"",
            "`rules[2].match[0].path.prefx`: unknown field; accepted: `exact`, `prefix`, `segment_prefix`, `suffix`, \
             `contains`, `regex`, `ignore_case`; did you mean `prefix`?",
            "`rules[2].outcome.share.percent`: expected a percentage from 0 to 100, found 101",
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

#[test]
fn a_configuration_is_read() {
    let json = br#" {"name": "a\u00e9", "rules": [{"outcome": "pass"}, {"outcome": {"not": {"arm": "x"}}, "wait": null}],
        "ports": {"80": "web"}, "pair": [1, "b"], "ratio": 0.5, "labels": {}} "#;
    let config: Config = parse(Some(json)).unwrap();
    assert_eq!(config.name, "aé");
    assert_eq!(config.rules[0].outcome, Outcome::Pass);
    assert_eq!(config.rules[1].outcome, Outcome::Not(Box::new(Outcome::Arm(String::from("x")))));
    assert_eq!((config.ports[&80].as_str(), config.pair), ("web", Some((1, String::from("b")))));
    assert!(parse::<Config>(Some(b"\xef\xbb\xbf{\"rules\": [], \"name\": \"\"}")).is_ok());
}

#[test]
fn wrong_types() {
    check_fields(r#""pair": null, "dry_run": false, "ratio": 1"#, &[]);
    check_fields(r#""limit": 256"#, &["`limit`: expected a whole number from 0 to 255, found 256"]);
    check_fields(r#""limit": -1"#, &["`limit`: expected a whole number from 0 to 255, found -1"]);
    check_fields(
        r#""limit": 3.0"#,
        &["`limit`: expected a whole number from 0 to 255, found 3; did you mean 3?"],
    );
    check_fields(r#""limit": 3.25"#, &["`limit`: expected a whole number from 0 to 255, found 3.25"]);
    check_fields(
        r#""limit": 1e300"#,
        &["`limit`: expected a whole number from 0 to 255, found another number"],
    );
    check_fields(r#""limit": null"#, &["`limit`: expected a whole number from 0 to 255, found null"]);
    check_fields(r#""dry_run": 1"#, &["`dry_run`: expected true or false, found 1; did you mean true?"]);
    check_fields(r#""dry_run": []"#, &["`dry_run`: expected true or false, found a list"]);
    check_fields(r#""ratio": "0.5""#, &["`ratio`: expected a number, found \"0.5\"; did you mean 0.5?"]);
    check_fields(
        r#""labels": {"a.b": "3", "c": {}}"#,
        &[
            "`labels[\"a.b\"]`: expected a whole number from 0 to 4294967295, found \"3\"; did you mean 3?",
            "`labels.c`: expected a whole number from 0 to 4294967295, found an object",
        ],
    );
    check_fields(
        "\"labels\": {\"größe\": {}, \"a\u{202e}b\": {}}",
        &[
            "`labels.größe`: expected a whole number from 0 to 4294967295, found an object",
            "`labels[\"a\\u{202e}b\"]`: expected a whole number from 0 to 4294967295, found an object",
        ],
    );
    check_fields(r#""labels": [1]"#, &["`labels`: expected an object, found a list"]);
    check_fields(
        r#""ports": {"web": "80"}"#,
        &["`ports.web`: the key should be a whole number from 0 to 65535"],
    );
    check_fields(r#""pair": [1, 2]"#, &["`pair[1]`: expected a string, found 2; did you mean \"2\"?"]);
    check::<Config>(
        br#"{"name": ["n"], "rules": {"outcome": "pass"}}"#,
        &[
            "`name`: expected a string, found a list",
            "`rules`: expected a list, found an object; did you mean a list with this one object, [{…}]?",
        ],
    );
    check::<Config>(br#"{"name": "n", "rules": [[]]}"#, &["`rules[0]`: expected an object, found a list"]);
    check::<Config>(b"[]", &["expected an object, found a list"]);
    check::<Config>(b"null", &["expected an object, found null"]);
    check::<Config>(b"\"x\"", &["expected an object, found \"x\""]);
}

#[test]
fn unknown_names() {
    let accepted = "`rules`, `name`, `limit`, `dry_run`, `labels`, `ports`, `pair`, `ratio`";
    let near = |name: &str| format!("`{name}`: unknown field; accepted: {accepted}; did you mean ");
    check_fields(r#""dryRun": true"#, &[&(near("dryRun") + "`dry_run`?")]);
    check_fields(r#""Limits": 3"#, &[&(near("Limits") + "`limit`?")]);
    check_fields(r#""lables": {}"#, &[&(near("lables") + "`labels`?")]);
    check_fields(r#""zebra": {}"#, &[&format!("`zebra`: unknown field; accepted: {accepted}")]);
    check_fields(r#""": {}"#, &[&format!("`[\"\"]`: unknown field; accepted: {accepted}")]);
    let variants = "accepted: `arm`, `share`, `not`, `pass`";
    check_outcome(
        r#"{"amr": "v2"}"#,
        &[&format!("`rules[0].outcome.amr`: unknown name; {variants}; did you mean `arm`?")],
    );
    let one_of = "`arm`, `share`, `not`, `pass`";
    check_outcome(
        r#"{"arm": "v2", "pass": {}}"#,
        &[&format!("`rules[0].outcome`: expected only one of {one_of}, found `arm`, `pass`")],
    );
    check_outcome("{}", &[&format!("`rules[0].outcome`: expected one of {one_of}, found none")]);
    check_outcome("3", &[&format!("`rules[0].outcome`: expected one of {one_of}, found 3")]);
    check_outcome(r#""arm""#, &["`rules[0].outcome`: `arm` needs a value: write {\"arm\": …}"]);
    check_outcome(r#"{"pass": 3}"#, &["`rules[0].outcome`: `pass` takes no value: write \"pass\""]);
    check_outcome(
        r#"{"not": {"not": {"arm": 1}}}"#,
        &["`rules[0].outcome.not.not.arm`: expected a string, found 1; did you mean \"1\"?"],
    );
    check_outcome(
        r#"{"share": {"percent": {"numerator": 5, "denominator": "HUNDERD"}, "since": 0}}"#,
        &[
            "`rules[0].outcome.share.percent.denominator`: unknown value \"HUNDERD\"; accepted: \"HUNDRED\", \
             \"TEN_THOUSAND\", \"MILLION\"; did you mean \"HUNDRED\"?",
            "`rules[0].outcome.share.since`: expected a time from 1970 to 9999 in RFC 3339, such as \
             \"2026-05-04T09:00:00Z\" or \"2026-05-04T11:00:00+02:00\", found 0; did you mean \"1970-01-01T00:00:00Z\"?",
        ],
    );
}

#[test]
fn no_configuration() {
    for nothing in [None, Some(&b""[..]), Some(b" \n\t")] {
        assert_eq!(
            parse::<Config>(nothing).unwrap_err().to_string(),
            "a configuration is missing; required: `rules`, `name`"
        );
        assert_eq!(parse::<BTreeMap<String, u8>>(nothing), Ok(BTreeMap::new()));
    }
}

#[test]
fn text_that_is_not_json() {
    let is = |reason: &str| format!("not JSON: {reason}");
    check::<Config>(
        b"{\n  \"name\": \"n\"\n  \"rules\": []}",
        &[&is("line 3, column 3: expected `,` or `}`")],
    );
    check::<Config>(
        b"{\"name\": \"n\",}",
        &[&is("line 1, column 14: a comma without a value after it; remove it")],
    );
    check::<Config>(
        b"{\"name\": \"n\"",
        &[&is("line 1, column 12: the text ends inside an object; `}` is missing")],
    );
    check::<Config>(b"{} {}", &[&is("line 1, column 4: expected nothing after the configuration")]);
    check::<Config>(b"{name: 3}", &[&is("line 1, column 2: expected a field's name in double quotes")]);
    check::<Config>(
        b"{\"a\": NaN}",
        &[&is(
            "line 1, column 7: expected a value: an object, a list, a string in double quotes, a number, true, \
               false or null",
        )],
    );
    check::<Config>(
        b"{\n\"name\": \"\xff\"}",
        &[&is("line 2, column 10: byte 255 is not UTF-8; write JSON text")],
    );
    let deep = "[".repeat(100_000);
    check::<Config>(deep.as_bytes(), &[&is("line 1, column 128: nested deeper than 128 levels")]);
    check::<Config>(
        b"# canary\nrules:\n- name: x\n",
        &["the configuration looks like YAML; write it as JSON: {\"rules\": …}"],
    );
    check::<Config>(b"- a\n- b", &["the configuration looks like YAML; write it as JSON: {…} or […]"]);
    check::<Config>(b"--- \nname: x", &["the configuration looks like YAML; write it as JSON: {…} or […]"]);
}

#[test]
fn protobuf_is_explained() {
    let wrap = "; Envoy hands over only a `google.protobuf.StringValue` as text: write `configuration: {\"@type\": \
                type.googleapis.com/google.protobuf.StringValue, value: '<JSON text>'}`";
    // The Struct {"name": "n", "limit": 3}.
    let text = b"\x0a\x0b\x0a\x04name\x12\x03\x1a\x01n\x0a\x12\x0a\x05limit\x12\x09\x11\x00\x00\x00\x00\x00\x00\x08\x40";
    let structure =
        "the configuration is a protobuf `google.protobuf.Struct`, not JSON text (it begins with the field ";
    check::<Config>(text, &[&format!("{structure}\"name\"){wrap}")]);
    // A first entry longer than 127 bytes.
    let long = [b"\x0a\x8b\x01\x0a\x04name\x12\x82\x01\x1a\x7f".as_slice(), &[b'x'; 128]].concat();
    check::<Config>(&long, &[&format!("{structure}\"name\"){wrap}")]);
    let other = b"\x0a\x10type.example/Foo\x12\x02\x08\x01";
    check::<Config>(
        other,
        &[&format!("the configuration is a serialised protobuf message, not JSON text{wrap}")],
    );
    // A line feed is JSON's white space.
    check::<Config>(b"\n{\"rules\": [], \"name\": \"n\"}", &[]);
    for cut in 0..text.len() {
        assert!(parse::<Config>(Some(&text[..cut])).is_err());
    }
}

#[test]
fn errors_nest() {
    let error = ConfigError::invalid("exact", "is empty").under("headers[0]").under("rules[2]");
    let error = error
        .and(ConfigError::invalid("", "too many").under("rules"))
        .and(ConfigError::invalid("[1]", "odd"));
    assert_eq!(
        error.under("x").to_string(),
        "`x.rules[2].headers[0].exact`: is empty\n`x.rules`: too many\n`x[1]`: odd"
    );
}

#[test]
fn the_number_of_errors_is_bounded() {
    let rules = vec![r#"{"outcome": 1}"#; 500].join(",");
    let error =
        parse::<Config>(Some(format!(r#"{{"rules": [{rules}], "name": "n"}}"#).as_bytes())).unwrap_err();
    assert_eq!(error.problems().len(), MAX_PROBLEMS);
}

#[cfg(not(target_arch = "wasm32"))]
mod properties {
    use super::*;
    use std::time::{Duration, SystemTime};

    use proptest::prelude::*;

    /// JSON of any shape with names that mean something here.
    fn json() -> impl Strategy<Value = serde_json::Value> {
        let names = prop::sample::select(vec![
            "rules",
            "name",
            "match",
            "outcome",
            "wait",
            "arm",
            "share",
            "percent",
            "since",
            "not",
            "headers",
            "path",
            "numerator",
            "none_of",
            "exact",
            "x",
        ]);
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(serde_json::Value::from),
            any::<i32>().prop_map(serde_json::Value::from),
            any::<f64>().prop_map(serde_json::Value::from),
            names.clone().prop_map(serde_json::Value::from),
        ];
        leaf.prop_recursive(6, 40, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
                prop::collection::btree_map(names.clone().prop_map(String::from), inner, 0..6)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            if let Err(error) = parse::<Config>(Some(&bytes)) {
                prop_assert!(!error.problems().is_empty());
            }
        }

        #[test]
        fn any_json_is_read_or_refused_as_serde_does(value in json()) {
            let text = value.to_string();
            let reference = serde_json::from_str::<serdes::Config>(&text);
            match parse::<Config>(Some(text.as_bytes())) {
                Ok(config) => prop_assert_eq!(format!("{config:?}"), format!("{:?}", reference.unwrap())),
                // serde also takes lists for structs, which is refused here.
                Err(error) => prop_assert!(reference.is_err() || text.contains('['), "{}", error),
            }
        }

        #[test]
        fn durations_round_trip(nanoseconds: u64) {
            let duration = ConfigDuration(Duration::from_nanos(nanoseconds));
            prop_assert_eq!(duration.to_string().parse::<ConfigDuration>(), Ok(duration));
        }

        #[test]
        fn timestamps_round_trip(seconds in 0..=253_402_300_799_u64, nanoseconds in 0..1_000_000_000_u32) {
            let time = Timestamp(SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds));
            prop_assert_eq!(time.to_string().parse::<Timestamp>(), Ok(time));
        }

        #[test]
        fn any_text_is_a_duration_a_timestamp_or_refused(text: String) {
            let _ = (text.parse::<ConfigDuration>(), text.parse::<Timestamp>());
        }
    }
}
