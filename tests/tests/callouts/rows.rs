//! The rows: what is called, how, and what ends the row.

use super::guest::{Row, Texts, pairs};

/// A row and the statement that it shows.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) name: &'static str,
    pub(crate) row: Row,
}

/// Headers of an HTTP call.
const GET: [(&str, &str); 3] = [(":method", "GET"), (":path", "/p?q"), (":authority", "a")];
const POST: [(&str, &str); 3] = [(":method", "POST"), (":path", "/"), (":authority", "a")];

/// Writes calls.
#[derive(Default)]
struct Writer {
    texts: Texts,
    rows: Vec<Named>,
}

impl Writer {
    fn row(&mut self, name: &'static str, waits_for: u32, first: String) {
        self.then(name, waits_for, first, Vec::new());
    }

    fn then(&mut self, name: &'static str, waits_for: u32, first: String, then: Vec<(&'static str, String)>) {
        self.rows.push(Named { name, row: Row { first, waits_for, then } });
    }

    fn http(&mut self, cluster: &str, lines: &[(&str, &str)], timeout_ms: i32) -> String {
        self.http_with(cluster, lines, "", &[], timeout_ms)
    }

    fn http_with(
        &mut self,
        cluster: &str,
        lines: &[(&str, &str)],
        body: &str,
        trailers: &[(&str, &str)],
        timeout_ms: i32,
    ) -> String {
        let trailers = if trailers.is_empty() { Vec::new() } else { pairs(trailers) };
        let [cluster, lines, body, trailers] =
            [cluster.as_bytes(), &pairs(lines), body.as_bytes(), &trailers].map(|text| self.texts.at(text));
        format!(
            "(call $made (call $http_call {cluster} {lines} {body} {trailers} (i32.const {timeout_ms}) (i32.const 32780)))"
        )
    }

    fn call(&mut self, service: &[u8], metadata: &[(&str, &str)], message: &str, timeout_ms: u32) -> String {
        let metadata = if metadata.is_empty() { Vec::new() } else { pairs(metadata) };
        let [service, name, method, metadata, message] =
            [service, b"pkg.S", b"M", &metadata, message.as_bytes()].map(|text| self.texts.at(text));
        format!(
            "(call $made (call $grpc_call {service} {name} {method} {metadata} {message} (i32.const {timeout_ms}) (i32.const 32780)))"
        )
    }

    fn stream(&mut self, service: &[u8], metadata: &[(&str, &str)]) -> String {
        let metadata = if metadata.is_empty() { Vec::new() } else { pairs(metadata) };
        let [service, name, method, metadata] =
            [service, b"pkg.S", b"M", &metadata].map(|text| self.texts.at(text));
        format!("(call $made (call $grpc_stream {service} {name} {method} {metadata} (i32.const 32780)))")
    }

    /// Of the last call that was made.
    fn send(&mut self, message: &str, end: bool) -> String {
        let message = self.texts.at(message);
        format!(
            "(call $number (call $grpc_send (global.get $last) {message} (i32.const {})))",
            u32::from(end)
        )
    }
}

const CLOSE: &str = "(call $number (call $grpc_close (global.get $last)))";
const CANCEL: &str = "(call $number (call $grpc_cancel (global.get $last)))";

/// A serialised `GrpcService`.
fn service(cluster: &str) -> Vec<u8> {
    let size = |more: usize| u8::try_from(cluster.len() + more).unwrap_or_default();
    [&[0x0a, size(2), 0x0a, size(0)], cluster.as_bytes()].concat()
}

/// All rows, and the texts that they use.
pub(crate) fn all() -> (Vec<Named>, Texts) {
    let mut writer = Writer::default();
    http(&mut writer);
    unary(&mut writer);
    streams(&mut writer);
    (writer.rows, writer.texts)
}

