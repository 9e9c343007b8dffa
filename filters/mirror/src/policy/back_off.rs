//! Back-off: which part of its share a target gets, from how its answers were. Pure: a state and a time go in, a state comes out.

use std::fmt;

use weir_sdk::config::number;
use weir_sdk::{At, Problems, nanos};

use super::bytes::joined;
use super::check;
pub use crate::config::BackOff;

/// How a target is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// How often its share is halved.
    halved: u8,
    /// Until when nothing is sent, in nanoseconds of the clock; 0 for no such time.
    paused_until: u64,
    /// When the interval began that is looked at, where there are answers in it.
    since: u64,
    /// Answers in it.
    answers: u32,
    /// Bad ones among them.
    bad: u32,
}

/// The part of its share that a target gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// One over two to the power of this.
    Halved(u8),
    /// Nothing.
    Nothing,
}

impl Part {
    /// The part of a share, in parts of a million.
    #[must_use]
    pub fn of(self, ppm: u32) -> u32 {
        match self {
            Self::Halved(times) => ppm.checked_shr(u32::from(times)).unwrap_or(0),
            Self::Nothing => 0,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl Part {
    /// As it is displayed, without the code that formats.
    #[must_use]
    pub fn text(self) -> String {
        match self {
            Self::Halved(0) => String::from("gets its whole share again"),
            Self::Halved(times) => {
                let part = 1_u64.checked_shl(u32::from(times)).unwrap_or(0);
                joined("gets 1/", &number(part), " of its share")
            }
            Self::Nothing => String::from("gets nothing for a time"),
        }
    }
}

impl State {
    /// Whether it takes the time to say what part is sent.
    #[must_use]
    pub fn is_timed(&self) -> bool {
        self.paused_until > 0
    }

    /// The part that is sent now, in nanoseconds of the clock.
    #[must_use]
    pub fn part(&self, now: u64) -> Part {
        if now < self.paused_until { Part::Nothing } else { Part::Halved(self.halved) }
    }
}

impl BackOff {
    /// Checks what stands at `at`.
    pub fn check(&self, at: &At<'_>, problems: &mut Problems) {
        check::time(problems, at, "interval", self.interval.0, (100, check::HOUR), "100ms to an hour");
        check::time(problems, at, "pause", self.pause.0, (100, check::DAY), "100ms to a day");
        check::number(problems, at, "min_samples", self.min_samples, (1, 1_000_000));
        check::number(problems, at, "halvings", self.halvings.into(), (0, 16));
        if self.max_latency.is_some_and(|latency| latency.0.is_zero()) {
            check::refuse(problems, at, "max_latency", "expected more than 0s");
        }
    }

    /// Whether it is ever asked: not where all answers may be bad.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.max_failures.0.ppm() < 1_000_000
    }

    /// Whether an answer is bad that took so many nanoseconds.
    #[must_use]
    pub fn is_bad(&self, failed: bool, latency: u64) -> bool {
        failed || self.max_latency.is_some_and(|most| latency > nanos(most.0))
    }

    /// An answer has come.
    pub fn step(&self, state: &mut State, now: u64, bad: bool) {
        // Answers to copies that were sent before the pause tell nothing of how the target is behind it.
        if now < state.paused_until {
            return;
        }
        state.paused_until = 0;
        if state.answers == 0 {
            state.since = now;
        }
        state.answers = state.answers.saturating_add(1);
        state.bad = state.bad.saturating_add(u32::from(bad));
        let judged = state.answers >= self.min_samples;
        let mut next = State { halved: state.halved, ..State::default() };
        if judged && self.is_too_bad(state) {
            if next.halved < self.halvings {
                next.halved = next.halved.saturating_add(1);
            } else {
                next.paused_until = now.saturating_add(nanos(self.pause.0));
            }
        } else if now.saturating_sub(state.since) < nanos(self.interval.0) {
            return;
        } else if judged || state.bad == 0 {
            // The interval is over. Too few answers to call it bad are well when none of them was.
            next.halved = next.halved.saturating_sub(1);
        }
        *state = next;
    }

    fn is_too_bad(&self, state: &State) -> bool {
        // Less than 2^32 each, so no product overflows.
        let bad = u64::from(state.bad).wrapping_mul(1_000_000);
        bad > u64::from(self.max_failures.0.ppm()).wrapping_mul(u64::from(state.answers))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use weir_sdk::ConfigDuration;

    use super::*;

    fn back_off() -> BackOff {
        BackOff { min_samples: 4, halvings: 2, ..BackOff::default() }
    }

    fn secs(number: u64) -> u64 {
        number * 1_000_000_000
    }

    /// Steps through answers `(at, bad)` and returns the part after each.
    fn parts(answers: &[(u64, bool)]) -> Vec<Part> {
        let (back_off, mut state) = (back_off(), State::default());
        let step = |(at, bad): &(u64, bool)| {
            let now = secs(*at);
            back_off.step(&mut state, now, *bad);
            state.part(now)
        };
        answers.iter().map(step).collect()
    }

    #[test]
    fn a_target_that_suffers_gets_half_then_a_quarter_then_nothing() {
        let parts = parts(&[(1, true); 12]);
        assert_eq!(parts[..4], [Part::Halved(0), Part::Halved(0), Part::Halved(0), Part::Halved(1)]);
        assert_eq!((parts[7], parts[11]), (Part::Halved(2), Part::Nothing));
    }

    #[test]
    fn it_comes_back_by_the_clock_and_each_good_interval_doubles_its_share() {
        let (back_off, mut state) = (back_off(), State::default());
        let at = secs;
        for _ in 0..12 {
            back_off.step(&mut state, at(1), true);
        }
        assert_eq!(state.part(at(30)), Part::Nothing);
        assert_eq!(state.part(at(31)), Part::Halved(2));
        for (now, want) in [(31, 2), (41, 1), (42, 1), (52, 0), (53, 0), (63, 0)] {
            back_off.step(&mut state, at(now), false);
            assert_eq!(state.part(at(now)), Part::Halved(want), "at {now} s");
        }
    }

    #[test]
    fn few_bad_answers_change_nothing() {
        assert_eq!(parts(&[(0, true), (5, true), (11, true)]), [Part::Halved(0); 3]);
        assert_eq!(parts(&[(0, true), (1, false), (2, true), (3, false), (4, true)])[3], Part::Halved(0));
    }

    #[test]
    fn slow_is_bad_where_it_is_said() {
        let mut back_off = back_off();
        assert!(!back_off.is_bad(false, secs(9)) && back_off.is_bad(true, 0));
        back_off.max_latency = Some(ConfigDuration(Duration::from_secs(1)));
        assert!(!back_off.is_bad(false, secs(1)) && back_off.is_bad(false, secs(2)));
    }

    proptest! {
        #[test]
        fn no_history_breaks_it(answers in prop::collection::vec((0_u64..100, any::<bool>()), 0..400)) {
            let (back_off, mut state, mut now, mut changed) = (back_off(), State::default(), 0, 0);
            for (passed, bad) in answers {
                now += passed;
                let at = secs(now);
                let before = state.part(at).of(1_000_000);
                back_off.step(&mut state, at, bad);
                let after = state.part(at).of(1_000_000);
                prop_assert!(state.halved <= back_off.halvings && state.bad <= state.answers);
                // One answer halves, doubles or ends the share, and nothing doubles it twice in an interval.
                prop_assert!(after == before || after == 0 || after == before / 2 || after == before * 2);
                if after != before {
                    prop_assert!(after < before || at - changed >= nanos(back_off.interval.0));
                    changed = at;
                }
            }
            // Whatever was, answers that are well bring the whole share back: after a pause, an interval for each halving.
            now += 31;
            for _ in 0..(2 * (1 + u64::from(back_off.halvings))) {
                back_off.step(&mut state, secs(now), false);
                now += 11;
            }
            for _ in 0..4 {
                back_off.step(&mut state, secs(now), false);
                now += 11;
            }
            prop_assert_eq!(state.part(secs(now)), Part::Halved(0));
        }
    }

    #[test]
    fn where_all_may_be_bad_nothing_is_held_back() {
        let max_failures = weir_sdk::Percentage::from_ppm(1_000_000);
        assert!(!BackOff { max_failures, ..BackOff::default() }.is_on() && BackOff::default().is_on());
    }
}
