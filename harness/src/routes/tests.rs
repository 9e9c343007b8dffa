//! Route tables: what a request takes, as a real Envoy 1.40 was seen to choose.

use serde_json::json;

use super::*;

fn request(lines: &[(&str, &str)]) -> Headers {
    let mut headers: Headers = [("x-forwarded-proto", "http")].into_iter().collect();
    for (name, value) in lines {
        headers.append(name.as_bytes(), value.as_bytes());
    }
    headers
}

fn table(hosts: serde_json::Value) -> RouteTable {
    RouteTable::from_value(&json!({"virtual_hosts": hosts})).unwrap()
}

fn select(table: &RouteTable, headers: &Headers) -> Option<Selection> {
    table.select(&Request { headers, random: 0, filter_state: &[] })
}

/// What is known when nothing is known.
fn with_facts(run: impl FnOnce(&Facts<'_>)) {
    let (info, clusters) = (crate::host::Info::default(), crate::host::Clusters::default());
    run(&Facts { request: None, info: &info, flags: "", filter_state: &[], clusters: &clusters });
}

#[test]
fn domains_in_envoys_order() {
    let host = |name: &str, domain: &str| json!({"name": name, "domains": [domain], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "c"}}]});
    let table = table(json!([
        host("any", "*"),
        host("prefix", "www.*"),
        host("suffix", "*.com"),
        host("longer", "*.b.com"),
        host("exact", "a.b.com"),
    ]));
    let rows = [
        ("A.b.com", "exact"),
        ("x.b.com", "longer"),
        ("www.com", "suffix"),
        ("www.org", "prefix"),
        ("org", "any"),
        ("a.b.com:80", "any"),
    ];
    for (authority, name) in rows {
        let found = select(&table, &request(&[(":authority", authority), (":path", "/")]));
        assert_eq!(
            found.map(|found| found.virtual_host().name.clone()).as_deref(),
            Some(name),
            "{authority}"
        );
    }
}

#[test]
fn matches() {
    let rows = [
        (json!({"prefix": "/a"}), "/ab", true),
        (json!({"path": "/a"}), "/a?x", true),
        (json!({"path": "/A", "caseSensitive": false}), "/a", true),
        (json!({"path_separated_prefix": "/a"}), "/ab", false),
        (json!({"path_separated_prefix": "/a"}), "/a/b", true),
        (json!({"safe_regex": {"regex": "/[a-c]"}}), "/abc", false),
        (json!({"safe_regex": {"regex": "/[a-c]+"}}), "/abc?q", true),
        (
            json!({"prefix": "/", "query_parameters": [{"name": "a", "string_match": {"exact": "1"}}]}),
            "/q?a=2&a=1",
            false,
        ),
        (
            json!({"prefix": "/", "headers": [{"name": "i", "string_match": {"exact": "v"}, "invert_match": true}]}),
            "/",
            false,
        ),
        (
            json!({"prefix": "/", "headers": [{"name": "n", "range_match": {"start": 1, "end": "8"}}]}),
            "/",
            true,
        ),
        (json!({"prefix": "/", "headers": [{"name": "n", "exact_match": "7"}]}), "/", true),
        (json!({"prefix": "/", "headers": [{"name": "gone", "present_match": false}]}), "/", true),
        (
            json!({"prefix": "/", "headers": [{"name": "gone", "string_match": {"exact": ""}, "treat_missing_header_as_empty": true}]}),
            "/",
            true,
        ),
        (json!({"prefix": "/", "runtime_fraction": {"default_value": {"numerator": 0}}}), "/", false),
    ];
    for (matcher, path, want) in rows {
        let table = table(
            json!([{"name": "v", "domains": ["*"], "routes": [{"match": matcher, "route": {"cluster": "c"}}]}]),
        );
        let found = select(&table, &request(&[(":authority", "h"), (":path", path), ("n", "7")]));
        assert_eq!(found.is_some(), want, "{matcher} {path}");
    }
}

