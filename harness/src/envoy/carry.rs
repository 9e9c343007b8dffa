//! What of a scenario and its recordings can be carried over to a real Envoy: exchanges as they can be sent there, and a list of what is left
//! behind, with the reason. The harness is then given the same, so that both are asked the same. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::http2;
use super::proxy::refuses_all;
use crate::exchange::{Exchange, Message, Protocol};
use crate::scenario::{Cluster, FailureType, Scenario};

/// Something that Envoy cannot be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// What: a field of the scenario, or what the recording has.
    pub what: String,
    /// Why, and what happens instead.
    pub why: String,
    /// How many exchanges have it; absent where it is not a matter of exchanges.
    pub exchanges: Option<u64>,
}

/// Exchanges as they can be sent to an Envoy, and what was left behind.
#[derive(Clone, Debug, Default)]
pub struct Carried {
    /// The exchanges.
    pub exchanges: Vec<Exchange>,
    /// What of them was left behind: how many exchanges have each.
    counts: BTreeMap<Lack, u64>,
}

/// What an exchange can have that Envoy cannot be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lack {
    Connect,
    Protocol,
    NotHttp2,
    Tls,
    Connection,
    Truncated,
    Length,
    Trailers,
}

impl Lack {
    fn say(self) -> (&'static str, &'static str) {
        match self {
            Self::Connect => ("CONNECT requests", "a tunnel is no exchange; they are left out"),
            Self::Protocol => ("HTTP/1.0 and HTTP/3", "they are sent as HTTP/1.1 and HTTP/2"),
            Self::NotHttp2 => (
                "requests that a client may not send in HTTP/2",
                "they are sent as HTTP/1.1 (headers of one connection, lines of a name apart, a target that is no URI)",
            ),
            Self::Tls => {
                ("TLS of the client", "the connection is plain; `x-forwarded-proto: https` says what it was")
            }
            Self::Connection => ("connections", "each exchange has a connection of its own"),
            Self::Truncated => ("bodies that the recording cut", "they are sent as short as they are"),
            Self::Length => (
                "`content-length` of another body",
                "it is set to the length of what is sent, for a peer would wait for the rest",
            ),
            Self::Trailers => {
                ("`content-length` beside trailers", "HTTP/1.1 has one or the other; it is left out")
            }
        }
    }
}

impl Carried {
    /// Makes exchanges such that they can be sent.
    #[must_use]
    pub fn new(exchanges: impl IntoIterator<Item = Exchange>) -> Self {
        let mut carried = Self::default();
        for exchange in exchanges {
            let (exchange, lacks) = carry(exchange);
            for lack in lacks {
                *carried.counts.entry(lack).or_default() += 1;
            }
            carried.exchanges.extend(exchange);
        }
        carried
    }

    /// What was left behind of the exchanges.
    pub fn left(&self) -> impl Iterator<Item = Left> {
        self.counts.iter().map(|(lack, exchanges)| {
            let (what, why) = lack.say();
            Left { what: what.to_owned(), why: why.to_owned(), exchanges: Some(*exchanges) }
        })
    }
}

