//! The echo: a response that says what was received. The same bytes in the harness and from a server behind a real Envoy.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;

use crate::exchange::Message;
use crate::headers::Headers;

/// What an echo leaves out: framing, which is the connection's affair, and the id that every proxy makes anew.
const LEFT_OUT: &[&[u8]] =
    &[b"connection", b"host", b"keep-alive", b"te", b"transfer-encoding", b"x-request-id"];

/// The body of an echo; the order of the fields is that of the JSON.
#[derive(Serialize)]
struct Received<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<&'a str>,
    method: String,
    path: String,
    authority: String,
    headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    trailers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

/// Answers 200, `content-type: application/json`, with one JSON object of what was received:
///
/// * `method`, `path` (with the query), `authority`: texts;
/// * `headers`: an object of names (lower case, sorted) to values, several lines of a name joined with `,`; without pseudo headers,
///   `connection`, `host`, `keep-alive`, `te`, `transfer-encoding` and `x-request-id`;
/// * `trailers`: in the same form, where there are some;
/// * `body`: the body as a text, or `body_base64` where it is not UTF-8.
///
/// Bytes of values that are no UTF-8 become U+FFFD.
#[must_use]
pub fn echo(request: &Message) -> Message {
    // Cannot fail: a struct of texts.
    answer(serde_json::to_vec(&received(None, request)).unwrap_or_default())
}

/// As [`echo`], with `cluster` as the first field, on lines of its own for a reader.
#[must_use]
pub fn echo_at(cluster: &str, request: &Message) -> Message {
    let mut body = serde_json::to_vec_pretty(&received(Some(cluster), request)).unwrap_or_default();
    body.push(b'\n');
    answer(body)
}

fn answer(body: Vec<u8>) -> Message {
    let mut headers: Headers =
        [(":status", "200"), ("content-type", "application/json")].into_iter().collect();
    headers.push("content-length", body.len().to_string());
    Message { headers, body, ..Message::default() }
}

fn received<'a>(cluster: Option<&'a str>, request: &Message) -> Received<'a> {
    let pseudo = |name: &[u8]| {
        request.headers.get(name).map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
    };
    let (body, body_base64) = match std::str::from_utf8(&request.body) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(BASE64.encode(&request.body))),
    };
    Received {
        cluster,
        method: pseudo(b":method"),
        path: pseudo(b":path"),
        authority: pseudo(b":authority"),
        headers: object(&request.headers),
        trailers: object(&request.trailers),
        body,
        body_base64,
    }
}

fn object(headers: &Headers) -> BTreeMap<String, String> {
    let mut object = BTreeMap::new();
    for (name, _) in headers.iter() {
        if name.first() == Some(&b':') || LEFT_OUT.contains(&name) {
            continue;
        }
        let value = headers.joined(name).unwrap_or_default();
        object
            .insert(String::from_utf8_lossy(name).into_owned(), String::from_utf8_lossy(&value).into_owned());
    }
    object
}
