//! The fixed window: so many in each, counted anew in the next.

use super::{Admission, Steps, put, u64_at};

const DAY_NS: u64 = 86_400_000_000_000;
/// From a Monday to 1970-01-01, a Thursday.
const MONDAY_NS: u64 = 3 * DAY_NS;

/// `max` in each window. Windows begin at multiples of their length from the clock's zero: with the time of day, a minute begins with the minute. Or they are
/// weeks, months or years of the calendar, for a clock that counts from 1970 on.
///
/// Around a boundary up to twice `max` can come within a window's length. With a clock that is set back, the window that was reached lasts until
/// the clock has passed it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FixedWindow {
    max: u64,
    span: Span,
    /// What is added to the clock.
    offset_ns: i64,
}

/// How long windows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Span {
    /// So long each; a window began so long before the clock's zero.
    Ns(u64, u64),
    /// So many months.
    Months(u64),
}

/// Which window, and what was taken in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    window: u64,
    used: u64,
}

impl FixedWindow {
    /// `None` when a number is 0.
    #[must_use]
    pub fn new(max: u64, window_ns: u64) -> Option<Self> {
        (max > 0 && window_ns > 0).then_some(Self { max, span: Span::Ns(window_ns, 0), offset_ns: 0 })
    }

    /// Weeks, from Monday on. `None` when the number is 0.
    #[must_use]
    pub fn weeks(max: u64) -> Option<Self> {
        let span = Span::Ns(7 * DAY_NS, MONDAY_NS);
        Self::new(max, DAY_NS).map(|window| Self { span, ..window })
    }

    /// So many months of the calendar, from a January on: 1 is a month, 12 a year. `None` when a number is 0.
    #[must_use]
    pub fn months(max: u64, months: u32) -> Option<Self> {
        let span = Span::Months(months.into());
        Self::new(max, months.into()).map(|window| Self { span, ..window })
    }

    /// With windows that begin so many seconds earlier than they would: those of a time zone so far east of the clock's.
    #[must_use]
    pub fn with_offset(self, seconds: i32) -> Self {
        Self { offset_ns: i64::from(seconds).saturating_mul(1_000_000_000), ..self }
    }

    /// The longest that a window is.
    #[must_use]
    pub fn longest_ns(&self) -> u64 {
        match self.span {
            Span::Ns(ns, _) => ns,
            // No year has more than 366 days, and no months more than 31.
            Span::Months(months) => {
                let whole_years = (months / 12).saturating_mul(366);
                (months % 12).saturating_mul(31).saturating_add(whole_years).saturating_mul(DAY_NS)
            }
        }
    }

    /// The number of the window at this time on its own clock.
    fn number(self, local: u64) -> u64 {
        match self.span {
            Span::Ns(ns, ahead) => local.saturating_add(ahead).checked_div(ns).unwrap_or_default(),
            Span::Months(months) => month(local / DAY_NS).checked_div(months).unwrap_or_default(),
        }
    }

    /// When a window is over, on its own clock.
    fn end(self, number: u64) -> u64 {
        let next = number.saturating_add(1);
        match self.span {
            Span::Ns(ns, ahead) => next.saturating_mul(ns).saturating_sub(ahead),
            Span::Months(months) => first_day(next.saturating_mul(months)).saturating_mul(DAY_NS),
        }
    }

    fn at(self, state: State, now: u64) -> State {
        let window = self.number(now.saturating_add_signed(self.offset_ns));
        if window > state.window { State { window, used: 0 } } else { state }
    }
}

/// Days from 1970-01-01 to the first of a month, which is counted from that January on.
fn first_day(month: u64) -> u64 {
    /// Of a year that is no leap year.
    const BEFORE: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    /// Leap days until the end of 1969.
    const EARLIER: u64 = 1969 / 4 - 1969 / 100 + 1969 / 400;
    let leap_days = |year: u64| (year / 4).saturating_sub(year / 100).saturating_add(year / 400);
    let years = month / 12;
    let year = years.saturating_add(1970);
    let in_year = usize::try_from(month % 12).unwrap_or_default();
    let until = if in_year > 1 { year } else { year.saturating_sub(1) };
    let leap_days = leap_days(until).saturating_sub(EARLIER);
    let before = BEFORE.get(in_year).copied().unwrap_or_default();
    years.saturating_mul(365).saturating_add(leap_days).saturating_add(before)
}

