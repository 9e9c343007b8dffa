//! The numbers of what limits calls: how many at once, how fast errors may come, how much is shed.

use weir_sdk::config::decimal;

use super::{Adaptive, Burn, Concurrency, Gradient, MILLION, Place, Queue, Shed, ppm};
use crate::config;
use crate::policy::circuit::SAMPLES;
use crate::policy::window::Shape;

/// Parts of the windows of `burn_rate`, and of `shed`.
const BURN_BUCKETS: u8 = 12;
const SHED_BUCKETS: u8 = 15;

pub(super) fn concurrency(limit: &config::Concurrency, at: &mut Place<'_>) -> Concurrency {
    at.range("concurrency.max", limit.max, 1, 1_000_000);
    let adaptive = limit.adaptive.as_ref().map(|adaptive| {
        let min = adaptive.min.unwrap_or(3_u32.min(limit.max.max(1)));
        at.range("concurrency.adaptive.min", min, 1, limit.max.max(1));
        let decrease = adaptive.decrease.map_or(100_000, ppm);
        if !(1..MILLION).contains(&decrease) {
            at.refuse("concurrency.adaptive.decrease", "expected more than 0 and less than 100");
        }
        let interval_ns = at.time("concurrency.adaptive.interval", adaptive.interval);
        let gradient = adaptive.gradient.as_ref().map(|written| gradient(written, at));
        Adaptive { min, keep_ppm: MILLION.saturating_sub(decrease), interval_ns, gradient }
    });
    at.range("concurrency.max_waiting", limit.max_waiting, 1, 10_000);
    let queue = limit.max_wait.map(|wait| {
        let wait_ns = at.time("concurrency.max_wait", wait);
        if wait_ns > 60_000_000_000 {
            at.refuse("concurrency.max_wait", &format!("expected at most 1m, found {wait}"));
        }
        Queue { wait_ns, most: limit.max_waiting }
    });
    Concurrency { max: limit.max, adaptive, queue }
}

fn gradient(written: &config::Gradient, at: &mut Place<'_>) -> Gradient {
    at.range(
        "concurrency.adaptive.gradient.measure_calls",
        written.measure_calls,
        1,
        u32::try_from(SAMPLES).unwrap_or(u32::MAX),
    );
    Gradient {
        every_ns: at.time("concurrency.adaptive.gradient.measure_every", written.measure_every),
        calls: written.measure_calls,
        jitter_ppm: written.jitter.map_or(150_000, ppm),
        buffer_ppm: written.buffer.map_or(250_000, ppm),
        quantile_ppm: written.quantile.map_or(500_000, ppm),
    }
}

pub(super) fn burn_rate(
    written: &config::BurnRate,
    minimum: u32,
    more: &mut Vec<Shape>,
    at: &mut Place<'_>,
) -> Burn {
    let short = at.time("open_when.burn_rate.short", written.short);
    let long = at.time("open_when.burn_rate.long", written.long);
    if short >= long {
        at.refuse("open_when.burn_rate.short", "is not shorter than `long`; expected a twelfth of it or so");
    }
    let budget = MILLION.saturating_sub(ppm(written.objective));
    // NaN is refused as well.
    let parts = f64::from(budget) * written.factor;
    if !(parts >= 1.0 && parts <= f64::from(MILLION)) {
        let factor = decimal(written.factor).unwrap_or_else(|| "so many".to_owned());
        let found = format!("{factor} times the budget of {budget} errors in a million calls");
        at.refuse(
            "open_when.burn_rate.factor",
            &format!("{found} is no error rate; expected one above 0 and up to 100 %"),
        );
    }
    let place = more.len();
    more.extend([time_window(short, BURN_BUCKETS), time_window(long, BURN_BUCKETS)]);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked above, and the cast saturates"
    )]
    let ppm = parts as u32;
    Burn { short: place, long: place.saturating_add(1), ppm, minimum }
}

pub(super) fn shed(written: &config::Shed, more: &mut Vec<Shape>, at: &mut Place<'_>) -> Shed {
    let time_ns = at.time("shed.window", written.window);
    let success_ppm = written.success_rate.map_or(950_000, ppm);
    if success_ppm == 0 {
        at.refuse("shed.success_rate", "expected more than 0: nothing would ever be shed");
    }
    let most_ppm = written.max_probability.map_or(800_000, ppm);
    if most_ppm == 0 {
        at.refuse("shed.max_probability", "expected more than 0: nothing would ever be shed");
    }
    at.range("shed.aggression", written.aggression, 1, 100);
    let window = more.len();
    more.push(time_window(time_ns, SHED_BUCKETS));
    Shed {
        window,
        #[expect(clippy::cast_precision_loss, reason = "up to a day in ns, exact below 2^53")]
        window_ns: time_ns as f64,
        success_ppm,
        aggression: i32::try_from(written.aggression).unwrap_or(1),
        most_ppm,
        minimum_rps: written.minimum_rps,
    }
}

fn time_window(time_ns: u64, buckets: u8) -> Shape {
    Shape::Time { bucket_ns: time_ns.checked_div(buckets.into()).unwrap_or(time_ns).max(1), buckets }
}