fn http(w: &mut Writer) {
    for (name, cluster) in [
        ("CALL-01 unknown cluster", "nobody"),
        ("CALL-01 no cluster", ""),
        ("CALL-01 no healthy host", "dead"),
    ] {
        let call = w.http(cluster, &GET, 1000);
        w.row(name, 0, call);
    }
    for (name, lines) in [
        ("CALL-01 no method", &[(":path", "/"), (":authority", "a")][..]),
        ("CALL-01 no path", &[(":method", "GET"), (":authority", "a")]),
        ("CALL-01 no authority", &[(":method", "GET"), (":path", "/")]),
    ] {
        let call = w.http("plain", lines, 1000);
        w.row(name, 0, call);
    }
    let call = w.http("plain", &GET, -1);
    w.row("CALL-01 negative timeout", 0, call);
    for (name, lines) in [
        ("CALL-01 host is an authority", &[(":method", "GET"), (":path", "/"), ("host", "h")][..]),
        (
            "CALL-02 with a scheme",
            &[(":method", "GET"), (":path", "/"), (":authority", "a"), (":scheme", "https")],
        ),
        ("HEAD", &[(":method", "HEAD"), (":path", "/"), (":authority", "a")]),
    ] {
        let call = w.http("plain", lines, 1000);
        w.row(name, 1, call);
    }
    for (name, cluster, timeout) in [
        ("CALL-06 an answer", "plain", 1000),
        ("CALL-06 an answer, HTTP/2", "plain2", 1000),
        ("CALL-06 no body", "empty", 1000),
        ("CALL-06 no body, HTTP/2", "empty2", 1000),
        ("CALL-06 trailers", "trailing", 1000),
        ("CALL-06 trailers, HTTP/2", "trailing2", 1000),
        ("CALL-02 no timeout", "slow", 0),
        ("CALL-02 no timeout, HTTP/2", "slow2", 0),
        ("CALL-07 late", "slow", 40),
        ("CALL-07 late, HTTP/2", "slow2", 40),
        ("CALL-07 never", "silent", 40),
        ("CALL-07 never, HTTP/2", "silent2", 40),
        ("CALL-07 closed", "closing", 1000),
        ("CALL-07 closed, HTTP/2", "closing2", 1000),
        ("CALL-07 refused", "refusing", 1000),
        ("CALL-07 refused, HTTP/2", "refusing2", 1000),
        ("CALL-07 broken off", "cutting", 1000),
        ("CALL-07 the code stays, the message goes", "plain", 1000),
        ("CALL-07 broken off, HTTP/2", "cutting2", 1000),
        ("CALL-06 after a failure, first", "flaky", 1000),
        ("CALL-06 after a failure, second", "flaky", 1000),
        ("CALL-04 echo", "echo", 1000),
        ("CALL-04 echo, HTTP/2", "echo2", 1000),
        ("CALL-04 echo without a timeout, HTTP/2", "echo2", 0),
    ] {
        let call = w.http(cluster, &GET, timeout);
        w.row(name, 1, call);
    }
    for (name, cluster, body, trailers) in [
        ("CALL-04 no body to POST", "echo", "", &[][..]),
        ("CALL-04 no body to POST, HTTP/2", "echo2", "", &[]),
        ("CALL-04 a body", "echo", "abc", &[]),
        ("CALL-04 a body, HTTP/2", "echo2", "abc", &[]),
    ] {
        let call = w.http_with(cluster, &POST, body, trailers, 1000);
        w.row(name, 1, call);
    }
    let calls = w.http("slow", &GET, 0) + &w.http("plain", &GET, 0) + &w.http("slow2", &GET, 40);
    w.row("CALL-05 in the order of time", 3, calls);
    // Of a stream that is gone; the next row is told.
    let call = w.http("slow", &GET, 0);
    w.row("CALL-08 gone before the answer", 0, call);
    let call = w.http("slower", &GET, 0);
    w.row("CALL-08 the answer comes later", 2, call);
    let (call, again) = (w.http("plain", &GET, 0), w.http("plain2", &GET, 0));
    let guarded = format!("(if (i32.eq (global.get $open) (i32.const 2)) (then {again}))");
    w.then("CALL-09 from an answer", 2, call, vec![("http", guarded)]);
}

