//! HTTP/2 on both sides of a proxy: gRPC and other traffic of clients, clusters that speak it, trailers, bytes that are no text, failures. What
//! a filter sees of each (callbacks, numbers of headers, ends of streams) and what comes of it is the same in the harness and in a real Envoy.

use std::fs;

use conformance::{run, tools};
use serde_json::json;
use weir_harness::envoy::carry::Carried;
use weir_harness::envoy::compare;
use weir_harness::exchange::{Exchange, Message, Protocol};
use weir_harness::headers::Headers;
use weir_harness::scenario::{Filter, Scenario};

/// Logs each callback: its letter, the number of headers or the size, and whether the stream ends there.
const GUEST: &str = r#"(module
    (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "malloc") (param i32) (result i32) (i32.const 1024))
    (func $say (param $letter i32) (param $number i32) (param $end i32) (result i32)
        (i32.store8 (i32.const 0) (local.get $letter))
        (i32.store8 (i32.const 1) (i32.add (i32.const 48) (i32.div_u (local.get $number) (i32.const 10))))
        (i32.store8 (i32.const 2) (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10))))
        (i32.store8 (i32.const 3) (i32.add (i32.const 48) (local.get $end)))
        (drop (call $log (i32.const 2) (i32.const 0) (i32.const 4)))
        (i32.const 0))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (call $say (i32.const 72) (local.get 1) (local.get 2)))
    (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) (call $say (i32.const 66) (local.get 1) (local.get 2)))
    (func (export "proxy_on_request_trailers") (param i32 i32) (result i32) (call $say (i32.const 84) (local.get 1) (i32.const 1)))
    (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (call $say (i32.const 104) (local.get 1) (local.get 2)))
    (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32) (call $say (i32.const 98) (local.get 1) (local.get 2)))
    (func (export "proxy_on_response_trailers") (param i32 i32) (result i32) (call $say (i32.const 116) (local.get 1) (i32.const 1))))"#;

const CLUSTERS: &str = "
one: {}
two: {protocol: HTTP2}
reset: {protocol: HTTP2, failure: RESET}
refused: {protocol: HTTP2, failure: CONNECT_FAILURE}
silent: {protocol: HTTP2, failure: TIMEOUT}
late: {protocol: HTTP2, latency: 100ms}
cut: {protocol: HTTP2, failure: {type: RESET_IN_BODY, after_bytes: 3}, response: {body: cut off}}
echo: {protocol: HTTP2, echo: true}
hello: {grpc: {messages: [hello, world], trailing_metadata: {x-t: '1'}}}
nope: {grpc: {status: 5, message: no}}
";

const GRPC: [(&str, &str); 2] = [("content-type", "application/grpc"), ("te", "trailers")];

fn message(headers: &[(&str, &str)], body: &[u8], trailers: &[(&str, &str)]) -> Message {
    let block = |lines: &[(&str, &str)]| lines.iter().copied().collect::<Headers>();
    Message { headers: block(headers), body: body.to_vec(), trailers: block(trailers), body_truncated: false }
}

fn exchange(
    name: &str,
    protocol: Protocol,
    to: &str,
    method: &str,
    mut request: Message,
    response: Message,
) -> Exchange {
    let mut headers: Headers = [
        (":method", method),
        (":path", "/a?b=c"),
        (":authority", "example.com"),
        (":scheme", "http"),
        ("x-to", to),
    ]
    .into_iter()
    .collect();
    for (name, value) in request.headers.iter() {
        headers.push(name, value);
    }
    request.headers = headers;
    let mut exchange = Exchange {
        origin: format!("{name} {protocol:?} {to}"),
        request,
        response: Some(response),
        ..Exchange::default()
    };
    exchange.downstream.protocol = protocol;
    exchange
}

