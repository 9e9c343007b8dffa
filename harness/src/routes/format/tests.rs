//! Formatters as data.

use serde_json::json;

use super::*;
use crate::exchange::Protocol;
use crate::routes::{Request, RouteTable};

/// What a formatter writes into the request and into the response of one exchange.
#[track_caller]
fn check(format: &str, in_request: &str, in_response: &str) {
    let metadata = json!({"filter_metadata": {"ns": {"k": "v", "n": 1.5, "i": 3.0, "b": true, "l": [1.0, "a"], "o": {"z": "y"}}}});
    let table =
        RouteTable::from_value(&json!({"virtual_hosts": [{"name": "vh", "domains": ["*"], "routes": [
        {"name": "r1", "match": {"prefix": "/"}, "metadata": metadata, "route": {"cluster": "up"}}]}]}))
        .unwrap();
    let request = [
        (":authority", "h:1"),
        (":path", "/m/x?q=1"),
        ("a", "1"),
        ("a", "2"),
        ("x-empty", ""),
        ("x-forwarded-proto", "http"),
    ];
    let request: Headers = request.into_iter().collect();
    let response: Headers = [(":status", "200"), ("x-up", "u1"), ("x-up", "u2")].into_iter().collect();
    let filter_state = [(b"wasm.x".to_vec(), b"hello".to_vec())];
    let route = table.select(&Request { headers: &request, random: 0, filter_state: &filter_state });
    let mut info = Info {
        start_ns: 1_795_444_097_712_585_000,
        protocol: Protocol::Http11,
        source: "9.9.9.9:77".parse().unwrap(),
        destination: "127.0.0.1:10000".parse().unwrap(),
        connection_id: 7,
        route,
        cluster: Some("up".into()),
        ..Info::default()
    };
    let made = Format::parse(format).unwrap();
    let clusters = Clusters::default();
    let (filter_state, clusters) = (&filter_state[..], &clusters);
    let facts = Facts { request: None, info: &info, flags: "", filter_state, clusters };
    let got = String::from_utf8(made.value(&request, &facts).into_owned()).unwrap();
    assert_eq!(got, in_request, "{format} in a request");
    (info.code, info.details) = (Some(200), "via_upstream".to_owned());
    let facts = Facts { request: Some(&request), info: &info, flags: "UH", filter_state, clusters };
    let got = String::from_utf8(made.value(&response, &facts).into_owned()).unwrap();
    assert_eq!(got, in_response, "{format} in a response");
}

/// As a real Envoy 1.40 was seen to write them.
#[test]
fn values() {
    let same = [
        ("", ""),
        ("plain", "plain"),
        ("100%%", "100%"),
        ("a%%b%REQ(a)%", "a%b1"),
        ("%REQ(a)%", "1"),
        ("%REQ(nope)%", ""),
        ("x%REQ(nope)%y", "xy"),
        ("%REQ(nope?a)%", "1"),
        ("%REQ(x-empty?a)%", ""),
        ("%REQ(:path)%", "/m/x?q=1"),
        ("%REQ(X-ENVOY-ORIGINAL-PATH?:PATH):4%", "/m/x"),
        ("%REQ(host)%", "h:1"),
        ("%PROTOCOL%", "HTTP/1.1"),
        ("%DOWNSTREAM_REMOTE_ADDRESS%", "9.9.9.9:77"),
        ("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "9.9.9.9"),
        ("%DOWNSTREAM_REMOTE_PORT%", "77"),
        ("%DOWNSTREAM_LOCAL_ADDRESS%", "127.0.0.1:10000"),
        ("%UPSTREAM_CLUSTER%", "up"),
        ("%START_TIME%", "2026-11-23T14:28:17.712Z"),
        ("%START_TIME(%s)%", "1795444097"),
        ("%START_TIME(%s.%3f)%", "1795444097.712"),
        ("%START_TIME(%Y-%m-%dT%H:%M:%S.%6f%z)%", "2026-11-23T14:28:17.712585+0000"),
        ("%START_TIME(%FT%TZ)%", "2026-11-23T14:28:17Z"),
        ("%ROUTE_NAME%", "r1"),
        ("%CONNECTION_ID%", "7"),
        ("%FILTER_STATE(wasm.x:PLAIN)%", "hello"),
        ("%FILTER_STATE(wasm.x:PLAIN):2%", "he"),
        ("%FILTER_STATE(wasm.y:PLAIN)%", ""),
        ("%METADATA(ROUTE:ns:k)%", "v"),
        ("%METADATA(ROUTE:ns:n)%", "1.5"),
        ("%METADATA(ROUTE:ns:i)%", "3"),
        ("%METADATA(ROUTE:ns:b)%", "true"),
        ("%METADATA(ROUTE:ns:l)%", "[1,\"a\"]"),
        ("%METADATA(ROUTE:ns:o)%", "{\"z\":\"y\"}"),
        ("%METADATA(ROUTE:ns:o:z)%", "y"),
        ("%METADATA(ROUTE:ns:nope)%", ""),
        ("%METADATA(VIRTUAL_HOST:ns:k)%", ""),
        ("%METADATA(CLUSTER:ns:k)%", ""),
    ];
    for (format, want) in same {
        check(format, want, want);
    }
    check("%RESP(x-up)%", "", "u1");
    check("%RESP(:status)%", "", "200");
    check("%RESPONSE_CODE%", "0", "200");
    check("%RESPONSE_CODE_DETAILS%", "", "via_upstream");
    check("%RESPONSE_FLAGS%", "-", "UH");
}

#[test]
fn errors_say_what_is_accepted() {
    let rows = [
        ("100%", "`%`: expected a command"),
        ("%", "`%`: expected a command"),
        ("%REQ(a", "`%REQ(a`: expected a command"),
        ("%REQ(a)", "`%REQ(a)`: expected a command"),
        ("%REQ%", "%REQ% requires parameters"),
        ("%REQ()%", "%REQ% requires parameters"),
        ("%HOSTNAME%", "%HOSTNAME% is not supported by the harness, which knows REQ"),
        ("%NOPE(a)%", "%NOPE% is not supported"),
        ("%PROTOCOL(x)%", "%PROTOCOL% takes no parameters"),
        ("%PROTOCOL:3%", "%PROTOCOL% takes no length"),
        ("%START_TIME(%c)%", "%START_TIME(%c)%: the harness knows"),
        ("%START_TIME(%3x)%", "%START_TIME(%3x)%: the harness knows"),
        ("%FILTER_STATE(wasm.x)%", "%FILTER_STATE(key)% is supported by the harness as PLAIN only"),
        ("%METADATA(LISTENER:a)%", "%METADATA(LISTENER:a)%: the harness knows metadata of"),
        ("%METADATA(ROUTE)%", "%METADATA(ROUTE)%: expected a namespace"),
        ("%é%", "`%é%`: expected a command"),
        ("%REQ(a):99999999999999999999999%", "`%REQ(a):"),
    ];
    for (format, want) in rows {
        let error = Format::parse(format).unwrap_err();
        assert!(error.starts_with(want), "{format}: {error}");
    }
}
