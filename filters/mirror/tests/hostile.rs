//! The whole filter on the host in memory, with clients that do their worst: what must stay behind is in no callout, whatever it is wrapped in
//! and wherever its chunks end; and the primary never waits.

use mirror::Mirror;
use serde_json::{Value, json};
use weir_sdk::testing::{Host, Outcome};

/// What must stay behind: in JSON and forms under `password`, in the query under `token`, in credentials, and as a card's number.
const SECRET: &str = "s3cr3t";
const CARD: &str = "4111111111111111";

fn config(unreadable_body: &str) -> Value {
    json!({"targets": [{
        "cluster": "shadow", "name": "t", "methods": ["*"], "body": {"max_bytes": 4096, "over_limit": "TRUNCATE"},
        "redact": {
            "query": [{"key": "token"}], "form": [{"key": "password"}], "json": [{"path": "**.password"}],
            "path_segments": [{"after": "reset"}], "patterns": [{"find": {"card_number": {}}}, {"find": {"credentials": {}}}],
            "unreadable_body": unreadable_body
        }
    }]})
}

/// How a body may come.
struct Hostile {
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// Whether a copy of it leaves.
    sent: bool,
}

fn typed(kind: &str, body: impl Into<Vec<u8>>, sent: bool) -> Hostile {
    Hostile { headers: vec![("content-type", kind.to_owned())], body: body.into(), sent }
}

