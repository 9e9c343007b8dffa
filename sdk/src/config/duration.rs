//! Durations as people write them: `250ms`, `1.5s`, `7s`, `10m`, `1h`, `2d`.
//!
//! Knows no clock.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::ser::{Serialize, Serializer};

use super::{FromConfig, Node, Reader, joined, number, serde_form};

/// The units, largest first, in nanoseconds.
const UNITS: [(&str, u64); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// A duration in a configuration: a string with a unit, `ns`, `us`, `ms`, `s`, `m`, `h` or `d` (24 hours).
///
/// Decimals are accepted down to a nanosecond (`1.5s`), and several parts as Istio writes them (`1h30m`). At most 584 years;
/// never negative. Displays as the shortest form with one unit.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigDuration(pub Duration);

/// As it is displayed: that of [`Duration`] is 2 kB of code.
impl fmt::Debug for ConfigDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is not a [`ConfigDuration`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {}", EXPECTED)]
pub struct DurationError;

const EXPECTED: &str = "a duration with a unit, such as \"7s\", \"250ms\" or \"1h30m\"";

impl FromStr for ConfigDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        nanoseconds(text).map(|total| Self(Duration::from_nanos(total))).ok_or(DurationError)
    }
}

#[inline(never)]
fn nanoseconds(text: &str) -> Option<u64> {
    let mut rest = text.as_bytes();
    let mut total = 0_u64;
    loop {
        let number = front(&mut rest, |byte| byte.is_ascii_digit() || byte == b'.');
        let unit = front(&mut rest, |byte| byte.is_ascii_lowercase());
        let (_, scale) = UNITS.iter().find(|(name, _)| name.as_bytes() == unit)?;
        total = total.checked_add(scaled(number, *scale)?)?;
        if rest.is_empty() {
            return Some(total);
        }
    }
}

/// Takes the bytes of a kind from the front.
fn front<'t>(text: &mut &'t [u8], of_kind: impl Fn(u8) -> bool) -> &'t [u8] {
    let end = text.iter().position(|byte| !of_kind(*byte)).unwrap_or(text.len());
    let (front, rest) = text.split_at_checked(end).unwrap_or_default();
    *text = rest;
    front
}

/// A decimal number of units, in nanoseconds; `None` when it is none, or finer than a nanosecond.
fn scaled(number: &[u8], scale: u64) -> Option<u64> {
    let (whole, decimals) = crate::names::cut(number, b'.');
    let mut total = crate::names::digits(whole)?.checked_mul(scale)?;
    let Some(decimals) = decimals else { return Some(total) };
    if decimals.is_empty() {
        return None;
    }
    let mut part = scale;
    for byte in decimals {
        let digit = crate::names::digits(&[*byte])?;
        if digit > 0 && !part.is_multiple_of(10) {
            return None;
        }
        part /= 10;
        total = total.checked_add(digit.wrapping_mul(part))?;
    }
    Some(total)
}

/// A time in nanoseconds; what is longer than some 584 years is that long.
#[must_use]
#[inline(never)]
pub fn nanos(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000_000_000).saturating_add(time.subsec_nanos().into())
}

impl fmt::Display for ConfigDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl ConfigDuration {
    /// As it is displayed, without the code that formats.
    #[must_use]
    pub fn text(&self) -> String {
        let total = nanos(self.0);
        for (unit, scale) in &UNITS {
            if total != 0 && total.is_multiple_of(*scale) {
                return joined(&number(total.checked_div(*scale).unwrap_or(0)), unit, "");
            }
        }
        String::from("0s")
    }
}

impl Serialize for ConfigDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

serde_form!(ConfigDuration);

impl FromConfig for ConfigDuration {
    fn from_config(node: &Node, reader: &mut Reader) -> Option<Self> {
        let written = match node {
            Node::Text(text) => match nanoseconds(text) {
                Some(total) => return Some(Self(Duration::from_nanos(total))),
                None => {
                    unlike(text, reader);
                    return None;
                }
            },
            Node::Unsigned(value) => Some(number(*value)),
            Node::Float(value) => super::words::decimal(*value),
            _ => return reader.expected(EXPECTED, node),
        };
        let found = written.as_deref().unwrap_or("a number");
        let meant = written.as_ref().filter(|number| !number.starts_with('-'));
        let meant = meant.map(|number| joined("\"", number, "s\""));
        unexpected(reader, EXPECTED, found, meant.as_deref());
        None
    }

    fn blank() -> Self {
        Self(Duration::ZERO)
    }
}

/// Text that is no duration.
fn unlike(text: &str, reader: &mut Reader) {
    let mut compact = String::new();
    for character in text.chars() {
        if !character.is_whitespace() {
            compact.push(character.to_ascii_lowercase());
        }
    }
    // A number alone may be one of seconds.
    if super::words::is_decimal(text) {
        compact.push('s');
    }
    let meant = joined("\"", &compact, "\"");
    let is_meant = nanoseconds(&compact).is_some();
    unexpected(reader, EXPECTED, &super::words::quoted(text), is_meant.then_some(&meant));
}

/// Refuses what was found in place of what was expected, with what was probably meant.
#[cold]
#[inline(never)]
pub(super) fn unexpected(reader: &mut Reader, expected: &str, found: &str, meant: Option<&str>) {
    let meant = meant.map(|meant| joined("; did you mean ", meant, "?")).unwrap_or_default();
    let reason = joined(&joined("expected ", expected, ", found "), found, &meant);
    reader.refuse::<()>(reason);
}

impl JsonSchema for ConfigDuration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A duration with a unit: ns, us, ms, s, m, h or d, such as \"250ms\", \"1.5s\" or \"1h30m\".",
            "pattern": "^([0-9]+(\\.[0-9]+)?(ns|us|ms|s|m|h|d))+$",
            "examples": ["7s", "250ms", "1h"],
        })
    }
}
