//! Back-off: which part of its share a target gets, from how its answers were. Pure: a state and a time go in, a state comes out.

use std::fmt;
use std::time::Duration;

use weir_sdk::{At, Problems};

use super::check;
pub use crate::config::BackOff;

/// How a target is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// How often its share is halved.
    halved: u8,
    /// Until when nothing is sent.
    paused_until: Option<Duration>,
    /// When the interval began that is looked at.
    since: Option<Duration>,
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
        match self {
            Self::Halved(0) => f.write_str("gets its whole share again"),
            Self::Halved(times) => {
                f.write_str("gets 1/")?;
                f.write_str(&1_u64.checked_shl(u32::from(*times)).unwrap_or(0).to_string())?;
                f.write_str(" of its share")
            }
            Self::Nothing => f.write_str("gets nothing for a time"),
        }
    }
}

impl State {
    /// Whether it takes the time to say what part is sent.
    #[must_use]
    pub fn is_timed(&self) -> bool {
        self.paused_until.is_some()
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

    /// The part that is sent now.
    #[must_use]
    pub fn part(&self, state: &State, now: Duration) -> Part {
        match state.paused_until {
            Some(until) if now < until => Part::Nothing,
            _ => Part::Halved(state.halved),
        }
    }

    /// Whether an answer is bad that took this long.
    #[must_use]
    pub fn is_bad(&self, failed: bool, latency: Duration) -> bool {
        failed || self.max_latency.is_some_and(|most| latency > most.0)
    }

    /// An answer has come.
    #[must_use]
    pub fn step(&self, state: State, now: Duration, bad: bool) -> State {
        // Answers to copies that were sent before the pause tell nothing of how the target is behind it.
        if state.paused_until.is_some_and(|until| now < until) {
            return state;
        }
        let since = state.since.unwrap_or(now);
        let state = State {
            halved: state.halved,
            paused_until: None,
            since: Some(since),
            answers: state.answers.saturating_add(1),
            bad: state.bad.saturating_add(u32::from(bad)),
        };
        let judged = state.answers >= self.min_samples;
        if judged && self.is_too_bad(&state) {
            return self.worse(&state, now);
        }
        if now.saturating_sub(since) < self.interval.0 {
            return state;
        }
        // The interval is over. Too few answers to call it bad are well when none of them was.
        let well = if judged { !self.is_too_bad(&state) } else { state.bad == 0 };
        let halved = if well { state.halved.saturating_sub(1) } else { state.halved };
        State { halved, ..State::default() }
    }

    fn is_too_bad(&self, state: &State) -> bool {
        // Less than 2^32 each, so no product overflows.
        let bad = u64::from(state.bad).saturating_mul(1_000_000);
        bad > u64::from(self.max_failures.0.ppm()).saturating_mul(u64::from(state.answers))
    }

    fn worse(&self, state: &State, now: Duration) -> State {
        if state.halved < self.halvings {
            return State { halved: state.halved.saturating_add(1), ..State::default() };
        }
        State {
            halved: state.halved,
            paused_until: Some(now.saturating_add(self.pause.0)),
            ..State::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use weir_sdk::ConfigDuration;

    use super::*;

    fn back_off() -> BackOff {
        BackOff { min_samples: 4, halvings: 2, ..BackOff::default() }
    }

    /// Steps through answers `(at, bad)` and returns the part after each.
    fn parts(answers: &[(u64, bool)]) -> Vec<Part> {
        let (back_off, mut state) = (back_off(), State::default());
        let step = |(at, bad): &(u64, bool)| {
            let now = Duration::from_secs(*at);
            state = back_off.step(state, now, *bad);
            back_off.part(&state, now)
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
        let at = Duration::from_secs;
        for _ in 0..12 {
            state = back_off.step(state, at(1), true);
        }
        assert_eq!(back_off.part(&state, at(30)), Part::Nothing);
        assert_eq!(back_off.part(&state, at(31)), Part::Halved(2));
        for (now, want) in [(31, 2), (41, 1), (42, 1), (52, 0), (53, 0), (63, 0)] {
            state = back_off.step(state, at(now), false);
            assert_eq!(back_off.part(&state, at(now)), Part::Halved(want), "at {now} s");
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
        assert!(!back_off.is_bad(false, Duration::from_secs(9)) && back_off.is_bad(true, Duration::ZERO));
        back_off.max_latency = Some(ConfigDuration(Duration::from_secs(1)));
        assert!(
            !back_off.is_bad(false, Duration::from_secs(1)) && back_off.is_bad(false, Duration::from_secs(2))
        );
    }

    proptest! {
        #[test]
        fn no_history_breaks_it(answers in prop::collection::vec((0_u64..100, any::<bool>()), 0..400)) {
            let (back_off, mut state, mut now, mut changed) = (back_off(), State::default(), 0, Duration::ZERO);
            for (passed, bad) in answers {
                now += passed;
                let at = Duration::from_secs(now);
                let before = back_off.part(&state, at).of(1_000_000);
                state = back_off.step(state, at, bad);
                let after = back_off.part(&state, at).of(1_000_000);
                prop_assert!(state.halved <= back_off.halvings && state.bad <= state.answers);
                // One answer halves, doubles or ends the share, and nothing doubles it twice in an interval.
                prop_assert!(after == before || after == 0 || after == before / 2 || after == before * 2);
                if after != before {
                    prop_assert!(after < before || at - changed >= back_off.interval.0);
                    changed = at;
                }
            }
            // Whatever was, answers that are well bring the whole share back: after a pause, an interval for each halving.
            now += 31;
            for _ in 0..(2 * (1 + u64::from(back_off.halvings))) {
                state = back_off.step(state, Duration::from_secs(now), false);
                now += 11;
            }
            for _ in 0..4 {
                state = back_off.step(state, Duration::from_secs(now), false);
                now += 11;
            }
            prop_assert_eq!(back_off.part(&state, Duration::from_secs(now)), Part::Halved(0));
        }
    }

    #[test]
    fn where_all_may_be_bad_nothing_is_held_back() {
        let max_failures = weir_sdk::Percentage::from_ppm(1_000_000);
        assert!(!BackOff { max_failures, ..BackOff::default() }.is_on() && BackOff::default().is_on());
    }
}