fn hostile() -> Vec<Hostile> {
    let json = |body: &str, sent: bool| typed("application/json", body, sent);
    let utf16: Vec<u8> = "{\"password\":\"s3cr3t\"}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let long = format!("{{\"a\":\"{}\",\"password\":\"s3cr3t\"}}", "x".repeat(5000));
    let cut = format!("{{\"password\":\"s3cr3t\",\"a\":\"{}\"}}", "x".repeat(5000));
    let deep = format!("{}\"password\":\"s3cr3t\"{}", "{\"a\":".repeat(200) + "{", "}".repeat(201));
    let mut all = vec![
        json(r#"{"user":{"password":"s3cr3t","name":"jack"}}"#, true),
        json(r#"{"p\u0061ssword":"s3cr3t"}"#, true),
        json(r#"{"PASSWORD":["s3cr3t"],"password":{"x":"s3cr3t"},"pa\u017f\u017fword":"s3cr3t"}"#, true),
        json(r#"{"password":1,"password":"s3cr3t"}"#, true),
        json(r#"[{"a":"{\"password\":\"s3cr3t\"}"}]"#, true),
        json(r#"{"a":"{\"b\":\"{\\\"pass\\u0077ord\\\":\\\"s3cr3t\\\"}\"}"}"#, true),
        json(r#"{"card":4111111111111111}"#, true),
        json(r#"{"card":4.111111111111111e15}"#, true),
        json(r#"{"card":"\u0034111 1111-1111 1111"}"#, true),
        json(r#"{"4111111111111111":true}"#, true),
        json(r#"{"url":"https://bob:s3cr3t@host/?token=s3cr3t"}"#, true),
        json(r#"{"url":"https%3A%2F%2Fhost%2F%3Ftoken%3Ds3cr3t"}"#, true),
        json(r#"{"password":"s3cr3t""#, false),
        json(r#"{'password':'s3cr3t'}"#, false),
        json(r#"{"password":"s3cr3t",}"#, false),
        json("/**/{\"password\":\"s3cr3t\"}", false),
        json(r#"{"a":"{password:'s3cr3t'}"}"#, false),
        json("\u{feff}{\"password\":\"s3cr3t\"}", false),
        json("password=s3cr3t", false),
        json(&deep, false),
        json(&long, false),
        json(&cut, false),
        typed("application/json", utf16.clone(), false),
        typed("application/json; charset=utf-16le", utf16, false),
        typed("text/plain", r#"{"password":"s3cr3t"}"#, false),
        typed("application/grpc", b"\0\0\0\0\x08\x0a\x06s3cr3t".as_slice(), false),
        typed("application/json, text/plain", r#"{"password":"s3cr3t"}"#, false),
        typed("application/problem+json", r#"{"password":"s3cr3t"}"#, true),
        typed("application/x-www-form-urlencoded", "a=1&p%61ssword=s3cr3t", true),
        typed("application/x-www-form-urlencoded", "user%5Bpassword%5D=s3cr3t;x", true),
        typed("application/x-www-form-urlencoded", "payload=%7B%22password%22%3A%22s3cr3t%22%7D", true),
        typed("application/x-www-form-urlencoded", r#"{"password":"s3cr3t"}"#, false),
        typed(
            "multipart/form-data; boundary=b",
            "--b\r\ncontent-disposition: form-data; name=\"password\"\r\n\r\ns3cr3t\r\n--b--\r\n",
            true,
        ),
        typed(
            "multipart/form-data; boundary=b",
            "--b\r\ncontent-disposition: form-data; name=password\r\n\r\ns3cr3t\r\n--b--\r\n",
            false,
        ),
        typed("multipart/form-data; boundary=b", "s3cr3t--b--\r\n", false),
        Hostile { headers: vec![], body: br#"{"password":"s3cr3t"}"#.to_vec(), sent: false },
    ];
    for (name, value) in
        [("content-encoding", "gzip"), ("content-type", "text/plain"), ("Content-Encoding", "x, identity")]
    {
        let mut twice = json(r#"{"password":"s3cr3t"}"#, false);
        twice.headers.push((name, value.to_owned()));
        all.push(twice);
    }
    all
}

/// Headers of each request, with secrets of their own.
fn request(hostile: &Hostile) -> Vec<(String, String)> {
    let mut lines: Vec<(String, String)> = [
        (":method", "POST"),
        (":path", "/reset/s3cr3t/x?a=4111+1111+1111+1111&t%6fken=s3cr3t;y&next=%2F%3Ftoken%3Ds3cr3t"),
        (":authority", "bob:s3cr3t@orders"),
        ("authorization", "Bearer s3cr3t-s3cr3t"),
        ("Cookie", "a=s3cr3t"),
        ("cookie", "b=s3cr3t"),
        ("X-Api-Key", "s3cr3t"),
        ("referer", "https://host/?a=1&TOKEN=s3cr3t"),
        ("x-forwarded-client-cert", "Hash=s3cr3t"),
        ("x-note", "card 4111-1111-1111-1111, Bearer s3cr3t-s3cr3t"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    lines.extend(hostile.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    lines
}

#[track_caller]
fn check(unreadable_body: &str) {
    for hostile in hostile() {
        let said = String::from_utf8_lossy(&hostile.body).into_owned();
        for chunks in [1, 2, 3, 7, usize::MAX] {
            let mut host = Host::new();
            let plugin = host.plugin::<Mirror>(config(unreadable_body)).expect("accepted");
            let mut stream = plugin.stream();
            stream.set_attribute(&["xds", "cluster_name"], "primary");
            assert_eq!(stream.request_headers(&request(&hostile)).outcome, Outcome::Continued);
            for chunk in hostile.body.chunks((hostile.body.len() / chunks).max(1)) {
                assert_eq!(stream.request_body(chunk, false).outcome, Outcome::Continued);
            }
            assert_eq!(stream.seen_request().body, hostile.body, "the primary gets what was sent");
            stream.request_trailers(&[("x-sum", "1"), ("authorization", "s3cr3t"), ("x-card", CARD)]);
            stream.response(&[(":status", "200")]);
            stream.end();
            let callouts = host.callouts();
            let expected = hostile.sent || unreadable_body == "DROP_BODY";
            assert_eq!(callouts.len(), usize::from(expected), "{said}");
            for callout in callouts {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let blocks = callout.headers.iter().chain(&callout.trailers);
                let mut parts: Vec<String> =
                    blocks.map(|(name, value)| format!("{name}: {}", text(value.as_slice()))).collect();
                assert!(parts.iter().any(|line| line.starts_with(":path: /reset/redacted/x?")), "{parts:?}");
                parts.push(text(callout.body.as_slice()));
                for part in &parts {
                    let digits: String = part.chars().filter(char::is_ascii_digit).collect();
                    assert!(!part.contains(SECRET) && !digits.contains(CARD), "told in {part}\nof {said}");
                }
            }
            let log: Vec<String> = host.log().into_iter().map(|line| line.text).collect();
            assert!(!log.iter().any(|line| line.contains(SECRET) || line.contains(CARD)), "{log:?}");
        }
    }
}

#[test]
fn what_must_stay_behind_is_in_no_callout() {
    check("REFUSE");
}

#[test]
fn without_its_body_a_copy_tells_no_more() {
    check("DROP_BODY");
}
