//! Registries, and what stands before them, that go wrong in every way: each ends with an error that says what, in bounded time and memory, and no
//! credentials go where they should not.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use conformance::registry::{MODULE, Registry, Reply, Request};
use tempfile::TempDir;
use weir_harness::oci::{Contents, Image};

/// base64 of `tester:secret`.
const BASIC: &str = "dGVzdGVyOnNlY3JldA==";
fn wasm() -> Vec<u8> {
    wat::parse_str(MODULE).unwrap()
}

fn image() -> Image {
    Image::compat(&Contents { wasm: wasm(), ..Contents::default() }).unwrap()
}

/// What is told to a registry: the reply to what fits.
type Told = (&'static str, &'static str, Reply);

fn registry(told: Vec<Told>) -> Registry {
    start(move |request| {
        told.iter().find(|(method, part, _)| request.is(method, part)).map(|(_, _, reply)| reply.clone())
    })
}

fn start(told: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static) -> Registry {
    Registry::start(&image(), told).unwrap()
}

/// A reply that is worth to ask again for: at once, so that no test waits.
fn busy(status: u16) -> Reply {
    Reply::new(
        status,
        &[("retry-after", "0")],
        b"{\"errors\": [{\"code\": \"BUSY\", \"message\": \"no \\u001b[31mluck\"}]}",
    )
}

/// A folder with docker's configuration: credentials for that host.
fn login(host: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(r#"{{"auths": {{"{host}": {{"auth": "{BASIC}"}}}}}}"#);
    fs::write(folder.path().join("config.json"), text).unwrap();
    folder
}

/// Runs it in a folder of its own; the exit code must be that, and standard error hold each of `says`. It ends soon, does not panic, and tells no
/// secrets. The folder, with `plugin.wasm` and `module.wasm`.
#[track_caller]
fn weir(arguments: &[&str], docker: &Path, code: i32, says: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("module.wasm"), wasm()).unwrap();
    let begun = Instant::now();
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-under-test"));
    command.args(arguments).current_dir(folder.path()).env("DOCKER_CONFIG", docker).stdin(Stdio::null());
    let output = command.env_remove("HTTP_PROXY").env_remove("http_proxy").output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let context = format!("{arguments:?}\nstdout: {out}\nstderr: {err}");
    assert_eq!(output.status.code(), Some(code), "{context}");
    assert!(begun.elapsed() < Duration::from_secs(60), "{context}");
    for never in ["panicked", "secret", BASIC, "\u{1b}"] {
        assert!(!err.contains(never), "`{never}`: {context}");
    }
    for text in says {
        assert!(err.contains(text), "does not say `{text}`: {context}");
    }
    folder
}

/// Pulls from a registry without credentials.
#[track_caller]
fn pull(told: Vec<Told>, code: i32, says: &[&str]) -> Vec<Request> {
    let registry = registry(told);
    let nobody = tempfile::tempdir().unwrap();
    let folder = weir(&["pull", &registry.reference(), "--timeout", "1"], nobody.path(), code, says);
    assert_eq!(folder.path().join("plugin.wasm").exists(), code == 0);
    registry.asked()
}

/// Pushes to one.
#[track_caller]
fn push(told: Vec<Told>, code: i32, says: &[&str]) -> Vec<Request> {
    let registry = registry(told);
    let nobody = tempfile::tempdir().unwrap();
    weir(&["push", "module.wasm", &registry.reference(), "--timeout", "1"], nobody.path(), code, says);
    registry.asked()
}

fn count(asked: &[Request], method: &str, part: &str) -> usize {
    asked.iter().filter(|request| request.is(method, part)).count()
}

#[test]
fn what_goes_well() {
    let asked = pull(vec![], 0, &[]);
    assert_eq!(asked.len(), 3, "{asked:?}");
    let asked = push(vec![("HEAD", "/blobs/", Reply::new(404, &[], b""))], 0, &["pushing sha256:"]);
    let image = image();
    let sent: Vec<&[u8]> =
        asked.iter().filter(|asked| asked.method == "PUT").map(|asked| asked.body.as_slice()).collect();
    assert_eq!(sent, [&image.blobs[0].bytes[..], &image.blobs[1].bytes[..], &image.manifest[..]]);
}

