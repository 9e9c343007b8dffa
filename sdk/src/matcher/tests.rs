//! Requests and the matchers that want them, as data.

mod wire;

use std::net::IpAddr;

use super::*;
use crate::{Attributes, HeaderMap, Headers, parse};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// Headers and attributes.
#[derive(Default)]
struct Request {
    headers: HeaderMap,
    attributes: Vec<(&'static [&'static str], Vec<u8>)>,
}

impl Headers for Request {
    fn map(&self) -> &HeaderMap {
        &self.headers
    }
}

impl Attributes for Request {
    fn attribute(&self, path: &[&str]) -> Option<Vec<u8>> {
        self.attributes.iter().find(|(key, _)| *key == path).map(|(_, value)| value.clone())
    }
}

fn request(headers: &[(&str, &[u8])]) -> Request {
    Request { headers: headers.iter().copied().collect(), attributes: Vec::new() }
}

#[track_caller]
fn matcher(json: &str) -> RequestMatcher {
    RequestMatcher::try_from(parse::<RequestMatches>(Some(json.as_bytes())).unwrap()).unwrap()
}

#[track_caller]
fn check(json: &str, request: &Request, want: bool) {
    assert_eq!(matcher(json).is_match(request), want, "{json}");
}

/// One condition on the header `x`, on requests with these lines of it.
#[track_caller]
fn check_header(condition: &str, lines: &[&[u8]], want: bool) {
    let lines: Vec<(&str, &[u8])> = lines.iter().map(|line| ("x", *line)).collect();
    let comma = if condition.is_empty() { "" } else { ", " };
    check(&format!(r#"{{"headers": [{{"name": "X"{comma}{condition}}}]}}"#), &request(&lines), want);
}

#[test]
fn header_values() {
    check_header(r#""exact": "v2""#, &[b"v2"], true);
    check_header(r#""exact": "v2""#, &[b"V2"], false);
    check_header(r#""exact": "V2", "ignore_case": true"#, &[b"v2"], true);
    check_header(r#""exact": """#, &[b""], true);
    check_header(r#""exact": """#, &[], false);
    check_header(r#""prefix": "ab""#, &[b"abc"], true);
    check_header(r#""prefix": "ab""#, &[b"a"], false);
    check_header(r#""prefix": "AB", "ignore_case": true"#, &[b"abc"], true);
    check_header(r#""suffix": "bc""#, &[b"abc"], true);
    check_header(r#""suffix": "bc""#, &[b"c"], false);
    check_header(r#""suffix": "BC", "ignore_case": true"#, &[b"abc"], true);
    check_header(r#""contains": "b""#, &[b"abc"], true);
    check_header(r#""contains": "bcd""#, &[b"bc"], false);
    check_header(r#""contains": "BC", "ignore_case": true"#, &[b"abcd"], true);
    check_header(r#""contains": "é""#, &["café".as_bytes()], true);
    // Any bytes, for all but regular expressions.
    check_header(r#""prefix": "a""#, &[b"a\xff\x00"], true);
    check_header(r#""contains": "b""#, &[b"\xffb\xfe"], true);
}

#[test]
fn header_regex_matches_the_whole_value() {
    check_header(r#""regex": "v[0-9]+""#, &[b"v12"], true);
    check_header(r#""regex": "v[0-9]+""#, &[b"v12x"], false);
    check_header(r#""regex": "a|b""#, &[b"ab"], false);
    check_header(r#""regex": "a|b""#, &[b"b"], true);
    check_header(r#""regex": "(?i)v2""#, &[b"V2"], true);
    check_header(r#""regex": "(?x) a b # both""#, &[b"ab"], true);
    check_header(r#""regex": "(?:x#)""#, &[b"x#"], true);
    check_header(r#""regex": "a$""#, &[b"a\n"], false);
    check_header(r#""regex": ".*""#, &[b"\xff"], false);
    check_header(r#""regex": ".*", "invert_match": true"#, &[b"\xff"], true);
    // Linear, however it is written.
    check_header(r#""regex": "(a*)*b""#, &[&[b'a'; 20_000]], false);
}

#[test]
fn header_presence() {
    check_header("", &[b""], true);
    check_header("", &[], false);
    check_header(r#""present": true"#, &[b"a"], true);
    check_header(r#""present": true"#, &[], false);
    check_header(r#""present": false"#, &[], true);
    check_header(r#""present": false"#, &[b"a"], false);
    check_header(r#""present": true, "invert_match": true"#, &[], true);
    check_header(r#""present": true, "invert_match": true"#, &[b"a"], false);
    check_header(r#""invert_match": true"#, &[], true);
    check_header(r#""present": false, "invert_match": true"#, &[b"a"], true);
    // Missing: neither matches nor, inverted, does not.
    check_header(r#""exact": "a", "invert_match": true"#, &[], false);
    check_header(r#""exact": "a", "invert_match": true"#, &[b"b"], true);
    check_header(r#""exact": "a", "invert_match": true"#, &[b"a"], false);
    check_header(r#""exact": "a", "invert_match": true, "treat_missing_header_as_empty": true"#, &[], true);
    check_header(r#""exact": "", "treat_missing_header_as_empty": true"#, &[], true);
    check_header(r#""range": {"start": 0, "end": 9}, "treat_missing_header_as_empty": true"#, &[], false);
}

#[test]
fn header_ranges() {
    let range = r#""range": {"start": -5, "end": 10}"#;
    for (value, want) in [
        ("-5", true),
        ("-6", false),
        ("9", true),
        ("10", false),
        ("+3", true),
        (" 3 ", true),
        ("3.5", false),
        ("", false),
        ("three", false),
        ("99999999999999999999", false),
        ("3,4", false),
    ] {
        check_header(range, &[value.as_bytes()], want);
    }
    check_header(range, &[b"\xff"], false);
    check_header(range, &[b"3", b"4"], false);
    check_header(r#""range": {"start": 0, "end": 9}, "invert_match": true"#, &[b"text"], true);
    check_header(
        r#""range": {"start": -9223372036854775808, "end": 9223372036854775807}"#,
        &[b"9223372036854775807"],
        false,
    );
}

#[test]
fn several_lines_are_one_value() {
    check_header(r#""exact": "a,b""#, &[b"a", b"b"], true);
    check_header(r#""exact": "a""#, &[b"a", b"b"], false);
    check_header(r#""suffix": ",b""#, &[b"a", b"b"], true);
    check_header(r#""exact": ",""#, &[b"", b""], true);
}

#[test]
fn header_names() {
    let host = request(&[(":authority", b"a"), (":method", b"GET")]);
    check(r#"{"headers": [{"name": "Host", "exact": "a"}]}"#, &host, true);
    check(r#"{"headers": [{"name": ":method", "exact": "GET"}, {"name": "host"}]}"#, &host, true);
    check(r#"{"headers": [{"name": ":method", "exact": "GET"}, {"name": "y"}]}"#, &host, false);
}

#[track_caller]
fn check_path(condition: &str, path: &str, want: bool) {
    check(&format!(r#"{{"path": {{{condition}}}}}"#), &request(&[(":path", path.as_bytes())]), want);
}

#[test]
fn paths() {
    check_path(r#""exact": "/a""#, "/a?b=/c", true);
    check_path(r#""exact": "/a""#, "/a#f", true);
    check_path(r#""exact": "/a""#, "/a/", false);
    check_path(r#""prefix": "/a""#, "/ab", true);
    for prefix in ["/a", "/a/"] {
        let prefix = format!(r#""segment_prefix": "{prefix}""#);
        for (path, want) in [
            ("/a", true),
            ("/a/", true),
            ("/a/b", true),
            ("/a?x", true),
            ("/a#x", true),
            ("/ab", false),
            ("/A", false),
            ("/", false),
            ("", false),
        ] {
            check_path(&prefix, path, want);
        }
    }
    check_path(r#""segment_prefix": "/a/b", "ignore_case": true"#, "/A/b/c", true);
    check_path(r#""segment_prefix": "/""#, "/anything", true);
    check_path(r#""suffix": ".png""#, "/a.png?v=1", true);
    check_path(r#""contains": "b""#, "/a?b", false);
    check_path(r#""contains": "b""#, "/abc", true);
    check_path(r#""regex": "/v[12]/.*""#, "/v1/x?y", true);
    check_path(r#""regex": "/v[12]""#, "/v1/x", false);
    check_path(r#""exact": "/A", "ignore_case": true"#, "/a", true);
    check(r#"{"path": {"prefix": "/"}}"#, &request(&[(":method", b"CONNECT")]), false);
}

#[track_caller]
fn check_authority(condition: &str, authority: &str, want: bool) {
    let headers = request(&[(":authority", authority.as_bytes())]);
    check(&format!(r#"{{"authority": {{{condition}}}}}"#), &headers, want);
}

#[test]
fn authorities() {
    check_authority(r#""exact": "Shop.example.com""#, "shop.EXAMPLE.com", true);
    check_authority(r#""exact": "shop.example.com""#, "shop.example.com:8443", true);
    check_authority(r#""exact": "shop.example.com", "include_port": true"#, "shop.example.com:8443", false);
    check_authority(
        r#""exact": "shop.example.com:8443", "include_port": true"#,
        "shop.example.com:8443",
        true,
    );
    check_authority(r#""exact": "[::1]""#, "[::1]:80", true);
    check_authority(r#""exact": "[::1]""#, "[::1]", true);
    check_authority(r#""exact": "::1""#, "::1", true);
    for (host, want) in [
        ("a.example.com", true),
        ("a.b.example.com:80", true),
        ("A.EXAMPLE.COM", true),
        ("example.com", false),
        (".example.com", false),
        ("aexample.com", false),
        ("a.example.com.evil", false),
    ] {
        check_authority(r#""wildcard": "*.example.com""#, host, want);
    }
    check_authority(r#""prefix": "SHOP.""#, "shop.a", true);
    check_authority(r#""suffix": ".a""#, "shop.a:1", true);
    check_authority(r#""contains": "hop""#, "SHOP", true);
    check_authority(r#""regex": "(shop|cart)\\.example\\.com""#, "CART.example.com:80", true);
    check_authority(r#""regex": "(shop|cart)""#, "cart.example.com", false);
    check(r#"{"authority": {"contains": "a"}}"#, &request(&[]), false);
}

#[test]
fn methods_and_schemes() {
    let get = request(&[(":method", b"GET"), (":scheme", b"HTTPS")]);
    check(r#"{"methods": ["POST", "GET"]}"#, &get, true);
    check(r#"{"methods": ["POST"]}"#, &get, false);
    check(r#"{"methods": ["POST"]}"#, &request(&[]), false);
    check(r#"{"scheme": "https"}"#, &get, true);
    check(r#"{"scheme": "http"}"#, &get, false);
    check(r#"{"scheme": "http"}"#, &request(&[]), false);
}

#[test]
fn query_parameters() {
    for (path, want) in [
        ("/?a=1", Some("1")),
        ("/?b=2&a=1&a=3", Some("1")),
        ("/?a", Some("")),
        ("/?a&b", Some("")),
        ("/?a=", Some("")),
        ("/?a=1=2", Some("1=2")),
        ("/?a=%31+", Some("%31+")),
        ("/?a=1#a=2", Some("1")),
        ("/?ab=1&&xa=2", None),
        ("/#?a=1", None),
        ("/a=1", None),
        ("/??a=1", None),
        ("", None),
        ("/x?y=?&a=4", Some("4")),
    ] {
        assert_eq!(query_parameter(path.as_bytes(), "a"), want.map(str::as_bytes), "{path}");
    }
    assert_eq!(query_parameter(b"/?&&", ""), None);
    let with = |path: &'static str| request(&[(":path", path.as_bytes())]);
    let parameter = |condition: &str| format!(r#"{{"query_parameters": [{{"name": "a"{condition}}}]}}"#);
    check(&parameter(""), &with("/?a"), true);
    check(&parameter(r#", "exact": """#), &with("/?a"), true);
    check(&parameter(r#", "exact": """#), &with("/"), false);
    check(&parameter(r#", "present": false"#), &with("/"), true);
    check(&parameter(r#", "present": false"#), &request(&[]), true);
    check(&parameter(r#", "range": {"start": 1, "end": 3}"#), &with("/?a=2"), true);
    check(&parameter(r#", "regex": "v\\d", "invert_match": true"#), &with("/?a=w"), true);
    check(&parameter(r#", "exact": "x", "invert_match": true"#), &with("/"), false);
}

#[test]
fn cookies() {
    for (lines, want) in [
        (&["a=1"][..], Some("1")),
        (&["b=2; a=1; a=3"], Some("1")),
        (&["b=2", "a=1"], Some("1")),
        (&["b=2;a=1"], Some("1")),
        (&["a=\"1\""], Some("1")),
        (&["a=\""], Some("\"")),
        (&["a=\"\""], Some("")),
        (&["a=x=y=="], Some("x=y==")),
        (&["a="], Some("")),
        (&[" a = 1 "], Some("1")),
        (&["A=1"], None),
        (&["a"], None),
        (&["aa=1; ba=2"], None),
        (&["x=a=1"], None),
        (&[";;;"], None),
        (&[], None),
    ] {
        let map: HeaderMap = lines.iter().map(|line| ("cookie", *line)).collect();
        assert_eq!(cookie(&map, "a"), want.map(str::as_bytes), "{lines:?}");
    }
    let jar = request(&[("cookie", b"theme=dark; user=jack")]);
    check(r#"{"cookies": [{"name": "user", "exact": "jack"}, {"name": "theme"}]}"#, &jar, true);
    check(r#"{"cookies": [{"name": "user", "exact": "jason"}]}"#, &jar, false);
    check(r#"{"cookies": [{"name": "user", "exact": "jason", "invert_match": true}]}"#, &jar, true);
    check(r#"{"cookies": [{"name": "nobody", "exact": "x", "invert_match": true}]}"#, &jar, false);
    check(r#"{"cookies": [{"name": "nobody", "present": false}]}"#, &jar, true);
}

fn from_address(address: &str, forwarded: &[&str]) -> Request {
    Request {
        headers: forwarded.iter().map(|line| ("x-forwarded-for", *line)).collect(),
        attributes: vec![(&["source", "address"], address.as_bytes().to_vec())],
    }
}

#[test]
fn addresses() {
    for (range, address, want) in [
        ("10.0.0.0/8", "10.1.2.3:4711", true),
        ("10.0.0.0/8", "11.0.0.1:1", false),
        ("10.9.9.9/8", "10.1.2.3:1", true),
        ("10.1.2.3", "10.1.2.3:1", true),
        ("10.1.2.3", "10.1.2.4:1", false),
        ("10.1.2.2/31", "10.1.2.3:1", true),
        ("0.0.0.0/0", "203.0.113.7:1", true),
        ("0.0.0.0/0", "[2001:db8::1]:1", false),
        ("::/0", "[2001:db8::1]:1", true),
        ("2001:db8::/32", "[2001:db8:1::1]:443", true),
        ("2001:db8::/32", "[2001:db9::1]:443", false),
        ("2001:db8::1", "[2001:db8::1]:443", true),
        ("10.0.0.0/8", "[::ffff:10.1.2.3]:80", true),
        ("::ffff:10.0.0.0/104", "10.1.2.3:80", true),
        ("10.0.0.0/8", "10.1.2.3", true),
        ("0.0.0.0/0", "/var/run/socket", false),
        ("0.0.0.0/0", "", false),
    ] {
        let json = format!(r#"{{"source_address": {{"ranges": ["192.0.2.1", "{range}"]}}}}"#);
        check(&json, &from_address(address, &[]), want);
    }
    let outside = r#"{"source_address": {"ranges": ["10.0.0.0/8"], "invert_match": true}}"#;
    check(outside, &from_address("10.0.0.1:1", &[]), false);
    check(outside, &from_address("11.0.0.1:1", &[]), true);
    check(outside, &from_address("\0", &[]), false);
    check(outside, &request(&[]), false);
}

#[test]
fn trusted_hops() {
    for (hops, forwarded, want) in [
        (0, &["1.1.1.1"][..], "9.9.9.9"),
        (1, &["1.1.1.1, 2.2.2.2"], "1.1.1.1"),
        (1, &["6.6.6.6,1.1.1.1 ,2.2.2.2"], "1.1.1.1"),
        (1, &["6.6.6.6", "1.1.1.1", "2.2.2.2"], "1.1.1.1"),
        (2, &["1.1.1.1, 2.2.2.2, 3.3.3.3"], "1.1.1.1"),
        (1, &["1.1.1.1:4711, 2.2.2.2"], "1.1.1.1"),
        (1, &["[2001:db8::1]:80, 2.2.2.2"], "2001:db8::1"),
        (1, &["2001:db8::1, 2.2.2.2"], "2001:db8::1"),
        (1, &["[2001:db8::1], 2.2.2.2"], "2001:db8::1"),
        (1, &["::ffff:1.1.1.1, 2.2.2.2"], "1.1.1.1"),
        (1, &["2.2.2.2"], "9.9.9.9"),
        (1, &[], "9.9.9.9"),
        (1, &["unknown, 2.2.2.2"], "9.9.9.9"),
        (u32::MAX, &["1.1.1.1, 2.2.2.2"], "9.9.9.9"),
    ] {
        let request = from_address("9.9.9.9:1", forwarded);
        assert_eq!(source_address(&request, hops), want.parse::<IpAddr>().ok(), "{hops} {forwarded:?}");
    }
    let json = r#"{"source_address": {"ranges": ["1.1.1.1"], "xff_num_trusted_hops": 1}}"#;
    check(json, &from_address("9.9.9.9:1", &["1.1.1.1, 2.2.2.2"]), true);
    check(json, &from_address("1.1.1.1:1", &["3.3.3.3, 2.2.2.2"]), false);
}

#[test]
fn attributes() {
    let request = Request {
        headers: HeaderMap::new(),
        attributes: vec![
            (&["source", "port"], 4711_i64.to_le_bytes().to_vec()),
            (&["connection", "mtls"], vec![1]),
            (&["xds", "cluster_name"], b"reviews".to_vec()),
            (&["xds", "route_metadata", "filter_metadata", "weir", "tier"], 2.5_f64.to_le_bytes().to_vec()),
            (&["text", "number"], b"12".to_vec()),
        ],
    };
    for (condition, want) in [
        (r#""path": ["xds", "cluster_name"], "exact": "reviews""#, true),
        (r#""path": ["xds", "cluster_name"], "regex": "re.*""#, true),
        (r#""path": ["xds", "cluster_name"], "exact": "ratings", "invert_match": true"#, true),
        (r#""path": ["xds", "cluster_name"]"#, true),
        (r#""path": ["xds", "route_name"]"#, false),
        (r#""path": ["xds", "route_name"], "present": false"#, true),
        (r#""path": ["xds", "route_name"], "exact": "a", "invert_match": true"#, false),
        (r#""path": ["source", "port"], "range": {"start": 4711, "end": 4712}"#, true),
        (r#""path": ["source", "port"], "range": {"start": 1, "end": 9}, "invert_match": true"#, true),
        (r#""path": ["connection", "mtls"], "type": "BOOL", "exact": "true""#, true),
        (r#""path": ["connection", "mtls"], "type": "BOOL", "exact": "false""#, false),
        (r#""path": ["connection", "mtls"], "range": {"start": 0, "end": 9}"#, false),
        (r#""path": ["xds", "cluster_name"], "range": {"start": 0, "end": 9}, "invert_match": true"#, false),
        (r#""path": ["xds", "cluster_name"], "type": "BOOL", "exact": "true", "invert_match": true"#, false),
        (r#""path": ["text", "number"], "type": "STRING", "range": {"start": 12, "end": 13}"#, true),
    ] {
        check(&format!(r#"{{"attributes": [{{{condition}}}]}}"#), &request, want);
    }
    let tier = r#""path": ["xds", "route_metadata", "filter_metadata", "weir", "tier"], "type": "DOUBLE""#;
    for (start, end, want) in [(2, 3, true), (3, 4, false), (i64::MIN, i64::MAX, true)] {
        let condition = format!(r#"{tier}, "range": {{"start": {start}, "end": {end}}}"#);
        check(&format!(r#"{{"attributes": [{{{condition}}}]}}"#), &request, want);
    }
}

#[test]
fn and_inside_a_block_or_between_blocks() {
    let jack = request(&[(":path", b"/reviews"), ("end-user", b"jack")]);
    let user = |name: &str| format!(r#"{{"headers": [{{"name": "end-user", "exact": "{name}"}}]}}"#);
    check("{}", &jack, true);
    check("[]", &jack, true);
    check("[{}]", &jack, true);
    check(&user("jack"), &jack, true);
    check(&format!("[{}, {}]", user("jason"), user("jack")), &jack, true);
    check(&format!("[{}, {}]", user("jason"), user("ann")), &jack, false);
    check(
        r#"{"path": {"prefix": "/other"}, "headers": [{"name": "end-user", "exact": "jack"}]}"#,
        &jack,
        false,
    );
    check(&format!(r#"{{"path": {{"prefix": "/"}}, "none_of": [{}]}}"#, user("jason")), &jack, true);
    check(&format!(r#"{{"none_of": [{}, {}]}}"#, user("jason"), user("jack")), &jack, false);
    check(&format!(r#"{{"none_of": [{{"none_of": [{}]}}]}}"#, user("jack")), &jack, true);
    assert!(RequestMatcher::default().is_match(&jack.headers));
}

#[cfg(not(target_arch = "wasm32"))]
mod properties {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_match_or_do_not(value: Vec<u8>, path: Vec<u8>, text in "[a-z/?=;,:.\\[\\]0-9 \"]{0,20}") {
            let everything = matcher(
                r#"[{"none_of": [
                    {"headers": [{"name": "x", "contains": "a", "ignore_case": true}]},
                    {"headers": [{"name": "x", "regex": "a.*"}]},
                    {"headers": [{"name": "x", "range": {"start": 0, "end": 9}}]},
                    {"path": {"segment_prefix": "/a/b", "ignore_case": true}},
                    {"authority": {"wildcard": "*.a"}},
                    {"query_parameters": [{"name": "a", "suffix": "b"}]},
                    {"cookies": [{"name": "a", "prefix": "b"}]},
                    {"source_address": {"ranges": ["10.0.0.0/8"], "xff_num_trusted_hops": 1}},
                    {"attributes": [{"path": ["source", "address"], "type": "DOUBLE", "range": {"start": 0, "end": 9}}]},
                    {"attributes": [{"path": ["source", "address"], "type": "BOOL", "exact": "true"}]}
                ]}]"#,
            );
            let names = ["x", ":path", ":authority", "cookie", "x-forwarded-for"];
            let headers = names.iter().flat_map(|name| {
                let path: &[u8] = if *name == ":path" { &path } else { text.as_bytes() };
                [(*name, value.as_slice()), (*name, path)]
            });
            let attributes: Vec<(&'static [&'static str], Vec<u8>)> = vec![(&["source", "address"], value.clone())];
            let _ = everything.is_match(&Request { headers: headers.collect(), attributes });
        }

        #[test]
        fn inverted_is_the_opposite_of_a_header_that_is_there(value: Vec<u8>, exact in "[a-c]{0,2}") {
            let json = |invert: bool| {
                format!(r#"{{"headers": [{{"name": "x", "exact": "{exact}", "invert_match": {invert}}}]}}"#)
            };
            let request = request(&[("x", &value)]);
            prop_assert_ne!(matcher(&json(false)).is_match(&request), matcher(&json(true)).is_match(&request));
        }

        #[test]
        fn a_block_contains_the_addresses_with_its_bits(address: u32, network: u32, length in 0..=32_u32) {
            let cidr: Cidr = format!("{}/{length}", std::net::Ipv4Addr::from(network)).parse().unwrap();
            let same = length == 0 || address >> (32 - length) == network >> (32 - length);
            prop_assert_eq!(cidr.contains(std::net::Ipv4Addr::from(address).into()), same);
        }
    }
}
