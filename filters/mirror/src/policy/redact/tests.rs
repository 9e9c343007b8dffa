//! Redaction as data: a configuration, what is copied, and what may be told of it.

mod hostile;

use serde_json::{Value, json};
use weir_sdk::{Problems, parse};

use super::*;

#[track_caller]
fn redactor(config: &Value) -> Redactor {
    let config: Redact = parse(Some(config.to_string().as_bytes())).expect("well-formed");
    let mut problems = Problems::new();
    let redactor = Redactor::compile(&weir_sdk::At::of("redact"), &config, &mut problems);
    assert_eq!(problems.finish().map_err(|error| error.to_string()), Ok(()));
    redactor
}

fn copy(lines: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Copy {
    Copy { headers: lines.iter().copied().collect(), body: body.into(), ..Copy::default() }
}

fn lines(headers: &HeaderMap) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    headers.iter().map(|(name, value)| format!("{}: {}", text(name), text(value))).collect()
}

/// One header after redaction; empty when it went.
#[track_caller]
fn header(config: Value, name: &str, value: &str, expected: &str) {
    let mut copy = copy(&[(name, value)], "");
    redactor(&config).apply(&mut copy).expect("no body, no refusal");
    let expected =
        if expected.is_empty() { vec![] } else { vec![format!("{}: {expected}", name.to_lowercase())] };
    assert_eq!(lines(&copy.headers), expected, "{value}");
}

/// A body after redaction, or the name of its refusal.
#[track_caller]
fn body(config: &Value, kind: &str, body: impl AsRef<[u8]>, expected: &str) {
    let mut copy = copy(&[("content-type", kind)], body.as_ref());
    let said = match redactor(config).apply(&mut copy) {
        Ok(_) => String::from_utf8_lossy(&copy.body).into_owned(),
        Err(refusal) => {
            assert_eq!(copy, Copy::default(), "what is refused is emptied");
            format!("! {}", refusal.name())
        }
    };
    assert_eq!(said, expected, "{}", String::from_utf8_lossy(body.as_ref()));
}

const KEY: &str = "0123456789abcdef";

#[test]
fn credentials_never_pass_unless_asked() {
    for name in [
        "x_api_key",
        "authorization",
        "Cookie",
        "set-cookie",
        "PROXY-AUTHORIZATION",
        "x-api-key",
        "x-forwarded-client-cert",
    ] {
        header(json!({}), name, "secret", "");
        header(json!({"headers": [{"name": name, "action": "KEEP"}]}), name, "secret", "secret");
        header(json!({"headers": [{"name": name, "action": "MASK"}]}), name, "abcdefgh12345678", "****5678");
        header(json!({"default_headers": false}), name, "secret", "secret");
    }
    header(json!({}), "accept", "*/*", "*/*");
    header(json!({"headers": [{"name": "X-User", "action": "REPLACE"}]}), "x-user", "jack", "redacted");
    header(json!({}), ":authority", "bob:pw@host:80", "host:80");
    header(json!({}), ":authority", "host", "host");
}

#[test]
fn every_line_and_trailers_too() {
    let mut copy = copy(&[("authorization", "a"), ("x", "1"), ("Authorization", "b")], "");
    copy.trailers = [("authorization", "c"), ("grpc-status", "0")].into_iter().collect();
    assert_eq!(redactor(&json!({})).apply(&mut copy).map(|done| done.changes), Ok(3));
    assert_eq!(lines(&copy.headers), ["x: 1"]);
    assert_eq!(lines(&copy.trailers), ["grpc-status: 0"]);
}

#[test]
fn cookies_by_name() {
    let named = json!({"hash_key": KEY, "cookies": [{"name": "session"}, {"name": "user", "action": "REPLACE"}, {"name": "*", "action": "KEEP"}]});
    header(named.clone(), "cookie", "a=1; session=x; user=\"jack\";b=2", "a=1; user=redacted; b=2");
    header(named.clone(), "cookie", "session=x", "");
    header(named.clone(), "cookie", "s%65ssion=x", "");
    header(named.clone(), "cookie", " SESSION =x;; session = y", "");
    header(named.clone(), "cookie", "a=1, session=x", "");
    header(named.clone(), "set-cookie", "session=x; Path=/", "");
    header(named, "set-cookie", "user=jack; Path=/; HttpOnly", "user=redacted; Path=/; HttpOnly");
    header(
        json!({"cookies": [{"name": "theme", "action": "KEEP"}]}),
        "cookie",
        "theme=dark; session=x; bare",
        "theme=dark",
    );
}

