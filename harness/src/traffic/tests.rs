//! Whole recordings through the public interface: what is lossless, what is said about broken ones, that nothing panics or grows.

mod broken;
mod hostile;
mod lossless;
mod real;

use super::*;

/// Reads a recording from memory: what is whole, and what is said about the rest.
fn read_all(bytes: &[u8]) -> (Vec<Exchange>, Vec<String>) {
    let mut exchanges = Vec::new();
    let mut errors = Vec::new();
    match read("r", std::io::Cursor::new(bytes.to_vec()), &Options::default()) {
        Ok(recording) => {
            for (index, item) in recording.enumerate() {
                assert!(index <= bytes.len(), "more items than bytes");
                match item {
                    Ok(exchange) => exchanges.push(exchange),
                    Err(error) => errors.push(error.to_string()),
                }
            }
        }
        Err(error) => errors.push(error.to_string()),
    }
    (exchanges, errors)
}

/// Which of [`samples`] is the streamed tap.
const STREAMED: usize = 3;

/// Small recordings, one of each format, each of three exchanges that `GET /1`, `/2` and `/3`.
fn samples() -> Vec<(&'static str, String)> {
    let each = |line: fn(u32) -> String, between: &str| [1, 2, 3].map(line).join(between);
    let har = each(har_entry, ",\n");
    let envoy = each(
        |n| {
            format!(
                r#"[2026-11-23T13:00:18.00{n}Z] "GET /{n} HTTP/1.1" 200 - 0 5 45 1 "-" "curl" "3be6" "h" "127.0.0.1:80""#
            )
        },
        "\n",
    );
    let json = each(
        |n| {
            format!(
                r#"{{"method":"GET","path":"/{n}","authority":"h","response_code":200,"start_time":"2026-11-23T13:00:18Z"}}"#
            )
        },
        "\n",
    );
    let jsonl = each(
        |n| {
            format!(
                r#"{{"weir":1,"request":{{"headers":[[":method","GET"],[":path","/{n}"],[":authority","h"],["x","é"]],"body":{{"base64":"/w=="}}}},"response":{{"headers":[[":status","200"]],"body":"b\n"}}}}"#
            )
        },
        "\n",
    );
    vec![
        (
            "har",
            format!(
                r#"{{"log":{{"version":"1.2","pages":[{{"id":"]}}"}}],"entries":[{har}],"comment":"\"]}}"}}}}"#
            ),
        ),
        ("tap", each(tap_trace, "\n") + "\n"),
        ("tap", format!("[{}]", each(tap_trace, ",\n "))),
        ("tap", each(streamed_trace, "")),
        ("access-log", envoy + "\n"),
        ("access-log-json", json + "\n"),
        ("jsonl", jsonl + "\n"),
    ]
}

fn har_entry(n: u32) -> String {
    format!(
        r#"{{"startedDateTime":"2026-11-23T13:00:18.00{n}+01:00","time":1.5,"request":{{"method":"GET","url":"https://h/{n}#f","httpVersion":"h2","headers":[{{"name":"Accept","value":"*/*"}}],"cookies":[{{"name":"a","value":"b"}}]}},"response":{{"status":200,"headers":[{{"name":"Content-Encoding","value":"gzip"}},{{"name":"Content-Length","value":"999"}}],"content":{{"text":"aGk=","encoding":"base64"}}}}}}"#
    )
}

fn tap_trace(n: u32) -> String {
    format!(
        "{{\n \"http_buffered_trace\": {{\n  \"request\": {{\n   \"headers\": [\n    {{\"key\": \":method\", \"value\": \"GET\"}}, {{\"key\": \":path\", \"value\": \"/{n}\"}}, {{\"key\": \":authority\", \"value\": \"h\"}}],\n   \"body\": {{\"as_bytes\": \"aGk=\", \"truncated\": true}}, \"headers_received_time\": \"2026-11-23T13:00:18.00{n}Z\"\n  }},\n  \"response\": {{\"headers\": [{{\"key\": \":status\", \"raw_value\": \"MjAw\"}}], \"body\": {{\"as_string\": \"{{\\n\"}}}}\n }}\n}}"
    )
}

fn streamed_trace(n: u32) -> String {
    let segment =
        |rest: &str| format!("{{\"http_streamed_trace_segment\": {{\"trace_id\": \"{n}\", {rest}}}}}\n");
    [
        format!(r#""request_headers": {{"headers": [{{"key": ":method", "value": "GET"}}, {{"key": ":path", "value": "/{n}"}}, {{"key": ":authority", "value": "h"}}]}}"#),
        r#""request_body_chunk": {"as_string": "a"}"#.to_owned(),
        r#""request_body_chunk": {"as_string": "b"}"#.to_owned(),
        r#""response_headers": {"headers": [{"key": ":status", "value": "200"}]}"#.to_owned(),
        r#""response_trailers": {"headers": [{"key": "t", "value": "v"}]}"#.to_owned(),
    ]
    .iter()
    .map(|rest| segment(rest))
    .collect()
}

/// The paths of exchanges, to tell which they are.
fn paths(exchanges: &[Exchange]) -> Vec<String> {
    let path = |exchange: &Exchange| {
        String::from_utf8_lossy(exchange.request.headers.get(b":path").unwrap()).into_owned()
    };
    exchanges.iter().map(path).collect()
}
