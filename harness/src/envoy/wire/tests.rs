//! HTTP/1 on the wire, as data.

use crate::headers::Headers;

use super::*;

fn message(headers: &[(&str, &[u8])], body: &[u8]) -> Message {
    let headers = headers.iter().copied().collect::<Headers>();
    Message { headers, body: body.to_vec(), ..Message::default() }
}

#[track_caller]
fn round_trip(request: &Message, want_framing: &[(&str, &[u8])]) {
    let mut bytes = Vec::new();
    write_request(&mut bytes, request).unwrap();
    let got = read_request(&mut bytes.as_slice()).unwrap().unwrap();
    let mut want = request.clone();
    for (name, value) in want_framing {
        want.headers.push(name, value);
    }
    assert_eq!(got, want);
}

#[test]
fn requests_survive_the_wire() {
    let pseudo: [(&str, &[u8]); 3] = [(":method", b"POST"), (":path", b"/a?b"), (":authority", b"h:1")];
    let with = |more: &[(&'static str, &'static [u8])]| [&pseudo[..], more].concat();
    round_trip(&message(&pseudo, b""), &[]);
    round_trip(&message(&with(&[("x", b"\xff\x80"), ("x", b"2"), ("y", b"")]), b""), &[]);
    round_trip(&message(&with(&[("content-length", b"3")]), b"abc"), &[]);
    round_trip(&message(&pseudo, &[7; 10_000]), &[("transfer-encoding", b"chunked")]);
}

#[track_caller]
fn response(bytes: &[u8], to_head: bool, want: Option<&Message>) {
    assert_eq!(read_response(&mut &bytes[..], to_head).unwrap().as_ref(), want);
}

#[test]
fn responses_are_read_as_they_are() {
    response(b"", false, None);
    response(b"HTTP/1.1 204 No Content\r\n\r\nGARBAGE", false, Some(&message(&[(":status", b"204")], b"")));
    response(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200\r\n\r\nto the end",
        false,
        Some(&message(&[(":status", b"200")], b"to the end")),
    );
    let length: &[(&str, &[u8])] = &[(":status", b"200"), ("content-length", b"9")];
    response(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", true, Some(&message(length, b"")));
    let cut =
        read_response(&mut &b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"[..], false).unwrap().unwrap();
    assert!(cut.body_truncated);
    assert_eq!(cut.body, b"abc");
}

#[test]
fn what_is_no_http_is_an_error() {
    for bytes in [&b"SSH-2.0\r\n"[..], b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", b"HTTP/1.1 200 OK\r\nx: y"] {
        read_response(&mut &bytes[..], false).unwrap_err();
    }
    for bytes in [&b"GET /\r\n\r\n"[..], b"GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"] {
        read_request(&mut &bytes[..]).unwrap_err();
    }
}
