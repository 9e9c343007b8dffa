//! What is asked of a value that may be missing: to be there, a range, or a text.
//!
//! Knows not whether it is a header, a cookie, a parameter or an attribute.

use schemars::JsonSchema;
use serde::Serialize;

use super::string::{StringMatcher, Text};
use crate::{At, FromConfig, Problems, names};

/// A range of integers, as Envoy's `Int64Range`: from `start` up to, but without, `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromConfig, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IntegerRange {
    /// The first number that is in the range.
    pub start: i64,
    /// The first number that is no longer in it; more than `start`.
    pub end: i64,
}

impl IntegerRange {
    /// Whether the number is in the range.
    #[must_use]
    pub fn contains(self, number: i64) -> bool {
        (self.start..self.end).contains(&number)
    }

    /// Whether the text is an integer in the range; spaces around it and a sign are accepted, as by Envoy.
    #[must_use]
    pub fn contains_text(self, text: &[u8]) -> bool {
        names::integer(text.trim_ascii()).is_some_and(|number| self.contains(number))
    }
}

/// A compiled question.
#[derive(Clone, Debug)]
pub(super) enum ValueMatcher {
    /// Whether there is a value: `true` wants one.
    Present(bool),
    Range(IntegerRange),
    Text(StringMatcher),
}

impl ValueMatcher {
    /// Compiles the one question that is asked; none at all asks for presence. What is wrong is noted.
    #[inline(never)]
    pub(super) fn new(
        text: &Text<'_>,
        range: Option<IntegerRange>,
        present: Option<bool>,
        at: &At<'_>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let mut given = text.given();
        let has_text = !given.is_empty();
        for &(field, is_given) in &[("range", range.is_some()), ("present", present.is_some())] {
            if is_given {
                given.push(field);
            }
        }
        if !at_most_one(&given, at, problems) {
            return None;
        }
        if text.ignore_case && !has_text {
            problems.add(at.field("ignore_case"), "goes with `exact`, `prefix`, `suffix` or `contains` only");
            return None;
        }
        if let Some(range) = range {
            if range.start >= range.end {
                problems.add(
                    at.field("range"),
                    "contains no number: `end` is not in the range and must be more than `start`",
                );
            }
            return Some(Self::Range(range));
        }
        match has_text {
            true => text.compile(at, problems).map(Self::Text),
            false => Some(Self::Present(present.unwrap_or(true))),
        }
    }

    /// Envoy's rule: a value that is missing does not match, inverted or not, unless presence is what is asked for.
    pub(super) fn is_match(&self, value: Option<&[u8]>, invert: bool) -> bool {
        match (self, value) {
            (Self::Present(wanted), _) => (value.is_some() == *wanted) != invert,
            (_, None) => false,
            (Self::Range(range), Some(value)) => range.contains_text(value) != invert,
            (Self::Text(text), Some(value)) => text.is_match(value) != invert,
        }
    }
}

fn at_most_one(given: &[&str], at: &At<'_>, problems: &mut Problems) -> bool {
    if given.len() > 1 {
        let names = crate::config::list(given.iter().copied(), '`');
        problems.add(at, ["has ", &names, "; only one of them can be given"].concat());
    }
    given.len() < 2
}

/// Whether one of some fields is given; if not, that is noted.
pub(super) fn exactly_one(given: &[&str], known: &str, at: &At<'_>, problems: &mut Problems) -> bool {
    if given.is_empty() {
        problems.add(at, ["needs one of ", known].concat());
    }
    !given.is_empty() && at_most_one(given, at, problems)
}