#[test]
fn what_is_busy_is_asked_again_and_then_told() {
    for status in [429, 500, 502, 503] {
        for part in ["/v2/", "/manifests/", "/blobs/"] {
            let says = format!("is answered {status}");
            let asked = pull(
                vec![("GET", part, busy(status))],
                2,
                &[&says, "no \\u{1b}[31mluck", "asking again in 0 s"],
            );
            assert_eq!(count(&asked, "GET", part), 3, "{asked:?}");
        }
        let absent = || ("HEAD", "/blobs/", Reply::new(404, &[], b""));
        for (method, part) in
            [("HEAD", "/blobs/"), ("POST", "/uploads/"), ("PUT", "/uploads/"), ("PUT", "/manifests/")]
        {
            let says = format!("{method} is answered {status}");
            let asked = push(vec![(method, part, busy(status)), absent()], 2, &[&says]);
            // What may have been done is not done again.
            let tries = if part == "/uploads/" && method == "PUT" && status != 429 { 1 } else { 3 };
            assert_eq!(count(&asked, method, part), tries, "{asked:?}");
        }
    }
    // Once is no reason to give up.
    let times = std::sync::atomic::AtomicUsize::new(0);
    let registry = start(move |request| {
        let is_first =
            request.is("GET", "/manifests/") && times.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
        is_first.then(|| busy(503))
    });
    let nobody = tempfile::tempdir().unwrap();
    weir(
        &["pull", &registry.reference()],
        nobody.path(),
        0,
        &["answers 503 for tag `1`; asking again in 0 s"],
    );
    // An hour is.
    let hour = Reply::new(429, &[("retry-after", "3600")], b"");
    pull(vec![("GET", "/manifests/", hour)], 2, &["429 Too Many Requests; it asks to come again in 3600 s"]);
}

#[test]
fn what_never_ends_or_never_begins_is_given_up() {
    for part in ["/v2/", "/manifests/"] {
        pull(vec![("GET", part, Reply::Endless(200))], 2, &["what comes is larger than the"]);
    }
    pull(
        vec![("GET", "/blobs/", Reply::Endless(200))],
        2,
        &["the layer sha256:", "what comes is larger than the"],
    );
    pull(vec![("GET", "/manifests/", Reply::Endless(500))], 2, &["500 Internal Server Error"]);
    for part in ["/v2/", "/manifests/", "/blobs/"] {
        let says =
            ["waiting for 127.0.0.1:", "does not answer in time", "nothing has come for 1 s", "--timeout"];
        pull(vec![("GET", part, Reply::Silent)], 2, &says);
    }
    pull(vec![("GET", "/blobs/", Reply::Drip)], 2, &["does not answer in time", "bytes have come in 1 s"]);
    let absent = || ("HEAD", "/blobs/", Reply::new(404, &[], b""));
    push(vec![("PUT", "/uploads/", Reply::Silent), absent()], 2, &["nothing has come for 1 s"]);
}

#[test]
fn what_is_broken_is_said() {
    let raw = |text: &str| Reply::Raw(text.as_bytes().to_vec());
    let cut = || raw("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\nabc");
    pull(vec![("GET", "/manifests/", cut())], 2, &["tag `1` broke off after 3 bytes"]);
    pull(vec![("GET", "/blobs/", cut())], 2, &["the layer sha256:", "broke off after 3 bytes"]);
    let short = || raw("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef");
    pull(vec![("GET", "/blobs/", short())], 2, &["has 3 bytes; its manifest says"]);
    pull(
        vec![("GET", "/v2/", raw("SSH-2.0-x\r\n"))],
        2,
        &["invalid HTTP version parsed; asked was without TLS", "--ca-file"],
    );
    pull(vec![("GET", "/v2/", raw(""))], 2, &["cannot reach 127.0.0.1:"]);
    let reply = |body: &[u8]| Reply::new(200, &[], body);
    for (body, says) in [
        (&b"<html>"[..], "it is a page for browsers; expected JSON"),
        (b"", "expected JSON"),
        (b"[]", "expected an object of JSON"),
        (&[b'['; 100_000], "recursion limit"),
        (b"{\"schemaVersion\": 2, \"config\": 3}", "`config`: invalid type"),
    ] {
        pull(vec![("GET", "/manifests/", reply(body))], 2, &["is no manifest", says]);
    }
    let other = Reply::new(
        200,
        &[("docker-content-digest", &format!("sha256:{}", "0".repeat(64)))],
        &image().manifest,
    );
    pull(vec![("GET", "/manifests/", other)], 2, &["is not what its digest says"]);
}

