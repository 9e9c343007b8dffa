//! What is asked of a value that may be missing: to be there, a range, or a text.
//!
//! Knows not whether it is a header, a cookie, a parameter or an attribute.

use schemars::JsonSchema;
use serde::Serialize;

use super::string::{StringMatcher, Text};
use crate::config::joined;
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
pub(super) struct ValueMatcher {
    pub(super) asked: Asked,
    pub(super) invert: bool,
}

/// What is asked.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    /// Whether there is a value: `true` wants one.
    Present(bool),
    Range(IntegerRange),
    Text(Box<StringMatcher>),
}

/// What may be asked of a value, as it is written.
pub(super) struct Written<'w> {
    /// As those of [`Text`].
    pub(super) texts: [&'w Option<String>; 5],
    pub(super) ignore_case: bool,
    pub(super) range: &'w Option<IntegerRange>,
    pub(super) present: Option<bool>,
    pub(super) invert: bool,
}

impl ValueMatcher {
    /// Compiles the one question that is asked; none at all asks for presence. What is wrong is noted.
    #[inline(never)]
    pub(super) fn new(written: &Written<'_>, at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        let &Written { texts, ignore_case, range, present, invert } = written;
        let text = Text::of(texts, ignore_case);
        let mut given = text.given();
        let has_text = given.count > 0;
        given.add("range", range.is_some());
        given.add("present", present.is_some());
        if !given.is_at_most_one(at, problems) {
            return None;
        }
        if ignore_case && !has_text {
            let reason = "goes with `exact`, `prefix`, `suffix` or `contains` only";
            problems.refuse(at, "ignore_case", reason);
            return None;
        }
        let asked = if let Some(range) = *range {
            if range.start >= range.end {
                let reason = "contains no number: `end` is not in the range and must be more than `start`";
                problems.refuse(at, "range", reason);
            }
            Asked::Range(range)
        } else if has_text {
            Asked::Text(text.compile(at, problems)?)
        } else {
            Asked::Present(present.unwrap_or(true))
        };
        Some(Self { asked, invert })
    }

    /// Envoy's rule: a value that is missing does not match, inverted or not, unless presence is what is asked for.
    pub(super) fn is_match(&self, value: Option<&[u8]>) -> bool {
        let matches = match (&self.asked, value) {
            (Asked::Present(wanted), _) => value.is_some() == *wanted,
            (_, None) => return false,
            (Asked::Range(range), Some(value)) => range.contains_text(value),
            (Asked::Text(text), Some(value)) => text.is_match(value),
        };
        matches != self.invert
    }
}

/// A question about what has a name.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) value: ValueMatcher,
    /// Of a header: one that is missing counts as an empty one.
    pub(super) missing_is_empty: bool,
}

impl Named {
    /// Compiles the question. What is wrong is noted.
    #[inline(never)]
    pub(super) fn new(
        name: &str,
        written: &Written<'_>,
        at: &At<'_>,
        problems: &mut Problems,
    ) -> Option<Box<Self>> {
        let value = ValueMatcher::new(written, at, problems)?;
        Some(Box::new(Self { name: String::from(name), value, missing_is_empty: false }))
    }
}

/// Which of some fields are given.
#[derive(Default)]
pub(super) struct Given {
    pub(super) count: usize,
    names: String,
}

impl Given {
    #[inline(never)]
    pub(super) fn add(&mut self, name: &str, is_given: bool) {
        if is_given {
            self.names.push_str(if self.count > 0 { ", `" } else { "`" });
            self.names.push_str(name);
            self.names.push('`');
            self.count = self.count.wrapping_add(1);
        }
    }

    fn is_at_most_one(&self, at: &At<'_>, problems: &mut Problems) -> bool {
        if self.count > 1 {
            problems.add(at, joined("has ", &self.names, "; only one of them can be given"));
        }
        self.count < 2
    }

    /// Whether one of the fields is given; if not, that is noted.
    #[inline(never)]
    pub(super) fn is_one(&self, known: &str, at: &At<'_>, problems: &mut Problems) -> bool {
        if self.count == 0 {
            problems.add(at, joined("needs one of ", known, ""));
        }
        self.count > 0 && self.is_at_most_one(at, problems)
    }
}
