//! What is asked of a value that may be missing: to be there, a range, or a text.
//!
//! Knows not whether it is a header, a cookie, a parameter or an attribute.

use schemars::JsonSchema;
use serde::Serialize;

use super::string::{StringMatcher, Text};
use crate::{ConfigError, FromConfig};

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
        let number = std::str::from_utf8(text.trim_ascii()).ok().and_then(|text| text.parse().ok());
        number.is_some_and(|number| self.contains(number))
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
    /// Compiles the one question that is asked; none at all asks for presence.
    pub(super) fn new(
        text: Text<'_>,
        range: Option<IntegerRange>,
        present: Option<bool>,
    ) -> Result<Self, ConfigError> {
        let mut given = text.given();
        given.extend(range.map(|_| "range"));
        given.extend(present.map(|_| "present"));
        at_most_one(&given)?;
        if text.ignore_case && (given.is_empty() || range.is_some() || present.is_some()) {
            return Err(ConfigError::invalid(
                "ignore_case",
                "goes with `exact`, `prefix`, `suffix` or `contains` only",
            ));
        }
        match (range, present) {
            (Some(range), _) if range.start >= range.end => Err(ConfigError::invalid(
                "range",
                "contains no number: `end` is not in the range and must be more than `start`",
            )),
            (Some(range), _) => Ok(Self::Range(range)),
            (_, Some(present)) => Ok(Self::Present(present)),
            _ => Ok(text.compile()?.map_or(Self::Present(true), Self::Text)),
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

fn at_most_one(given: &[&str]) -> Result<(), ConfigError> {
    if given.len() < 2 {
        return Ok(());
    }
    let names = crate::config::list(given.iter().copied(), '`');
    Err(ConfigError::invalid("", ["has ", &names, "; only one of them can be given"].concat()))
}

/// Checks that one of some fields is given.
pub(super) fn exactly_one(given: &[&str], known: &str) -> Result<(), ConfigError> {
    if given.is_empty() {
        return Err(ConfigError::invalid("", ["needs one of ", known].concat()));
    }
    at_most_one(given)
}
