//! Rewriting as data: targets, lines in, lines out.

use serde_json::{Value, json};
use weir_sdk::{HeaderMap, Problems, Regex};

use crate::config::Target;
use crate::policy::copy::Copy;
use crate::policy::why::Why;

#[derive(Debug)]
struct Rewrite(Target, Option<Regex>);

impl Rewrite {
    fn apply(&self, copy: &mut Copy, length: u64) -> Result<(), Why> {
        super::apply(&self.0, self.1.as_ref(), copy, length)
    }
}

fn compile(target: Value) -> Result<Rewrite, String> {
    let mut target: Target = serde_json::from_value(target).unwrap();
    let mut problems = Problems::new();
    let regex = super::compile(&weir_sdk::At::of("targets[0]"), &mut target, &mut problems);
    problems.finish().map(|()| Rewrite(target, regex)).map_err(|error| error.to_string())
}

/// The header lines of a rewritten copy, `None` when there is none.
#[track_caller]
fn check(target: Value, lines: &[(&str, &str)], want: Option<&[(&str, &str)]>) {
    let headers: HeaderMap = lines.iter().copied().collect();
    let mut copy = Copy { headers, ..Copy::default() };
    let result = compile(target).unwrap().apply(&mut copy, 0);
    // The mark is looked at by a test of its own.
    copy.headers.remove("x-shadow");
    let mut got: Vec<_> = copy.headers.iter().collect();
    got.sort_unstable();
    match want {
        Some(want) => {
            let mut want: Vec<_> =
                want.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
            want.sort_unstable();
            assert_eq!(HeaderMap::from_iter(got), HeaderMap::from_iter(want));
            assert_eq!(result, Ok(()));
        }
        None => assert!(result.is_err(), "{got:?}"),
    }
}

#[test]
fn authorities() {
    for (authority, old, new) in [
        (json!({"suffix": "-shadow"}), "reviews", "reviews-shadow"),
        (json!({"suffix": "-shadow"}), "reviews:9080", "reviews-shadow:9080"),
        (json!({"suffix": "-shadow"}), "[::1]:80", "[::1]-shadow:80"),
        (json!({"suffix": "-shadow"}), "[::1]", "[::1]-shadow"),
        (json!({"suffix": "-shadow"}), "", "-shadow"),
        (json!({"literal": "shadow.example.com:8080"}), "reviews", "shadow.example.com:8080"),
    ] {
        check(json!({"authority": authority}), &[(":authority", old)], Some(&[(":authority", new)]));
    }
}

