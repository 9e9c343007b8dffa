//! Records as they are read: every byte comes back, and nothing that must not be told is in them.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::config::Redact;

fn copy(lines: &[(&str, &str)], body: &[u8]) -> Copy {
    Copy { headers: lines.iter().copied().collect(), body: body.to_vec(), ..Copy::default() }
}

fn request() -> Copy {
    copy(&[(":method", "GET"), (":path", "/"), (":authority", "a")], b"")
}

fn answer(lines: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut headers: HeaderMap = [(":status", "200")].into_iter().collect();
    lines.iter().for_each(|(name, value)| headers.push(name, value));
    Answer { status: 200, headers, body: body.to_vec(), ..Answer::default() }
}

#[track_caller]
fn read(line: Result<Vec<u8>, Refused>) -> Value {
    let line = line.expect("a record");
    let (end, line) = line.split_last().expect("a line");
    assert_eq!((*end, line.contains(&b'\n')), (b'\n', false));
    serde_json::from_slice(line).expect("JSON")
}

fn redactor(config: Value) -> Redactor {
    let config: Redact = serde_json::from_value(config).expect("a configuration");
    Redactor::compile(&At::ROOT, &config, &mut Problems::new())
}

#[test]
fn a_whole_exchange() {
    let facts = Facts {
        start_ns: Some(1),
        duration_ns: Some(2),
        aborted: true,
        address: Some(b"[2001:db8::1]:4000".to_vec()),
        protocol: Some(b"HTTP/2".to_vec()),
        connection_id: Some(7),
        tls: true,
        cluster: Some(b"reviews".to_vec()),
    };
    let mut answer = answer(&[("x-raw", "\"\\")], b"\xff\xfe\x00");
    answer.trailers.push("grpc-status", "0");
    let want = json!({
        "weir": 1,
        "start_ns": 1,
        "duration_ns": 2,
        "abort_after_ns": 2,
        "downstream": {"protocol": "HTTP/2", "address": "[2001:db8::1]:4000", "connection_id": 7, "tls": true},
        "request": {"headers": [[":method", "GET"], [":path", "/"], [":authority", "a"]]},
        "response": {
            "headers": [[":status", "200"], ["x-raw", "\"\\"]],
            "body": {"base64": "//4A"},
            "body_truncated": true,
            "trailers": [["grpc-status", "0"]],
        },
        "upstream_cluster": "reviews",
    });
    answer.body_truncated = true;
    assert_eq!(read(line(&facts, &request(), Some(&answer), 100, None)), want);
}

#[test]
fn what_is_not_known_is_left_out() {
    let facts = Facts { address: Some(b"/run/a.sock".to_vec()), ..Facts::default() };
    let read = read(line(&facts, &request(), None, 0, None));
    let want = json!({"weir": 1, "downstream": {"protocol": "HTTP/1.1"}, "request": {"headers": [
        [":method", "GET"], [":path", "/"], [":authority", "a"]]}});
    assert_eq!(read, want);
}

#[test]
fn an_answer_is_cut_and_says_so() {
    let read = read(line(&Facts::default(), &request(), Some(&answer(&[], b"abcd")), 3, None));
    assert_eq!(
        (&read["response"]["body"], &read["response"]["body_truncated"]),
        (&json!("abc"), &json!(true))
    );
}

#[test]
fn answers_are_redacted_or_there_is_no_record() {
    let redact = |more: Value| {
        let mut config = json!({"json": [{"path": "**.token"}]});
        config.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        redactor(config)
    };
    let secret = answer(
        &[("content-type", "application/json"), ("set-cookie", "id=s3cret")],
        br#"{"token": "s3cret", "price": 1}"#,
    );
    let told = |answer: &Answer, limit, more| {
        line(&Facts::default(), &request(), Some(answer), limit, Some(&redact(more)))
    };
    let record = read(told(&secret, 100, json!({})));
    assert!(!record.to_string().contains("s3cret"), "{record}");
    assert!(record["response"]["body"].as_str().is_some_and(|body| body.contains("price")));
    // Only the beginning, compressed, or of an unknown type: nothing says what is in it.
    let refusal = |answer: &Answer, limit| told(answer, limit, json!({})).map_err(|refused| refused.detail);
    assert_eq!(refusal(&secret, 10), Err(Some("truncated")));
    let zipped = answer(&[("content-type", "application/json"), ("content-encoding", "gzip")], b"s3cret");
    assert_eq!(refusal(&zipped, 100), Err(Some("encoded")));
    assert_eq!(refusal(&answer(&[], b"s3cret"), 100), Err(Some("content_type")));
    let dropped = read(told(&zipped, 100, json!({"unreadable_body": "DROP_BODY"})));
    let response = &dropped["response"];
    assert_eq!((response.get("body"), &response["body_truncated"]), (None, &json!(true)));
}

/// The bytes of a text, or of `{"base64": …}`.
fn decoded(value: &Value) -> Vec<u8> {
    if let Some(text) = value.as_str() {
        return text.as_bytes().to_vec();
    }
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let text = value["base64"].as_str().expect("base64");
    assert_eq!(text.len() % 4, 0);
    let bits: Vec<bool> = text
        .trim_end_matches('=')
        .bytes()
        .flat_map(|byte| (0..6).rev().map(move |bit| digit(byte) >> bit & 1 == 1))
        .collect();
    bits.chunks_exact(8).map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit))).collect()
}

proptest! {
    #[test]
    fn every_byte_comes_back(
        body in proptest::collection::vec(any::<u8>(), 1..200),
        text in "\\PC{0,20}[\\x00-\\x1f\"\\\\]{0,5}",
        value in proptest::collection::vec(any::<u8>(), 0..30),
    ) {
        let mut request = request();
        request.headers.push("x-value", &value);
        request.headers.push("x-text", &text);
        request.body = body.clone();
        let mut answer = answer(&[], text.as_bytes());
        answer.trailers.push("x-value", &value);
        let read = read(line(&Facts::default(), &request, Some(&answer), usize::MAX, None));
        prop_assert_eq!(decoded(&read["request"]["body"]), body);
        prop_assert_eq!(decoded(&read["request"]["headers"][3][1]), value.clone());
        prop_assert_eq!(decoded(&read["request"]["headers"][4][1]), text.as_bytes());
        prop_assert_eq!(decoded(&read["response"]["trailers"][0][1]), value);
        if !text.is_empty() {
            prop_assert_eq!(decoded(&read["response"]["body"]), text.as_bytes());
        }
    }
}