#[test]
fn redirects() {
    let rows = [
        (
            json!({"prefix_rewrite": "/new/", "https_redirect": true}),
            "h:8080",
            301,
            "https://h:8080/new/a?x=1",
        ),
        (
            json!({"path_redirect": "/p", "host_redirect": "o", "port_redirect": 99, "response_code": "FOUND", "strip_query": true}),
            "h",
            302,
            "http://o:99/p",
        ),
        (json!({"path_redirect": "/p?z=1"}), "h", 301, "http://h/p?z=1"),
        (json!({"scheme_redirect": "https"}), "h:80", 301, "https://h/r/a?x=1"),
    ];
    for (redirect, authority, status, want) in rows {
        let table = table(
            json!([{"name": "v", "domains": ["*"], "routes": [{"match": {"prefix": "/r/"}, "redirect": redirect}]}]),
        );
        let headers = request(&[(":authority", authority), (":path", "/r/a?x=1")]);
        let found = select(&table, &headers).unwrap();
        let Action::Redirect(to) = &found.route().action else { panic!("no redirect") };
        let (got, location) = to.location(&headers, &found);
        assert_eq!((got, String::from_utf8_lossy(&location).as_ref()), (status, want), "{redirect}");
    }
}

#[test]
fn rewrites_and_header_changes_in_envoys_order() {
    let add = |value: &str| json!([{"header": {"key": "x-lvl", "value": value}}]);
    let table = RouteTable::from_value(&json!({
        "request_headers_to_add": [{"header": {"key": "x-lvl", "value": "table"}},
            {"header": {"key": "x-t", "value": "t"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}],
        "virtual_hosts": [{"name": "v", "domains": ["*"], "request_headers_to_add": add("vhost"), "request_headers_to_remove": ["x-gone"],
            "routes": [{"match": {"prefix": "/pre"}, "request_headers_to_add": add("route"),
                "route": {"cluster": "up", "prefix_rewrite": "/re", "host_rewrite_literal": "lit", "append_x_forwarded_host": true}}]}],
    }))
    .unwrap();
    let mut headers =
        request(&[(":authority", "h"), (":path", "/pre/a?q=1"), ("x-gone", "1"), ("x-t", "client")]);
    with_facts(|facts| select(&table, &headers).unwrap().finish_request(&mut headers, facts));
    let want = [
        (":authority", "lit"),
        (":path", "/re/a?q=1"),
        ("x-forwarded-proto", "http"),
        ("x-lvl", "route"),
        ("x-lvl", "vhost"),
        ("x-t", "t"),
        ("x-lvl", "table"),
        ("x-envoy-original-path", "/pre/a?q=1"),
        ("x-envoy-original-host", "h"),
        ("x-forwarded-host", "h"),
    ];
    assert_eq!(headers, want.into_iter().collect());
}

/// As a real Envoy 1.40 was seen to do it: all conditions are asked before anything changes.
#[test]
fn header_changes_see_the_headers_as_they_came() {
    let add = |key: &str, value: &str, action: &str| json!({"header": {"key": key, "value": value}, "append_action": action});
    let changes = json!([
        add("aa", "1", "ADD_IF_ABSENT"),
        add("aa", "2", "ADD_IF_ABSENT"),
        add("bb", "1", "OVERWRITE_IF_EXISTS_OR_ADD"),
        add("bb", "2", "ADD_IF_ABSENT"),
        add("bb", "%REQ(bb)%3", "APPEND_IF_EXISTS_OR_ADD"),
        add("cc", "1", "APPEND_IF_EXISTS_OR_ADD"),
        add("cc", "2", "OVERWRITE_IF_EXISTS"),
        {"header": {"key": "dd", "value": ""}, "keep_empty_value": true},
        {"header": {"key": "ee", "value": "%REQ(nope)%"}, "keep_empty_value": true},
        add("ff", "%REQ(nope)%", "APPEND_IF_EXISTS_OR_ADD"),
    ]);
    let table = table(json!([{"name": "v", "domains": ["*"], "routes": [
        {"match": {"prefix": "/"}, "route": {"cluster": "up"}, "request_headers_to_add": changes}]}]));
    let mut headers = request(&[(":path", "/")]);
    with_facts(|facts| select(&table, &headers).unwrap().finish_request(&mut headers, facts));
    let want = [
        ("bb", "1"),
        ("aa", "1"),
        ("aa", "2"),
        ("bb", "2"),
        ("bb", "3"),
        ("cc", "1"),
        ("dd", ""),
        ("ee", ""),
    ];
    assert_eq!(headers, request(&[&[(":path", "/")], &want[..]].concat()));
}

#[test]
fn weighted_clusters_follow_the_header() {
    let table = table(
        json!([{"name": "v", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"weightedClusters":
        {"headerName": "x-n", "clusters": [{"name": "a", "weight": 1}, {"name": "b", "weight": 99}]}}}]}]),
    );
    for (number, name) in [("0", "a"), ("1", "b"), ("100", "a"), ("5", "b")] {
        let headers = request(&[(":authority", "h"), (":path", "/"), ("x-n", number)]);
        let request = Request { headers: &headers, random: 0, filter_state: &[] };
        let cluster = table.select(&request).and_then(|found| found.cluster(&request));
        assert_eq!(cluster.as_deref(), Some(name), "{number}");
    }
}