#[test]
fn paths() {
    for (path, old, new) in [
        (json!({"replace": "/x"}), "/a/b?c=1", Some("/x?c=1")),
        (json!({"prefix": {"from": "/v1/", "to": "/v2/"}}), "/v1/a?b=/v1/", Some("/v2/a?b=/v1/")),
        (json!({"prefix": {"from": "/v1/", "to": "/v2/"}}), "/v10/a", Some("/v10/a")),
        (
            json!({"regex": {"pattern": "^/users/([^/]+)", "substitution": r"/u/\1"}}),
            "/users/7/x?y",
            Some("/u/7/x?y"),
        ),
        (json!({"regex": {"pattern": "a", "substitution": r"\0\0\\"}}), "/aba", Some(r"/aa\baa\")),
        (json!({"regex": {"pattern": "^/", "substitution": ""}}), "/a", None),
        (json!({"regex": {"pattern": "b", "substitution": " "}}), "/b", None),
    ] {
        let want = new.map(|new| [(":path", new)]);
        check(json!({"path": path}), &[(":path", old)], want.as_ref().map(<[_; 1]>::as_slice));
    }
    let mut copy = Copy { headers: HeaderMap::from_iter([(":path", b"/\xff")]), ..Copy::default() };
    let rewrite = compile(json!({"path": {"regex": {"pattern": "a", "substitution": "b"}}})).unwrap();
    assert!(rewrite.apply(&mut copy, 0).is_err());
}

#[test]
fn headers_are_removed_then_set_then_added() {
    let headers = json!({
        "remove": ["X-Old"], "set": [{"name": "X-Env", "value": "shadow"}], "append": [{"name": "x-env", "value": "2"}]
    });
    check(
        json!({"headers": headers}),
        &[("x-old", "1"), ("x-env", "prod"), ("x-env", "more")],
        Some(&[("x-env", "shadow"), ("x-env", "2")]),
    );
    let key = [("idempotency-key", "k1")];
    check(json!({}), &key, Some(&[("idempotency-key", "k1-shadow")]));
    check(json!({"idempotency_suffix": ""}), &key, Some(&key));
}

#[test]
fn a_copy_is_marked_and_says_what_it_lacks() {
    let mut copy = Copy { body_truncated: true, ..Copy::default() };
    compile(json!({"mark": {"name": "X-Copy", "value": "yes"}})).unwrap().apply(&mut copy, 9).unwrap();
    assert_eq!(copy.headers, HeaderMap::from_iter([("x-copy", "yes"), ("x-copy-truncated", "9")]));
}

#[test]
fn traces() {
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let lines = [
        ("traceparent", parent),
        ("tracestate", "a=b"),
        ("b3", "1-2-1-3"),
        ("x-b3-traceid", "1"),
        ("x-b3-flags", "1"),
        ("uber-trace-id", "1:2:3:1"),
        ("x-datadog-sampling-priority", "2"),
    ];
    check(json!({}), &lines, Some(&lines));
    check(json!({"trace": "DROP"}), &lines, Some(&[]));
    let unsampled = [
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"),
        ("tracestate", "a=b"),
        ("b3", "1-2-0-3"),
        ("x-b3-traceid", "1"),
        ("x-b3-sampled", "0"),
        ("uber-trace-id", "1:2:3:0"),
        ("x-datadog-sampling-priority", "0"),
    ];
    check(json!({"trace": "UNSAMPLED"}), &lines, Some(&unsampled));
    check(json!({"trace": "UNSAMPLED"}), &[("b3", "1")], Some(&[("b3", "0")]));
    for (name, old, new) in [
        ("b3", "", "0"),
        ("b3", "1-2-d", "1-2-0"),
        ("b3", "1-2-1-3-4", "1-2-0-3-4"),
        ("b3", "--", "--0"),
        ("traceparent", &format!("{}0B-x", &parent[..53]), &format!("{}0a-x", &parent[..53])),
        ("traceparent", &format!("{}Aa", &parent[..53]), &format!("{}aa", &parent[..53])),
        ("traceparent", &format!("{}f9", &parent[..53]), &format!("{}f8", &parent[..53])),
        ("uber-trace-id", "a:", "a:0"),
    ] {
        check(json!({"trace": "UNSAMPLED"}), &[(name, old)], Some(&[(name, new)]));
    }
    for flags in ["", "0", "0g", "g0"] {
        check(
            json!({"trace": "UNSAMPLED"}),
            &[("traceparent", &format!("{}{flags}", &parent[..53]))],
            Some(&[]),
        );
    }
    check(json!({"trace": "UNSAMPLED"}), &[("b3", "1-2")], Some(&[("b3", "1-2-0")]));
    check(json!({"trace": "UNSAMPLED"}), &[("traceparent", "?"), ("uber-trace-id", "?")], Some(&[]));
}

#[test]
fn what_means_nothing_is_refused_by_its_path() {
    for (target, field) in [
        (json!({"authority": {"suffix": "a b"}}), "`targets[0].authority.suffix`"),
        (json!({"authority": {"literal": ""}}), "`targets[0].authority.literal`"),
        (json!({"path": {"replace": "x"}}), "`targets[0].path.replace`"),
        (json!({"path": {"prefix": {"from": "/a", "to": "/b?c"}}}), "`targets[0].path.prefix.to`"),
        (json!({"path": {"regex": {"pattern": "(", "substitution": ""}}}), "`targets[0].path.regex.pattern`"),
        (
            json!({"path": {"regex": {"pattern": "a", "substitution": r"\1"}}}),
            "`targets[0].path.regex.substitution`",
        ),
        (
            json!({"path": {"regex": {"pattern": "a", "substitution": r"\x"}}}),
            "`targets[0].path.regex.substitution`",
        ),
        (json!({"mark": {"name": ":path"}}), "`targets[0].mark.name`"),
        (json!({"idempotency_suffix": "\n"}), "`targets[0].idempotency_suffix`"),
        (json!({"headers": {"remove": ["host"]}}), "`targets[0].headers.remove[0]`"),
        (json!({"headers": {"set": [{"name": "a", "value": "\r"}]}}), "`targets[0].headers.set[0].value`"),
    ] {
        let error = compile(target).unwrap_err();
        assert!(error.contains(field), "{error}");
    }
}