fn unary(w: &mut Writer) {
    for (name, cluster, timeout, waits_for) in [
        ("CALL-22 an answer", "hello", 1000, 1),
        ("CALL-22 no timeout", "hello", 0, 1),
        ("CALL-22 more than one message", "many", 1000, 1),
        ("CALL-22 no message", "none", 1000, 1),
        ("CALL-23 the server's status", "nope", 1000, 1),
        ("CALL-23 the server's status after a message", "nope-late", 1000, 1),
        ("CALL-23 time runs out", "grpc-slow", 40, 1),
        ("CALL-23 time runs out in silence", "silent2", 40, 1),
        ("CALL-23 closed", "closing2", 1000, 1),
        ("CALL-23 refused", "refusing2", 1000, 1),
        ("CALL-23 broken off", "grpc-cut", 1000, 1),
        ("CALL-23 HTTP/1 only", "plain", 1000, 1),
        ("CALL-23 HTTP/1 only, no body", "empty", 1000, 1),
        ("CALL-23 HTTP/1 only, 200", "echo", 1000, 1),
        ("CALL-23 HTTP/1 only, silent", "silent", 40, 1),
        ("CALL-23 HTTP/1 only, closed", "closing", 1000, 1),
        ("CALL-23 HTTP/1 only, refused", "refusing", 1000, 1),
        ("CALL-23 another HTTP status", "busy", 1000, 1),
        ("CALL-23 another HTTP status, no body", "busy-bare", 1000, 1),
        ("CALL-23 no frames", "unframed", 1000, 1),
        ("CALL-23 no status", "statusless", 1000, 1),
        ("CALL-23 no status of gRPC's", "wrong-status", 1000, 1),
        ("CALL-23 a compressed message", "compressed", 1000, 1),
        ("CALL-21 no healthy host", "dead", 1000, 1),
        ("CALL-21 unknown cluster", "nobody", 1000, 1),
    ] {
        let call = w.call(&service(cluster), &[], "msg", timeout);
        w.row(name, waits_for, call);
    }
    let call = w.call(b"nobody", &[], "msg", 1000);
    w.row("CALL-20 unknown name", 0, call);
    let call = w.call(b"many", &[], "msg", 1000);
    w.row("CALL-20 a name", 1, call);
    let full = [&service("none")[..], b"*\x06\n\x01k\x12\x01v"].concat();
    let call = w.call(
        &full,
        &[("x-a", "1"), ("x-a", "2"), ("X-B", "3"), ("x-bin", "\0\u{1}"), ("x-envoy-internal", "no")],
        "",
        1000,
    );
    w.row("CALL-27 metadata", 1, call);
    let call = w.call(&service("none"), &[], "msg", 100_000_000);
    w.row("CALL-27 a long timeout", 1, call);
    let call = w.call(&service("silent2"), &[], "msg", 1000) + &w.send("", false) + CANCEL + CANCEL + CLOSE;
    w.row("CALL-25 cancelled at once", 0, call);
    let call = w.call(&service("silent2"), &[], "msg", 1000) + CLOSE + CANCEL;
    w.row("CALL-25 closed at once", 0, call);
    // Cancelled as another call is answered; the row after it would be told.
    let wait = w.http("slow", &GET, 0);
    let call = wait + &w.call(&service("grpc-slow"), &[], "msg", 1000);
    w.then("CALL-25 cancelled later", 1, call, vec![("http", CANCEL.to_owned())]);
    let call = w.http("slower", &GET, 0);
    w.row("CALL-25 nothing comes after", 1, call);
    let call = w.http("plain", &GET, 0) + CANCEL + CLOSE + &w.send("", true);
    w.row("CALL-25 an HTTP call", 1, call);
    let unknown = [5, 6, 7, 8].map(|kind| {
        format!("(call $number (call $grpc_cancel (i32.const {0}))) (call $number (call $grpc_close (i32.const {0})))", 4_000_000 + kind)
    });
    w.row("CALL-25 unknown tokens", 0, unknown.concat());
    let call = w.call(&service("grpc-slow"), &[], "msg", 1000);
    w.row("CALL-08 gone before the gRPC answer", 0, call);
    let call = w.http("slower", &GET, 0);
    w.row("CALL-08 the gRPC answer comes later", 2, call);
}

fn streams(w: &mut Writer) {
    for (name, cluster) in [
        ("CALL-24 a stream", "hello"),
        ("CALL-24 messages", "many"),
        ("CALL-24 no message", "none"),
        ("CALL-24 the server's status", "nope"),
        ("CALL-24 the server's status after a message", "nope-late"),
        ("CALL-24 broken off", "grpc-cut"),
        ("CALL-24 HTTP/1 only", "plain"),
        ("CALL-24 another HTTP status", "busy"),
        ("CALL-24 another HTTP status, no body", "busy-bare"),
        ("CALL-24 no frames", "unframed"),
        ("CALL-24 no status", "statusless"),
        ("CALL-24 no status of gRPC's", "wrong-status"),
        ("CALL-24 a compressed message", "compressed"),
    ] {
        let call = w.stream(&service(cluster), &[])
            + &w.send("ab", false)
            + &w.send("", false)
            + &w.send("cde", true);
        w.row(name, 1, call);
    }
    for (name, cluster) in
        [("CALL-24 closed by the guest", "hello"), ("CALL-24 closed by the guest, HTTP/1 only", "plain")]
    {
        let call = w.stream(&service(cluster), &[]) + CLOSE + &w.send("late", false);
        w.row(name, 1, call);
    }
    for (name, cluster) in [
        ("CALL-24 closed by the server", "closing2"),
        ("CALL-24 refused", "refusing2"),
        ("CALL-21 a stream without a healthy host", "dead"),
        ("CALL-21 a stream to an unknown cluster", "nobody"),
    ] {
        let call = w.stream(&service(cluster), &[]);
        w.row(name, 1, call);
    }
    let call = w.stream(&service("many"), &[("x-a", "1"), ("x-bin", "\0\u{1}")]) + &w.send("", true);
    w.row("CALL-27 metadata of a stream", 1, call);
    let close = w.send("x", false) + CLOSE + CANCEL;
    let call = w.stream(&service("many"), &[]) + &w.send("a", true);
    w.then("CALL-25 after the end", 1, call, vec![("close", close)]);
    let cancel = format!("{CANCEL} (call $ended)");
    let call = w.stream(&service("many"), &[]) + &w.send("a", true);
    w.then("CALL-25 cancelled in a message", 1, call, vec![("receive", cancel)]);
    let call = w.http("slower", &GET, 0);
    w.row("CALL-25 nothing comes after a message", 1, call);
    let call = w.stream(&service("many"), &[]) + &w.send("a", false) + &w.http("slow", &GET, 0);
    w.row("CALL-24 never ended by the guest", 1, call);
}
