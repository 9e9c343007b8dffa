//! What becomes of requests as they were recorded, as data.

use super::*;

#[track_caller]
fn check(lines: &[(&str, &str)], target: Option<&str>, want: Result<&str, &str>) {
    let known = Known { method: Some(b"GET"), target: target.map(str::as_bytes), ..Known::default() };
    let got = request(Headers::from_iter(lines.iter().copied()), known);
    let got = got.map(|headers| {
        let lines: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{}={}", name.escape_ascii(), value.escape_ascii()))
            .collect();
        lines.join(" ")
    });
    assert_eq!(got.as_deref().map_err(String::as_str), want);
}

#[test]
fn pseudo_headers() {
    let built = ":authority=a.b:8 :path=/x?y :method=GET :scheme=https accept=*";
    check(&[("Accept", "*")], Some("https://a.b:8/x?y#z"), Ok(built));
    check(&[("Accept", "*"), ("Host", "a.b:8")], Some("https://else/x?y"), Ok(built));
    check(&[("host", "h")], Some("/x#frag"), Ok(":authority=h :path=/x :method=GET :scheme=http"));
    check(&[], Some("wss://u:p@h?q"), Ok(":authority=h :path=/?q :method=GET :scheme=https"));
    check(
        &[("x", "1"), (":path", "/p"), (":method", "PUT"), (":authority", "a"), ("host", "b")],
        Some("http://else/"),
        Ok(":path=/p :method=PUT :authority=a :scheme=http x=1"),
    );
    check(
        &[(":path", "http://real/p"), (":authority", "a")],
        None,
        Ok(":path=/p :authority=real :method=GET :scheme=http"),
    );
    check(
        &[("host", "a")],
        Some("/r?to=http://x/#y"),
        Ok(":authority=a :path=/r?to=http://x/ :method=GET :scheme=http"),
    );
    check(&[("host", "a")], Some("*"), Ok(":authority=a :path=* :method=GET :scheme=http"));
    check(
        &[(":method", "CONNECT"), ("x", "y")],
        Some("db:5432"),
        Ok(":method=CONNECT :authority=db:5432 :scheme=http x=y"),
    );
}

#[test]
fn what_cannot_be() {
    check(&[("host", "a")], None, Err("`:path` is missing"));
    check(&[], Some("/"), Err("`:authority` is missing, and there is no `host`"));
    check(&[("host", "")], Some("/"), Err("`:authority` is missing, and there is no `host`"));
    check(&[(":path", "/"), (":path", "/")], None, Err("`:path` is given twice"));
    check(&[("", "x")], None, Err("a header has no name"));
    check(
        &[("x", "a\nb")],
        Some("/"),
        Err("header `x`: its value contains a line feed, which no header can carry"),
    );
    check(
        &[("host", "a")],
        Some("x"),
        Err("`:path` is `x`: expected a path that begins with `/`, or a whole URL"),
    );
}

#[test]
fn spellings_of_the_version() {
    for (text, want) in [
        ("HTTP/1.1", Some(Protocol::Http11)),
        ("http/1.0", Some(Protocol::Http10)),
        ("h2", Some(Protocol::Http2)),
        ("HTTP/2.0", Some(Protocol::Http2)),
        ("http/2+quic/43", Some(Protocol::Http3)),
        ("h3-29", Some(Protocol::Http3)),
        ("unknown", None),
        ("", None),
    ] {
        assert_eq!(protocol(text), want, "{text}");
    }
}
