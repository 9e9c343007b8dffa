//! Points in time and spans as texts: RFC 3339 and `250ms`. Arithmetic only; knows no clock.

use std::time::Duration;

/// Reads an RFC 3339 time, such as `2026-05-04T09:00:00Z` or `2026-05-04T11:00:00.25+02:00`, as nanoseconds since 1970.
///
/// `None` for anything else, for times before 1970 and after 2554. Missing seconds and a missing offset (UTC) are accepted, as of recordings.
#[must_use]
pub fn parse_timestamp(text: &str) -> Option<u64> {
    crate::traffic::time::rfc3339(text)
}

/// Writes nanoseconds since 1970 as RFC 3339 in UTC, with as many of 0, 3, 6 or 9 decimals as are needed.
#[must_use]
pub fn format_timestamp(ns: u64) -> String {
    let (seconds, nanos) = (ns / 1_000_000_000, ns % 1_000_000_000);
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(i64::try_from(days).unwrap_or(i64::MAX));
    let fraction = match nanos {
        0 => String::new(),
        _ if nanos % 1_000_000 == 0 => format!(".{:03}", nanos / 1_000_000),
        _ if nanos % 1_000 == 0 => format!(".{:06}", nanos / 1_000),
        _ => format!(".{nanos:09}"),
    };
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}{fraction}Z",
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60
    )
}

/// Reads a span such as `250ms`, `1.5s`, `10m`, `1h` or `2d`. `None` for anything else.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(split);
    let unit_ns: u64 = match unit {
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "d" => 86_400_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if fraction.is_empty() || fraction.len() > 9 || fraction.contains('.') {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(unit_ns)?;
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let part = u64::try_from(u128::from(fraction.parse::<u64>().ok()?) * u128::from(unit_ns) / scale).ok()?;
    Some(Duration::from_nanos(whole.checked_add(part)?))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

fn days_of_year(year: i64) -> i64 {
    if is_leap(year) { 366 } else { 365 }
}

/// Days from 1970-01-01 to the first day of `year`: every fourth year has one more, except the hundredths, except the four-hundredths.
fn days_to_year(year: i64) -> i64 {
    let before = year - 1;
    let leaps = before / 4 - before / 100 + before / 400;
    let leaps_to_1970 = 1969 / 4 - 1969 / 100 + 1969 / 400;
    (year - 1970) * 365 + leaps - leaps_to_1970
}

fn date(days: i64) -> (i64, i64, i64) {
    // An estimate that is at most a year off.
    let mut year = 1970 + days / 366;
    while days_to_year(year) + days_of_year(year) <= days {
        year += 1;
    }
    let mut left = days - days_to_year(year);
    let mut month = 1;
    while left >= days_of_month(year, month) {
        left -= days_of_month(year, month);
        month += 1;
    }
    (year, month, left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::DEFAULT_START_NS;

    #[track_caller]
    fn check(text: &str, seconds: u64, nanos: u64, back: &str) {
        let ns = seconds * 1_000_000_000 + nanos;
        assert_eq!(parse_timestamp(text), Some(ns), "{text}");
        assert_eq!(format_timestamp(ns), back);
    }

    #[test]
    fn timestamps() {
        check("1970-01-01T00:00:00Z", 0, 0, "1970-01-01T00:00:00Z");
        check("2026-01-01T00:00:00Z", DEFAULT_START_NS / 1_000_000_000, 0, "2026-01-01T00:00:00Z");
        check("2000-02-29T23:59:59.5Z", 951_868_799, 500_000_000, "2000-02-29T23:59:59.500Z");
        check("2026-05-04T11:00:00.000001+02:00", 1_777_885_200, 1_000, "2026-05-04T09:00:00.000001Z");
        check("2024-12-31t23:00:00-01:30", 1_735_691_400, 0, "2025-01-01T00:30:00Z");
        check(
            "2554-07-21T00:00:00.123456789Z",
            18_446_659_200,
            123_456_789,
            "2554-07-21T00:00:00.123456789Z",
        );
    }

    #[test]
    fn durations() {
        for (text, want) in [
            ("250ms", Some(250_000_000)),
            ("1.5s", Some(1_500_000_000)),
            ("0s", Some(0)),
            ("10m", Some(600_000_000_000)),
            ("2d", Some(172_800_000_000_000)),
            ("5", None),
            ("s", None),
            ("-1s", None),
            ("1.s", None),
            ("1.2.3s", None),
            ("99999999999d", None),
        ] {
            assert_eq!(parse_duration(text), want.map(Duration::from_nanos), "{text}");
        }
    }
}
