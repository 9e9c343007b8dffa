//! When a fault is on, and how much of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use weir_sdk::{At, Draw, FractionalPercent, Problems, nanos};

use crate::config;

/// A compiled [`config::Schedule`].
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    start: Option<SystemTime>,
    end: Option<SystemTime>,
    /// On, then the whole period, in ns. Invariant: the period is more than `on`, which is more than 0.
    wave: Option<(u64, u64)>,
    /// Invariant: not zero, and only with a start.
    ramp: Option<Duration>,
}

/// How much of a fault is on: all of its share, or so many of 2^32 parts of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Full,
    Part(u32),
}

impl Schedule {
    /// Checks and compiles the schedule at `at`.
    pub(crate) fn compile(at: &At<'_>, schedule: &config::Schedule, problems: &mut Problems) -> Option<Self> {
        let before = problems.len();
        let config::Schedule { start, end, on, off, ramp } = schedule;
        if let (Some(start), Some(end)) = (start, end)
            && end.0 <= start.0
        {
            problems.add(at.field("end"), "is not after `start`");
        }
        let wave = match (on, off) {
            (Some(on), Some(off)) => {
                for &(name, time) in &[("on", on), ("off", off)] {
                    if time.0.is_zero() {
                        problems.add(at.field(name), "expected more than 0");
                    }
                }
                Some((nanos(on.0), nanos(on.0).saturating_add(nanos(off.0))))
            }
            (None, None) => None,
            (Some(_), None) => {
                problems.add(at.field("off"), "is missing: how long it is off after `on`");
                None
            }
            (None, Some(_)) => {
                problems.add(at.field("on"), "is missing: how long it is on before `off`");
                None
            }
        };
        if let Some(ramp) = ramp {
            if ramp.0.is_zero() {
                problems.add(at.field("ramp"), "expected more than 0");
            }
            if start.is_none() {
                problems.add(at.field("start"), "is missing: `ramp` begins there");
            }
        }
        if problems.len() != before {
            return None;
        }
        Some(Self {
            start: start.map(|start| start.0),
            end: end.map(|end| end.0),
            wave,
            ramp: ramp.map(|ramp| ramp.0),
        })
    }

    /// How much is on at this time; `None` for nothing.
    pub(crate) fn level(&self, now: SystemTime) -> Option<Level> {
        if self.end.is_some_and(|end| now >= end) {
            return None;
        }
        let passed = now.duration_since(self.start.unwrap_or(UNIX_EPOCH)).ok()?;
        if let Some((on, period)) = self.wave
            && nanos(passed).checked_rem(period).unwrap_or(0) >= on
        {
            return None;
        }
        let Some(ramp) = self.ramp.filter(|ramp| passed < *ramp) else {
            return Some(Level::Full);
        };
        // As many bits of both as fit in 32.
        let (passed, ramp) = (nanos(passed), nanos(ramp));
        let bits = 32_u32.saturating_sub(ramp.leading_zeros());
        let parts = ((passed >> bits) << 32).checked_div(ramp >> bits).unwrap_or(0);
        Some(Level::Part(u32::try_from(parts).unwrap_or(u32::MAX)))
    }
}

impl Level {
    /// Whether the share at this level covers the point. Growing a level takes nobody out.
    pub(crate) fn includes(self, share: Option<FractionalPercent>, draw: &mut dyn FnMut() -> Draw) -> bool {
        match self {
            Self::Full => share.is_none_or(|share| share.includes(draw())),
            Self::Part(parts) => {
                let ppm = share.map_or(1_000_000, FractionalPercent::ppm);
                // Below 2^32 · 10^6, so below 2^52.
                let total = 1_000_000_u64 << 32;
                draw().position(total) < u64::from(parts).saturating_mul(u64::from(ppm))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn compile(schedule: Value) -> Result<Schedule, String> {
        let schedule = serde_json::from_value(schedule).unwrap();
        let mut problems = Problems::new();
        let compiled = Schedule::compile(&At::of("schedule"), &schedule, &mut problems);
        problems.finish().map_err(|error| error.to_string())?;
        Ok(compiled.unwrap())
    }

    /// The level so many seconds after 2026-03-01T12:00:00Z.
    #[track_caller]
    fn check(schedule: Value, seconds: i64, want: Option<Level>) {
        let noon = 1_772_366_400_i64;
        let now = UNIX_EPOCH + Duration::from_secs(u64::try_from(noon + seconds).unwrap());
        assert_eq!(compile(schedule.clone()).unwrap().level(now), want, "{schedule} at {seconds}");
    }

    #[test]
    fn it_is_on_when_it_says() {
        let window = json!({"start": "2026-03-01T12:00:00Z", "end": "2026-03-01T13:00:00Z"});
        for (at, want) in [(-1, None), (0, Some(Level::Full)), (3599, Some(Level::Full)), (3600, None)] {
            check(window.clone(), at, want);
        }
        let wave = json!({"on": "30s", "off": "60s", "start": "2026-03-01T12:00:00Z"});
        for (at, on) in
            [(-1, false), (0, true), (29, true), (30, false), (89, false), (90, true), (119, true)]
        {
            check(wave.clone(), at, on.then_some(Level::Full));
        }
        // Noon is a multiple of 90 s after 1970, plus 0.
        check(json!({"on": "1h", "off": "1h"}), 0, Some(Level::Full));
        check(json!({"on": "1h", "off": "1h"}), 3600, None);
        let ramp = json!({"start": "2026-03-01T12:00:00Z", "ramp": "100s"});
        check(ramp.clone(), 0, Some(Level::Part(0)));
        check(ramp.clone(), 25, Some(Level::Part(1 << 30)));
        check(ramp, 100, Some(Level::Full));
    }

    #[test]
    fn a_level_is_its_part_of_the_share() {
        let half = FractionalPercent { numerator: 50, denominator: Default::default() };
        let taken = |level: Level, share| {
            let points = (0..10_000_u64).map(|i| i * (u64::MAX / 10_000));
            points.filter(|bits| level.includes(share, &mut || Draw::from_random(*bits))).count()
        };
        assert_eq!(taken(Level::Part(0), None), 0);
        assert!(taken(Level::Part(1 << 30), None).abs_diff(2500) < 2);
        assert!(taken(Level::Part(1 << 31), Some(half)).abs_diff(2500) < 2);
        assert_eq!(taken(Level::Full, None), 10_000);
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for (schedule, want) in [
            (json!({"on": "1s"}), "`schedule.off`"),
            (json!({"off": "1s"}), "`schedule.on`"),
            (json!({"on": "0s", "off": "1s"}), "`schedule.on`: expected more than 0"),
            (json!({"ramp": "1s"}), "`schedule.start`"),
            (json!({"start": "2026-03-01T12:00:00Z", "end": "2026-03-01T12:00:00Z"}), "`schedule.end`"),
        ] {
            let error = compile(schedule.clone()).unwrap_err();
            assert!(error.contains(want), "{schedule}: {error}");
        }
    }
}
