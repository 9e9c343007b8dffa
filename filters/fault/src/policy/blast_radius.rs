//! Stops faults while the service has errors of its own. Pure: counts and time come in, a state goes out.

use std::time::{Duration, SystemTime};

use weir_sdk::{At, FractionalPercent, Problems};

use crate::config;

/// A compiled [`config::BlastRadius`].
#[derive(Clone, Debug)]
pub struct BlastRadius {
    max: FractionalPercent,
    window: Duration,
    min_requests: u32,
    resume_after: Duration,
}

/// Responses of the service, and errors among them, since ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Responses.
    pub responses: u64,
    /// Errors among them.
    pub errors: u64,
}

/// Where a worker stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// When the window began, and what was counted then.
    window: Option<(SystemTime, Totals)>,
    stopped_until: Option<SystemTime>,
}

impl Watch {
    /// Whether faults are stopped.
    #[must_use]
    pub fn is_stopped(&self, now: SystemTime) -> bool {
        self.stopped_until.is_some_and(|until| now < until)
    }
}

impl BlastRadius {
    /// Checks and compiles what stands at `at`.
    pub(crate) fn compile(at: &At<'_>, config: &config::BlastRadius, problems: &mut Problems) -> Self {
        for &(name, time) in &[("window", config.window), ("resume_after", config.resume_after)] {
            if time.0.is_zero() {
                problems.add(at.field(name), "expected more than 0");
            }
        }
        Self {
            max: config.max_error_percentage.0,
            window: config.window.0,
            min_requests: config.min_requests,
            resume_after: config.resume_after.0,
        }
    }

    /// What is known now.
    #[must_use]
    pub fn step(&self, watch: Watch, now: SystemTime, totals: Totals) -> Watch {
        let fresh = Some((now, totals));
        let Some((start, base)) = watch.window else {
            return Watch { window: fresh, ..watch };
        };
        // A clock that was set back begins a new window.
        let age = now.duration_since(start).unwrap_or(Duration::MAX);
        if age >= self.window.saturating_mul(2) {
            return Watch { window: fresh, ..watch };
        }
        if self.is_too_much(base, totals) {
            let stopped_until = now.checked_add(self.resume_after).or(watch.stopped_until);
            return Watch { window: fresh, stopped_until };
        }
        let window = if age >= self.window { fresh } else { watch.window };
        Watch { window, ..watch }
    }

    fn is_too_much(&self, base: Totals, totals: Totals) -> bool {
        let responses = totals.responses.saturating_sub(base.responses);
        let errors = totals.errors.saturating_sub(base.errors);
        responses >= u64::from(self.min_requests)
            && u128::from(errors).saturating_mul(1_000_000)
                > u128::from(responses).saturating_mul(u128::from(self.max.ppm()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    /// Steps of (second, responses, errors), and whether faults are stopped then.
    #[track_caller]
    fn check(steps: &[(u64, u64, u64, bool)]) {
        let config = serde_json::json!({"max_error_percentage": 20, "min_requests": 10});
        let config = serde_json::from_value(config).unwrap();
        let guard = BlastRadius::compile(&At::ROOT, &config, &mut Problems::new());
        let mut watch = Watch::default();
        for (second, responses, errors, want) in steps {
            let now = UNIX_EPOCH + Duration::from_secs(1_000_000 + second);
            watch = guard.step(watch, now, Totals { responses: *responses, errors: *errors });
            assert_eq!(watch.is_stopped(now), *want, "at {second}");
        }
    }

    #[test]
    fn too_many_errors_stop_and_time_resumes() {
        check(&[
            (0, 100, 100, false),
            (5, 109, 109, false),
            (6, 110, 110, true),
            (65, 120, 110, true),
            (66, 121, 110, false),
        ]);
    }

    #[test]
    fn a_fifth_is_not_more_than_a_fifth() {
        check(&[(0, 0, 0, false), (1, 10, 2, false), (2, 11, 3, true)]);
    }

    #[test]
    fn windows_forget() {
        check(&[(0, 0, 0, false), (29, 9, 9, false), (31, 9, 9, false), (32, 20, 9, false)]);
        // A worker that has seen nothing for long begins anew.
        check(&[(0, 0, 0, false), (100, 50, 50, false), (101, 59, 50, false)]);
    }

    #[test]
    fn trouble_that_goes_on_stops_anew() {
        check(&[
            (0, 0, 0, false),
            (1, 10, 10, true),
            (50, 20, 20, true),
            (90, 20, 20, true),
            (111, 20, 20, false),
        ]);
    }
}
