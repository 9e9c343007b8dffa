//! The limit of calls under way that finds itself. Pure.

use super::circuit::{Circuit, SAMPLES};
use super::machine::{End, Outcome};
use super::rules::{Adaptive, Concurrency, Gradient, MILLION, Rules};

impl Circuit {
    /// Finds the limit of calls under way anew at the end of one; the new limit, where it is another.
    pub(super) fn adapt(&mut self, rules: &Rules, end: &End) -> Option<u32> {
        let concurrency = rules.concurrency.as_ref()?;
        let adaptive = concurrency.adaptive.as_ref()?;
        let Outcome::Call { error, slow } = end.outcome else {
            return None;
        };
        let before = self.head.limit(rules);
        match &adaptive.gradient {
            None => self.add_or_multiply(concurrency, adaptive, error || slow, end.now_ns),
            Some(_) if error => {}
            Some(gradient) => self.follow(concurrency, adaptive, gradient, end),
        }
        let after = self.head.limit(rules);
        (after != before).then_some(after)
    }

    /// Additive increase, multiplicative decrease.
    fn add_or_multiply(&mut self, concurrency: &Concurrency, adaptive: &Adaptive, failed: bool, now_ns: u64) {
        let (least, most) = bounds(concurrency, adaptive);
        let head = &mut self.head;
        let mut limit = if head.limit_milli == 0 { most } else { head.limit_milli.clamp(least, most) };
        if failed {
            if now_ns.abs_diff(head.shrunk_ns) >= adaptive.interval_ns {
                head.shrunk_ns = now_ns;
                let kept = u64::from(limit).saturating_mul(adaptive.keep_ppm.into());
                let kept = kept.checked_div(MILLION.into()).unwrap_or(0);
                limit = u32::try_from(kept).unwrap_or(most).max(least);
            }
        } else if u64::from(head.in_flight).saturating_mul(2000) > limit.into() {
            limit = limit.saturating_add(MILLION.checked_div(limit).unwrap_or(1).max(1)).min(most);
        }
        head.limit_milli = limit;
    }

    /// By the gradient: how the times of calls grow against the least time, which is measured now and then with few calls under way.
    fn follow(&mut self, concurrency: &Concurrency, adaptive: &Adaptive, gradient: &Gradient, end: &End) {
        let (least, most) = bounds(concurrency, adaptive);
        let head = &mut self.head;
        if head.limit_milli == 0 {
            head.limit_milli = least;
        }
        let latest_ns = end.now_ns.saturating_add(gradient.every_ns.saturating_mul(2));
        let is_measuring = head.kept_milli != 0;
        // Further away than it can be, or begun later than now: the clock was set back.
        let is_due = if is_measuring {
            head.measure_ns > end.now_ns
        } else {
            head.least_us == 0 || head.measure_ns <= end.now_ns || head.measure_ns > latest_ns
        };
        if is_due {
            if !is_measuring {
                head.kept_milli = head.limit_milli.clamp(least, most);
            }
            (head.limit_milli, head.measure_ns) = (least, end.now_ns);
            self.forget_samples();
            return;
        }
        // Calls that began under the limit of before say nothing about the least time.
        if is_measuring && end.began_ns < head.measure_ns {
            return;
        }
        self.sample(end);
        let head = &mut self.head;
        if is_measuring {
            if head.sampled < gradient.calls {
                return;
            }
            head.limit_milli = head.kept_milli;
            head.kept_milli = 0;
            // A time is at most a day, so this much of it fits.
            let jitter = (gradient.every_ns / 8).saturating_mul(gradient.jitter_ppm.into());
            let jitter = jitter.checked_div(u64::from(MILLION) / 8).unwrap_or(0);
            let jitter = u128::from(jitter).saturating_mul(u128::from(end.random >> 32)) >> 32;
            let every_ns = gradient.every_ns.saturating_add(u64::try_from(jitter).unwrap_or(0));
            head.measure_ns = end.now_ns.saturating_add(every_ns);
            head.least_us = quantile(&self.samples, gradient.quantile_ppm).max(1);
        } else {
            if end.now_ns.abs_diff(head.shrunk_ns) < adaptive.interval_ns {
                return;
            }
            let time_us = quantile(&self.samples, gradient.quantile_ppm);
            head.limit_milli = step(head.limit_milli, head.least_us, gradient.buffer_ppm, time_us);
            head.limit_milli = head.limit_milli.clamp(least, most);
        }
        head.shrunk_ns = end.now_ns;
        self.forget_samples();
    }

    /// Keeps every time, or a fair draw of them (reservoir sampling: Vitter 1985, algorithm R).
    fn sample(&mut self, end: &End) {
        let time_us = u32::try_from(end.time_ns / 1000).unwrap_or(u32::MAX);
        self.head.sampled = self.head.sampled.saturating_add(1);
        if self.samples.len() < SAMPLES {
            self.samples.push(time_us);
            return;
        }
        let drawn = u128::from(end.random).saturating_mul(self.head.sampled.into()) >> 64;
        if let Some(place) = usize::try_from(drawn).ok().and_then(|at| self.samples.get_mut(at)) {
            *place = time_us;
        }
    }

    fn forget_samples(&mut self) {
        self.samples.clear();
        self.head.sampled = 0;
    }
}

/// The least and the largest limit, in thousandths.
fn bounds(concurrency: &Concurrency, adaptive: &Adaptive) -> (u32, u32) {
    let most = concurrency.max.saturating_mul(1000);
    (adaptive.min.saturating_mul(1000).min(most), most)
}

/// The time that this share of them does not exceed; 0 of none.
fn quantile(samples: &[u32], ppm: u32) -> u32 {
    let last = u64::try_from(samples.len()).unwrap_or(0).saturating_sub(1);
    let at = last.saturating_mul(ppm.into()).checked_div(MILLION.into()).unwrap_or(0);
    if samples.is_empty() {
        return 0;
    }
    // The least that more than `at` of them do not exceed, by bisection: sorting is 3 kB of code.
    let (mut least, mut most) = (0, u32::MAX);
    while least < most {
        let middle = u32::midpoint(least, most);
        let below = samples.iter().filter(|sample| **sample <= middle).count();
        if u64::try_from(below).is_ok_and(|below| below > at) {
            most = middle;
        } else {
            least = middle.saturating_add(1);
        }
    }
    least
}

/// The next limit in thousandths, as Envoy's gradient controller has it: `limit · gradient` and its square root as head room, where the gradient is
/// the least time with its buffer, divided by the time now, from a half to two.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a limit up to twice a u32 and its root; the cast saturates"
)]
pub(super) fn step(limit_milli: u32, least_us: u32, buffer_ppm: u32, time_us: u32) -> u32 {
    let least = f64::from(least_us) * (1.0 + f64::from(buffer_ppm) / f64::from(MILLION));
    let gradient = (least / f64::from(time_us.max(1))).clamp(0.5, 2.0);
    let limit = f64::from(limit_milli) / 1000.0 * gradient;
    ((limit + limit.sqrt()) * 1000.0) as u32
}