#[test]
fn redirects_end_and_take_no_credentials_along() {
    let away = |to: &str| Reply::new(307, &[("location", to)], b"");
    pull(vec![("GET", "/manifests/", away("/v2/x/manifests/y"))], 2, &["more than 10 redirects"]);
    pull(vec![("GET", "/blobs/", Reply::new(302, &[], b""))], 2, &["is answered 302 Found"]);
    let stranger = start(|request| {
        let wants = Reply::new(401, &[("www-authenticate", "Basic realm=\"mine\"")], b"");
        request.path.contains("/stolen/").then_some(wants)
    });
    let to = format!("http://{}/stolen/", stranger.host);
    let (read, sent) = (to.clone(), to.clone());
    let registry = start(move |request| match request {
        Request { authorization: None, .. } => {
            Some(Reply::new(401, &[("www-authenticate", "Basic realm=\"x\"")], b""))
        }
        request if request.is("GET", "/manifests/") => Some(Reply::new(307, &[("location", &read)], b"")),
        request if request.is("HEAD", "/blobs/") => Some(Reply::new(404, &[], b"")),
        request if request.is("POST", "/uploads/") => Some(Reply::new(202, &[("location", &sent)], b"")),
        _ => None,
    });
    let login = login(&registry.host);
    weir(&["pull", &registry.reference()], login.path(), 2, &["answers 401"]);
    let says = format!("it says to send it to http://{}, which answers 401", stranger.host);
    weir(&["push", "module.wasm", &registry.reference()], login.path(), 2, &[&says]);
    assert!(
        stranger.asked().len() >= 2 && stranger.asked().iter().all(|asked| asked.authorization.is_none())
    );
    assert!(
        registry
            .asked()
            .iter()
            .any(|asked| asked.authorization.as_deref() == Some(&*format!("Basic {BASIC}")))
    );
    let absent = || ("HEAD", "/blobs/", Reply::new(404, &[], b""));
    for location in ["", "http://", "ftp://a/b", "http://[", "mailto:x"] {
        let begun = Reply::new(202, &[("location", location)], b"");
        push(
            vec![("POST", "/uploads/", begun), absent()],
            2,
            &[&format!("to `{location}`; expected a URL in `Location`")],
        );
    }
}

/// A registry whose token service answers that; `TOKEN` in the challenge is its URL.
fn with_tokens(challenge: &'static str, answer: Reply) -> Registry {
    let service = start(move |request| request.path.contains("/token").then(|| answer.clone()));
    let challenge = challenge.replace("TOKEN", &format!("http://{}/token", service.host));
    start(move |request| {
        let header = [("www-authenticate", challenge.as_str())];
        let header = if challenge.is_empty() { &[][..] } else { &header };
        request.authorization.is_none().then(|| Reply::new(401, header, b""))
    })
}

