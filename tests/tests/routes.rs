//! What routes, replies, resets, traps and stalls come to: end, details, flags, header changes of routes. The same in the harness and in a
//! real Envoy. The filter is hand-written and does what the request's `x-do` says.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use conformance::{run, tools};
use serde_json::json;
use weir_harness::envoy::compare;
use weir_harness::exchange::{Exchange, Message};
use weir_harness::scenario::{Filter, Scenario};

/// Commands: `l` replies, `c` closes, `t` traps, `s` holds for ever, `m` takes `:method` away, `p` sets a property; capitals do it in the
/// response, where `M` takes `:status` away.
const GUEST: &str = r#"(module
    (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_remove_header_map_value" (func $remove (param i32 i32 i32) (result i32)))
    (import "env" "proxy_send_local_response" (func $send (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_close_stream" (func $close (param i32) (result i32)))
    (import "env" "proxy_set_property" (func $set (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "x-do:method:statusmy details")
    (global $do (mut i32) (i32.const 0))
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "malloc") (param i32) (result i32) (i32.const 1024))
    (func $is (param i32) (result i32) (i32.eq (global.get $do) (local.get 0)))
    (func $act (param $response i32) (result i32)
        (if (call $is (i32.const 108)) (then
            (drop (call $send (i32.const 418) (i32.const 18) (i32.const 10) (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 0) (i32.const -1)))
            (return (i32.const 1))))
        (if (call $is (i32.const 99)) (then (drop (call $close (local.get $response)))))
        (if (call $is (i32.const 116)) (then (unreachable)))
        (if (call $is (i32.const 115)) (then (return (i32.const 1))))
        (if (call $is (i32.const 112)) (then (drop (call $set (i32.const 2) (i32.const 2) (i32.const 18) (i32.const 2)))))
        (if (call $is (i32.const 109)) (then
            (drop (call $remove (i32.shl (local.get $response) (i32.const 1))
                (select (i32.const 11) (i32.const 4) (local.get $response)) (i32.const 7)))))
        (i32.const 0))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (global.set $do (i32.const 0))
        (if (i32.eqz (call $get (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 64) (i32.const 68)))
            (then (global.set $do (i32.load8_u (i32.load (i32.const 64))))))
        (call $act (i32.const 0)))
    (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
        ;; A capital is its small letter in the response.
        (if (i32.or (i32.eqz (global.get $do)) (i32.ge_u (global.get $do) (i32.const 97))) (then (return (i32.const 0))))
        (global.set $do (i32.add (global.get $do) (i32.const 32)))
        (call $act (i32.const 1))))"#;

fn scenario(module: &Path) -> Scenario {
    let formats = [
        "%RESPONSE_CODE%",
        "%RESPONSE_CODE_DETAILS%",
        "%RESPONSE_FLAGS%",
        "%ROUTE_NAME%",
        "%UPSTREAM_CLUSTER%",
        "%PROTOCOL%",
        "%REQ(a)%-%REQ(none)%-%REQ(none?:path)%-%REQ(host):3%",
        "%RESP(b)%",
        "%FILTER_STATE(wasm.do:PLAIN)%",
        "%METADATA(ROUTE:ns:o)% %METADATA(ROUTE:ns:n)%",
        "%METADATA(VIRTUAL_HOST:ns:k)%",
        "%METADATA(CLUSTER:ns:k)%",
        "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%",
        "100%%",
    ];
    let add: Vec<_> = formats
        .iter()
        .enumerate()
        .map(|(number, value)| json!({"header": {"key": format!("f-{number}"), "value": value}}))
        .collect();
    let metadata = json!({"filter_metadata": {"ns": {"k": "v", "n": 3, "o": {"z": [1.5, true, "y"]}}}});
    let route = |name: &str, prefix: &str, action: &str, value: serde_json::Value| {
        json!({
            "name": name, "match": {"prefix": prefix}, action: value, "metadata": metadata, "response_headers_to_add": add,
        })
    };
    let mut up = route("up", "/", "route", json!({"cluster": "up"}));
    up["request_headers_to_add"] = json!(add);
    let routes = [
        route("made", "/made", "direct_response", json!({"status": 201, "body": {"inline_string": "here"}})),
        route("plain", "/plain", "direct_response", json!({"status": 200})),
        route("moved", "/moved", "direct_response", json!({"status": 301})),
        route("away", "/away", "redirect", json!({"host_redirect": "other", "strip_query": true})),
        route("unknown", "/unknown", "route", json!({"cluster_header": "x-cluster"})),
        route("dead", "/dead", "route", json!({"cluster": "dead"})),
        up,
    ];
    let host = json!({"name": "v", "domains": ["example.com"], "metadata": metadata, "routes": routes});
    serde_json::from_value(json!({
        "filters": [Filter { name: "guest".to_owned(), module: Some(module.display().to_string()), ..Filter::default() }],
        "route_config": {"virtual_hosts": [host]},
        "clusters": {"up": {"metadata": metadata}, "dead": {"endpoints": 0}},
    }))
    .unwrap()
}

fn exchange(path: &str, command: &str) -> Exchange {
    let lines = [
        (":method", "GET"),
        (":path", path),
        (":authority", "example.com"),
        (":scheme", "http"),
        ("a", "1"),
        ("a", "2"),
    ];
    let mut request: Message = Message { headers: lines.into_iter().collect(), ..Message::default() };
    if !command.is_empty() {
        request.headers.push("x-do", command);
    }
    let response = Message {
        headers: [(":status", "200"), ("content-length", "2"), ("b", "x")].into_iter().collect(),
        body: b"hi".to_vec(),
        ..Message::default()
    };
    Exchange { origin: format!("{path} {command}"), request, response: Some(response), ..Exchange::default() }
}

/// All exchanges through one proxy; `want` is the end, the status (0: none), details and flags of each.
#[track_caller]
fn check(test: &str, rows: &[(&str, &str, &str)]) {
    let folder = tempfile::tempdir().unwrap();
    let module = folder.path().join("guest.wasm");
    fs::write(&module, wat::parse_str(GUEST).unwrap()).unwrap();
    let scenario = scenario(&module);
    let exchanges: Vec<Exchange> = rows.iter().map(|(path, command, _)| exchange(path, command)).collect();
    let harness = run::in_harness(&scenario, folder.path(), &exchanges).unwrap();
    for (outcome, (path, command, want)) in harness.outcomes.iter().zip(rows) {
        let status = outcome.response.as_ref().and_then(|response| response.headers.get(b":status"));
        let status = status.map_or_else(|| "0".into(), String::from_utf8_lossy);
        let got = format!("{} {status} {} {}", outcome.end.name(), outcome.details, outcome.flags);
        assert_eq!(got.trim_end(), *want, "{path} {command}");
    }
    if let Some(binary) = tools::envoy_or_skip(test).unwrap() {
        let envoy = run::in_envoy(binary, &scenario, folder.path(), &exchanges, &harness).unwrap();
        for ((ours, theirs), exchange) in harness.outcomes.iter().zip(&envoy.outcomes).zip(&exchanges) {
            if let Some(difference) = compare::difference(ours, theirs, true) {
                panic!("{}\n{difference}", exchange.origin);
            }
        }
    }
}

#[test]
fn routes_answer() {
    check(
        "routes_answer",
        &[
            ("/", "", "forwarded 200 via_upstream"),
            ("/", "p", "forwarded 200 via_upstream"),
            ("/made?q=1", "", "direct 201 direct_response"),
            ("/made", "p", "direct 201 direct_response"),
            ("/plain", "", "direct 200 direct_response"),
            ("/moved?q=1", "", "direct 301 direct_response"),
            ("/away/x?q=1", "", "direct 301 direct_response"),
            ("/unknown", "", "refused 503 cluster_not_found NC"),
            ("/dead", "p", "refused 503 no_healthy_upstream UH"),
            ("/", "l", "local_reply 418 my_details"),
            ("/made", "l", "local_reply 418 my_details"),
            ("/dead", "l", "local_reply 418 my_details"),
            ("/", "L", "local_reply 418 my_details"),
            (
                "/",
                "m",
                "refused 503 filter_removed_required_request_headers{missing_required_header:_:method} DPE",
            ),
            ("/", "t", "trapped 503 wasm_fail_stream"),
        ],
    );
}

#[test]
fn filters_end_streams() {
    check(
        "filters_end_streams",
        &[
            ("/", "c", "reset 0 wasm_close_stream"),
            ("/", "C", "reset 0 via_upstream"),
            ("/", "s", "stalled 504 stream_idle_timeout SI"),
            ("/", "S", "stalled 504 stream_idle_timeout SI"),
            ("/", "T", "trapped 503 wasm_fail_stream"),
        ],
    );
}