#[test]
fn parameters_of_the_query() {
    let query = |path: &str, expected: &str| {
        header(
            json!({"query": [{"key": "password"}, {"key": "sid", "action": "DROP"}]}),
            ":path",
            path,
            expected,
        );
    };
    query("/login?password=x&a=1", "/login?password=redacted&a=1");
    query("/login?p%61ssword=x", "/login?p%61ssword=redacted");
    query("/login?p%2561ssword=x", "/login?p%2561ssword=redacted");
    query("/login?PASSWORD=x&password=y", "/login?PASSWORD=redacted&password=redacted");
    query("/login?a=1;password=x;y", "/login?a=1;password=redacted");
    query(
        "/login?user[password]=x&password[]=y&password%5B0%5D=z",
        "/login?user[password]=redacted&password[]=redacted&password%5B0%5D=redacted",
    );
    query("/?a?password=x", "/?a?password=redacted");
    query("/;password=x/a", "/;password=redacted");
    query("/?password=a=b?c;d#e", "/?password=redacted");
    query("/?sid=1", "/");
    query("/?sid=1&a=2&sid=3", "/?a=2");
    query("/?a=2&sid=3", "/?a=2");
    query("/?passwords=x&pass=word", "/?passwords=x&pass=word");
    query(
        "/?next=https%3A%2F%2Fx%2F%3Fpassword%3Dabc%26b%3D1&c=%zz",
        "/?next=https%3A//x/%3Fpassword%3Dredacted%26b%3D1&c=%zz",
    );
    query("/?a%3D1%26password%3Dsecret", "/?a%3D1%26password%3Dredacted");
    query("/?+password=x&pass%00word=y", "/?+password=redacted&pass%00word=redacted");
    query("/a%3Fpassword=x", "/a%3Fpassword%3Dredacted");
    query("/plain/path?x=1&y", "/plain/path?x=1&y");
}

#[test]
fn urls_in_headers() {
    let config = || json!({"query": [{"key": "token"}]});
    header(config(), "referer", "https://x/a?b=1&token=abc#f", "https://x/a?b=1&token=redacted#f");
    header(config(), "location", "/cb#token=abc&x=1", "/cb#token=redacted&x=1");
    header(config(), "link", "</a?token=abc>; rel=\"next\"", "</a?token=redacted>; rel=\"next\"");
    header(config(), "x-original-url", "/a;token=abc", "/a;token=redacted");
    header(config(), "refresh", "5; url=/a?to%6ben=abc", "5; url=/a?to%6ben=redacted");
    header(config(), "x", "u=https://x/?token=abc", "u=https://x/?token=redacted");
    header(config(), "x", "a; token=\"s3 \\\"cret\"; b=\"c\"", "a; token=redacted\"; b=\"c\"");
    header(config(), "x", "token='s3 cret', b", "token=redacted', b");
    header(config(), "x", "token=<s3cret>; b", "token=redacted>; b");
    header(config(), "x", "token= b", "token=redacted b");
    header(config(), "x", "token", "token");
}

#[test]
fn segments_of_the_path() {
    let config = || json!({"path_segments": [{"after": "reset"}]});
    header(config(), ":path", "/reset/abc/x?y", "/reset/redacted/x?y");
    header(config(), ":path", "/RES%45T//./abc", "/RES%45T//./redacted");
    header(config(), ":path", "/reset;v=1/abc", "/reset;v=1/redacted");
    header(config(), ":path", "/reset%2Fabc", "/redacted");
    header(config(), ":path", "/reset", "/reset");
}

fn user_password() -> Value {
    json!({"json": [{"path": "user.password"}, {"path": "items[*].card", "action": "DROP"}, {"path": "**.token"}]})
}

