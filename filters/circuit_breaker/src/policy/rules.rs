//! The numbers of a policy: what opens a circuit, for how long, and how it closes. Compiled from what is written.

use std::time::Duration;

use weir_sdk::{At, ConfigDuration, Percentage, Problems};

use super::Written;
use super::circuit::SLOTS;
use super::window::{Shape, Tally};
use crate::config;
use limits::{burn_rate, concurrency, shed};

mod limits;

/// A day: the longest time that may be written.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Parts of a million, of all.
pub(super) const MILLION: u32 = 1_000_000;

/// Compiled numbers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rules {
    pub(super) trip: Trip,
    pub(super) shape: Shape,
    pub(super) slow_ns: Option<u64>,
    pub(super) open: Open,
    pub(super) probes: Probes,
    pub(super) recovery: Option<Recovery>,
    pub(super) concurrency: Option<Concurrency>,
    pub(super) burn: Option<Burn>,
    pub(super) shed: Option<Shed>,
    /// Windows beside that of `shape`.
    pub(super) more: Vec<Shape>,
}

/// How fast an error budget may burn: an error rate over two windows, by their places in `Rules::more`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Burn {
    pub(super) short: usize,
    pub(super) long: usize,
    pub(super) ppm: u32,
    pub(super) minimum: u32,
}

/// What is shed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shed {
    /// Its place in `Rules::more`.
    pub(super) window: usize,
    pub(super) window_ns: f64,
    pub(super) success_ppm: u32,
    pub(super) aggression: i32,
    pub(super) most_ppm: u32,
    pub(super) minimum_rps: u32,
}

/// Conditions; 0: not given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Trip {
    pub(super) consecutive: u32,
    pub(super) errors: u32,
    pub(super) error_ppm: u32,
    pub(super) slow_ppm: u32,
    pub(super) minimum: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Open {
    pub(super) first_ns: u64,
    pub(super) multiplier: f64,
    pub(super) max_ns: u64,
    pub(super) jitter_ppm: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probes {
    pub(super) calls: u32,
    pub(super) slots: usize,
    pub(super) max_failures: u32,
    pub(super) lease_ns: u64,
    pub(super) safe_only: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Recovery {
    pub(super) duration_ns: u64,
    pub(super) from_ppm: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Concurrency {
    pub(super) max: u32,
    pub(super) adaptive: Option<Adaptive>,
    pub(super) queue: Option<Queue>,
}

/// Requests that wait for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Queue {
    pub(crate) wait_ns: u64,
    /// In each worker.
    pub(crate) most: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Adaptive {
    pub(super) min: u32,
    pub(super) keep_ppm: u32,
    pub(super) interval_ns: u64,
    pub(super) gradient: Option<Gradient>,
}

/// The least time of calls, and how it is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gradient {
    pub(super) every_ns: u64,
    pub(super) calls: u32,
    pub(super) jitter_ppm: u32,
    pub(super) buffer_ppm: u32,
    pub(super) quantile_ppm: u32,
}

/// Why a circuit has changed its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// `consecutive_errors`.
    ConsecutiveErrors,
    /// `errors`.
    Errors,
    /// `error_rate`.
    ErrorRate,
    /// `slow_rate`.
    SlowRate,
    /// `burn_rate`.
    BurnRate,
    /// The open time is over, and a request has come.
    OpenTimeOver,
    /// More probes failed than may.
    ProbesFailed,
    /// Enough probes succeeded.
    ProbesSucceeded,
    /// The recovery is over.
    Recovered,
}

impl Trip {
    /// The first condition that holds.
    pub(super) fn reason(&self, consecutive: u32, tally: Tally) -> Option<Reason> {
        let rate = |part: u32, ppm: u32| ppm > 0 && tally.calls >= self.minimum && tally.is_rate(part, ppm);
        if self.consecutive > 0 && consecutive >= self.consecutive {
            Some(Reason::ConsecutiveErrors)
        } else if self.errors > 0 && tally.errors >= self.errors {
            Some(Reason::Errors)
        } else if rate(tally.errors, self.error_ppm) {
            Some(Reason::ErrorRate)
        } else if rate(tally.slow, self.slow_ppm) {
            Some(Reason::SlowRate)
        } else {
            None
        }
    }
}

impl Open {
    /// How long the opening of this number (from 1) is; `random` is uniform over `u64`.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "times up to a day in ns are exact below 2^53, and the cast saturates"
    )]
    pub(super) fn time_ns(&self, openings: u32, random: u64) -> u64 {
        let doublings = i32::try_from(openings.saturating_sub(1)).unwrap_or(i32::MAX);
        let time = (self.first_ns as f64 * self.multiplier.powi(doublings)).min(self.max_ns as f64);
        let part = random as f64 / u64::MAX as f64;
        let jitter = time * part * f64::from(self.jitter_ppm) / f64::from(MILLION);
        (time + jitter) as u64
    }

    /// The longest that any opening can be.
    pub(super) fn longest_ns(&self) -> u64 {
        self.max_ns.saturating_mul(2)
    }
}