fn carry(mut exchange: Exchange) -> (Option<Exchange>, Vec<Lack>) {
    let mut lacks = Vec::new();
    if exchange.request.headers.get(b":method") == Some(b"CONNECT") {
        return (None, vec![Lack::Connect]);
    }
    let downstream = &mut exchange.downstream;
    let (protocol, lack) = match downstream.protocol {
        Protocol::Http11 => (Protocol::Http11, None),
        Protocol::Http10 => (Protocol::Http11, Some(Lack::Protocol)),
        _ if http2::request(&exchange.request).is_err() => (Protocol::Http11, Some(Lack::NotHttp2)),
        Protocol::Http2 => (Protocol::Http2, None),
        Protocol::Http3 => (Protocol::Http2, Some(Lack::Protocol)),
    };
    downstream.protocol = protocol;
    lacks.extend(lack);
    if downstream.tls {
        downstream.tls = false;
        lacks.push(Lack::Tls);
        if exchange.request.headers.get(b"x-forwarded-proto").is_none() {
            exchange.request.headers.push("x-forwarded-proto", "https");
        }
    }
    if downstream.connection_id.take().is_some() {
        lacks.push(Lack::Connection);
    }
    // An HTTP/1 request line says no scheme, and Envoy takes none for granted that the connection does not have.
    if protocol == Protocol::Http11 && exchange.request.headers.get(b":scheme").is_some() {
        exchange.request.headers.set(b":scheme", b"http");
    }
    let to_head = exchange.request.headers.get(b":method") == Some(b"HEAD");
    let response = exchange
        .response
        .as_mut()
        .filter(|response| !to_head && !matches!(response.headers.get(b":status"), Some(b"204" | b"304")));
    let messages = [(protocol == Protocol::Http2, Some(&mut exchange.request)), (false, response)];
    for (http2, message) in messages {
        let Some(message) = message else { continue };
        if std::mem::take(&mut message.body_truncated) {
            add(&mut lacks, Lack::Truncated);
        }
        if let Some(lack) = frame(message, http2) {
            add(&mut lacks, lack);
        }
    }
    (Some(exchange), lacks)
}

fn add(lacks: &mut Vec<Lack>, lack: Lack) {
    if !lacks.contains(&lack) {
        lacks.push(lack);
    }
}

/// Makes `content-length` one that its body has.
fn frame(message: &mut Message, http2: bool) -> Option<Lack> {
    let length = message.headers.get(b"content-length")?;
    if !message.trailers.is_empty() && !http2 {
        message.headers.remove(b"content-length");
        return Some(Lack::Trailers);
    }
    let right = message.body.len().to_string();
    let is_right = length == right.as_bytes();
    if !is_right {
        message.headers.set(b"content-length", right.as_bytes());
    }
    (!is_right).then_some(Lack::Length)
}