#[test]
fn values_of_json() {
    let check = |text: &str, expected: &str| body(&user_password(), "application/json", text, expected);
    check(r#"{"user": {"password": "x", "a": 1.50}}"#, r#"{"user":{"password":"redacted","a":1.50}}"#);
    check(r#"{"user":{"\u0070assword":"x"}}"#, r#"{"user":{"\u0070assword":"redacted"}}"#);
    check(r#"{"USER":{"PassWord":["x",{"y":1}]}}"#, r#"{"USER":{"PassWord":"redacted"}}"#);
    check(
        r#"{"user":{"password":1},"user":{"password":2}}"#,
        r#"{"user":{"password":"redacted"},"user":{"password":"redacted"}}"#,
    );
    check(r#"{"items":[{"card":"4"},{"card":1,"b":2}]}"#, r#"{"items":[{},{"b":2}]}"#);
    check(r#"[{"a":[[{"token":null}]]}]"#, r#"[{"a":[[{"token":"redacted"}]]}]"#);
    check(" {\"big\": 12345678901234567890.10e+5 } ", " {\"big\": 12345678901234567890.10e+5 } ");
    check(r#"{"user":"{\"password\":\"x\"}"}"#, r#"{"user":"{\"password\":\"redacted\"}"}"#);
    check(
        r#"{"a":"{\"user\":{\"pass\\u0077ord\":\"x\"}}"}"#,
        r#"{"a":"{\"user\":{\"pass\\u0077ord\":\"redacted\"}}"}"#,
    );
    check(r#""{\"token\":\"x\"}""#, r#""{\"token\":\"redacted\"}""#);
    check(r#"{"a":"[draft] hello"}"#, r#"{"a":"[draft] hello"}"#);
    check(r#"{"a":"%7B%22token%22%3A1%7D"}"#, r#"{"a":"%7B%22token%22%3A%22redacted%22%7D"}"#);
    body(
        &user_password(),
        "application/vnd.api+json; charset=UTF-8",
        r#"{"token":1}"#,
        r#"{"token":"redacted"}"#,
    );
    body(
        &user_password(),
        "application/x-ndjson",
        "{\"token\":1}\n{\"b\": 2}\n",
        "{\"token\":\"redacted\"}\n{\"b\":2}\n",
    );
}

#[test]
fn actions_on_json() {
    let config =
        |action: &str| json!({"hash_key": KEY, "json": [{"path": "a", "action": action}, {"path": "*"}]});
    let check =
        |action: &str, text: &str, expected: &str| body(&config(action), "application/json", text, expected);
    check("KEEP", r#"{"a":1,"b":2}"#, r#"{"a":1,"b":"redacted"}"#);
    check("DROP", r#"{"a":[1,{}],"b":2}"#, r#"{"b":"redacted"}"#);
    check("MASK", r#"{"a":"4111 1111 1111 1111"}"#, r#"{"a":"****1111"}"#);
    check("MASK", r#"{"a":4111111111111111}"#, r#"{"a":"****1111"}"#);
    check("MASK", r#"{"a":"1234"}"#, r#"{"a":"****"}"#);
    check("MASK", r#"{"a":{"name":"somebody","pin":"1234"}}"#, r#"{"a":"****"}"#);
    // The same value has the same hash, wherever it stands and however it is escaped.
    let hash = Values::new("", Some(KEY)).instead(Action::Hash, "jack").unwrap_or_default();
    check("HASH", r#"{"a":"jack"}"#, &format!(r#"{{"a":"{hash}"}}"#));
    check("HASH", r#"{"a":"\u006aack"}"#, &format!(r#"{{"a":"{hash}"}}"#));
    header(
        json!({"hash_key": KEY, "query": [{"key": "u", "action": "HASH"}]}),
        ":path",
        "/?u=j%61ck",
        &format!("/?u={hash}"),
    );
}

#[test]
fn what_cannot_be_looked_through_is_refused() {
    let check = |kind: &str, text: &[u8], expected: &str| body(&user_password(), kind, text, expected);
    check("application/json", br#"{"token":1"#, "! broken");
    check("application/json", b"token=1", "! broken");
    check("application/json", b"{'token':1}", "! broken");
    check("application/json", b"{\"token\":1} x", "! broken");
    check("application/json", b"{\"token\\u0000x\":1}", "! broken");
    check("application/json", b"{\"a\":\"\\ud800\"}", "! broken");
    check("application/json", "[".repeat(100_000).as_bytes(), "! too_deep");
    check("application/json", b"\xef\xbb\xbf{\"token\":1}", "! charset");
    check("application/json", b"\xff\xfe{\0\"\0", "! charset");
    check("application/json", b"\0{\0\"\0t", "! charset");
    check("application/json", b"{\"a\":\"\xff\"}", "! charset");
    check("application/json; charset=utf-16", b"{}", "! charset");
    check("application/json; charset=utf-8; charset=latin1", b"{}", "! charset");
    check("text/plain", b"{\"token\":1}", "! content_type");
    check("", b"{\"token\":1}", "! content_type");
    check("application/json, text/plain", b"{}", "! content_type");
    check("application/grpc", b"\0\0\0\0\0", "! content_type");
    check("application/x-www-form-urlencoded", b"{\"token\":1}", "! broken");
    check("application/json", br#"{"a":"{token:1}"}"#, "! nested");
    check("application/json", br#"{"a":"{\"tok\\u0065n\":1,}"}"#, "! nested");
    let mut nested = String::from(r#"{"token":1}"#);
    for _ in 0..5 {
        nested = json!({ "a": nested }).to_string();
    }
    check("application/json", nested.as_bytes(), "! too_deep");
}

#[test]
fn headers_can_make_a_body_unreadable() {
    let json = ("content-type", "application/json");
    #[track_caller]
    fn refused(copy: Copy, expected: Refusal) {
        for (unreadable, result) in [("REFUSE", Err(expected)), ("DROP_BODY", Ok(Some(expected)))] {
            let mut config = user_password();
            config["unreadable_body"] = json!(unreadable);
            config["max_body_bytes"] = json!(1000);
            let mut copy = copy.clone();
            let done = redactor(&config).apply(&mut copy);
            assert_eq!(done.map(|done| done.dropped_body), result);
            assert!(copy.body.is_empty() && copy.headers.first("content-length").is_none());
        }
    }
    refused(copy(&[json, ("content-encoding", "gzip")], "{}"), Refusal::Encoded);
    refused(
        copy(&[json, ("content-encoding", "identity"), ("content-encoding", "br")], "{}"),
        Refusal::Encoded,
    );
    refused(
        copy(&[json, ("content-type", "text/plain"), ("content-length", "2")], "{}"),
        Refusal::ContentType,
    );
    refused(copy(&[], "{}"), Refusal::ContentType);
    refused(copy(&[json], " ".repeat(1001)), Refusal::TooLarge);
    refused(Copy { body_truncated: true, ..copy(&[json], "{}") }, Refusal::Truncated);
    let mut fine = copy(
        &[json, ("content-encoding", "Identity"), ("content-length", "9"), ("content-md5", "x")],
        "{\"token\":1}",
    );
    redactor(&user_password()).apply(&mut fine).unwrap();
    assert_eq!(lines(&fine.headers), ["content-type: application/json", "content-encoding: Identity"]);
}

#[test]
fn bodies_of_which_nothing_is_said_pass() {
    for config in [
        json!({}),
        json!({"query": [{"key": "a"}]}),
        json!({"patterns": [{"find": {"email": {}}, "in": ["HEADERS"]}]}),
    ] {
        body(&config, "image/png", b"\x89PNG\xff", "\u{fffd}PNG\u{fffd}");
    }
    body(&user_password(), "image/png", "", "");
    let mut none = Copy { body_truncated: true, ..copy(&[], "") };
    assert_eq!(redactor(&user_password()).apply(&mut none), Ok(Redacted::default()), "nothing of it is sent");
}

#[test]
fn fields_of_forms() {
    let config =
        json!({"form": [{"key": "password"}, {"key": "pin", "action": "DROP"}], "json": [{"path": "token"}]});
    let check =
        |text: &str, expected: &str| body(&config, "application/x-www-form-urlencoded", text, expected);
    check("a=1&password=x%26y&b", "a=1&password=redacted&b");
    check("p%61ssword=x&Pass+word=y", "p%61ssword=redacted&Pass+word=redacted");
    check("pin=1&a=2&pin=3", "a=2");
    check("a=1;password=x;y&b=2", "a=1;password=redacted&b=2");
    check("payload=%7B%22token%22%3A%22x%22%7D", "payload=%7B%22token%22%3A%22redacted%22%7D");
    check(
        "p={\"a\":\"x;y=1\",\"token\":\"s\"}&b=1",
        "p=%7B%22a%22%3A%22x%3By%3D1%22%2C%22token%22%3A%22redacted%22%7D&b=1",
    );
    check(
        "p=+%7B\"a\":\"x;y\",\"token\":\"s\"}",
        "p=%20%7B%22a%22%3A%22x%3By%22%2C%22token%22%3A%22redacted%22%7D".replace("%20", "").as_str(),
    );
    check(
        "%7B\"a\":\"x;y=1\",\"token\":\"s\"}",
        "%7B%22a%22%3A%22x%3By%3D1%22%2C%22token%22%3A%22redacted%22%7D",
    );
    check("p={;password=s", "p=%7B%3Bpassword%3Dredacted");
    check("a=%ff", "! charset");
    check("a=b+c%20d", "a=b+c%20d");
}

#[test]
fn parts_of_multipart_forms() {
    let config =
        json!({"form": [{"key": "password"}, {"key": "pin", "action": "DROP"}], "json": [{"path": "token"}]});
    let part = |headers: &str, content: &str| format!("--B\r\n{headers}\r\n\r\n{content}\r\n");
    let named = |name: &str, content: &str| {
        part(&format!("content-disposition: form-data; name=\"{name}\""), content)
    };
    let all = |parts: &[String]| format!("{}--B--\r\n", parts.concat());
    let check = |text: &str, expected: &str| body(&config, "multipart/form-data; boundary=B", text, expected);
    let json = |content: &str| {
        part(
            "content-disposition: form-data; name=\"j\"; filename=\"x.json\"\r\ncontent-type: application/json",
            content,
        )
    };
    check(
        &all(&[named("a", "1"), named("PASSWORD", "x\r\ny"), named("pin", "1"), json("{\"token\":1}")]),
        &all(&[named("a", "1"), named("PASSWORD", "redacted"), json("{\"token\":\"redacted\"}")]),
    );
    check(&all(&[named("a", "1")]), &all(&[named("a", "1")]));
    check(&all(&[named("p%61ssword", "x")]), &all(&[named("p%61ssword", "redacted")]));
    let broken = [
        "preamble\r\n--B--".to_owned(),
        "--B\r\n".to_owned(),
        all(&[named("a\\\"", "1")]),
        all(&[part("content-disposition: form-data; name=a", "1")]),
        all(&[part("content-disposition: form-data; name=\"a\"; name=\"password\"", "1")]),
        all(&[part("content-disposition: form-data; name=\"a\"; name*=utf-8''password", "1")]),
        all(&[part("content-disposition: form-data; name=\"a\"\r\n folded: x", "1")]),
        all(&[part("x-what: 1\r\ncontent-disposition: form-data; name=\"a\"", "1")]),
        all(&[named("a", "1\n--B\nx")]),
        format!("{}epilogue", all(&[named("a", "1")])),
    ];
    for text in &broken {
        check(text, "! broken");
    }
    check(
        &all(&[part("content-disposition: form-data; name=\"a\"\r\ncontent-transfer-encoding: base64", "1")]),
        "! encoded",
    );
    check(
        &all(&[part("content-disposition: form-data; name=\"a\"\r\ncontent-type: image/png", "1")]),
        "! content_type",
    );
    check(&all(&[named("_charset_", "utf-16")]), "! charset");
    body(&config, "multipart/form-data", "--B--", "! content_type");
    body(&config, "multipart/form-data; boundary=B; boundary=C", "--B--", "! content_type");
}

#[test]
fn patterns_wherever_they_stand() {
    let config = json!({"patterns": [{"find": {"card_number": {}}, "action": "MASK"}, {"find": {"email": {}}}, {"find": {"credentials": {}}, "action": "DROP"}]});
    let check = |text: &str, expected: &str| body(&config, "application/json", text, expected);
    check(r#"{"a":"pay 4111 1111 1111 1111 now"}"#, r#"{"a":"pay ****1111 now"}"#);
    check(r#"{"a":"\u0034111111111111111"}"#, r#"{"a":"****1111"}"#);
    check(r#"[4111111111111111,4.111111111111111e15,41]"#, r#"["****1111","****1111",41]"#);
    check(r#"{"bob@example.com":1}"#, r#"{"redacted":1}"#);
    check(r#"{"a":"bob%40example.com"}"#, r#"{"a":"redacted"}"#);
    check(r#"{"a":"Bearer abcdefgh"}"#, r#"{"a":"Bearer "}"#);
    header(
        config.clone(),
        ":path",
        "/u/bob%40example.com/x?m=bob@example.com&c=4111-1111%2D1111-1111",
        "/u/redacted/x?m=redacted&c=%2A%2A%2A%2A1111",
    );
    header(config.clone(), "x-user", "bob@example.com", "redacted");
    header(config.clone(), "x-user", "b%6fb%40example.com", "redacted");
    header(config.clone(), "baggage", "user=bob%40example.com,b=1", "user=redacted,b=1");
    let mut odd = copy(&[], "");
    odd.headers.push("x-user", b"\xff4111111111111111");
    redactor(&config).apply(&mut odd).unwrap();
    assert!(odd.headers.is_empty());
    body(
        &json!({"text_types": ["text/plain"], "patterns": [{"find": {"email": {}}}]}),
        "text/plain",
        "to bob@example.com!",
        "to redacted!",
    );
}

#[test]
fn configurations_that_mean_nothing_are_refused() {
    #[track_caller]
    fn refused(config: Value, expected: &str) {
        let config: Redact = parse(Some(config.to_string().as_bytes())).expect("well-formed");
        let mut problems = Problems::new();
        Redactor::compile(&weir_sdk::At::of("targets[0].redact"), &config, &mut problems);
        let error = problems.finish().expect_err("means nothing").to_string();
        assert!(error.contains(expected), "{error}");
    }
    refused(json!({"headers": [{"name": ":path"}]}), "`targets[0].redact.headers[0].name`");
    refused(json!({"headers": [{"name": "cookie"}], "cookies": [{"name": "a"}]}), "ruled by `cookies`");
    refused(json!({"cookies": [{"name": "a b"}]}), "cookies[0].name");
    refused(json!({"query": [{"key": " "}]}), "query[0].key");
    refused(json!({"json": [{"path": "a..b"}]}), "json[0].path");
    refused(json!({"json": [{"path": "a", "action": "HASH"}]}), "redact.hash_key`: is missing");
    refused(json!({"hash_key": "short"}), "at least 16 bytes");
    refused(json!({"patterns": [{"find": {"regex": "a*"}}]}), "patterns[0].find.regex");
    refused(json!({"patterns": [{"find": {"email": {}}, "action": "KEEP"}]}), "patterns[0].action");
    refused(json!({"patterns": [{"find": {"email": {}}, "in": []}]}), "patterns[0].in");
    refused(json!({"replacement": "a\"b"}), "redact.replacement");
    refused(json!({"text_types": ["application/json"]}), "text_types[0]");
    refused(json!({"text_types": ["text/*"]}), "text_types[0]");
    refused(json!({"max_body_bytes": 0}), "max_body_bytes");
    refused(json!({"path_segments": [{"after": "a/b"}]}), "path_segments[0].after");
}

#[test]
fn ordinary_bodies_are_far_from_the_bound_of_work() {
    let config = json!({
        "json": [{"path": "**.password"}, {"path": "**.token"}, {"path": "items[*].card"}],
        "patterns": [{"find": {"card_number": {}}}, {"find": {"email": {}}}, {"find": {"credentials": {}}},
            {"find": {"regex": "AKIA[0-9A-Z]{16}"}}, {"find": {"regex": "gh[pousr]_[A-Za-z0-9]{36}"}}, {"find": {"regex": "(?i)sk_live_[a-z0-9]{24}"}}]
    });
    let items: Vec<Value> = (0..700)
        .map(|id| json!({"id": id, "name": format!("item {id}"), "price": 1.5, "tags": ["a", "b"], "password": "x"}))
        .collect();
    let mut copy = copy(&[("content-type", "application/json")], json!({ "items": items }).to_string());
    assert!(copy.body.len() > 48 << 10);
    assert_eq!(redactor(&config).apply(&mut copy).map(|done| done.changes), Ok(700));
}
