//! Messages as protobuf's own tools write them, and what no tool writes.

use super::*;

#[test]
fn a_request_is_as_envoys() {
    let one = descriptor([("user", b"ann".as_slice()), ("plan", b"\xff")].into_iter(), None);
    assert_eq!(one, b"\x0a\x0b\x0a\x04user\x12\x03ann\x0a\x0b\x0a\x04plan\x12\x03\xef\xbf\xbd");
    let rate = RequestRate { requests_per_unit: 300, unit: Unit::Week };
    let two = descriptor(std::iter::empty(), Some(&rate));
    assert_eq!(two, b"\x12\x05\x08\xac\x02\x10\x07");
    let write = |hits: [u64; 2]| request("d", [(&b"\x0a\0"[..], hits[0]), (&two[..], hits[1])].into_iter());
    let same = b"\x0a\x01d\x12\x02\x0a\0\x12\x07\x12\x05\x08\xac\x02\x10\x07";
    assert_eq!(write([1, 1]), same);
    assert_eq!(write([7, 7]), [&same[..], b"\x18\x07"].concat());
    assert_eq!(
        write([7, 0]),
        b"\x0a\x01d\x12\x06\x0a\0\x1a\x02\x08\x07\x12\x09\x12\x05\x08\xac\x02\x10\x07\x1a\0"
    );
}

fn field(number: u32, bytes: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    put_bytes(&mut message, number, bytes);
    message
}

#[test]
fn an_answer_is_read() {
    let limit = b"\x08\x0a\x10\x02\x1a\x08per-user";
    let status = [b"\x08\x02".to_vec(), field(2, limit), b"\x18\x03".to_vec(), field(4, b"\x08\x05\x10\x01")];
    let message = [
        b"\x08\x02".to_vec(),
        field(2, &status.concat()),
        field(2, b"\x08\x01"),
        field(3, b"\x0a\x03X-A\x12\x01b"),
        field(3, b"\x0a\x07:status\x12\x03200"),
        field(3, b"\x0a\x01c\x12\x04d\r\ne"),
        field(4, b"\x0a\x01f\x1a\x02\xff\xfe"),
        field(5, b"body"),
        field(6, b"\x0a\x00"),
    ];
    let limit = CurrentLimit { requests: 10, window_s: 60, name: "per-user".to_owned() };
    let first = Status { over_limit: true, limit: Some(limit), remaining: 3, reset_ns: Some(5_000_000_001) };
    let want = Answer {
        over_limit: true,
        statuses: vec![first, Status::default()],
        response_headers: vec![("x-a".into(), "b".into())],
        request_headers: vec![("f".into(), b"\xff\xfe".as_slice().into())],
        raw_body: b"body".into(),
    };
    assert_eq!(Answer::read(&message.concat()), Some(want));
    assert_eq!(Answer::read(b"\x08\x01"), Some(Answer::default()));
}

#[test]
fn what_is_no_answer_is_none() {
    for garbage in [
        b"".as_slice(),
        b"\x08\x00",
        b"\x08\x03",
        b"\x08\x81\x80\x80\x80\x10",
        b"garbage",
        b"<html>",
        b"\x08\x01\x12\x05\x08",
        b"\x08\x01\x12\x02\x12\xff",
        b"\x08\x01\x12\x04\x12\x02\x08\xff",
        b"\x0a\x01\x01",
    ] {
        assert_eq!(Answer::read(garbage), None, "{}", garbage.escape_ascii());
    }
}

#[test]
fn names_that_would_end_their_quotes_are_left_out() {
    for (name, want) in
        [(&b"a b"[..], "a b"), (b"a\"b", ""), (b"a\nb", ""), (b"\xff", ""), (&[b'x'; 129], "")]
    {
        assert_eq!(CurrentLimit::read(&field(3, name)).unwrap().name, want);
    }
}

#[test]
fn negative_and_endless_times_are_bounded() {
    let mut negative = Vec::new();
    put_number(&mut negative, 1, (-1_i64).cast_unsigned());
    assert_eq!(duration_ns(&negative), None);
    let mut long = Vec::new();
    put_number(&mut long, 1, i64::MAX.cast_unsigned());
    assert_eq!(duration_ns(&long), Some(u64::MAX));
    assert_eq!(duration_ns(b"\x0a\x00"), None);
}

#[test]
fn a_flood_is_cut_off() {
    let mut message = b"\x08\x01".to_vec();
    for _ in 0..30_000 {
        message.extend(b"\x12\x00");
        message.extend(field(3, b"\x0a\x01a\x12\x01b"));
    }
    let answer = Answer::read(&message).unwrap();
    assert_eq!((answer.statuses.len(), answer.response_headers.len()), (MOST, MOST));
}
