//! Numbers drawn from distributions of latencies.

use std::f64::consts::TAU;
use std::time::Duration;

use crate::clock::Random;
use crate::scenario::{Distribution, Latency, Span, percentile};

/// The quantile of the standard normal distribution at 0.99.
const Z99: f64 = 2.326_347_874_040_841;

/// Draws a latency. Every draw takes the same amount of randomness.
pub(super) fn draw(latency: &Latency, random: &mut Random) -> Duration {
    let (first, second) = (unit(random), unit(random));
    match latency {
        Latency::Fixed(span) => span.0,
        Latency::Distribution(Distribution::Uniform { min, max }) => {
            seconds(between(min.0.as_secs_f64(), max.0.as_secs_f64(), first))
        }
        Latency::Distribution(Distribution::Normal { mean, deviation }) => {
            seconds(deviation.0.as_secs_f64().mul_add(normal(first, second), mean.0.as_secs_f64()))
        }
        Latency::Distribution(Distribution::Lognormal { median, p99 }) => {
            let median = median.0.as_secs_f64();
            let sigma = (p99.0.as_secs_f64() / median).ln() / Z99;
            seconds(median * (sigma * normal(first, second)).exp())
        }
        Latency::Distribution(Distribution::Percentiles(points)) => {
            let mut points: Vec<(f64, Span)> =
                points.iter().filter_map(|(name, span)| Some((percentile(name)?, *span))).collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            interpolate(&points, first * 100.0)
        }
    }
}

/// Whether something with this chance, in percent, happens.
pub(super) fn happens(percentage: f64, random: &mut Random) -> bool {
    unit(random) * 100.0 < percentage
}

/// A number from 0 to below 1 with 53 random bits.
fn unit(random: &mut Random) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit exactly")]
    let number = (random.next_u64() >> 11) as f64;
    number / 9_007_199_254_740_992.0
}

/// A standard normal number out of two even ones (Box and Muller 1958).
fn normal(first: f64, second: f64) -> f64 {
    (-2.0 * (1.0 - first).ln()).sqrt() * (TAU * second).cos()
}

fn between(low: f64, high: f64, part: f64) -> f64 {
    (high - low).mul_add(part, low)
}

/// The value at `percent` on straight lines between sorted points.
fn interpolate(points: &[(f64, Span)], percent: f64) -> Duration {
    let mut below = (0.0, 0.0);
    for (at, span) in points {
        let value = span.0.as_secs_f64();
        if percent <= *at {
            let width = *at - below.0;
            let part = if width > 0.0 { (percent - below.0) / width } else { 1.0 };
            return seconds(between(below.1, value, part));
        }
        below = (*at, value);
    }
    seconds(below.1)
}

/// Whole nanoseconds; what is below 0 is 0, what does not fit is the longest.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}
