//! The server and the client against each other: each reply, and what each side sees of it.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use crate::envoy::client::{Parties, Wait, exchange_in};
use crate::envoy::server::{Answers, Arrival, Reply, Server};
use crate::exchange::{Message, Protocol};
use crate::headers::Headers;

/// Does the same with every request, and tells which arrived.
struct Same {
    reply: Reply,
    arrivals: Sender<Arrival>,
}

impl Answers for Same {
    fn reply(&self, arrival: Arrival) -> Reply {
        self.arrivals.send(arrival).unwrap();
        self.reply.clone()
    }

    fn opened(&self, head: &Message) -> (usize, Option<Reply>) {
        let early = head.headers.get(b"x-early").map(|_| self.reply.clone());
        (7, early)
    }
}

fn server(reply: Reply) -> (Server, Receiver<Arrival>) {
    let (arrivals, arrived) = channel();
    (Server::start(Arc::new(Same { reply, arrivals })).unwrap(), arrived)
}

fn message(headers: &[(&str, &str)], body: &[u8], trailers: &[(&str, &str)]) -> Message {
    let lines = |lines: &[(&str, &str)]| lines.iter().copied().collect::<Headers>();
    Message { headers: lines(headers), body: body.to_vec(), trailers: lines(trailers), body_truncated: false }
}

const HEAD: [(&str, &str); 4] =
    [(":method", "POST"), (":path", "/a?b"), (":authority", "x"), (":scheme", "http")];
const OK: [(&str, &str); 2] = [(":status", "200"), ("x-a", "1")];

fn ask(server: &Server, request: &Message, wait: Wait) -> Option<Message> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port()));
    let parties = Parties { source: ([10, 0, 0, 1], 9).into(), port: 4711 };
    exchange_in(Protocol::Http2, address, Some(parties), request, wait).unwrap()
}

#[test]
fn messages_arrive_as_they_were_sent() {
    let mut request = message(&HEAD, &[0xff; 100_000], &[("t", "1"), ("t", "2")]);
    request.headers.push("x-bytes", b"\xff\xfe");
    let mut response = message(&OK, &[7; 100_000], &[("grpc-status", "0")]);
    response.headers.push("x-bytes", b"\x80 \t");
    let (server, arrived) = server(Reply::Answer(Duration::from_millis(1), response.clone()));
    assert_eq!(ask(&server, &request, Wait::default()), Some(response));
    assert_eq!(arrived.recv().unwrap(), Arrival { called: Some(4711), opened: None, request });
}

#[test]
fn a_response_has_no_headers_of_a_connection_and_none_to_head_a_body() {
    let response = message(
        &[(":status", "201"), ("connection", "close"), ("keep-alive", "1"), ("a", "b")],
        b"body",
        &[],
    );
    let (server, _arrived) = server(Reply::Answer(Duration::ZERO, response));
    let want = [(":status", "201"), ("a", "b")];
    assert_eq!(ask(&server, &message(&HEAD, b"", &[]), Wait::default()), Some(message(&want, b"body", &[])));
    let head = [(":method", "HEAD"), (":path", "/"), (":authority", "x")];
    assert_eq!(ask(&server, &message(&head, b"", &[]), Wait::default()), Some(message(&want, b"", &[])));
}

#[test]
fn a_cut_response_arrives_up_to_the_cut() {
    let (server, _arrived) = server(Reply::Cut(Duration::ZERO, message(&OK, &[1; 100_000], &[]), 65_000));
    let mut want = message(&OK, &[1; 65_000], &[]);
    want.body_truncated = true;
    assert_eq!(ask(&server, &message(&HEAD, b"", &[]), Wait::default()), Some(want));
}

#[test]
fn what_is_closed_or_silent_has_no_answer() {
    let (closing, _arrived) = server(Reply::Close(Duration::ZERO));
    assert_eq!(ask(&closing, &message(&HEAD, b"abc", &[]), Wait::default()), None);
    let (silent, _arrived) = server(Reply::Silence);
    assert_eq!(ask(&silent, &message(&HEAD, b"", &[]), Wait::Leave(Duration::from_millis(50))), None);
}

#[test]
fn a_filter_s_grpc_stream_is_told_of_when_it_begins() {
    let response = message(&OK, b"", &[("grpc-status", "0")]);
    let (server, arrived) = server(Reply::Answer(Duration::ZERO, response.clone()));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port()));
    let ask = |more: &[(&str, &str)]| {
        let request =
            message(&[&HEAD[..], &[("content-type", "application/grpc")], more].concat(), b"abc", &[]);
        exchange_in(Protocol::Http2, address, None, &request, Wait::default()).unwrap()
    };
    for (more, opened) in [(&[][..], Some(7)), (&[("grpc-timeout", "1S")], None)] {
        assert_eq!(ask(more), Some(response.clone()));
        let arrival = arrived.recv().unwrap();
        assert_eq!((arrival.called, arrival.opened, arrival.request.body), (None, opened, b"abc".to_vec()));
    }
    assert_eq!(ask(&[("x-early", "1")]), Some(response.clone()), "answered before its end");
    assert!(arrived.try_recv().is_err());
}

#[test]
fn http1_is_spoken_at_the_same_port() {
    let (server, _arrived) = server(Reply::Answer(Duration::ZERO, message(&OK, b"hi", &[])));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port()));
    let answer =
        exchange_in(Protocol::Http11, address, None, &message(&HEAD, b"", &[]), Wait::default()).unwrap();
    assert_eq!(answer.unwrap().body, b"hi");
}

#[test]
fn a_broken_beginning_ends_the_connection_and_nothing_else() {
    let (server, _arrived) = server(Reply::Answer(Duration::ZERO, message(&OK, b"", &[])));
    let mut broken = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).unwrap();
    broken.write_all(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n").unwrap();
    assert_eq!(ask(&server, &message(&HEAD, b"", &[]), Wait::default()), Some(message(&OK, b"", &[])));
}
