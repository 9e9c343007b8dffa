//! Durations as people write them: `250ms`, `1.5s`, `7s`, `10m`, `1h`, `2d`.
//!
//! Knows no clock.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::ser::{Serialize, Serializer};

use super::{FromConfig, Node, Reader, serde_form};

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
#[error("expected a duration with a unit, such as \"7s\", \"250ms\" or \"1h30m\"")]
pub struct DurationError;

impl FromStr for ConfigDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        nanoseconds(text).map(|total| Self(Duration::from_nanos(total))).ok_or(DurationError)
    }
}

fn nanoseconds(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total = 0_u64;
    loop {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at_checked(number_end)?;
        let unit_end = after.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit_end)?;
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(scaled(number, *scale)?)?;
        if after.is_empty() {
            return Some(total);
        }
        rest = after;
    }
}

/// A decimal number of units, in nanoseconds; `None` when it is none, or finer than a nanosecond.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || decimals.is_empty() || decimals.as_bytes().contains(&b'.') {
        return None;
    }
    let mut total = whole.parse::<u64>().ok()?.checked_mul(scale)?;
    let mut part = scale;
    for digit in decimals.bytes().map(|byte| u64::from(byte.wrapping_sub(b'0'))) {
        if digit > 0 && !part.is_multiple_of(10) {
            return None;
        }
        part /= 10;
        total = total.checked_add(digit.checked_mul(part)?)?;
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
        let total = nanos(self.0);
        let unit = UNITS.iter().find(|(_, scale)| total != 0 && total.is_multiple_of(*scale));
        match unit.and_then(|(unit, scale)| total.checked_div(*scale).map(|count| (count, unit))) {
            Some((count, unit)) => {
                fmt::Display::fmt(&count, f)?;
                f.write_str(unit)
            }
            None => f.write_str("0s"),
        }
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
        let reason = match node {
            Node::Text(text) => match text.parse() {
                Ok(duration) => return Some(duration),
                Err(DurationError) => unlike(text),
            },
            Node::Unsigned(number) => number_alone(Some(number.to_string())),
            Node::Float(number) => number_alone(super::words::decimal(*number)),
            _ => {
                return reader
                    .expected("a duration with a unit, such as \"7s\", \"250ms\" or \"1h30m\"", node);
            }
        };
        reader.refuse(reason)
    }

    fn blank() -> Self {
        Self(Duration::ZERO)
    }
}

/// Text that is no duration.
fn unlike(text: &str) -> String {
    let mut reason = [&DurationError.to_string(), ", found ", &super::words::quoted(text)].concat();
    let compact: String = text.to_ascii_lowercase().split_whitespace().collect();
    if super::words::is_decimal(text) && nanoseconds(&[&compact, "s"].concat()).is_some() {
        reason.push_str(&["; did you mean \"", text, "s\"?"].concat());
    } else if nanoseconds(&compact).is_some() {
        reason.push_str(&["; did you mean \"", &compact, "\"?"].concat());
    }
    reason
}

/// A number without a unit.
fn number_alone(number: Option<String>) -> String {
    let reason = DurationError.to_string();
    match number {
        Some(number) if number.starts_with('-') => [&reason, ", found ", &number].concat(),
        Some(number) => [&reason, ", found ", &number, "; did you mean \"", &number, "s\"?"].concat(),
        None => reason + ", found a number",
    }
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
