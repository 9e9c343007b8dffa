//! A share that grows by the clock.

use std::time::{Duration, SystemTime};

use weir_sdk::{At, Draw, FractionalPercent, Problems, nanos};

use crate::config;

/// A compiled [`config::Ramp`].
#[derive(Clone, Debug)]
pub(crate) struct Ramp {
    start: SystemTime,
    /// Invariant: not zero.
    duration: Duration,
    /// Invariant: never falling.
    steps: Vec<FractionalPercent>,
}

/// Where a ramp stands.
enum Stage {
    Before,
    /// So much of `duration` has passed.
    Running(Duration),
    Over,
}

impl Ramp {
    /// Checks and compiles the ramp.
    pub(crate) fn compile(at: &At<'_>, ramp: &config::Ramp, problems: &mut Problems) -> Option<Self> {
        let mut sound = true;
        if ramp.duration.0.is_zero() {
            problems.add(at.field("duration"), "expected more than 0, such as `1h`");
            sound = false;
        }
        let mut steps = Vec::with_capacity(ramp.steps.len());
        let mut before = 0;
        for (index, step) in ramp.steps.iter().enumerate() {
            let share = step.0.ppm();
            if share < before {
                let reason = "is less than the step before; expected shares that never fall";
                problems.add(at.item("steps", index), reason);
                sound = false;
            }
            before = share;
            steps.push(step.0);
        }
        sound.then_some(Self { start: ramp.start.0, duration: ramp.duration.0, steps })
    }

    /// Whether a request that stands at `draw` is on the growing arm at `now`.
    pub(crate) fn includes(&self, draw: Draw, now: SystemTime) -> bool {
        match (self.stage(now), self.steps.as_slice()) {
            (Stage::Before, _) => false,
            (Stage::Running(passed), []) => {
                // Exact as long as the duration is under 584 years of nanoseconds.
                u128::from(draw.position(nanos(self.duration))) < u128::from(nanos(passed))
            }
            (Stage::Running(passed), steps) => {
                self.step(passed, steps).is_some_and(|step| step.includes(draw))
            }
            (Stage::Over, []) => true,
            (Stage::Over, steps) => steps.last().is_some_and(|step| step.includes(draw)),
        }
    }

    /// Whether the growing arm has no share yet.
    pub(crate) fn is_before(&self, now: SystemTime) -> bool {
        matches!(self.stage(now), Stage::Before)
    }

    /// Whether the growing arm has everything.
    pub(crate) fn is_full(&self, now: SystemTime) -> bool {
        match self.stage(now) {
            Stage::Before => false,
            Stage::Running(passed) => {
                self.step(passed, &self.steps).is_some_and(|step| step.ppm() == 1_000_000)
            }
            Stage::Over => self.steps.last().is_none_or(|step| step.ppm() == 1_000_000),
        }
    }

    fn stage(&self, now: SystemTime) -> Stage {
        match now.duration_since(self.start) {
            Err(_) => Stage::Before,
            Ok(passed) if passed >= self.duration => Stage::Over,
            Ok(passed) => Stage::Running(passed),
        }
    }

    fn step(&self, passed: Duration, steps: &[FractionalPercent]) -> Option<FractionalPercent> {
        let step_ns = nanos(self.duration).checked_div(u64::try_from(steps.len()).ok()?)?;
        let index = usize::try_from(nanos(passed).checked_div(step_ns)?).ok()?;
        // What is left over of steps of whole nanoseconds belongs to the last.
        steps.get(index).or(steps.last()).copied()
    }
}
