//! Points in time as RFC 3339 writes them.
//!
//! Knows no clock; the calendar is the proleptic Gregorian one, in days since 1970-01-01.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::ser::{Serialize, Serializer};

use super::duration::unexpected;
use super::{FromConfig, Node, serde_form};

const SECONDS_PER_DAY: u64 = 86_400;

/// A point in time in a configuration: RFC 3339 with `Z` or an offset, `2026-05-04T09:00:00Z`, `2026-05-04T11:00:00.5+02:00`.
///
/// From 1970 to 9999, decimals down to a nanosecond, no leap seconds. Displays in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub SystemTime);

/// Text that is not a [`Timestamp`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {}", EXPECTED)]
pub struct TimestampError;

const EXPECTED: &str =
    "a time from 1970 to 9999 in RFC 3339, such as \"2026-05-04T09:00:00Z\" or \"2026-05-04T11:00:00+02:00\"";

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        time(text.as_bytes()).map(Self).ok_or(TimestampError)
    }
}

/// Reads from the front of a text.
struct Reader<'t>(&'t [u8]);

impl Reader<'_> {
    /// A number of so many digits, at most nine.
    fn number(&mut self, digits: usize) -> Option<u32> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        self.0 = rest;
        let mut total = 0_u32;
        for byte in number {
            if !byte.is_ascii_digit() {
                return None;
            }
            total = total.wrapping_mul(10).wrapping_add(u32::from(byte & 15));
        }
        Some(total)
    }

    /// The next byte, where it is one of these.
    fn one_of(&mut self, bytes: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        bytes.contains(first).then_some(*first)
    }
}

/// The digits of each number in a time, and what may stand behind it.
const FORM: [(usize, &[u8]); 6] = [(4, b"-"), (2, b"-"), (2, b"Tt "), (2, b":"), (2, b":"), (2, b"")];

/// No number here is above 2^40, so none overflows.
fn time(text: &[u8]) -> Option<SystemTime> {
    let mut reader = Reader(text);
    let mut numbers = [0_u32; FORM.len()];
    for (number, &(digits, next)) in numbers.iter_mut().zip(&FORM) {
        *number = reader.number(digits)?;
        if !next.is_empty() {
            reader.one_of(next)?;
        }
    }
    let [year, month, day, hour, minute, second] = numbers;
    let is_day = (1..=days_in_month(year, month)).contains(&day);
    if !is_day || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut nanoseconds = 0_u32;
    if let Some(rest) = reader.0.strip_prefix(b".") {
        reader.0 = rest;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=9).contains(&digits) {
            return None;
        }
        nanoseconds = reader.number(digits)?;
        for _ in digits..9 {
            nanoseconds = nanoseconds.wrapping_mul(10);
        }
    }
    let mut offset = 0_i64;
    let sign = reader.one_of(b"Zz+-")?;
    if matches!(sign, b'+' | b'-') {
        let hours = reader.number(2)?;
        reader.one_of(b":")?;
        let minutes = reader.number(2)?;
        if hours > 23 || minutes > 59 {
            return None;
        }
        offset = seconds_of(hours, minutes);
        if sign == b'-' {
            offset = offset.wrapping_neg();
        }
    }
    if !reader.0.is_empty() {
        return None;
    }
    let seconds = days(year, month, day)
        .wrapping_mul(SECONDS_PER_DAY.cast_signed())
        .wrapping_add(seconds_of(hour, minute))
        .wrapping_add(second.into())
        .wrapping_sub(offset);
    SystemTime::UNIX_EPOCH.checked_add(Duration::new(u64::try_from(seconds).ok()?, nanoseconds))
}

fn seconds_of(hours: u32, minutes: u32) -> i64 {
    i64::from(hours.wrapping_mul(60).wrapping_add(minutes).wrapping_mul(60))
}

fn is_leap(year: u32) -> bool {
    (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400)
}

/// 0 for a month that does not exist.
fn days_in_month(year: u32, month: u32) -> u32 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    }
}

/// Days from 1970-01-01 to a date; what lies before is below 0.
fn days(year: u32, month: u32, day: u32) -> i64 {
    let past = year.saturating_sub(1);
    let leaps = (past / 4).wrapping_sub(past / 100).wrapping_add(past / 400);
    let mut total = past.wrapping_mul(365).wrapping_add(leaps).wrapping_add(day);
    for earlier in 1..month {
        total = total.wrapping_add(days_in_month(year, earlier));
    }
    // 719 162 days lie between 0001-01-01 and 1970-01-01, and the first day has passed none.
    i64::from(total).wrapping_sub(719_163)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text(self.0))
    }
}

/// A time from 1970 to 9999 in UTC; later ones as days of the last month.
fn text(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let of_day = u32::try_from(since.as_secs() % SECONDS_PER_DAY).unwrap_or(0);
    let mut left = u32::try_from(since.as_secs() / SECONDS_PER_DAY).unwrap_or(u32::MAX);
    let (mut year, mut month) = (1970_u32, 1_u32);
    while year < 9999 {
        let length = if is_leap(year) { 366 } else { 365 };
        let Some(rest) = left.checked_sub(length) else { break };
        left = rest;
        year = year.saturating_add(1);
    }
    while month < 12 {
        let Some(rest) = left.checked_sub(days_in_month(year, month)) else { break };
        left = rest;
        month = month.saturating_add(1);
    }
    let mut text = String::new();
    for &(number, digits, after) in &[
        (year, 4, "-"),
        (month, 2, "-"),
        (left.saturating_add(1), 2, "T"),
        (of_day / 3600, 2, ":"),
        (of_day / 60 % 60, 2, ":"),
        (of_day % 60, 2, ""),
    ] {
        push(&mut text, number, digits);
        text.push_str(after);
    }
    if since.subsec_nanos() > 0 {
        text.push('.');
        push(&mut text, since.subsec_nanos(), 9);
    }
    text.push('Z');
    text
}

/// A number in so many digits, with zeros at the left.
fn push(text: &mut String, number: u32, digits: usize) {
    let number = super::number(number.into());
    for _ in number.len()..digits {
        text.push('0');
    }
    text.push_str(&number);
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

serde_form!(Timestamp);

impl FromConfig for Timestamp {
    fn from_config(node: &Node, reader: &mut super::Reader) -> Option<Self> {
        let (found, meant) = match node {
            Node::Text(text) => {
                if let Some(time) = time(text.as_bytes()) {
                    return Some(Self(time));
                }
                let mut meant = super::joined(text, "Z", "");
                if time(meant.as_bytes()).is_none() {
                    meant = super::joined(text, "T00:00:00Z", "");
                }
                (super::words::quoted(text), time(meant.as_bytes()).map(|_| meant))
            }
            Node::Unsigned(seconds) => {
                // They may be those since 1970; this is the last second of 9999.
                let is_known = *seconds <= 253_402_300_799;
                let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(*seconds));
                (super::number(*seconds), time.filter(|_| is_known).map(self::text))
            }
            _ => return reader.expected("a time in RFC 3339, such as \"2026-05-04T09:00:00Z\"", node),
        };
        let meant = meant.map(|meant| super::joined("\"", &meant, "\""));
        unexpected(reader, EXPECTED, &found, meant.as_deref());
        None
    }

    fn blank() -> Self {
        Self(SystemTime::UNIX_EPOCH)
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A point in time from 1970 to 9999 in RFC 3339, with Z or an offset.",
            "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})$",
            "examples": ["2026-05-04T09:00:00Z"],
        })
    }
}
