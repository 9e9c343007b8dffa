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
        if !sound {
            return None;
        }
        Some(Self { start: ramp.start.0, duration: ramp.duration.0, steps })
    }

    /// Whether a request that stands at `draw` is on the growing arm at `now`.
    pub(crate) fn includes(&self, draw: Draw, now: SystemTime) -> bool {
        let (part, whole) = self.share(now);
        draw.position(whole) < part
    }

    /// Whether the growing arm has no share yet.
    pub(crate) fn is_before(&self, now: SystemTime) -> bool {
        now < self.start
    }

    /// Whether the growing arm has everything.
    pub(crate) fn is_full(&self, now: SystemTime) -> bool {
        let (part, whole) = self.share(now);
        part >= whole
    }

    /// The growing arm's share: so many parts, of so many. Exact as long as the duration is under 584 years of nanoseconds.
    #[inline(never)]
    fn share(&self, now: SystemTime) -> (u64, u64) {
        let Ok(passed) = now.duration_since(self.start) else { return (0, 1) };
        let (passed, whole) = (nanos(passed), nanos(self.duration));
        // What is left over of steps of whole nanoseconds belongs to the last.
        let Some(last) = self.steps.last() else { return (passed.min(whole), whole) };
        let step_ns = u64::try_from(self.steps.len()).ok().and_then(|steps| whole.checked_div(steps));
        let index = step_ns.and_then(|step_ns| usize::try_from(passed.checked_div(step_ns)?).ok());
        let step = index.and_then(|index| self.steps.get(index)).unwrap_or(last);
        (step.numerator.into(), step.denominator.value().into())
    }
}
