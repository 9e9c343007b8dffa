//! HDR-20 to HDR-24 on the block itself.

use super::*;

#[track_caller]
fn check(before: &[(&str, &str)], change: impl FnOnce(&mut Headers), after: &[(&str, &str)]) {
    let mut headers: Headers = before.iter().copied().collect();
    change(&mut headers);
    assert_eq!(headers, after.iter().copied().collect());
}

#[test]
fn hdr_20_inline_names_join_others_do_not() {
    check(&[("accept", "a")], |h| h.add(b"Accept", b"b", Kind::Request), &[("accept", "a,b")]);
    check(&[("cookie", "a")], |h| h.add(b"cookie", b"b", Kind::Request), &[("cookie", "a"), ("cookie", "b")]);
    check(
        &[(":path", "/changed?y=2")],
        |h| h.add(b":path", b"/added", Kind::Request),
        &[(":path", "/changed?y=2,/added")],
    );
    check(
        &[("set-cookie", "a")],
        |h| h.add(b"set-cookie", b"b", Kind::Response),
        &[("set-cookie", "a"), ("set-cookie", "b")],
    );
}

#[test]
fn hdr_20_pseudo_names_stay_in_their_block() {
    check(
        &[(":path", "/"), ("a", "1")],
        |h| h.add(b":bogus", b"x", Kind::Request),
        &[(":path", "/"), (":bogus", "x"), ("a", "1")],
    );
}

#[test]
fn hdr_21_replace_moves_to_the_end() {
    check(&[("a", "1"), ("b", "2"), ("A", "3")], |h| h.replace(b"a", b""), &[("b", "2"), ("a", "")]);
    check(&[("b", "2")], |h| h.replace(b"New", b"1"), &[("b", "2"), ("new", "1")]);
}

#[test]
fn hdr_22_remove_takes_all() {
    check(&[("a", "1"), ("b", "2"), ("a", "3")], |h| assert_eq!(h.remove(b"A"), 2), &[("b", "2")]);
    check(&[("b", "2")], |h| assert_eq!(h.remove(b"a"), 0), &[("b", "2")]);
}

#[test]
fn set_keeps_the_place() {
    check(&[("a", "1"), ("b", "2"), ("a", "3")], |h| h.set(b"a", b"9"), &[("a", "9"), ("b", "2")]);
}

#[test]
fn hdr_16_size_is_in_bytes() {
    let headers: Headers = [("ab", "cde"), ("f", "")].into_iter().collect();
    assert_eq!(headers.byte_size(), 6);
}
