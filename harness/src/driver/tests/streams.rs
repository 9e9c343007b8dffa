//! Headers, bodies, pausing, local replies, callouts.

use super::*;
use crate::headers::Headers;

const REQUEST: &str = "func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32)";
const RESPONSE: &str = "func (export \"proxy_on_response_headers\") (param i32 i32 i32) (result i32)";
const BODY: &str = "func (export \"proxy_on_request_body\") (param i32 i32 i32) (result i32)";
const ANSWER: &str = "func (export \"proxy_on_response_body\") (param i32 i32 i32) (result i32)";

/// A pairs block with the three headers that a call needs.
const CALL: &str = "\"\\03\\00\\00\\00\\07\\00\\00\\00\\03\\00\\00\\00\\05\\00\\00\\00\\01\\00\\00\\00\\0a\\00\\00\\00\\01\\00\\00\\00:method\\00GET\\00:path\\00/\\00:authority\\00a\\00\"";

fn header<'a>(message: &'a Option<Message>, name: &str) -> Option<&'a str> {
    message.as_ref()?.headers.get(name.as_bytes()).and_then(|value| std::str::from_utf8(value).ok())
}

#[test]
fn hdr_01_a_map_goes_out_of_reach_when_the_filter_continues() {
    let code = format!(
        "({BODY} (call $say (call $add (i32.const 0) \"x\" \"y\")) (call $say (call $pairs (i32.const 0) (i32.const 16) (i32.const 20)))
            (call $say (i32.load (i32.const 20))) (i32.const 0))
        ({REQUEST} (call $say (call $add (i32.const 0) \"x\" \"y\")) (i32.const 0))"
    );
    check("HDR-01", &code, End::Forwarded, 200, "0 2 0 0 2 0 0");
}

#[test]
fn hdr_05_and_06_absent_keys_and_maps() {
    let code = format!(
        "({REQUEST} (call $say (call $get_ (i32.const 0) \"none\" (i32.const 16) (i32.const 20)))
            (call $say (call $get_ (i32.const 2) \"a\" (i32.const 16) (i32.const 20)))
            (call $say (call $get_ (i32.const 9) \"a\" (i32.const 16) (i32.const 20)))
            (call $say (call $pairs (i32.const 9) (i32.const 16) (i32.const 20)))
            (call $show (call $get_ (i32.const 0) \"HOST\" (i32.const 16) (i32.const 20))) (i32.const 0))"
    );
    check("HDR-05, HDR-06, HDR-12", &code, End::Forwarded, 200, "1 2 2 2 host");
}

#[test]
fn hdr_11_broken_pairs_delete_everything_so_no_route_is_found() {
    let code = format!("({REQUEST} (call $say (call $set_pairs (i32.const 0) \"bad\")) (i32.const 0))");
    let outcome = check("HDR-11, HDR-42", &code, End::Refused, 404, "0");
    assert_eq!((outcome.details.as_str(), outcome.flags.as_str()), ("route_not_found", "NR"));
}

#[test]
fn hdr_40_and_41_the_route_is_chosen_again_behind_the_filters() {
    let code = format!(
        "({REQUEST} (drop (call $replace (i32.const 0) \"x-go\" \"blue\"))
            (call $show (call $property \"xds\\00route_name\" (i32.const 16) (i32.const 20))) (i32.const 0))"
    );
    let outcome = check("HDR-40, HDR-41", &code, End::Forwarded, 200, "green");
    assert_eq!((outcome.route.as_deref(), outcome.cluster.as_deref()), (Some("blue"), Some("blue")));
}

#[test]
fn hdr_42_without_x_forwarded_proto_there_is_no_route() {
    let code = format!("({REQUEST} (drop (call $remove (i32.const 0) \"x-forwarded-proto\")) (i32.const 0))");
    check("HDR-42", &code, End::Refused, 404, "");
}

#[test]
fn hdr_29_a_request_needs_a_method() {
    let code = format!("({REQUEST} (drop (call $remove (i32.const 0) \":method\")) (i32.const 0))");
    let outcome = check("HDR-29", &code, End::Refused, 503, "");
    let details = "filter_removed_required_request_headers{missing_required_header:_:method}";
    assert_eq!((outcome.details.as_str(), outcome.flags.as_str()), (details, "DPE"));
}

#[test]
fn flow_28_grpc_is_what_the_client_asked_not_what_the_filter_left() {
    let code = format!("({REQUEST} (call $say (call $set_pairs (i32.const 0) \"bad\")) (i32.const 0))");
    let mut replay = start(vec![plugin(&code)]);
    let mut grpc = exchange();
    grpc.request.headers.push("content-type", "application/grpc");
    let outcome = replay.exchange(&grpc);
    verify("FLOW-28, HDR-11", &outcome, End::Refused, 200, "0");
    assert_eq!(header(&outcome.response, "grpc-status"), Some("12"));
}

#[test]
fn hdr_29_a_response_needs_a_status() {
    let code = format!("({RESPONSE} (drop (call $remove (i32.const 2) \":status\")) (i32.const 0))");
    check("HDR-29", &code, End::Forwarded, 502, "");
}

#[test]
fn body_01_and_02_return_values() {
    let size = "(call $say (local.get 1)) (call $say (local.get 2))";
    let rows = [
        (0, "5 0 0 1", "hello"),
        // Buffered, then the callback sees all.
        (1, "5 0 5 1", "hello"),
        // Held, but the callback sees the new data only.
        (2, "5 0 0 1", "hello"),
        // Dropped.
        (3, "5 0 0 1", ""),
    ];
    for (status, log, body) in rows {
        let code = format!("({BODY} {size} (select (i32.const 0) (i32.const {status}) (local.get 2)))");
        let outcome = check(&format!("BODY-02 {status}"), &code, End::Forwarded, 200, log);
        assert_eq!(outcome.upstream_request.unwrap().body, body.as_bytes(), "BODY-02 {status}");
    }
}

#[test]
fn body_04_held_at_the_end_is_held_for_ever() {
    let code = format!("({BODY} (i32.const 1))");
    let outcome = check("BODY-04, FLOW-30", &code, End::Stalled, 504, "");
    assert_eq!((outcome.details.as_str(), outcome.delay), ("stream_idle_timeout", Duration::from_secs(300)));
}

#[test]
fn body_07_writing_into_a_buffer() {
    let rows = [
        ("(i32.const 0) (i32.const 0)", "XYhello", "0"),
        ("(i32.const 0) (i32.const 5)", "XY", "0"),
        ("(i32.const 0) (i32.const 2)", "XYllo", "0"),
        ("(i32.const 5) (i32.const 0)", "helloXY", "0"),
        ("(i32.const 2) (i32.const 1)", "hello", "2"),
    ];
    for (range, body, log) in rows {
        let code = format!(
            "({BODY} (if (local.get 1) (then (call $say (call $set_body (i32.const 0) {range} \"XY\")))) (i32.const 0))"
        );
        let outcome = check(&format!("BODY-07 {range}"), &code, End::Forwarded, 200, log);
        assert_eq!(outcome.upstream_request.unwrap().body, body.as_bytes(), "BODY-07 {range}");
    }
    let code = format!(
        "({REQUEST} (call $say (call $set_body (i32.const 0) (i32.const 0) (i32.const 0) \"XY\")) (i32.const 0))"
    );
    check("BODY-07 in a headers callback", &code, End::Forwarded, 200, "2");
}

#[test]
fn body_12_too_much_buffered_is_413() {
    let mut large = exchange();
    large.request.body = vec![b'x'; (1 << 20) + 1];
    let outcome = start(vec![plugin(&format!("({BODY} (i32.const 1))"))]).exchange(&large);
    verify("BODY-12", &outcome, End::Refused, 413, "");
    large.request.body.pop();
    let outcome =
        start(vec![plugin(&format!("({BODY} (select (i32.const 0) (i32.const 1) (local.get 2)))"))])
            .exchange(&large);
    verify("BODY-12 at the limit", &outcome, End::Forwarded, 200, "");
}

#[test]
fn body_13_too_much_of_a_response() {
    let mut large = exchange();
    large.response.as_mut().unwrap().body = vec![b'x'; (1 << 20) + 1];
    let hold = format!("({ANSWER} (i32.const 1))");
    let outcome = start(vec![plugin(&hold)]).exchange(&large);
    verify("BODY-13 after the headers", &outcome, End::Refused, 200, "");
    assert!(outcome.response.unwrap().body_truncated);
    let mut holding = plugin(&format!("({RESPONSE} (call $log \"once\") (i32.const 1)) {hold}"));
    holding.allow_on_headers_stop_iteration = true;
    let outcome = start(vec![holding]).exchange(&large);
    verify("BODY-13 before the headers", &outcome, End::Refused, 500, "once");
    assert_eq!(outcome.details, "response_payload_too_large");
    assert_eq!(outcome.response.unwrap().body, b"Internal Server Error");
}

#[test]
fn body_14_and_15_what_the_limit_is_for() {
    let mut large = exchange();
    large.request.body = vec![b'x'; 2 << 20];
    let code = format!(
        "({REQUEST} (drop (call $tick (i32.const 1000))) (global.set $stream (local.get 0)) (i32.const 1))
        (global $stream (mut i32) (i32.const 0))
        (func (export \"proxy_on_tick\") (param i32)
            (drop (call $effective (global.get $stream))) (drop (call $continue (i32.const 0))))"
    );
    let outcome = start(vec![plugin(&code)]).exchange(&large);
    verify("BODY-14 paused headers push the client back", &outcome, End::Forwarded, 200, "");
    assert_eq!(outcome.upstream_request.unwrap().body.len(), 2 << 20);
    large.request.body = vec![b'x'; 1 << 20];
    let code = format!(
        "({BODY} (drop (call $set_body (i32.const 0) (i32.const 0) (i32.const 0) \"XY\")) (i32.const 1))"
    );
    let outcome = start(vec![plugin(&code)]).exchange(&large);
    verify("BODY-15 what a filter adds counts", &outcome, End::Refused, 413, "");
    assert_eq!(outcome.details, "request_payload_too_large");
}

#[test]
fn hdr_26_the_upstream_codec_refuses_what_it_cannot_send() {
    let rows = [
        ("\"bad name\" \"v\"", 503, "invalid header name: bad name", "invalid_header_name:_bad_name"),
        (
            "\"x-nl\" \"a\\0d\\0ab: c\"",
            503,
            "invalid header value for: x-nl",
            "invalid_header_value_for:_x-nl",
        ),
        ("\":bogus\" \"v\"", 200, "hi", ""),
        ("\"\" \"v\"", 200, "hi", ""),
    ];
    for (line, status, body, reason) in rows {
        let code = format!("({REQUEST} (drop (call $add (i32.const 0) {line})) (i32.const 0))");
        let outcome = start(vec![plugin(&code)]).exchange(&exchange());
        let got = outcome.response.as_ref().and_then(|response| crate::host::status(&response.headers));
        assert_eq!(got, Some(status), "HDR-26 {line}");
        assert_eq!(outcome.response.unwrap().body, body.as_bytes(), "HDR-26 {line}");
        if status == 503 {
            let details = format!("filter_removed_required_request_headers{{{reason}}}");
            assert_eq!((outcome.details, outcome.flags.as_str()), (details, "DPE"), "HDR-26 {line}");
            assert!(outcome.upstream_request.is_none(), "HDR-26 {line}");
        } else {
            let sent = outcome.upstream_request.unwrap().headers;
            assert_eq!(sent.get(b":bogus"), None, "HDR-26 {line}");
        }
    }
}

#[test]
fn flow_01_return_values_of_headers() {
    for (status, end) in
        [(0, End::Forwarded), (1, End::Stalled), (2, End::Forwarded), (3, End::Stalled), (9, End::Stalled)]
    {
        let code = format!("({REQUEST} (i32.const {status}))");
        let outcome = start(vec![plugin(&code)]).exchange(&exchange());
        assert_eq!(outcome.end, end, "FLOW-01 {status}");
    }
}

#[test]
fn flow_02_body_callbacks_release_the_headers() {
    let code = format!("({REQUEST} (i32.const 1)) ({BODY} (call $say (local.get 1)) (i32.const 0))");
    let mut plugin = plugin(&code);
    plugin.allow_on_headers_stop_iteration = true;
    let outcome = start(vec![plugin]).exchange(&exchange());
    verify("FLOW-02", &outcome, End::Forwarded, 200, "5 0");
    assert_eq!(outcome.upstream_request.unwrap().body, b"hello");
}

#[test]
fn flow_14_continue_and_pause_leaves_the_body_behind() {
    let code = format!("({REQUEST} (call $say (call $continue (i32.const 0))) (i32.const 1))");
    check("FLOW-14 with a body", &code, End::Stalled, 504, "0");
    let mut get = exchange();
    get.request.body.clear();
    let outcome = start(vec![plugin(&code)]).exchange(&get);
    verify("FLOW-14 without a body", &outcome, End::Forwarded, 200, "0");
}

#[test]
fn flow_17_stream_types() {
    let code = format!(
        "({REQUEST} (call $say (call $continue (i32.const 2))) (call $say (call $continue (i32.const 3)))
            (call $say (call $continue (i32.const 4))) (call $say (call $close (i32.const 3)))
            (call $say (call $close (i32.const 4))) (i32.const 0))"
    );
    check("FLOW-17", &code, End::Forwarded, 200, "0 < 2 0 2");
}

#[test]
fn flow_20_closing_resets() {
    let outcome = check(
        "FLOW-20",
        &format!("({REQUEST} (call $say (call $close (i32.const 0))) (i32.const 0))"),
        End::Reset,
        0,
        "0",
    );
    assert_eq!(outcome.details, "wasm_close_stream");
    let code = format!("({ANSWER} (drop (call $close (i32.const 1))) (i32.const 0))");
    let outcome = check("FLOW-20 after the headers", &code, End::Reset, 200, "");
    assert_eq!((outcome.details.as_str(), outcome.response.unwrap().body_truncated), ("via_upstream", true));
}

const SEND: &str = "(drop (call $send (i32.const 418) \"my details\" \"tea\" \"\" (i32.const -1)))";

#[test]
fn flow_22_a_reply_passes_the_filters_in_front() {
    let reply = format!("({REQUEST} {SEND} (i32.const 0)) ({RESPONSE} (call $log \"own\") (i32.const 0))");
    let front = format!("({RESPONSE} (call $log \"front\") (i32.const 0))");
    let back = format!("({RESPONSE} (call $log \"back\") (i32.const 0))");
    let plugins = [front, reply, back].iter().map(|code| plugin(code)).collect();
    let outcome = start(plugins).exchange(&exchange());
    verify("FLOW-22", &outcome, End::LocalReply, 418, "own front");
    assert_eq!(outcome.details, "my_details", "FLOW-24");
    let names: Vec<_> =
        outcome.response.as_ref().unwrap().headers.iter().map(|(name, _)| name.to_vec()).collect();
    assert_eq!(
        names,
        ["status", "content-length", "content-type", "date", "server"]
            .map(|name| { if name == "status" { b":status".to_vec() } else { name.as_bytes().to_vec() } }),
        "FLOW-23"
    );
    assert_eq!(outcome.response.unwrap().body, b"tea");
}

#[test]
fn flow_25_and_26_replies_in_the_response() {
    let code = format!("({RESPONSE} (call $log \"once\") {SEND} (i32.const 0))");
    let outcome = check("FLOW-25", &code, End::LocalReply, 418, "once");
    assert_eq!(outcome.response.unwrap().body, b"tea");
    let outcome = check("FLOW-26", &format!("({ANSWER} {SEND} (i32.const 0))"), End::LocalReply, 200, "");
    assert!(outcome.response.unwrap().body_truncated);
}

#[test]
fn flow_29_grpc_replies() {
    let mut grpc = exchange();
    grpc.request.headers.push("content-type", "application/grpc");
    let code = format!(
        "({REQUEST} (drop (call $send (i32.const 403) \"\" \"no way\" \"\" (i32.const -1))) (i32.const 0))"
    );
    let outcome = start(vec![plugin(&code)]).exchange(&grpc);
    verify("FLOW-29", &outcome, End::LocalReply, 200, "");
    assert_eq!(header(&outcome.response, "grpc-status"), Some("7"));
    assert_eq!(header(&outcome.response, "grpc-message"), Some("no way"));
}

#[test]
fn call_05_the_answer_comes_to_the_root() {
    let code = format!(
        "(global $stream (mut i32) (i32.const 0))
        ({REQUEST} (global.set $stream (local.get 0))
            (call $say (call $call \"auth\" {CALL} \"\" \"\" (i32.const 100) (i32.const 40))) (call $say (i32.load (i32.const 40))) (i32.const 1))
        (func (export \"proxy_on_http_call_response\") (param i32 i32 i32 i32 i32)
            (call $say (local.get 0)) (call $say (local.get 1)) (call $say (local.get 3))
            (call $show (call $get_ (i32.const 6) \":status\" (i32.const 16) (i32.const 20)))
            (call $show (call $body (i32.const 4) (i32.const 0) (i32.const 99) (i32.const 16) (i32.const 20)))
            (call $say (call $continue (i32.const 0)))
            (call $say (call $effective (global.get $stream))) (call $say (call $continue (i32.const 0))))"
    );
    let outcome =
        check("CALL-03, CALL-05, FLOW-16", &code, End::Forwarded, 200, "0 4 1 4 6 201 answer 0 0 0");
    let callout = &outcome.callouts[0];
    assert_eq!((callout.cluster.as_str(), callout.status), ("auth", Some(201)));
    let sent: Headers = [
        (":method", "GET"),
        (":path", "/"),
        (":authority", "a"),
        ("x-envoy-internal", "true"),
        ("x-envoy-expected-rq-timeout-ms", "100"),
    ]
    .into_iter()
    .collect();
    assert_eq!(callout.request.headers, sent, "CALL-04");
}

#[test]
fn call_01_calls_that_are_refused() {
    let rows = [
        (format!("\"none\" {CALL} \"\" \"\" (i32.const 1)"), "2"),
        (format!("\"\" {CALL} \"\" \"\" (i32.const 1)"), "2"),
        ("\"auth\" \"bad\" \"\" \"\" (i32.const 1)".to_owned(), "2"),
        (format!("\"auth\" {CALL} \"\" \"\" (i32.const -1)"), "2"),
        (format!("\"dead\" {CALL} \"\" \"\" (i32.const 1)"), ":"),
    ];
    for (arguments, log) in rows {
        let code = format!("({REQUEST} (call $say (call $call {arguments} (i32.const 40))) (i32.const 0))");
        check(&format!("CALL-01 {arguments}"), &code, End::Forwarded, 200, log);
    }
}
