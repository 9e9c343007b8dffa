//! Paths as data.

use super::*;

fn walk<'k>(paths: &Paths, steps: &[Enter<'k>]) -> Option<usize> {
    let mut walk = paths.walk();
    let mut found = None;
    for step in steps {
        found = walk.enter(paths, *step);
    }
    for _ in steps {
        walk.leave();
    }
    assert_eq!(walk.places, paths.walk().places);
    found
}

/// `a.0.b` is the key `a`, the element 0, the key `b`.
#[track_caller]
fn check(list: &[&str], place: &str, expected: Option<usize>) {
    let paths = Paths::compile(list.iter().copied(), true).unwrap();
    let steps: Vec<Enter<'_>> =
        place.split('.').map(|step| step.parse().map_or(Enter::Key(step), Enter::Element)).collect();
    assert_eq!(walk(&paths, &steps), expected, "{list:?} at {place}");
}

#[test]
fn paths_end_at_values() {
    check(&["user.password"], "user.password", Some(0));
    check(&["$.user.password"], "user.password", Some(0));
    check(&["user.password"], "USER.PassWord", Some(0));
    check(&["user.password"], "user.pa\u{17f}\u{17f}word", Some(0));
    check(&["user.\u{212a}ey"], "user.key", Some(0));
    check(&["$ref"], "$ref", Some(0));
    check(&["user.password"], "user", None);
    check(&["user.password"], "user.password.x", None);
    check(&["user.password"], "x.user.password", None);
    check(&["user.password"], "user.0.password", None);
    check(&["items[*].card"], "items.7.card", Some(0));
    check(&["items[*].card"], "items.x.card", None);
    check(&["items.*.card"], "items.x.card", Some(0));
    check(&["items.*.card"], "items.7.card", Some(0));
    check(&["items[2]"], "items.2", Some(0));
    check(&["items[2]"], "items.3", None);
    check(&["[*].a"], "0.a", Some(0));
    check(&["[\"a.b\"][\"\\u0063\"]"], "a.b", None);
    check(&["a", "*"], "b", Some(1));
    check(&["*", "a"], "a", Some(0));
}

#[test]
fn any_number_of_steps() {
    check(&["**.token"], "token", Some(0));
    check(&["**.token"], "a.0.b.token", Some(0));
    check(&["**.token"], "token.token", Some(0));
    check(&["**.token"], "token.x", None);
    check(&["a.**.b"], "a.b", Some(0));
    check(&["a.**.b"], "a.x.y.b", Some(0));
    check(&["a.**.**.b"], "a.x.y.b", Some(0));
    check(&["a.**.b.**.c"], "a.b.x.b.c", Some(0));
    check(&["a.**.b.c"], "a.b.b.c", Some(0));
    check(&["a.**.b.c"], "a.b.x.c", None);
    check(&["x", "**.a[*]", "**.a[0]"], "q.a.0", Some(1));
}

#[test]
fn what_is_no_path_is_refused() {
    for path in [
        "", "$", "a.", ".a", "a..b", "a[", "a[]", "a[x]", "a[-1]", "a]", "a.[0]", "a[0]b", "**", "a.**",
        "a*", "\"a\"", "[\"a]",
    ] {
        assert!(Paths::compile([path], true).is_err(), "{path}");
    }
    assert!(Paths::compile(["a.".repeat(64).as_str()], true).is_err());
    let long = ["a.".repeat(64).as_str(), "a"].concat();
    assert!(Paths::compile([long.as_str()], true).is_err());
}

#[test]
fn case_counts_when_asked() {
    let paths = Paths::compile(["a.B"], false).unwrap();
    assert_eq!(walk(&paths, &[Enter::Key("a"), Enter::Key("B")]), Some(0));
    assert_eq!(walk(&paths, &[Enter::Key("a"), Enter::Key("b")]), None);
}

/// The walk against the plain definition, on all short places.
#[test]
fn walks_as_defined() {
    let all = ["**.a.**.b", "**.a.b", "a.**.a.*", "**.*.a", "*.**.b", "**.a.**.a.**.a"];
    let alphabet = ["a", "b", "c"];
    for path in all {
        let paths = Paths::compile([path], true).unwrap();
        let [steps @ .., Step::End(0)] = paths.steps.as_slice() else { panic!("no end") };
        for code in 0..3usize.pow(6) {
            for length in 1..=6 {
                let place: Vec<&str> = (0..length).map(|at| alphabet[code / 3usize.pow(at) % 3]).collect();
                let into: Vec<Enter<'_>> = place.iter().map(|key| Enter::Key(key)).collect();
                assert_eq!(walk(&paths, &into).is_some(), defined(steps, &place), "{path} {place:?}");
            }
        }
    }
}

fn defined(steps: &[Step], place: &[&str]) -> bool {
    match (steps, place) {
        ([], []) => true,
        ([Step::Deep, rest @ ..], _) => (0..=place.len()).any(|at| defined(rest, &place[at..])),
        ([Step::Key(key), rest @ ..], [name, place @ ..]) => key == name && defined(rest, place),
        ([Step::Any, rest @ ..], [_, place @ ..]) => defined(rest, place),
        _ => false,
    }
}
