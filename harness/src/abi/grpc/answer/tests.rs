//! What guests are told, as a real Envoy 1.40 was seen to tell it.

use super::*;
use crate::scenario::{BytesText, ClusterResponse, GrpcResponse};
use crate::upstream::{Script, response};

/// What a stream and a call are told of an answer, in words: `i` initial metadata, `r` a message, `t` trailing metadata, `c` the end; with
/// the number of headers, the length, or the code and message.
fn words(told: Option<Told>) -> String {
    let Some(told) = told else { return "nothing".to_owned() };
    let word = |event: &Event| match event {
        Event::InitialMetadata(headers) => format!("i{}", headers.len()),
        Event::TrailingMetadata(headers) => format!("t{}", headers.len()),
        Event::Receive(message) => format!("r{}", message.len()),
        Event::Close { code, message } => {
            format!("c{} {}", code.cast_signed(), String::from_utf8_lossy(message))
        }
        other => format!("{other:?}"),
    };
    told.events.iter().map(word).collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn check(answer: &Answer<'_>, on_stream: &str, on_call: &str) {
    let turn = || Turn { latency: Duration::from_millis(5), answer: answer.clone() };
    assert_eq!(words(stream(turn(), None)), on_stream, "a stream");
    assert_eq!(words(call(turn(), Some(Duration::from_millis(5)))), on_call, "a call");
}

fn message(headers: &[(&str, &str)], body: &[u8], trailers: &[(&str, &str)]) -> Answer<'static> {
    Answer::Message(Cow::Owned(Message {
        headers: headers.iter().copied().collect(),
        body: body.to_vec(),
        body_truncated: false,
        trailers: trailers.iter().copied().collect(),
    }))
}

const OK: &[(&str, &str)] = &[(":status", "200"), ("content-type", "application/grpc")];
const HELLO: &[u8] = b"\0\0\0\0\x05hello";

#[test]
fn call_22_23_24_answers() {
    let fine = [("grpc-status", "0"), ("grpc-message", "fine"), ("x-t", "1")];
    check(&message(OK, HELLO, &fine), "i3 r5 t3 c0 fine{via_upstream}", "r5");
    let nope = [("grpc-status", "5"), ("grpc-message", "nope")];
    check(&message(OK, b"", &nope), "i3 t2 c5 nope{via_upstream}", "c5 nope{via_upstream}");
    check(&message(OK, b"", &[("grpc-status", "0")]), "i3 t1 c0 via_upstream", "c13 ");
    let two = [HELLO, b"\0\0\0\0\x02hi"].concat();
    check(&message(OK, &two, &[("grpc-status", "0")]), "i3 r5 r2 t1 c0 via_upstream", "r2");
    check(&message(OK, HELLO, &[("x", "no status")]), "i3 r5 t1 c2 via_upstream", "c2 via_upstream");
    check(&message(OK, HELLO, &[("grpc-status", "99")]), "i3 r5 t1 c-1 via_upstream", "c-1 via_upstream");
}

#[test]
fn call_24_trailers_only() {
    let nope = [OK, &[("grpc-status", "5"), ("grpc-message", "nope%20message")]].concat();
    check(
        &message(&nope, b"", &[]),
        "i0 t5 c5 nope%20message{via_upstream}",
        "c5 nope%20message{via_upstream}",
    );
    check(&message(&[(":status", "200")], b"", &[]), "i0 t2 c2 via_upstream", "c2 via_upstream");
}

#[test]
fn call_23_answers_that_are_not_grpc() {
    let plain = &[(":status", "404"), ("content-type", "text/plain")];
    check(&message(plain, b"not here", &[]), "i0 t0 c12 via_upstream", "c12 via_upstream");
    check(&message(&[(":status", "401")], b"", &[]), "i0 t0 c16 via_upstream", "c16 via_upstream");
    let both = [(":status", "503"), ("grpc-status", "7"), ("grpc-message", "gm")];
    check(&message(&both, b"", &[]), "i0 t4 c7 gm{via_upstream}", "c7 gm{via_upstream}");
    check(&message(OK, b"some text", &[]), "i3 t0 c13 via_upstream", "c13 via_upstream");
    check(&message(OK, HELLO, &[]), "i3 r5 t0 c2 via_upstream", "c2 via_upstream");
    check(&message(OK, &HELLO[..7], &[("grpc-status", "0")]), "i3 t1 c0 via_upstream", "c13 ");
    let compressed = b"\x01\0\0\0\x05hello";
    check(&message(OK, compressed, &[("grpc-status", "0")]), "i3 t0 c13 via_upstream", "c13 via_upstream");
}

#[test]
fn call_23_failures() {
    let before = "upstream connect error or disconnect/reset before headers. reset reason: ";
    let closed = format!(
        "c14 {before}connection termination{{upstream_reset_before_response_started{{connection_termination}}}}"
    );
    check(&Answer::Reset, &format!("i0 t4 {closed}"), &closed);
    let refused = format!(
        "c14 {before}remote connection failure{{upstream_reset_before_response_started{{remote_connection_failure|\
         delayed_connect_error:_Connection_refused}}}}"
    );
    check(&Answer::ConnectFailure, &format!("i0 t4 {refused}"), &refused);
    let Answer::Message(whole) = message(OK, &[HELLO, HELLO].concat(), &[("grpc-status", "0")]) else {
        panic!("a message")
    };
    let cut = "c13 upstream_reset_after_response_started{connection_termination}";
    check(&Answer::Cut { message: whole, after_bytes: 17 }, &format!("i3 r5 t0 {cut}"), cut);
    check(&Answer::Silence, "nothing", "c14 upstream request timeout{response_timeout}");
}

#[test]
fn call_23_time_that_runs_out() {
    let turn = |latency| Turn { latency, answer: message(OK, HELLO, &[("grpc-status", "0")]) };
    let ms = Duration::from_millis;
    let late = call(turn(ms(6)), Some(ms(5))).unwrap();
    assert_eq!((late.latency, late.end, late.code), (ms(5), CalloutEnd::Timeout, 14));
    let in_time = call(turn(ms(5)), Some(ms(5))).unwrap();
    assert_eq!((in_time.latency, in_time.end, in_time.code), (ms(5), CalloutEnd::Answered, 0));
}

/// What scenarios write as gRPC and HTTP answers.
#[test]
fn scripted_answers_are_understood() {
    let told = |cluster: &crate::scenario::Cluster| {
        let turn = Script::new("c", cluster, 0).turn(&Message::default(), None).into_owned();
        words(stream(turn, None))
    };
    let mut grpc = GrpcResponse { messages: vec!["hi".into()], ..GrpcResponse::default() };
    grpc.trailing_metadata.push(("x".to_owned(), BytesText::Text("y".to_owned())));
    let cluster = |grpc| crate::scenario::Cluster { grpc: Some(grpc), ..Default::default() };
    assert_eq!(told(&cluster(grpc)), "i3 r2 t2 c0 via_upstream");
    let none = GrpcResponse { status: 7, message: "no".to_owned(), ..GrpcResponse::default() };
    assert_eq!(told(&cluster(none)), "i0 t5 c7 no{via_upstream}");
    let http = response(&ClusterResponse { status: 429, ..ClusterResponse::default() });
    let turn = Turn { latency: Duration::ZERO, answer: Answer::Message(Cow::Owned(http)) };
    assert_eq!(words(stream(turn, None)), "i0 t0 c14 via_upstream");
}