impl Rules {
    /// How long an unused circuit keeps its place: longer than its window, and than it remembers its openings.
    pub(crate) fn idle_ns(&self) -> u64 {
        let time_ns = |shape: &Shape| match shape {
            Shape::Calls(_) => 0,
            Shape::Time { bucket_ns, buckets } => bucket_ns.saturating_mul((*buckets).into()),
        };
        let windows = self.more.iter().chain([&self.shape]);
        let minute = 60_000_000_000;
        windows.map(time_ns).max().unwrap_or(0).max(self.open.first_ns).max(minute)
    }

    /// Whether requests wait for room, and which.
    pub(crate) fn queue(&self) -> Option<Queue> {
        self.concurrency.as_ref().and_then(|concurrency| concurrency.queue)
    }

    /// Whether the times of calls matter to more than whether they are slow.
    pub(super) fn asks_times(&self) -> bool {
        let adaptive = self.concurrency.as_ref().and_then(|concurrency| concurrency.adaptive);
        adaptive.is_some_and(|adaptive| adaptive.gradient.is_some())
    }

    /// Whether calls under way are counted.
    pub(crate) fn counts_calls(&self) -> bool {
        self.concurrency.is_some()
    }

    /// Checks and compiles what stands at a place.
    pub(super) fn compile(at: &At<'_>, written: &Written<'_>, problems: &mut Problems) -> Self {
        let mut at = Place { at, problems };
        let (trip, shape, slow_ns) = trip(written, &mut at);
        let default = config::Open::default();
        let open = written.open.unwrap_or(&default);
        let first_ns = at.time("open.duration", open.duration);
        let max_ns = match open.max {
            Some(max) => at.time("open.max", max),
            None => first_ns.max(300_000_000_000),
        };
        if max_ns < first_ns {
            at.refuse("open.max", "is less than `duration`; expected at least as much");
        }
        if !(1.0..=10.0).contains(&open.multiplier) {
            at.refuse("open.multiplier", "expected a number from 1 to 10");
        }
        let jitter_ppm = open.jitter.map_or(0, ppm);
        let open = Open { first_ns, multiplier: open.multiplier, max_ns, jitter_ppm };

        let default = config::Probes::default();
        let probes = written.probes.unwrap_or(&default);
        at.range("probes.calls", probes.calls, 1, 1000);
        let most = u32::try_from(SLOTS).unwrap_or(u32::MAX);
        let slots = probes.max_concurrent.unwrap_or(probes.calls.min(most));
        at.range("probes.max_concurrent", slots, 1, most);
        if probes.max_failures >= probes.calls {
            at.refuse(
                "probes.max_failures",
                "expected less than `calls`; otherwise no result would open the circuit again",
            );
        }
        let lease_ns = at.time("probes.lease", probes.lease);
        let probes = Probes {
            calls: probes.calls,
            slots: usize::try_from(slots).unwrap_or(1),
            max_failures: probes.max_failures,
            lease_ns,
            safe_only: probes.safe_methods_only,
        };
        let recovery = written.recovery.map(|recovery| Recovery {
            duration_ns: at.time("recovery.duration", recovery.duration),
            from_ppm: recovery.from.map_or(100_000, ppm),
        });
        let concurrency = written.concurrency.map(|limit| concurrency(limit, &mut at));
        let mut more = Vec::new();
        let burn = written.open_when.and_then(|when| Some((when, when.burn_rate.as_ref()?)));
        let burn = burn.map(|(when, burn)| burn_rate(burn, when.minimum_calls, &mut more, &mut at));
        let shed = written.shed.map(|written| shed(written, &mut more, &mut at));
        Self { trip, shape, slow_ns, open, probes, recovery, concurrency, burn, shed, more }
    }
}