#[test]
fn errors_name_the_field() {
    let route = |route: serde_json::Value| json!({"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [route]}]});
    let rows = [
        (
            route(json!({"match": {"prefix": "/"}, "route": {"cluster": "c"}, "foo": 1})),
            "virtual_hosts[0].routes[0].foo",
        ),
        (
            route(json!({"match": {"prefix": 1}, "route": {"cluster": "c"}})),
            "virtual_hosts[0].routes[0].match.prefix",
        ),
        (route(json!({"match": {}, "route": {"cluster": "c"}})), "virtual_hosts[0].routes[0].match"),
        (
            route(json!({"match": {"safe_regex": {"regex": "("}}, "route": {"cluster": "c"}})),
            "virtual_hosts[0].routes[0].match.safe_regex.regex",
        ),
        (route(json!({"match": {"prefix": "/"}, "route": {}})), "virtual_hosts[0].routes[0].route"),
        (json!({"virtual_hosts": [{"name": "a", "domains": ["x", "X"]}]}), "virtual_hosts[0].domains[1]"),
        (json!([]), "route_config"),
    ];
    for (config, path) in rows {
        assert_eq!(RouteTable::from_value(&config).unwrap_err().path, path);
    }
}

/// As a real Envoy 1.40 was seen to choose: the lines of a header are not joined for `HeaderMatcher`.
#[test]
fn header_lines_match_one_by_one() {
    let exact = |value: &str, invert: bool| json!({"name": "x", "string_match": {"exact": value}, "invert_match": invert});
    let rows = [
        (exact("a", false), &["a", "b"][..], true),
        (exact("a", false), &["b", "a"], true),
        (exact("a,b", false), &["a", "b"], false),
        (exact("a,b", false), &["a,b"], true),
        (exact("a", true), &["b", "a"], false),
        (exact("a", true), &["b", "c"], true),
        (exact("a", true), &[], false),
        (json!({"name": "x", "range_match": {"start": 5, "end": 6}}), &["9", "5"], true),
        (json!({"name": "x", "string_match": {"safe_regex": {"regex": "[,]*"}}}), &["", ""], true),
        (json!({"name": "x", "string_match": {"safe_regex": {"regex": "[,]+"}}}), &["", ""], false),
        (json!({"name": "x", "present_match": true, "invert_match": true}), &["a", "b"], false),
    ];
    for (matcher, lines, want) in rows {
        let table = table(json!([{"name": "v", "domains": ["*"], "routes": [
            {"match": {"prefix": "/", "headers": [matcher]}, "route": {"cluster": "up"}}]}]));
        let lines: Vec<_> = lines.iter().map(|line| ("x", *line)).chain([(":path", "/")]).collect();
        assert_eq!(select(&table, &request(&lines)).is_some(), want, "{matcher} {lines:?}");
    }
}

/// What `x-envoy-expected-rq-timeout-ms` says.
#[test]
fn timeouts() {
    let parse = |timeout: &str| {
        let route = json!({"match": {"prefix": "/"}, "route": {"cluster": "up", "timeout": timeout}});
        RouteTable::from_value(
            &json!({"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [route]}]}),
        )
    };
    for (timeout, want) in [("2s", 2000), ("0s", 0), ("0.25s", 250), ("1.500000s", 1500)] {
        let found = select(&parse(timeout).unwrap(), &request(&[(":path", "/")])).unwrap();
        let Action::Forward(forward) = &found.route().action else { panic!("no forward") };
        assert_eq!(forward.timeout_ms, want, "{timeout}");
    }
    for timeout in ["2", "2ms", "-1s", "s", "NaNs"] {
        let error = parse(timeout).err().unwrap().to_string();
        assert!(error.contains("seconds such as"), "{error}");
    }
}
