//! When a rule is looked at. Knows no clock: the time is an argument.

use std::time::SystemTime;

use weir_sdk::names::{cut, digits};
use weir_sdk::signed::unix_seconds;
use weir_sdk::{At, Problems};

use crate::config;

const DAY_SECONDS: u64 = 86_400;

/// A compiled [`config::Schedule`].
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    /// A bit for each day of the week, Monday the lowest.
    days: u8,
    /// Minutes of the day: from the first on, until the second.
    minutes: (u64, u64),
    freezes: Vec<(SystemTime, SystemTime)>,
}

impl Schedule {
    /// Checks and compiles the schedule.
    pub(crate) fn compile(at: &At<'_>, written: &config::Schedule, problems: &mut Problems) -> Self {
        let mut minutes = |field: &str, text: &Option<String>, default: u64| match text.as_deref().map(minute)
        {
            None => default,
            Some(Some(minute)) => minute,
            Some(None) => {
                problems
                    .add(at.field(field), "expected a time of the day such as \"09:00\", at most \"24:00\"");
                default
            }
        };
        let (from, to) = (minutes("from", &written.from, 0), minutes("to", &written.to, 24 * 60));
        if to <= from {
            problems.add(at.field("to"), "is not later than `from`; for a night write two rules");
        }
        let mut freezes = Vec::with_capacity(written.freezes.len());
        for (index, freeze) in written.freezes.iter().enumerate() {
            if freeze.end <= freeze.start {
                problems.add(at.item("freezes", index).field("end"), "is not later than `start`");
            }
            freezes.push((freeze.start.0, freeze.end.0));
        }
        let days = written.days.iter().fold(0, |days, day| days | 1 << (*day as u8));
        Self { days: if written.days.is_empty() { u8::MAX } else { days }, minutes: (from, to), freezes }
    }

    /// Whether the rule is looked at.
    pub(crate) fn is_on(&self, now: SystemTime) -> bool {
        let seconds = unix_seconds(now);
        // 1970 began on a Thursday.
        let weekday = (seconds / DAY_SECONDS).saturating_add(3) % 7;
        let minute = (seconds % DAY_SECONDS) / 60;
        self.days & (1 << weekday) != 0
            && (self.minutes.0..self.minutes.1).contains(&minute)
            && !self.freezes.iter().any(|(start, end)| (*start..*end).contains(&now))
    }
}

/// The minute of the day.
fn minute(text: &str) -> Option<u64> {
    let (hours, minutes) = cut(text.as_bytes(), b':');
    let number = |text: &[u8]| digits(text).filter(|_| text.len() == 2);
    let minute =
        number(hours)?.saturating_mul(60).saturating_add(number(minutes?).filter(|minutes| *minutes < 60)?);
    (minute <= 24 * 60).then_some(minute)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use weir_sdk::{Timestamp, parse};

    use super::*;

    #[track_caller]
    fn compile(text: &str) -> Result<Schedule, String> {
        let mut problems = Problems::new();
        let schedule =
            Schedule::compile(&At::of("schedule"), &parse(Some(text.as_bytes())).unwrap(), &mut problems);
        problems.finish().map(|()| schedule).map_err(|error| error.to_string())
    }

    fn at(text: &str) -> SystemTime {
        parse::<Timestamp>(Some(format!("\"{text}\"").as_bytes())).unwrap().0
    }

    #[test]
    fn office_hours_without_the_freeze() {
        let schedule = compile(
            r#"{"days": ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY"], "from": "09:00", "to": "17:00",
                "freezes": [{"start": "2026-12-21T00:00:00Z", "end": "2027-01-04T00:00:00Z"}]}"#,
        )
        .unwrap();
        for (time, want) in [
            // A Monday.
            ("2026-03-02T08:59:59Z", false),
            ("2026-03-02T09:00:00Z", true),
            ("2026-03-02T16:59:59Z", true),
            ("2026-03-02T17:00:00Z", false),
            ("2026-03-02T17:30:00+02:00", true),
            ("2026-03-05T12:00:00Z", true),
            ("2026-03-06T12:00:00Z", false),
            ("2026-03-08T12:00:00Z", false),
            ("2026-12-22T12:00:00Z", false),
            ("2027-01-04T12:00:00Z", true),
        ] {
            assert_eq!(schedule.is_on(at(time)), want, "{time}");
        }
        assert!(compile("{}").unwrap().is_on(UNIX_EPOCH - Duration::from_secs(1)));
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for (text, want) in [
            (r#"{"from": "9:00"}"#, "`schedule.from`"),
            (r#"{"to": "24:01"}"#, "`schedule.to`"),
            (r#"{"to": "12:60"}"#, "`schedule.to`"),
            (r#"{"from": "17:00", "to": "09:00"}"#, "`schedule.to`: is not later"),
            (
                r#"{"freezes": [{"start": "2026-03-01T12:00:00Z", "end": "2026-03-01T12:00:00Z"}]}"#,
                "`schedule.freezes[0].end`",
            ),
        ] {
            let error = compile(text).unwrap_err();
            assert!(error.contains(want), "{text}: {error}");
        }
    }
}
