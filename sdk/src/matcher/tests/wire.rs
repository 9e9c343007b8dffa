//! The wire forms: what is refused, how they are written again, their JSON Schema.

use crate::{RequestMatcher, RequestMatches, parse};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[track_caller]
fn check_refused(json: &str, want: &[&str]) {
    let wire = parse::<RequestMatches>(Some(json.as_bytes())).unwrap();
    let error = RequestMatcher::try_from(wire).unwrap_err().to_string();
    assert_eq!(error.lines().collect::<Vec<_>>(), want, "{json}");
}

#[test]
fn what_means_nothing_is_refused() {
    check_refused(
        r#"[{}, {
            "path": {"exact": "a"}, "methods": ["GET", "get"], "authority": {"exact": "*.example.com"}, "scheme": "ftp",
            "headers": [{"name": "x", "exact": "a", "prefix": "b"}, {"name": "a b"}, {"name": "x", "prefix": ""}],
            "query_parameters": [{"name": "a&b"}], "cookies": [{"name": ""}],
            "source_address": {"ranges": ["10.0.0.0/33", "10.0.0/8", "::/129", "1.1.1.1/+8"]},
            "attributes": [{"path": []}, {"path": ["a"], "type": "INT", "exact": "1"}],
            "none_of": [{}, {"headers": [{"name": "x", "range": {"start": 3, "end": 3}}]}]
        }]"#,
        &[
            "`[1].methods[1]`: expected a method in upper case, such as \"GET\", found \"get\"",
            "`[1].scheme`: expected \"http\" or \"https\"",
            "`[1].none_of[0]`: is empty and matches every request, so nothing would be left",
            "`[1].path.exact`: never matches: a path begins with `/`",
            "`[1].authority.exact`: never matches: a host has no `*`; write `wildcard`",
            "`[1].source_address.ranges[0]`: expected a length of at most 32, found 33",
            "`[1].source_address.ranges[1]`: expected an address block such as \"10.0.0.0/8\", found \"10.0.0/8\"",
            "`[1].source_address.ranges[2]`: expected a length of at most 128, found 129",
            "`[1].source_address.ranges[3]`: expected an address block such as \"10.0.0.0/8\", found \"1.1.1.1/+8\"",
            "`[1].headers[0]`: has `exact`, `prefix`; only one of them can be given",
            "`[1].headers[1].name`: expected a header's name, found \"a b\"",
            "`[1].headers[2].prefix`: is empty and would match everything; leave it out, or use `present`",
            "`[1].query_parameters[0].name`: expected a parameter's name as it stands in the URL, without `&`, `=` and \
             `#`",
            "`[1].cookies[0].name`: expected a cookie's name, without spaces and `;`, `=`, `,`",
            "`[1].attributes[0].path`: expected 1 to 12 segments, none of them empty, such as [\"source\", \"port\"]",
            "`[1].attributes[1].type`: a number is compared by `range` only",
            "`[1].none_of[1].headers[0].range`: contains no number: `end` is not in the range and must be more than \
             `start`",
        ],
    );
    let header = |condition: &str| format!(r#"{{"headers": [{{"name": "x", {condition}}}]}}"#);
    let long = "a".repeat(1025);
    check_refused(
        &header(&format!(r#""regex": "{long}""#)),
        &["`headers[0].regex`: is 1025 bytes long; at most 1024 are accepted"],
    );
    check_refused(
        &header(r#""regex": "a", "ignore_case": true"#),
        &["`headers[0].ignore_case`: does not go with `regex`; begin the expression with (?i)"],
    );
    check_refused(
        &header(r#""present": true, "ignore_case": true"#),
        &["`headers[0].ignore_case`: goes with `exact`, `prefix`, `suffix` or `contains` only"],
    );
    check_refused(
        r#"{"path": {"segment_prefix": "/a?b"}}"#,
        &[
            "`path.segment_prefix`: never matches: query and fragment are not part of the path; use `query_parameters`",
        ],
    );
    check_refused(
        r#"{"path": {}}"#,
        &["`path`: needs one of `exact`, `prefix`, `segment_prefix`, `suffix`, `contains`, `regex`"],
    );
    check_refused(
        r#"{"authority": {"exact": "a:80"}}"#,
        &["`authority.exact`: never matches: it has a port; set `include_port` or leave the port out"],
    );
    check_refused(
        r#"{"authority": {"wildcard": "example.com"}}"#,
        &["`authority.wildcard`: expected `*.` and a domain, such as `*.example.com`"],
    );
    for regex in ["(", "a)|(b", "a{1000}{1000}", "\\p{L}", "(?=a)"] {
        let json =
            format!(r#"{{"headers": [{{"name": "x", "regex": {}}}]}}"#, serde_json::Value::from(regex));
        let wire = parse::<RequestMatches>(Some(json.as_bytes())).unwrap();
        let error = RequestMatcher::try_from(wire).unwrap_err().to_string();
        assert!(error.starts_with("`headers[0].regex`: is not a regular expression: "), "{error}");
    }
}

#[test]
fn the_wire_form_round_trips() {
    let json = concat!(
        r#"[{"path":{"segment_prefix":"/a"},"methods":["GET"],"authority":{"wildcard":"*.b"},"scheme":"https","#,
        r#""headers":[{"name":"x","range":{"start":1,"end":2},"invert_match":true}],"#,
        r#""query_parameters":[{"name":"q","present":false}],"cookies":[{"name":"c","exact":"d"}],"#,
        r#""source_address":{"ranges":["::/0"],"xff_num_trusted_hops":1},"#,
        r#""attributes":[{"path":["a"],"type":"BOOL"}],"none_of":[{"methods":["PUT"]}]}]"#
    );
    let wire: RequestMatches = parse(Some(json.as_bytes())).unwrap();
    assert_eq!(serde_json::to_string(&wire).unwrap(), json);
}

#[test]
fn schemas_are_made() {
    let schema = schemars::schema_for!(RequestMatches);
    assert!(
        schema.pointer("/$defs/HeaderMatch/properties/treat_missing_header_as_empty/description").is_some()
    );
    assert_eq!(
        schema.pointer("/$defs/RequestMatch/additionalProperties"),
        Some(&serde_json::Value::Bool(false))
    );
}