/// Requests and responses of each kind.
fn exchanges() -> Vec<Exchange> {
    let ok =
        |body: &[u8], trailers: &[(&str, &str)]| message(&[(":status", "200"), ("x-a", "1")], body, trailers);
    let mut all = Vec::new();
    for protocol in [Protocol::Http11, Protocol::Http2] {
        // A response of an HTTP/1 server says how long it is; what the recording leaves open, the server behind Envoy frames in chunks.
        let framed = |mut response: Message| {
            let open = response.headers.get(b"content-length").is_none();
            if open && response.headers.get(b":status") != Some(b"204") {
                response.headers.push("content-length", response.body.len().to_string());
            }
            response
        };
        for to in ["one", "two", "echo", "reset", "refused", "silent", "late", "cut"] {
            let mut add = |name: &str, method: &str, request: Message, response: Message| {
                let response = if to == "one" { framed(response) } else { response };
                if response.trailers.is_empty() || to != "one" {
                    all.push(exchange(name, protocol, to, method, request, response));
                }
            };
            add("get", "GET", message(&[], b"", &[]), ok(b"hi", &[]));
            add("post", "POST", message(&[], b"abc", &[]), ok(b"", &[]));
            if !matches!(to, "one" | "two" | "echo") {
                continue;
            }
            add(
                "head",
                "HEAD",
                message(&[], b"", &[]),
                message(&[(":status", "200"), ("content-length", "9")], b"", &[]),
            );
            add("empty post", "POST", message(&[], b"", &[]), message(&[(":status", "204")], b"", &[]));
            add(
                "lengths",
                "PUT",
                message(&[("content-length", "3")], b"abc", &[]),
                message(&[(":status", "200"), ("content-length", "2")], b"hi", &[]),
            );
            add(
                "trailers",
                "POST",
                message(&[("te", "trailers")], b"abc", &[("x-t", "1"), ("x-u", "2")]),
                ok(b"hi", &[("x-v", "3")]),
            );
            add("trailers alone", "POST", message(&[], b"", &[("x-t", "1")]), ok(b"", &[("x-v", "3")]));
            let mut bytes = message(&[("x-lines", "1"), ("x-lines", "2")], b"\xff\0", &[]);
            bytes.headers.push("cookie", "a=1");
            bytes.headers.push("cookie", "b=2");
            bytes.headers.push("x-bytes", b"\xff\xfe\x80");
            let mut answer = ok(b"\0\xff", &[]);
            answer.headers.push("x-bytes", b"\x80\xff");
            answer.headers.push("set-cookie", "a=b");
            answer.headers.push("x-b", "2");
            answer.headers.push("set-cookie", "c=d");
            add("bytes", "POST", bytes, answer);
        }
    }
    let frame = b"\0\0\0\0\x02hi";
    for to in ["two", "hello", "nope", "reset", "refused"] {
        let answer = message(
            &[(":status", "200"), ("content-type", "application/grpc")],
            frame,
            &[("grpc-status", "0")],
        );
        all.push(exchange("grpc", Protocol::Http2, to, "POST", message(&GRPC, frame, &[]), answer));
    }
    all
}

#[test]
fn http2_is_carried_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let module = folder.path().join("guest.wasm");
    fs::write(&module, wat::parse_str(GUEST).unwrap()).unwrap();
    let clusters: serde_json::Value = weir_harness::yaml::parse(CLUSTERS).unwrap();
    let route = json!({"match": {"prefix": "/"}, "route": {"cluster_header": "x-to", "timeout": "0.3s"}});
    let scenario: Scenario = serde_json::from_value(json!({
        "filters": [Filter { name: "guest".to_owned(), module: Some(module.display().to_string()), ..Filter::default() }],
        "route_config": {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [route]}]},
        "clusters": clusters,
    }))
    .unwrap();
    let carried = Carried::new(exchanges());
    let left: Vec<_> = carried.left().map(|left| left.what).collect();
    assert_eq!(left, Vec::<String>::new(), "nothing is left behind");
    let exchanges = carried.exchanges;
    let harness = run::in_harness(&scenario, folder.path(), &exchanges).unwrap();
    let statuses: Vec<_> = harness.outcomes.iter().map(|outcome| outcome.end.name()).collect();
    assert!(
        statuses.contains(&"forwarded") && statuses.contains(&"reset") && statuses.contains(&"refused"),
        "{statuses:?}"
    );
    let Some(binary) = tools::envoy_or_skip("http2").unwrap() else { return };
    let envoy = run::in_envoy(binary, &scenario, folder.path(), &exchanges, &harness).unwrap();
    let pairs = harness.outcomes.iter().zip(&envoy.outcomes).zip(&exchanges);
    let wrong: Vec<String> = pairs
        .filter_map(|((ours, theirs), exchange)| {
            Some(format!("{}\n{}", exchange.origin, compare::difference(ours, theirs, true)?))
        })
        .collect();
    if !wrong.is_empty() {
        panic!("{} differ\n{}", wrong.len(), wrong.join("\n"));
    }
}
