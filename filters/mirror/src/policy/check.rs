//! What several parts of a configuration are checked for.

use std::time::Duration;

use weir_sdk::{At, Problems, names, nanos};

use super::bytes::joined;

/// Notes what is wrong with a field of what is at a place.
#[inline(never)]
pub(crate) fn refuse(problems: &mut Problems, at: &At<'_>, field: &str, reason: &str) {
    problems.add(at.field(field), reason);
}

/// Notes what was found wrong with a field of what is at a place.
#[inline(never)]
pub(crate) fn told(problems: &mut Problems, at: &At<'_>, field: &str, result: Result<(), String>) {
    if let Err(reason) = result {
        refuse(problems, at, field, &reason);
    }
}

/// Makes the name of a header one in lower case, or notes what is wrong with it; `example` shows what would be accepted.
#[inline(never)]
pub(crate) fn header(problems: &mut Problems, at: &At<'_>, field: &str, name: &mut str, example: &str) {
    let result = names::header(name, example).map(|_| name.make_ascii_lowercase());
    told(problems, at, field, result);
}

/// As [`header`], of all names of a list.
#[inline(never)]
pub(crate) fn headers(problems: &mut Problems, at: &At<'_>, list: &str, all: &mut [String], example: &str) {
    for (index, name) in all.iter_mut().enumerate() {
        header(problems, &at.item(list, index), "", name, example);
    }
}

/// Refuses a number that is not within bounds.
#[inline(never)]
pub(crate) fn number(problems: &mut Problems, at: &At<'_>, field: &str, found: u32, bounds: (u32, u32)) {
    let (least, most) = bounds;
    if found < least || found > most {
        let bounds = joined(&least.to_string(), " to ", &most.to_string());
        let bounds = joined("expected ", &bounds, ", found ");
        refuse(problems, at, field, &joined(&bounds, &found.to_string(), ""));
    }
}

/// Refuses a number that is not within bounds; `reason` says what they are.
#[inline(never)]
pub(crate) fn within(
    problems: &mut Problems,
    at: &At<'_>,
    field: &str,
    found: usize,
    (least, most): (usize, usize),
    reason: &str,
) {
    if found < least || found > most {
        refuse(problems, at, field, reason);
    }
}

/// Refuses a number above `most`, which `words` say.
#[inline(never)]
pub(crate) fn at_most(problems: &mut Problems, at: &At<'_>, field: &str, found: u32, most: u32, words: &str) {
    if found > most {
        let bounds = joined("expected at most ", words, ", found ");
        refuse(problems, at, field, &joined(&bounds, &found.to_string(), ""));
    }
}

/// Refuses a time that is not within bounds, which are milliseconds; `words` say what they are.
#[inline(never)]
pub(crate) fn time(
    problems: &mut Problems,
    at: &At<'_>,
    field: &str,
    found: Duration,
    (least, most): (u64, u64),
    words: &str,
) {
    let found = nanos(found);
    if found < least.wrapping_mul(1_000_000) || found > most.wrapping_mul(1_000_000) {
        refuse(problems, at, field, &joined("expected ", words, ""));
    }
}

/// An hour in milliseconds.
pub(crate) const HOUR: u64 = 3_600_000;
/// A day in milliseconds.
pub(crate) const DAY: u64 = 24 * HOUR;