/// What of a scenario itself is left behind. `route_config` and `clusters` are those that run; `span` is the time between the begins of the
/// first and the last exchange where they were not waited for.
#[must_use]
pub fn left_of(
    scenario: &Scenario,
    clusters: &BTreeMap<String, Cluster>,
    span: Option<Duration>,
) -> Vec<Left> {
    let mut left = Vec::new();
    let mut say = |what: String, why: &str| left.push(Left { what, why: why.to_owned(), exchanges: None });
    if scenario.start.is_some() {
        say(
            "`start`".to_owned(),
            "Envoy's clock is the machine's; in the comparison the harness begins at its time",
        );
    }
    if let Some(span) = span.filter(|span| !span.is_zero()) {
        let what = format!("recorded times ({} s)", span.as_secs_f64().ceil());
        say(what, "they are not waited for, in the harness neither; `--real-time` does");
    }
    for (name, cluster) in clusters {
        let fields = [&cluster.failure].into_iter().chain(cluster.rules.iter().map(|rule| &rule.failure));
        let mut failures = fields.chain(cluster.sequence.iter().map(|step| &step.failure)).flatten();
        if failures.any(|failure| failure.kind == FailureType::ConnectFailure) && !refuses_all(cluster) {
            let why = "a server cannot refuse some connections: it closes them, which Envoy calls `UC` and not `UF`";
            say(format!("`clusters.{name}`: CONNECT_FAILURE of some requests"), why);
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(request: &[(&str, &str)], body: &str, trailers: &[(&str, &str)]) -> Exchange {
        let request = Message {
            headers: request.iter().copied().collect(),
            body: body.as_bytes().to_vec(),
            trailers: trailers.iter().copied().collect(),
            ..Message::default()
        };
        Exchange { request, ..Exchange::default() }
    }

    #[track_caller]
    fn check(exchange: Exchange, want: Option<&[(&str, &str)]>, lacks: &[&str]) {
        let carried = Carried::new([exchange]);
        let got = carried.exchanges.first().map(|exchange| exchange.request.headers.clone());
        assert_eq!(got, want.map(|want| want.iter().copied().collect()));
        assert_eq!(carried.left().map(|left| left.what).collect::<Vec<_>>(), lacks);
    }

    #[test]
    fn what_cannot_be_sent_is_changed_and_listed() {
        check(exchange(&[("a", "b")], "", &[]), Some(&[("a", "b")]), &[]);
        check(exchange(&[(":method", "CONNECT")], "", &[]), None, &["CONNECT requests"]);
        let right = [("content-length", "3")];
        check(exchange(&right, "abc", &[]), Some(&right), &[]);
        check(
            exchange(&[("content-length", "9")], "abc", &[]),
            Some(&right),
            &["`content-length` of another body"],
        );
        check(exchange(&right, "abc", &[("t", "1")]), Some(&[]), &["`content-length` beside trailers"]);
        let mut tls = exchange(&[(":scheme", "https")], "", &[]);
        tls.downstream.tls = true;
        tls.downstream.protocol = Protocol::Http10;
        let want = [(":scheme", "http"), ("x-forwarded-proto", "https")];
        check(tls, Some(&want), &["HTTP/1.0 and HTTP/3", "TLS of the client"]);
    }

    #[test]
    fn http2_stays_http2_where_it_can_be_sent() {
        let head = [(":method", "POST"), (":path", "/"), (":authority", "a"), (":scheme", "https")];
        let with = |lines: &[(&'static str, &'static str)]| [&head[..], lines].concat();
        let over = |protocol, lines: &[(&str, &str)], trailers: &[(&str, &str)]| {
            let mut exchange = exchange(lines, "abc", trailers);
            exchange.downstream.protocol = protocol;
            exchange
        };
        let trailers = with(&[("content-length", "3"), ("te", "trailers")]);
        check(over(Protocol::Http2, &trailers, &[("t", "1")]), Some(&trailers), &[]);
        check(over(Protocol::Http3, &head, &[]), Some(&head), &["HTTP/1.0 and HTTP/3"]);
        let apart = [("a", "1"), ("b", "2"), ("a", "3")];
        for lines in [&apart[..], &[("connection", "close")], &[("a b", "")]] {
            let lines = with(lines);
            let mut want = lines.clone();
            want[3] = (":scheme", "http");
            check(
                over(Protocol::Http2, &lines, &[]),
                Some(&want),
                &["requests that a client may not send in HTTP/2"],
            );
        }
    }

    #[test]
    fn an_answer_without_a_body_keeps_its_length() {
        let response = |status: &str| Message {
            headers: [(":status", status), ("content-length", "9")].into_iter().collect(),
            ..Message::default()
        };
        for (method, status, want) in [("HEAD", "200", "9"), ("GET", "304", "9"), ("GET", "200", "0")] {
            let mut exchange = exchange(&[(":method", method)], "", &[]);
            exchange.response = Some(response(status));
            let carried = Carried::new([exchange]);
            let got = carried.exchanges[0].response.as_ref().unwrap().headers.get(b"content-length").unwrap();
            assert_eq!(got, want.as_bytes(), "{method} {status}");
        }
    }

    #[test]
    fn scripts_are_carried_as_far_as_servers_can() {
        let scenario: Scenario = crate::yaml::parse(
            "start: 2026-05-04T09:00:00Z\nclusters:\n  a: {failure: CONNECT_FAILURE}\n  b: {sequence: [{failure: CONNECT_FAILURE}, {}]}\n",
        )
        .unwrap();
        let left = left_of(&scenario, &scenario.clusters, Some(Duration::from_millis(1500)));
        let what: Vec<&str> = left.iter().map(|left| left.what.as_str()).collect();
        assert_eq!(
            what,
            ["`start`", "recorded times (2 s)", "`clusters.b`: CONNECT_FAILURE of some requests"]
        );
    }
}
