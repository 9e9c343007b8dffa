//! Expectations against outcomes, as data.

use super::*;
use crate::yaml;

fn outcome() -> Outcome {
    let message = |lines: &[(&str, &str)], body: &str| Message {
        headers: lines.iter().copied().collect(),
        body: body.as_bytes().to_vec(),
        ..Message::default()
    };
    Outcome {
        cluster: Some("v2".to_owned()),
        upstream_request: Some(message(&[(":method", "GET"), ("x-a", "1"), ("x-a", "2")], "")),
        response: Some(message(&[(":status", "200"), ("server", "envoy")], "hello")),
        log: vec![LogLine { plugin: "p".to_owned(), level: "info", message: "chose v2".to_owned() }],
        ..Outcome::default()
    }
}

#[track_caller]
fn check_expect(expect: &str, want: &[&str]) {
    let expect: Expectation = yaml::parse(expect).unwrap();
    let failures: Vec<String> =
        check(&expect, &outcome(), Path::new(".")).iter().map(Failure::to_string).collect();
    assert_eq!(failures, want);
}

#[test]
fn what_holds() {
    check_expect("{}", &[]);
    check_expect("{end: forwarded, cluster: v2, request: {has_header: {X-A: '1,2'}, no_header: [x-b]}}", &[]);
    check_expect(
        "{response: {status: 200, headers: [{name: server, regex: ^env}], body: [{exact: hello}]}}",
        &[],
    );
    check_expect("{response: {headers: [{name: x-none, exact: a, invert: true}]}}", &[]);
    check_expect("{log: [{regex: 'chose v\\d'}, {exact: nothing, invert: true}]}", &[]);
}

#[test]
fn what_does_not_hold() {
    check_expect("{end: reset}", &["`end`: expected `reset`, got `forwarded`"]);
    check_expect("{route: r}", &["`route`: expected `r`, got none"]);
    check_expect(
        "{request: {has_header: {x-a: '1'}, no_header: [X-A]}}",
        &[
            "`request.has_header.x-a`: expected \"1\", got \"1,2\"",
            "`request.no_header`: expected no `X-A`, got \"1,2\"",
        ],
    );
    check_expect(
        "{response: {headers: [{name: x-b}], body: [{regex: ^x}]}}",
        &[
            "`response.headers[0]`: expected `x-b` to be there, got no such header (there are :status, server)",
            "`response.body[0]`: expected to match `^x`, got \"hello\"",
        ],
    );
    check_expect(
        "{immediate: {http_status: 403}}",
        &[
            "`immediate`: expected `local_reply`, got `forwarded`",
            "`immediate.http_status`: expected 403, got 200",
        ],
    );
    check_expect("{log: [{exact: b}]}", &["`log[0]`: expected a line to be \"b\", got [info] chose v2"]);
}

#[test]
fn totals() {
    let expect = "{metric: {a: 2, never: 0}, cluster_share: {v2: {min: 40, max: 60}, v3: {min: 1, max: 2}}}";
    let expect: TotalExpectation = yaml::parse(expect).unwrap();
    let mut totals = Totals::default();
    totals.add(&outcome());
    totals.add(&Outcome::default());
    totals.metrics.insert("a".to_owned(), 3);
    let failures: Vec<String> =
        check_total(&expect, &totals, Path::new(".")).iter().map(Failure::to_string).collect();
    assert_eq!(
        failures,
        ["`metric.a`: expected 2, got 3", "`cluster_share.v3`: expected 1 % to 2 %, got 0.00 % (0 of 2)"]
    );
}

#[test]
fn callouts_are_counted() {
    let request = outcome().upstream_request.unwrap();
    let mut copy = Message { trailers: [("x-sum", "7")].into_iter().collect(), ..request.clone() };
    copy.body = b"copy".to_vec();
    let calls = vec![("shadow".to_owned(), request), ("shadow".to_owned(), copy)];
    let totals = Totals { calls, ..Totals::default() };
    for (expect, want) in [
        ("{cluster: shadow, count: 2}", true),
        ("{cluster: shadow}", false),
        ("{cluster: other, count: 0}", true),
        ("{request: {body: [{exact: copy}]}}", true),
        ("{request: {has_header: {x-a: '1,2'}}, count: 2}", true),
        ("{has_trailer: {x-sum: '7'}}", true),
        ("{has_trailer: {x-sum: '8'}}", false),
    ] {
        let expect: TotalExpectation = yaml::parse(&format!("{{callouts: [{expect}]}}")).unwrap();
        assert_eq!(check_total(&expect, &totals, Path::new(".")).is_empty(), want, "{expect:?}");
    }
}