#[test]
fn token_services_answer_rubbish_and_registries_ask_oddly() {
    let bearer = "Bearer realm=\"TOKEN\",service=\"x\"";
    let reply = |text: &str| Reply::new(200, &[], text.as_bytes());
    let without = "answers without a token; expected JSON with `token` or `access_token`";
    for (challenge, answer, code, says) in [
        (bearer, reply("{\"token\": \"\", \"access_token\": \"t\"}"), 0, ""),
        ("Basic realm=\"a\", Bearer realm=\"TOKEN\"", reply("{\"token\": \"t\"}"), 0, ""),
        ("Basic", reply(""), 0, ""),
        ("", reply(""), 0, ""),
        (bearer, reply("rubbish"), 2, without),
        (bearer, reply("{}"), 2, without),
        (bearer, reply("{\"token\": 3}"), 2, without),
        (bearer, reply("{\"token\": \"a\\nb\"}"), 2, without),
        (bearer, Reply::Endless(200), 2, "a token: what comes is larger than"),
        (bearer, Reply::Silent, 2, "a token: nothing has come for 1 s"),
        (bearer, busy(503), 2, "answers HTTP 503 Service Unavailable: no "),
        (
            bearer,
            Reply::new(401, &[], b"{\"details\": \"bad\"}"),
            2,
            "answers 401: asked as `tester`; it says: bad",
        ),
        ("Bearer", reply(""), 2, "its tokens are at ``; expected a URL of http or https"),
        ("Bearer realm=\"ftp://a\"", reply(""), 2, "its tokens are at `ftp://a`"),
        ("Bearer realm=\"", reply(""), 2, "its tokens are at ``"),
        ("Negotiate", reply(""), 2, "it asks who is there by `Negotiate`, which is not known here"),
    ] {
        let registry = with_tokens(challenge, answer);
        let login = login(&registry.host);
        weir(&["pull", &registry.reference(), "--timeout", "1"], login.path(), code, &[says]);
    }
}

#[test]
fn an_identity_token_is_given_for_another_one() {
    let tokens = start(|request| {
        request
            .path
            .contains("/token")
            .then(|| Reply::new(200, &[], b"{\"access_token\": \"t\", \"refresh_token\": \"r\"}"))
    });
    let challenge = format!("Bearer realm=\"http://{}/token?x=1\",service=\"a&b\"", tokens.host);
    let registry = start(move |request| {
        let is_known = request.authorization.as_deref() == Some("Bearer t");
        (!is_known).then(|| Reply::new(401, &[("www-authenticate", &challenge)], b""))
    });
    let docker = tempfile::tempdir().unwrap();
    let text = format!(r#"{{"auths": {{"{}": {{"identitytoken": "secret=1"}}}}}}"#, registry.host);
    fs::write(docker.path().join("config.json"), text).unwrap();
    weir(&["pull", &registry.reference()], docker.path(), 0, &[]);
    let asked = tokens.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    let asked = &asked[0];
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/token?x=1"));
    assert_eq!(asked.authorization, None);
    let form = String::from_utf8_lossy(&asked.body).into_owned();
    for part in [
        "scope=repository%3Aweir%2Fodd%3Apull",
        "service=a%26b",
        "grant_type=refresh_token",
        "refresh_token=secret%3D1",
    ] {
        assert!(form.contains(part), "{part}: {form}");
    }
}

#[test]
fn a_token_that_has_expired_is_asked_for_again() {
    // Between manifest and layer, once.
    let once = std::sync::atomic::AtomicBool::new(true);
    let tokens =
        start(|request| request.path.contains("/token").then(|| Reply::new(200, &[], b"{\"token\": \"t\"}")));
    let challenge = format!("Bearer realm=\"http://{}/token\"", tokens.host);
    let expiring = start(move |request| {
        let expires = request.is("GET", "/blobs/") && once.swap(false, std::sync::atomic::Ordering::Relaxed);
        let refused = Reply::new(401, &[("www-authenticate", &challenge)], b"");
        (request.authorization.is_none() || expires).then_some(refused)
    });
    let nobody = tempfile::tempdir().unwrap();
    weir(&["pull", &expiring.reference()], nobody.path(), 0, &[]);
    assert_eq!(tokens.asked().len(), 2);
    // One that is never enough ends.
    let never = start(move |request| {
        (!request.path.contains("/token"))
            .then(|| Reply::new(401, &[("www-authenticate", "Bearer realm=\"http://127.0.0.1:1/\"")], b""))
    });
    weir(&["pull", &never.reference()], nobody.path(), 2, &["cannot reach 127.0.0.1:1"]);
}
