//! The numbers of a rollback: what is tested, how surely, and for how long an arm is out.

use weir_sdk::{At, ConfigDuration, Percentage, Problems};

use super::counts::{Counts, SLICES};
use super::record::Rolled;
use super::significance;
use crate::config;

/// Parts of a million, of all.
const MILLION: u32 = 1_000_000;

/// What gave an arm away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Its errors.
    Errors,
    /// Its slow calls.
    Slow,
}

/// A compiled [`config::Rollback`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rules {
    errors: Option<Bar>,
    slow: Option<Bar>,
    slow_ns: Option<u64>,
    slice_ns: u64,
    min_samples: u64,
    /// Of one test: all tests of a window together are as sure as is configured.
    significance: f64,
    hold_ns: Option<u64>,
}

/// How much more than the stable arm's share is too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bar {
    min_difference_ppm: u32,
    assumed_ppm: Option<u32>,
}

impl Bar {
    fn new(min_difference: Percentage, assumed: Option<Percentage>) -> Self {
        Self { min_difference_ppm: min_difference.0.ppm(), assumed_ppm: assumed.map(|share| share.0.ppm()) }
    }
}

impl Rules {
    /// Checks and compiles what is written at a place; `compares`: whether the rule gives the stable arm requests to compare with.
    pub(crate) fn compile(
        at: &At<'_>,
        written: &config::Rollback,
        compares: bool,
        problems: &mut Problems,
    ) -> Self {
        let mut within = |field: &str, duration: ConfigDuration, least_ms: u64, expected: &str| {
            let ns = nanoseconds(duration);
            if !(least_ms.saturating_mul(1_000_000)..=86_400_000_000_000).contains(&ns) {
                problems.add(at.field(field), ["expected ", expected, ", such as `60s`"].concat());
            }
            ns
        };
        let window_ns = within("window", written.window, 300, "300ms to 1d");
        let slow_ns =
            written.slow.as_ref().map(|slow| within("slow.slower_than", slow.slower_than, 1, "1ms to 1d"));
        let hold_ns = written.hold.map(|hold| within("for", hold, 1000, "1s to 1d"));
        if !(1..=MILLION).contains(&written.min_samples) {
            problems.add(at.field("min_samples"), "expected 1 to 1000000");
        }
        let confidence_ppm = written.confidence.0.ppm();
        if !(500_000..MILLION).contains(&confidence_ppm) {
            problems.add(at.field("confidence"), "expected 50 to 99.9999 percent");
        }
        let default = written.slow.is_none().then(config::ErrorRate::default);
        let errors = written.error_rate.as_ref().or(default.as_ref());
        let errors = errors.map(|errors| Bar::new(errors.min_difference, errors.assumed));
        let slow = written.slow.as_ref().map(|slow| Bar::new(slow.min_difference, slow.assumed));
        for &(field, bar) in &[("error_rate.assumed", errors), ("slow.assumed", slow)] {
            if !compares && bar.is_some_and(|bar| bar.assumed_ppm.is_none()) {
                let reason = "is needed: the rule gives the stable arm no requests to compare with";
                problems.add(at.field(field), reason);
            }
        }
        let tests = if errors.is_some() && slow.is_some() { 2.0 } else { 1.0 };
        let looks = f64::from(u32::try_from(SLICES).unwrap_or(u32::MAX));
        let chance = f64::from(MILLION.saturating_sub(confidence_ppm)) / f64::from(MILLION);
        Self {
            errors,
            slow,
            slow_ns,
            slice_ns: window_ns.checked_div(SLICES).unwrap_or(1).max(1),
            min_samples: written.min_samples.into(),
            significance: chance / (looks * tests),
            hold_ns,
        }
    }

    /// The part of the window that a time belongs to.
    pub(crate) fn slice(&self, now_ns: u64) -> u64 {
        now_ns.checked_div(self.slice_ns).unwrap_or(0)
    }

    /// How long a worker counts by itself: half a part of the window, 20 to 500 ms.
    pub(crate) fn merge_ns(&self) -> u64 {
        (self.slice_ns / 2).clamp(20_000_000, 500_000_000)
    }

    /// From when on a call is slow.
    pub(crate) fn slow_ns(&self) -> Option<u64> {
        self.slow_ns
    }

    /// Whether an arm's time out is over.
    pub(crate) fn is_over(&self, rolled: &Rolled, now_ns: u64) -> bool {
        self.hold_ns.is_some_and(|hold_ns| now_ns.saturating_sub(rolled.since_ns) >= hold_ns)
    }

    /// What is wrong with an arm, beyond chance.
    #[must_use]
    pub(crate) fn test(&self, arm: Counts, stable: Counts) -> Option<Cause> {
        if arm.calls < self.min_samples {
            return None;
        }
        for &(bar, cause) in &[(self.errors, Cause::Errors), (self.slow, Cause::Slow)] {
            if bar.is_some_and(|bar| self.is_worse(bar, arm.bad(cause), stable.bad(cause))) {
                return Some(cause);
            }
        }
        None
    }

    fn is_worse(&self, bar: Bar, arm: (u64, u64), stable: (u64, u64)) -> bool {
        let compares = stable.1 >= self.min_samples;
        let normal_ppm = match bar.assumed_ppm {
            _ if compares => ppm(stable),
            Some(assumed_ppm) => u64::from(assumed_ppm),
            None => return false,
        };
        // Cheap, and usually the end of it.
        let bar_ppm = normal_ppm.saturating_add(u64::from(bar.min_difference_ppm));
        if ppm(arm) < bar_ppm || ppm(arm) == normal_ppm {
            return false;
        }
        let chance = match bar.assumed_ppm {
            Some(assumed_ppm) if !compares => significance::one_sample(arm, assumed_ppm),
            _ => significance::two_samples(arm, stable),
        };
        chance <= self.significance
    }

    /// All numbers, for telling one configuration from another.
    pub(crate) fn numbers(&self) -> [u64; 9] {
        let bar = |bar: Option<Bar>| bar.map_or(0, |bar| u64::from(bar.min_difference_ppm).saturating_add(1));
        let assumed = |bar: Option<Bar>| {
            bar.and_then(|bar| bar.assumed_ppm).map_or(0, |assumed| u64::from(assumed).saturating_add(1))
        };
        [
            bar(self.errors),
            assumed(self.errors),
            bar(self.slow),
            assumed(self.slow),
            self.slow_ns.unwrap_or(0),
            self.slice_ns,
            self.min_samples,
            self.significance.to_bits(),
            self.hold_ns.unwrap_or(0),
        ]
    }
}

/// A share in parts of a million.
pub(crate) fn ppm((part, whole): (u64, u64)) -> u64 {
    part.saturating_mul(MILLION.into()).checked_div(whole).unwrap_or(0)
}

/// In nanoseconds.
pub(crate) fn nanoseconds(duration: ConfigDuration) -> u64 {
    weir_sdk::nanos(duration.0)
}
