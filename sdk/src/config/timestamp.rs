//! Points in time as RFC 3339 writes them.
//!
//! Knows no clock; the calendar is the proleptic Gregorian one, in days since 1970-01-01.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::ser::{Serialize, Serializer};

use super::{FromConfig, Node, serde_form};

const SECONDS_PER_DAY: u64 = 86_400;

/// A point in time in a configuration: RFC 3339 with `Z` or an offset, `2026-05-04T09:00:00Z`, `2026-05-04T11:00:00.5+02:00`.
///
/// From 1970 to 9999, decimals down to a nanosecond, no leap seconds. Displays in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub SystemTime);

/// Text that is not a [`Timestamp`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a time from 1970 to 9999 in RFC 3339, such as \"2026-05-04T09:00:00Z\" or \"2026-05-04T11:00:00+02:00\""
)]
pub struct TimestampError;

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        time(text.as_bytes()).map(Self).ok_or(TimestampError)
    }
}

/// Reads from the front of a text.
struct Reader<'t>(&'t [u8]);

impl Reader<'_> {
    fn number(&mut self, digits: usize) -> Option<i64> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        self.0 = rest;
        number.iter().try_fold(0_i64, |total, byte| match byte {
            b'0'..=b'9' => total.checked_mul(10)?.checked_add(i64::from(byte.wrapping_sub(b'0'))),
            _ => None,
        })
    }

    fn one_of(&mut self, bytes: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        bytes.contains(first).then_some(*first)
    }
}

fn time(text: &[u8]) -> Option<SystemTime> {
    let mut reader = Reader(text);
    let year = reader.number(4)?;
    reader.one_of(b"-")?;
    let month = reader.number(2)?;
    reader.one_of(b"-")?;
    let day = reader.number(2)?;
    reader.one_of(b"Tt ")?;
    let hour = reader.number(2)?;
    reader.one_of(b":")?;
    let minute = reader.number(2)?;
    reader.one_of(b":")?;
    let second = reader.number(2)?;
    if !(1..=days_in_month(year, month)?).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut nanoseconds = 0_u32;
    if let Some(rest) = reader.0.strip_prefix(b".") {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let mut decimals = Reader(rest.get(..digits)?);
        let fraction = decimals.number(digits)?;
        let missing = u32::try_from(9_usize.checked_sub(digits).filter(|missing| *missing < 9)?).ok()?;
        nanoseconds = u32::try_from(fraction.checked_mul(10_i64.checked_pow(missing)?)?).ok()?;
        reader.0 = rest.get(digits..)?;
    }
    let offset = match reader.one_of(b"Zz+-")? {
        b'Z' | b'z' => 0,
        sign => {
            let hours = reader.number(2)?;
            reader.one_of(b":")?;
            let minutes = reader.number(2)?;
            if hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = hours.checked_mul(3600)?.checked_add(minutes.checked_mul(60)?)?;
            if sign == b'-' { seconds.checked_neg()? } else { seconds }
        }
    };
    if !reader.0.is_empty() {
        return None;
    }
    let of_day = hour.checked_mul(3600)?.checked_add(minute.checked_mul(60)?)?.checked_add(second)?;
    let seconds = days(year, month, day)?
        .checked_mul(SECONDS_PER_DAY.cast_signed())?
        .checked_add(of_day)?
        .checked_sub(offset)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::new(u64::try_from(seconds).ok()?, nanoseconds))
}

fn is_leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

fn days_in_month(year: i64, month: i64) -> Option<i64> {
    match month {
        2 => Some(if is_leap(year) { 29 } else { 28 }),
        4 | 6 | 9 | 11 => Some(30),
        1..=12 => Some(31),
        _ => None,
    }
}

/// Days from 1970-01-01 to a date from the year 1 on.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let past = year.checked_sub(1).filter(|past| *past >= 0)?;
    let leaps = (past / 4).checked_sub(past / 100)?.checked_add(past / 400)?;
    let mut total = past.checked_mul(365)?.checked_add(leaps)?;
    for earlier in 1..month {
        total = total.checked_add(days_in_month(year, earlier)?)?;
    }
    // 719 162 days lie between 0001-01-01 and 1970-01-01.
    total.checked_add(day)?.checked_sub(1)?.checked_sub(719_162)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.0.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut left = since.as_secs() / SECONDS_PER_DAY;
        let of_day = since.as_secs() % SECONDS_PER_DAY;
        let mut year = 1970_i64;
        loop {
            let length = if is_leap(year) { 366 } else { 365 };
            let Some(rest) = left.checked_sub(length).filter(|_| year < 9999) else { break };
            left = rest;
            year = year.saturating_add(1);
        }
        let mut month = 1_i64;
        while let Some(rest) = days_in_month(year, month)
            .and_then(|length| left.checked_sub(length.unsigned_abs()))
            .filter(|_| month < 12)
        {
            left = rest;
            month = month.saturating_add(1);
        }
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        write!(f, "{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}", left.saturating_add(1))?;
        if since.subsec_nanos() != 0 {
            write!(f, ".{:09}", since.subsec_nanos())?;
        }
        f.write_str("Z")
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

serde_form!(Timestamp);

impl FromConfig for Timestamp {
    fn from_config(node: &Node, reader: &mut super::Reader) -> Option<Self> {
        let reason = match node {
            Node::Text(text) => match text.parse() {
                Ok(time) => return Some(time),
                Err(TimestampError) => unlike(text),
            },
            Node::Unsigned(seconds) => number_alone(*seconds),
            _ => return reader.expected("a time in RFC 3339, such as \"2026-05-04T09:00:00Z\"", node),
        };
        reader.refuse(reason)
    }

    fn blank() -> Self {
        Self(SystemTime::UNIX_EPOCH)
    }
}

/// Text that is no time.
fn unlike(text: &str) -> String {
    let mut reason = [&TimestampError.to_string(), ", found ", &super::words::quoted(text)].concat();
    let zoned = [text, "Z"].concat();
    let whole = [text, "T00:00:00Z"].concat();
    if let Some(fix) = [zoned, whole].into_iter().find(|fix| time(fix.as_bytes()).is_some()) {
        reason.push_str(&["; did you mean \"", &fix, "\"?"].concat());
    }
    reason
}

/// A number, which may be seconds since 1970.
fn number_alone(seconds: u64) -> String {
    let reason = [&TimestampError.to_string(), ", found ", &seconds.to_string()].concat();
    // The last second of 9999.
    let is_known = seconds <= 253_402_300_799;
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).filter(|_| is_known);
    match time {
        Some(time) => [&reason, "; did you mean \"", &Timestamp(time).to_string(), "\"?"].concat(),
        None => reason,
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
