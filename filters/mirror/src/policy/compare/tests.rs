//! Comparison as data: two answers and what differs.

use serde_json::{Value, json};
use weir_sdk::{At, Problems, parse};

use super::*;
use crate::config::Redact;
use crate::policy::redact::Redactor;

#[track_caller]
fn comparer(config: &Value) -> Comparer {
    let config: Compare = parse(Some(config.to_string().as_bytes())).expect("well-formed");
    let mut problems = Problems::new();
    let comparer = Comparer::compile(&At::of("compare"), Box::new(config), &mut problems);
    assert_eq!(problems.finish().map_err(|error| error.to_string()), Ok(()));
    comparer
}

fn answer(status: u16, lines: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Answer {
    Answer { status, headers: lines.iter().copied().collect(), body: body.into(), ..Answer::default() }
}

fn json_answer(body: &str) -> Answer {
    answer(200, &[("content-type", "application/json")], body)
}

#[track_caller]
fn answers(config: &Value, primary: &Answer, copy: &Answer, expected: &[&str]) {
    let comparer = comparer(config);
    let found = comparer.compare(primary, copy, None, &mut comparer.noise());
    assert_eq!(found.places().collect::<Vec<_>>(), expected);
    let verdict = if expected.is_empty() { Verdict::Equal } else { Verdict::Different };
    assert_eq!(found.verdict(), verdict);
}

/// Two documents and the places that differ.
#[track_caller]
fn check(config: Value, primary: &str, copy: &str, expected: &[&str]) {
    answers(&config, &json_answer(primary), &json_answer(copy), expected);
}

#[test]
fn statuses() {
    let two = |one, other| (answer(one, &[], ""), answer(other, &[], ""));
    let (ok, no_content) = two(200, 204);
    answers(&json!({}), &ok, &no_content, &["status"]);
    answers(&json!({"status": "CLASS"}), &ok, &no_content, &[]);
    let (ok, error) = two(200, 503);
    answers(&json!({"status": "CLASS"}), &ok, &error, &["status"]);
    answers(&json!({"status": "IGNORE"}), &ok, &error, &[]);
    answers(&json!({}), &ok, &answer(0, &[], ""), &["status"]);
}

#[test]
fn headers() {
    let one = answer(200, &[("content-type", "a"), ("vary", "x"), ("vary", "y"), ("etag", "1")], "");
    let other = answer(200, &[("content-type", "a"), ("vary", "y"), ("vary", "x")], "");
    answers(&json!({}), &one, &other, &[]);
    answers(&json!({"headers": ["Vary", "ETag"]}), &one, &other, &["header.vary", "header.etag"]);
    answers(&json!({"headers": []}), &one, &answer(200, &[], ""), &[]);
    answers(&json!({}), &one, &answer(200, &[], ""), &["header.content-type"]);
}

#[test]
fn documents_place_by_place() {
    let same = |one: &str, other: &str| check(json!({}), one, other, &[]);
    same(r#"{"a":1,"b":[1,"x",null]}"#, r#" {"b" : [1.0, "\u0078", null], "a":1e0} "#);
    same(r#"{"a":1,"a":2}"#, r#"{"a":1,"a":2}"#);
    let differ = |one: &str, other: &str, expected: &[&str]| check(json!({}), one, other, expected);
    differ(r#"{"a":{"b":1}}"#, r#"{"a":{"b":2}}"#, &["body.a.b"]);
    differ(r#"{"a":1}"#, r#"{"a":"1"}"#, &["body.a"]);
    differ(r#"{"a":1,"c":3}"#, r#"{"b":2,"c":3}"#, &["body.a", "body.b"]);
    differ("[1,2,3]", "[1,3]", &["body[1]", "body[2]"]);
    differ(r#"{"a":null}"#, "{}", &["body.a"]);
    differ(r#"{"a.b":{"":1}}"#, r#"{"a.b":{"":2}}"#, &[r#"body["a.b"][""]"#]);
    differ("1", "2", &["body"]);
    differ("12345678901234567890", "12345678901234567891", &["body"]);
    differ(r#"{"a":1,"a":2}"#, r#"{"a":2,"a":1}"#, &["body.a", "body.a"]);
    differ("true", "false", &["body"]);
}

#[test]
fn rules_of_documents() {
    let ignore = json!({"ignore": ["meta.id", "items[*].at", "**.etag"]});
    check(
        ignore.clone(),
        r#"{"meta":{"id":1,"x":1},"items":[{"at":1},{"at":2}],"a":{"etag":{"deep":1}}}"#,
        r#"{"meta":{"x":1},"items":[{"at":5},{}],"a":{}}"#,
        &[],
    );
    check(ignore, r#"{"meta":{"x":1}}"#, r#"{"meta":{"x":2}}"#, &["body.meta.x"]);
    check(
        json!({"unordered": ["tags"]}),
        r#"{"tags":["a","b","a"],"x":[1,2]}"#,
        r#"{"tags":["b","a","a"],"x":[2,1]}"#,
        &["body.x[0]", "body.x[1]"],
    );
    check(
        json!({"unordered": ["tags"]}),
        r#"{"tags":["a","b","a"]}"#,
        r#"{"tags":["b","a"]}"#,
        &["body.tags[2]"],
    );
    check(
        json!({"unordered": ["$"], "ignore": ["[*].at"]}),
        r#"[{"id":1,"at":1},{"id":2.0}]"#,
        r#"[{"id":2},{"at":9,"id":1}]"#,
        &[],
    );
    check(json!({"unordered": ["$", "[*]"]}), "[[1,2],[3]]", "[[3],[2,1]]", &[]);
    check(json!({"unordered": ["$"]}), r#"[{"id":1},{"id":2}]"#, r#"[{"id":3},{"id":1}]"#, &["body[1].id"]);
    check(json!({"number_tolerance": 0.01}), "[100,1.000,-5]", "[100.9,1.001,-5.04]", &[]);
    check(json!({"number_tolerance": 0.01}), "[100,0]", "[102,0.1]", &["body[0]", "body[1]"]);
    check(json!({"missing_is_null": true}), r#"{"a":null}"#, r#"{"b":null}"#, &[]);
    check(json!({"missing_is_null": true, "unordered": ["$"]}), r#"[{"a":null}]"#, "[{}]", &[]);
}

#[test]
fn other_bodies() {
    let text = |body: &str| answer(200, &[("content-type", "text/plain")], body);
    answers(&json!({}), &text("[1, 2]"), &text("[1,2]"), &["body"]);
    answers(&json!({"body": "JSON"}), &text("[1, 2]"), &text("[1,2]"), &[]);
    answers(&json!({"body": "BYTES"}), &json_answer("[1, 2]"), &json_answer("[1,2]"), &["body"]);
    answers(&json!({"body": "LENGTH"}), &text("abc"), &text("xyz"), &[]);
    answers(&json!({"body": "LENGTH"}), &text("abc"), &text("wxyz"), &["body"]);
    answers(&json!({"body": "IGNORE"}), &text("abc"), &text("wxyz"), &[]);
    answers(&json!({}), &json_answer("{broken"), &json_answer("{broken"), &[]);
    answers(&json!({}), &json_answer("{}"), &json_answer("{broken"), &["body"]);
    answers(&json!({}), &json_answer(&"[".repeat(100_000)), &json_answer(&"[".repeat(100_001)), &["body"]);
    let mut zipped = json_answer("[1, 2]");
    zipped.headers.push("content-encoding", "gzip");
    answers(&json!({}), &zipped, &json_answer("[1,2]"), &["body"]);
}

#[test]
fn beginnings_are_compared_as_far_as_they_go() {
    let cut = |body: &str| Answer { body_truncated: true, ..answer(200, &[], body) };
    for (config, one, other, differs, skipped) in [
        (json!({}), cut("abc"), cut("abcd"), false, true),
        (json!({}), cut("abc"), cut("abd"), true, false),
        (json!({"body": "JSON"}), cut("[1"), cut("[2"), false, true),
        (json!({"body": "LENGTH"}), cut("abc"), cut("ab"), false, true),
        (json!({"body": "IGNORE"}), cut("abc"), cut("ab"), false, false),
    ] {
        let comparer = comparer(&config);
        let found = comparer.compare(&one, &other, None, &mut comparer.noise());
        assert_eq!((found.differs(Part::Body), found.body_skipped), (differs, skipped), "{one:?} {other:?}");
    }
}

#[test]
fn a_control_answer_tells_noise_at_once() {
    let comparer = comparer(&json!({}));
    let (primary, copy) =
        (json_answer(r#"{"at":1,"v":[1,2],"x":{"y":1}}"#), json_answer(r#"{"at":2,"v":[1,3],"x":{"y":2}}"#));
    let control = json_answer(r#"{"at":3,"v":[9,2]}"#);
    let found = comparer.compare(&primary, &copy, Some(&control), &mut comparer.noise());
    assert_eq!(found.places().count(), 0);
    assert_eq!(found.noise().collect::<Vec<_>>(), ["body.at", "body.v[1]", "body.x.y"]);
    assert_eq!(found.verdict(), Verdict::Noise);
    let found = comparer.compare(&primary, &copy, Some(&primary), &mut comparer.noise());
    assert_eq!((found.verdict(), found.noise().count()), (Verdict::Different, 0));
}

#[test]
fn noise_is_remembered_between_comparisons() {
    let comparer = comparer(&json!({"noise": {"min_samples": 5}}));
    let mut noise = comparer.noise();
    let at = |at: usize, price: usize| json_answer(&json!({"at": at, "price": price}).to_string());
    for time in 0..10 {
        comparer.compare(&at(time, 1), &at(time + 1, 1), Some(&at(time + 2, 1)), &mut noise);
    }
    let found = comparer.compare(&at(1, 1), &at(2, 1), None, &mut noise);
    assert_eq!(found.verdict(), Verdict::Noise);
    let found = comparer.compare(&at(1, 1), &at(2, 2), None, &mut noise);
    assert_eq!(found.places().collect::<Vec<_>>(), ["body.price"]);
    assert_eq!(found.noise().collect::<Vec<_>>(), ["body.at"]);
}

#[test]
fn a_document_equals_itself_reordered() {
    let mut seed = 7u64;
    let mut next = |below: u64| {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 33) % below
    };
    fn document(next: &mut dyn FnMut(u64) -> u64, depth: usize) -> Value {
        match next(if depth == 0 { 4 } else { 6 }) {
            0 => json!(next(1000)),
            1 => json!(format!("t{}\"\\é", next(50))),
            2 => json!(null),
            3 => json!(next(2) == 0),
            4 => (0..next(5)).map(|_| document(next, depth - 1)).collect(),
            _ => (0..next(5))
                .map(|key| (format!("k{key}"), document(next, depth - 1)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }
    /// Other spaces, other order of keys and of elements, escapes.
    fn rewritten(next: &mut dyn FnMut(u64) -> u64, value: &Value, out: &mut String) {
        let space = [" ", "", "\n", "\t"][next(4) as usize];
        out.push_str(space);
        match value {
            Value::Array(items) => {
                let at = if items.is_empty() { 0 } else { next(items.len() as u64) as usize };
                let all: Vec<String> = items[at..]
                    .iter()
                    .chain(&items[..at])
                    .map(|item| {
                        let mut out = String::new();
                        rewritten(next, item, &mut out);
                        out
                    })
                    .collect();
                out.push_str(&format!("[{}]", all.join(",")));
            }
            Value::Object(members) => {
                let mut all: Vec<String> = members
                    .iter()
                    .map(|(key, value)| {
                        let mut out = format!("\"\\u{:04x}{}\":", key.as_bytes()[0], &key[1..]);
                        rewritten(next, value, &mut out);
                        out
                    })
                    .collect();
                all.reverse();
                out.push_str(&format!("{{{}}}", all.join(",")));
            }
            Value::Number(number) => {
                out.push_str(&format!("{number}.0{}", ["", "0", "e0"][next(3) as usize]))
            }
            other => out.push_str(&other.to_string()),
        }
        out.push_str(space);
    }
    let any_order = comparer(&json!({"unordered": ["$", "**.*", "**[*]"]}));
    for _ in 0..2000 {
        let value = document(&mut next, 4);
        let mut other = String::new();
        rewritten(&mut next, &value, &mut other);
        let found = any_order.compare(
            &json_answer(&value.to_string()),
            &json_answer(&other),
            None,
            &mut any_order.noise(),
        );
        assert_eq!(
            found.verdict(),
            Verdict::Equal,
            "{value} {other} {:?}",
            found.places().collect::<Vec<_>>()
        );
    }
}

fn redactor(config: &Value) -> Redactor {
    let config: Redact = parse(Some(config.to_string().as_bytes())).expect("well-formed");
    let mut problems = Problems::new();
    let redactor = Redactor::compile(&At::of("redact"), &config, &mut problems);
    assert!(problems.is_empty());
    redactor
}

#[track_caller]
fn record(config: &Value, redact: &Value, primary: &str, copy: &str) -> String {
    let comparer = comparer(config);
    let found = comparer.compare(&json_answer(primary), &json_answer(copy), None, &mut comparer.noise());
    let context = [("target", "shadow".to_owned()), ("path", "/a\"b".to_owned())];
    let record = comparer.record(&found, &context, &redactor(redact));
    let record = String::from_utf8(record).unwrap();
    assert!(serde_json::from_str::<Value>(&record).is_ok(), "{record}");
    record
}

#[test]
fn records_tell_what_they_may() {
    let (one, other) = (r#"{"a":"secret","b":[1]}"#, r#"{"a":"other","b":[1,{"x":2}]}"#);
    let start =
        r#"{"target":"shadow","path":"/a\"b","verdict":"different","status":[200,200],"differences":["#;
    assert_eq!(
        record(&json!({"record_values": "NONE"}), &json!({}), one, other),
        format!(r#"{start}{{"at":"body.a","kind":"value"}},{{"at":"body.b[1]","kind":"added"}}]}}"#)
    );
    assert_eq!(
        record(&json!({}), &json!({}), one, other),
        format!(
            r#"{start}{{"at":"body.a","kind":"value","primary":{{"type":"string","length":6}},"copy":{{"type":"string","length":5}}}},{{"at":"body.b[1]","kind":"added","copy":{{"type":"object","length":1}}}}]}}"#
        )
    );
    let redact = json!({"json": [{"path": "a"}, {"path": "**.x"}]});
    assert_eq!(
        record(&json!({"record_values": "REDACTED"}), &redact, one, other),
        format!(
            r#"{start}{{"at":"body.a","kind":"value","primary":{{"type":"string","length":6}},"copy":{{"type":"string","length":5}}}},{{"at":"body.b[1]","kind":"added","copy":{{"type":"object","length":1,"value":"{{\"x\":\"redacted\"}}"}}}}]}}"#
        )
    );
    let email = json!({"patterns": [{"find": {"email": {}}}]});
    let told = record(
        &json!({"record_values": "REDACTED"}),
        &email,
        r#"{"bob@example.com":"x bob@example.com"}"#,
        "{}",
    );
    assert!(!told.contains("bob") && told.contains("x redacted"), "{told}");
}

#[test]
fn headers_in_records_are_redacted() {
    let comparer = comparer(&json!({"headers": ["set-cookie", "x-a"], "record_values": "REDACTED"}));
    let one = answer(200, &[("set-cookie", "s=secret"), ("x-a", "1")], "");
    let found = comparer.compare(&one, &answer(200, &[], ""), None, &mut comparer.noise());
    let record = String::from_utf8(comparer.record(&found, &[], &redactor(&json!({})))).unwrap();
    assert!(!record.contains("secret") && record.contains("\"value\":\"1\""), "{record}");
}

#[test]
fn records_are_bounded() {
    let many: Value =
        (0..1000).map(|key| (format!("{key:0>300}"), json!(key))).collect::<serde_json::Map<_, _>>().into();
    for bytes in [256, 300, 1000, 65536] {
        let config = json!({"record_bytes": bytes});
        let said = record(&config, &json!({}), &many.to_string(), "{}");
        assert!(said.len() <= bytes, "{bytes}: {said}");
        let said: Value = serde_json::from_str(&said).unwrap();
        let told = said["differences"].as_array().unwrap().len() as u64;
        assert_eq!(told + said["more"].as_u64().unwrap_or(0), 1000);
    }
}

#[test]
fn without_rules_nothing_is_learned() {
    let comparer = comparer(&json!({}));
    let mut noise = comparer.noise();
    let (one, other) = (json_answer(r#"{"a":1}"#), json_answer(r#"{"a":2}"#));
    for _ in 0..100 {
        let found = comparer.compare(&one, &other, Some(&one), &mut noise);
        assert_eq!(found.verdict(), Verdict::Different);
    }
    assert_eq!(noise.known(), 0);
}

#[test]
fn configurations_that_mean_nothing_are_refused() {
    #[track_caller]
    fn refused(config: Value, expected: &str) {
        let config: Compare = parse(Some(config.to_string().as_bytes())).expect("well-formed");
        let mut problems = Problems::new();
        Comparer::compile(&At::of("compare"), Box::new(config), &mut problems);
        let error = problems.finish().expect_err("means nothing").to_string();
        assert!(error.contains(expected), "{error}");
    }
    refused(json!({"headers": [":status"]}), "`compare.headers[0]`");
    refused(json!({"ignore": ["a", "b..c"]}), "`compare.ignore[1]`");
    refused(json!({"unordered": ["$", "a", "b."]}), "`compare.unordered[2]`");
    refused(json!({"number_tolerance": 2}), "number_tolerance");
    refused(json!({"number_tolerance": -0.1}), "number_tolerance");
    refused(json!({"record_bytes": 10}), "record_bytes");
    refused(json!({"noise": {"min_samples": 0}}), "noise.min_samples");
    refused(json!({"noise": {"window": 30}}), "noise.window");
    refused(json!({"noise": {"relative": 0}}), "noise.relative");
    refused(json!({"noise": {"max_places": 0}}), "noise.max_places");
}

#[test]
fn what_is_ignored_never_counts_and_no_bytes_make_it_panic() {
    let comparer = comparer(
        &json!({"ignore": ["**.at"], "unordered": ["$", "**.set"], "body": "JSON", "number_tolerance": 0.1}),
    );
    let words = [
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"at\"",
        "\"set\"",
        "\"a\"",
        "1",
        "-2e9",
        "null",
        "\"\\u0061\"",
        " ",
        "\u{e9}",
    ];
    let mut seed = 11u64;
    let mut next = |below: usize| {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 33) as usize % below
    };
    let mut documents = 0;
    for _ in 0..20_000 {
        let text: String = (0..1 + next(14)).map(|_| words[next(words.len())]).collect();
        let other: String = (0..1 + next(14)).map(|_| words[next(words.len())]).collect();
        let found = comparer.compare(&json_answer(&text), &json_answer(&other), None, &mut comparer.noise());
        assert_eq!(found.verdict() == Verdict::Equal, found.places().count() == 0);
        if serde_json::from_str::<Value>(&text).is_ok() {
            documents += 1;
            let (one, two) =
                (format!("{{\"at\":{text},\"a\":1}}"), format!("{{\"a\":1.05,\"at\":{other:?}}}"));
            let found = comparer.compare(&json_answer(&one), &json_answer(&two), None, &mut comparer.noise());
            assert!(
                serde_json::from_str::<Value>(&two).is_err() || found.verdict() == Verdict::Equal,
                "{one} {two}"
            );
        }
    }
    assert!(documents > 500, "{documents}");
}

#[test]
fn deep_and_wide_answers_cost_bounded_work() {
    let comparer = comparer(&json!({"unordered": ["$", "**[*]"]}));
    let deep = |at: usize| format!("{}{at}{}", "[".repeat(128), "]".repeat(128));
    let wide = |at: usize| json!((at..at + 5000).rev().collect::<Vec<_>>()).to_string();
    for (one, two, count) in [(deep(1), deep(2), 1), (wide(0), wide(10), 10), (wide(0), wide(5000), 128)] {
        let found = comparer.compare(&json_answer(&one), &json_answer(&two), None, &mut comparer.noise());
        assert_eq!(found.places().count(), count);
        assert!(comparer.record(&found, &[], &redactor(&json!({}))).len() <= 4096);
    }
}