fn trip(written: &Written<'_>, at: &mut Place<'_>) -> (Trip, Shape, Option<u64>) {
    let default = config::OpenWhen { minimum_calls: 1, buckets: 10, ..config::OpenWhen::default() };
    let when = match written.open_when {
        Some(when) => when,
        None => {
            if written.force.is_none() && written.concurrency.is_none() && written.shed.is_none() {
                at.refuse(
                    "open_when",
                    "is missing: nothing would ever open a circuit; expected conditions such as `{consecutive_errors: 5}`",
                );
            }
            &default
        }
    };
    let given = [when.consecutive_errors, when.errors].iter().any(Option::is_some)
        || [when.error_rate, when.slow_rate].iter().any(Option::is_some)
        || when.burn_rate.is_some();
    let limits = written.concurrency.is_some() || written.shed.is_some();
    if written.open_when.is_some() && !given && !limits {
        at.refuse(
            "open_when",
            "expected at least one of `consecutive_errors`, `errors`, `error_rate`, `slow_rate` and `burn_rate`",
        );
    }
    for (field, count) in [("consecutive_errors", when.consecutive_errors), ("errors", when.errors)] {
        if count == Some(0) {
            at.problems.add(at.at.field("open_when").field(field), "expected 1 or more, found 0");
        }
    }
    for (field, rate) in [("error_rate", when.error_rate), ("slow_rate", when.slow_rate)] {
        if rate.is_some_and(|rate| ppm(rate) == 0) {
            let reason = "expected more than 0: every call would open the circuit";
            at.problems.add(at.at.field("open_when").field(field), reason);
        }
    }
    if when.slow_rate.is_some() && when.slow_call.is_none() {
        at.refuse("open_when.slow_call", "is missing: from which time on is a call slow?");
    }
    if when.minimum_calls == 0 {
        at.refuse("open_when.minimum_calls", "expected 1 or more, found 0");
    }
    at.range("open_when.buckets", when.buckets, 1, 60);
    let shape = match when.window {
        config::Window::Calls(calls) => {
            at.range("open_when.window.calls", calls, 1, 1024);
            if let Some(errors) = when.errors.filter(|errors| *errors > calls) {
                at.refuse(
                    "open_when.errors",
                    &format!("{errors} errors are more than the window's {calls} calls"),
                );
            }
            let rates = when.error_rate.is_some() || when.slow_rate.is_some();
            if rates && when.minimum_calls > calls {
                let found = format!(
                    "{} calls are more than the window's {calls}: no rate would ever count",
                    when.minimum_calls
                );
                at.refuse("open_when.minimum_calls", &found);
            }
            Shape::Calls(u16::try_from(calls).unwrap_or(u16::MAX))
        }
        config::Window::Time(time) => {
            let time = at.time("open_when.window.time", time);
            let bucket_ns = time.checked_div(u64::from(when.buckets)).unwrap_or(time).max(1);
            Shape::Time { bucket_ns, buckets: u8::try_from(when.buckets).unwrap_or(u8::MAX) }
        }
    };
    let slow_ns = when.slow_call.map(|time| at.time("open_when.slow_call", time));
    let trip = Trip {
        consecutive: when.consecutive_errors.unwrap_or(0),
        errors: when.errors.unwrap_or(0),
        error_ppm: when.error_rate.map_or(0, ppm),
        slow_ppm: when.slow_rate.map_or(0, ppm),
        minimum: when.minimum_calls,
    };
    (trip, shape, slow_ns)
}

/// Where a field stands, and where problems go.
pub(super) struct Place<'a> {
    pub(super) at: &'a At<'a>,
    pub(super) problems: &'a mut Problems,
}

impl Place<'_> {
    #[cold]
    #[inline(never)]
    pub(super) fn refuse(&mut self, field: &str, reason: &str) {
        self.problems.add(self.at.field(field), reason);
    }

    pub(super) fn range(&mut self, field: &str, value: u32, least: u32, most: u32) {
        if !(least..=most).contains(&value) {
            self.refuse(field, &format!("expected {least} to {most}, found {value}"));
        }
    }

    /// A time in ns from 1 ms to a day.
    fn time(&mut self, field: &str, time: ConfigDuration) -> u64 {
        if !(Duration::from_millis(1)..=LONGEST).contains(&time.0) {
            self.refuse(field, &format!("expected 1ms to 1d, found {time}"));
        }
        weir_sdk::nanos(time.0)
    }
}

/// Parts of a million.
pub(super) fn ppm(percentage: Percentage) -> u32 {
    let fraction = percentage.0;
    let parts = u64::from(fraction.numerator)
        .saturating_mul(MILLION.into())
        .checked_div(fraction.denominator.value().into())
        .unwrap_or(0);
    u32::try_from(parts).unwrap_or(MILLION).min(MILLION)
}
