//! Properties, shared data, WASI.

use super::*;

fn request(code: &str) -> String {
    format!(
        "(func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32) {code} (i32.const 0))"
    )
}

#[test]
fn prop_lookups() {
    let rows = [
        ("request\\00path", "/x?q=1"),
        ("request\\00url_path\\00", "/x"),
        ("request\\00query", "q=1"),
        ("request\\00headers\\00a", "1"),
        ("request\\00protocol", "HTTP/1.1"),
        ("source\\00address", "127.0.0.1:40000"),
        ("plugin_name", "p"),
        ("plugin_root_id", "r"),
        ("xds\\00cluster_name", "green"),
        ("xds\\00virtual_host_name", "v"),
        ("xds\\00route_metadata\\00filter_metadata\\00ns\\00a\\00b", "deep"),
        ("xds\\00node\\00id", "weir"),
        ("request", "3"),
        ("metadata", ""),
        ("", "3"),
        ("none", "1"),
        ("route_name", "1"),
        ("response\\00code", "1"),
        ("xds\\00route_metadata\\00filter_metadata\\00ns\\00none", "1"),
    ];
    for (path, log) in rows {
        let code =
            request(&format!("(call $show (call $property \"{path}\" (i32.const 16) (i32.const 20)))"));
        check(&format!("PROP {path}"), &code, End::Forwarded, 200, log);
    }
}