/// The month of a day, both counted from 1970 on.
fn month(day: u64) -> u64 {
    // 400 years, 4800 months, have 146097 days: at most one off.
    let near = day.saturating_mul(4800) / 146_097;
    let is_over = |month: &u64| first_day(month.saturating_add(1)) <= day;
    (near.saturating_sub(1)..=near).find(|month| !is_over(month)).unwrap_or(near.saturating_add(1))
}

impl Steps for FixedWindow {
    type State = State;

    const BYTES: usize = 16;

    fn read(bytes: &[u8]) -> Option<State> {
        Some(State { window: u64_at(bytes, 0)?, used: u64_at(bytes, 8)? })
    }

    fn write(state: State, bytes: &mut [u8]) {
        put(bytes, 0, &state.window.to_le_bytes());
        put(bytes, 8, &state.used.to_le_bytes());
    }

    fn take(&self, state: State, now: u64, cost: u64) -> (State, Admission) {
        let before = self.at(state, now);
        let used = before.used.saturating_add(cost);
        let admitted = used <= self.max;
        let state = if admitted { State { used, ..before } } else { before };
        let end = self.end(state.window).saturating_sub(now.saturating_add_signed(self.offset_ns));
        let remaining = self.max.saturating_sub(state.used);
        let reset_ns = match admitted {
            true if remaining > 0 => Some(0),
            _ => (cost <= self.max).then_some(end),
        };
        let full_ns = Some(if state.used == 0 { 0 } else { end });
        (state, Admission { admitted, limit: self.max, remaining, wait_ns: 0, reset_ns, full_ns })
    }

    fn refund(&self, state: State, receipt: State, now: u64, amount: u64) -> State {
        let state = self.at(state, now);
        if state.window != receipt.window {
            return state;
        }
        State { used: state.used.saturating_sub(amount), ..state }
    }

    fn charge(&self, state: State, now: u64, amount: u64) -> State {
        let state = self.at(state, now);
        State { used: state.used.saturating_add(amount), ..state }
    }

    fn is_idle(&self, state: State, now: u64) -> bool {
        self.at(state, now).used == 0
    }
}

#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))]
mod tests {
    use super::*;

    /// Every day of 600 years, by a calendar that counts days one by one.
    #[test]
    fn months_are_those_of_the_calendar() {
        let (mut day, mut number) = (0, 0);
        for year in 1970..2570_u64 {
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            for days in [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
                assert_eq!(first_day(number), day, "{year}, {number}");
                for _ in 0..days {
                    assert_eq!(month(day), number, "day {day}");
                    day += 1;
                }
                number += 1;
            }
        }
    }

    #[test]
    fn windows_begin_where_the_calendar_says() {
        const SECOND: u64 = 1_000_000_000;
        let month = FixedWindow::months(1, 1).unwrap();
        // 2028-02-29T23:30:00Z, a Tuesday, is March in Berlin and February in Chicago.
        let now = 1_835_479_800 * SECOND;
        for (window, end) in [
            (month, 1800),
            (month.with_offset(3600), 31 * 86_400 - 1800),
            (month.with_offset(-6 * 3600), 1800 + 6 * 3600),
            (FixedWindow::months(1, 12).unwrap(), 1800 + 306 * 86_400),
            (FixedWindow::weeks(1).unwrap(), 1800 + 5 * 86_400),
            (FixedWindow::weeks(1).unwrap().with_offset(3600), 5 * 86_400 - 1800),
            (FixedWindow::new(1, DAY_NS).unwrap(), 1800),
            (FixedWindow::new(1, DAY_NS).unwrap().with_offset(-12 * 3600), 12 * 3600 + 1800),
        ] {
            let (state, first) = window.take(State::default(), now, 1);
            assert_eq!(first.full_ns, Some(end * SECOND), "{window:?}");
            let admits = |at: u64| window.take(state, at, 1).1.admitted;
            assert_eq!([end - 1, end].map(|after| admits(now + after * SECOND)), [false, true], "{window:?}");
        }
    }
}