#[test]
fn prop_20_set_and_read_back() {
    let code = request(
        "(call $say (call $set_property \"mine\" \"v\"))
        (call $show (call $property \"mine\" (i32.const 16) (i32.const 20)))
        (call $show (call $property \"filter_state\\00wasm.mine\" (i32.const 16) (i32.const 20)))",
    );
    let mut replay = start(vec![plugin(&code)]);
    verify("PROP-20", &replay.exchange(&exchange()), End::Forwarded, 200, "0 v v");
    let code = request("(call $show (call $property \"mine\" (i32.const 16) (i32.const 20)))");
    check("PROP-21", &code, End::Forwarded, 200, "1");
}

#[test]
fn shr_02_shared_data() {
    let code = request(
        "(call $say (call $shared \"k\" (i32.const 16) (i32.const 20) (i32.const 24)))
        (call $say (call $set_shared \"k\" \"v\" (i32.const 9)))
        (call $show (call $shared \"k\" (i32.const 16) (i32.const 20) (i32.const 24)))
        (call $say (i32.load (i32.const 24)))
        (call $say (call $set_shared \"k\" \"w\" (i32.const 9)))",
    );
    check("SHR-02", &code, End::Forwarded, 200, "1 0 v 1 8");
}

#[test]
fn foreign_functions() {
    for (name, log) in [("clear_route_cache", "0"), ("compress", "0"), ("uncompress", "3"), ("no_such", "1")]
    {
        let code =
            request(&format!("(call $say (call $foreign \"{name}\" \"\" (i32.const 16) (i32.const 20)))"));
        check(&format!("FF {name}"), &code, End::Forwarded, 200, log);
    }
}

#[test]
fn wasi_07_addresses_outside_are_a_status() {
    let code = request(
        "(call $say (call $add (i32.const 0) (i32.const -2) (i32.const 1) \"v\"))
        (call $say (call $add (i32.const 0) (i32.const 0) (i32.const -1) \"v\"))
        (call $say (call $get_ (i32.const 0) \"a\" (i32.const -4) (i32.const -8)))
        (call $say (call $property (i32.const 9999999) (i32.const 9) (i32.const 16) (i32.const 20)))",
    );
    check("WASI-07", &code, End::Forwarded, 200, "6 6 6 6");
}

#[test]
fn log_04_standard_output() {
    let code = request(
        "(i32.store (i32.const 48) (i32.const 4096)) (i32.store (i32.const 52) (i32.const 3))
        (call $say (call $fd_write (i32.const 1) (i32.const 48) (i32.const 1) (i32.const 40)))
        (call $say (call $fd_write (i32.const 3) (i32.const 48) (i32.const 1) (i32.const 40)))
        (drop (call $set_property \"out\" \"\"))",
    );
    check("LOG-04, WASI-03", &code, End::Forwarded, 200, "out 0 8");
}
/// Which replies carry a route's response headers, and where the formatters stand then: as seen in a real Envoy 1.40.
#[test]
fn replies_carry_the_headers_of_routes_that_forward() {
    let add = json!([
        {"header": {"key": "f-details", "value": "%RESPONSE_CODE_DETAILS%"}},
        {"header": {"key": "f-code", "value": "%RESPONSE_CODE%"}},
        {"header": {"key": "f-mine", "value": "%FILTER_STATE(wasm.mine:PLAIN)%"}},
        {"header": {"key": "f-cluster", "value": "%UPSTREAM_CLUSTER%"}},
    ]);
    let no_method = request("(call $say (call $remove (i32.const 0) \":method\"))");
    let mine = request("(call $say (call $set_property \"mine\" \"v\"))");
    let local = request("(call $say (call $send (i32.const 418) \"\" \"\" \"\" (i32.const -1)))");
    let removed = "filter_removed_required_request_headers{missing_required_header:_:method}";
    let rows = [
        (
            "up",
            json!({"cluster": "green"}),
            mine.as_str(),
            "",
            "",
            "f-details=via_upstream f-code=200 f-mine=v f-cluster=green",
        ),
        (
            "unknown",
            json!({"cluster": "nope"}),
            &mine,
            "cluster_not_found",
            "NC",
            "f-details=cluster_not_found f-code=0 f-mine=v",
        ),
        (
            "dead",
            json!({"cluster": "dead"}),
            &mine,
            "no_healthy_upstream",
            "UH",
            "f-details=no_healthy_upstream f-code=0 f-mine=v f-cluster=dead",
        ),
        (
            "no method",
            json!({"cluster": "green"}),
            &no_method,
            removed,
            "DPE",
            &format!("f-details={removed} f-code=0 f-cluster=green"),
        ),
        ("reply", json!({"cluster": "green"}), &local, "", "", "f-code=0 f-cluster=green"),
    ];
    let response = |outcome: &Outcome| -> String {
        let lines = outcome.response.iter().flat_map(|response| response.headers.iter());
        let shown = lines.filter(|(name, _)| name.starts_with(b"f-") || *name == b"location");
        let shown = shown
            .map(|(name, value)| [String::from_utf8_lossy(name), String::from_utf8_lossy(value)].join("="));
        shown.collect::<Vec<_>>().join(" ")
    };
    let replay = |action: &str, value: serde_json::Value, code: &str| {
        let mut replay = start(vec![plugin(code)]);
        let route = json!({"match": {"prefix": "/"}, action: value, "response_headers_to_add": add});
        let table = json!({"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [route]}]});
        replay.routes = Some(RouteTable::from_value(&table).unwrap());
        replay.exchange(&exchange())
    };
    for (name, to, code, details, flags, want) in rows {
        let outcome = replay("route", to, code);
        assert_eq!(response(&outcome), want, "{name}");
        assert_eq!(outcome.flags, flags, "{name}");
        if !details.is_empty() {
            assert_eq!(outcome.details, details, "{name}");
        }
    }
    let direct = json!({"status": 201});
    let want = "location=http://host/x?q=1 f-details=direct_response f-code=0 f-mine=v";
    assert_eq!(response(&replay("direct_response", direct.clone(), &mine)), want);
    assert_eq!(
        response(&replay("direct_response", json!({"status": 204}), "")),
        "f-details=direct_response f-code=0"
    );
    let redirect = json!({"host_redirect": "o"});
    assert_eq!(
        response(&replay("redirect", redirect, "")),
        "location=http://o/x?q=1 f-details=direct_response f-code=0"
    );
    // A filter's reply on a route that does not forward has none of it.
    assert_eq!(response(&replay("direct_response", direct, &local)), "");
}
