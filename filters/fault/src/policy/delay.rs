//! Delays: how long a draw makes a stream wait. Whole milliseconds, as no timer of Envoy's is finer.

use std::time::Duration;

use weir_sdk::{At, ConfigDuration, Draw, Problems, nanos};

use super::dice::{Share, unit};
use super::numbers::{exp, ln, normal_quantile};
use crate::config::{self, DelaySpec};

/// No delay is longer, whatever is configured or asked for.
pub(crate) const MAX_DELAY: Duration = Duration::from_secs(3600);

/// How long a stream may be made to wait, so that Envoy's idle timer does not end it first (`FLOW-30`): a second less than the timeout, for
/// the upstream to answer in; of a shorter one half. Zero is no timeout.
pub(crate) fn longest(stream_idle_timeout: Duration) -> Duration {
    if stream_idle_timeout.is_zero() {
        return MAX_DELAY;
    }
    let margin = stream_idle_timeout.checked_div(2).unwrap_or_default().min(Duration::from_secs(1));
    stream_idle_timeout.saturating_sub(margin).min(MAX_DELAY)
}

/// A delay and a black hole wait one after the other, and nothing moves in between.
pub(crate) fn sum(
    at: &At<'_>,
    delay: Option<&Delay>,
    hole: Option<&config::BlackHole>,
    longest: Duration,
    problems: &mut Problems,
) {
    if let (Some(delay), Some(hole)) = (delay, hole)
        && delay.longest().saturating_add(hole.duration.0) > longest
    {
        let longest = ConfigDuration(longest).to_string();
        let reason = [
            "with the delay before it expected at most `",
            &longest,
            "` together (`stream_idle_timeout`); a `max_delay` bounds the delay",
        ];
        problems.add(at.field("black_hole.duration"), reason.concat());
    }
}

/// What a wait that is too long is told.
pub(crate) fn too_long(longest: Duration) -> String {
    let longest = ConfigDuration(longest).to_string();
    [
        "expected more than 0 and at most `",
        &longest,
        "`, as Envoy ends a stream that waits longer (`stream_idle_timeout`)",
    ]
    .concat()
}

/// The 99th percentile of the normal distribution.
const Z99: f64 = 2.326_347_874_040_841;

/// A compiled [`config::Delay`].
#[derive(Clone, Debug)]
pub(crate) struct Delay {
    time: Time,
    pub(crate) share: Share,
    max: Duration,
}

#[derive(Clone, Debug)]
enum Time {
    Fixed(Duration),
    /// In seconds, as all numbers here.
    Jitter {
        middle: f64,
        half: f64,
    },
    Uniform {
        min: f64,
        width: f64,
    },
    Normal {
        mean: f64,
        deviation: f64,
    },
    Lognormal {
        /// Of the logarithm.
        mean: f64,
        deviation: f64,
    },
    Exponential {
        mean: f64,
    },
    Pareto {
        min: f64,
        shape: f64,
    },
    /// Probability and value; both never fall. The first is (0, 0) or (0, p0).
    Percentiles(Vec<(f64, f64)>),
    /// What the caller says.
    Header,
}

impl Delay {
    /// Checks and compiles the delay at `at`. On the response no caller can say anything.
    pub(crate) fn compile(
        at: &At<'_>,
        delay: &config::Delay,
        on_response: bool,
        longest: Duration,
        problems: &mut Problems,
    ) -> Option<Self> {
        let spec = match delay {
            config::Delay::Fixed(time) => &DelaySpec { fixed_delay: Some(*time), ..DelaySpec::default() },
            config::Delay::Spec(spec) => spec,
        };
        let before = problems.len();
        let max = spec.max_delay.map_or(longest, |max| max.0);
        if max.is_zero() || max > longest {
            problems.add(at.field("max_delay"), too_long(longest));
        }
        if spec.jitter.is_some() && spec.fixed_delay.is_none() {
            problems.add(at.field("jitter"), "is for `fixed_delay` only");
        }
        if spec.header_delay.is_some() && on_response {
            problems.add(at.field("header_delay"), "is for requests; here expected a time");
        }
        let fixed_at = match delay {
            config::Delay::Fixed(_) => *at,
            config::Delay::Spec(_) => at.field("fixed_delay"),
        };
        let mut times = Vec::new();
        if let Some(time) = spec.fixed_delay {
            times.push(fixed(&fixed_at, time, spec.jitter, longest, problems));
        }
        if let Some(uniform) = &spec.uniform {
            let (min, max) = (seconds(uniform.min), seconds(uniform.max));
            if max < min {
                problems.add(at.field("uniform.max"), "is less than `min`");
            }
            times.push(Time::Uniform { min, width: max - min });
        }
        if let Some(normal) = &spec.normal {
            times.push(Time::Normal { mean: seconds(normal.mean), deviation: seconds(normal.std_dev) });
        }
        if let Some(lognormal) = &spec.lognormal {
            let (median, p99) = (seconds(lognormal.median), seconds(lognormal.p99));
            positive(&at.field("lognormal.median"), lognormal.median, problems);
            if p99 < median {
                problems.add(at.field("lognormal.p99"), "is less than `median`");
            } else if median > 0.0 {
                let mean = ln(median);
                times.push(Time::Lognormal { mean, deviation: (ln(p99) - mean) / Z99 });
            }
        }
        if let Some(exponential) = &spec.exponential {
            positive(&at.field("exponential.mean"), exponential.mean, problems);
            times.push(Time::Exponential { mean: seconds(exponential.mean) });
        }
        if let Some(pareto) = &spec.pareto {
            positive(&at.field("pareto.min"), pareto.min, problems);
            if !(0.1..=100.0).contains(&pareto.shape) {
                problems.add(at.field("pareto.shape"), "expected a number from 0.1 to 100");
            }
            times.push(Time::Pareto { min: seconds(pareto.min), shape: pareto.shape });
        }
        if let Some(percentiles) = &spec.percentiles {
            times.push(points(&at.field("percentiles"), &percentiles.0, problems));
        }
        if spec.header_delay.is_some() {
            times.push(Time::Header);
        }
        if times.len() != 1 && problems.len() == before {
            problems.add(at,
                "expected exactly one of `fixed_delay`, `uniform`, `normal`, `lognormal`, `exponential`, `pareto`, `percentiles` and `header_delay`",
            );
        }
        (problems.len() == before).then_some(())?;
        Some(Self { time: times.pop()?, share: Share::of(spec.percentage), max })
    }

    /// No draw waits longer.
    pub(crate) fn longest(&self) -> Duration {
        match self.time {
            Time::Fixed(time) => time.min(self.max),
            _ => self.max,
        }
    }

    /// Whether callers say how long.
    pub(crate) fn is_by_header(&self) -> bool {
        matches!(self.time, Time::Header)
    }

    /// How long to wait; `None` for not at all. `asked` is what the caller says, in ms.
    pub(crate) fn time(&self, draw: &dyn Fn() -> Draw, asked: Option<u64>) -> Option<Duration> {
        let ns = match &self.time {
            Time::Fixed(time) => nanos(*time),
            Time::Header => asked?.saturating_mul(1_000_000),
            drawn => nanoseconds(drawn.sample(unit(draw()))),
        };
        let ms = ns.min(nanos(self.max)).div_ceil(1_000_000);
        (ms > 0).then(|| Duration::from_millis(ms))
    }
}

impl Time {
    /// Seconds at a probability within (0, 1).
    fn sample(&self, p: f64) -> f64 {
        match self {
            Self::Fixed(_) | Self::Header => 0.0,
            Self::Jitter { middle, half } => middle + half * (2.0 * p - 1.0),
            Self::Uniform { min, width } => min + width * p,
            Self::Normal { mean, deviation } => mean + deviation * normal_quantile(p),
            Self::Lognormal { mean, deviation } => exp(mean + deviation * normal_quantile(p)),
            Self::Exponential { mean } => -mean * ln(1.0 - p),
            Self::Pareto { min, shape } => min * exp(-ln(1.0 - p) / shape),
            Self::Percentiles(points) => interpolated(points, p),
        }
    }
}

fn interpolated(points: &[(f64, f64)], p: f64) -> f64 {
    for pair in points.windows(2) {
        if let [(p0, t0), (p1, t1)] = pair
            && p <= *p1
        {
            let width = p1 - p0;
            return if width > 0.0 { t0 + (t1 - t0) * (p - p0) / width } else { *t1 };
        }
    }
    points.last().map_or(0.0, |(_, time)| *time)
}

fn fixed(
    at: &At<'_>,
    time: ConfigDuration,
    jitter: Option<ConfigDuration>,
    longest: Duration,
    problems: &mut Problems,
) -> Time {
    if time.0.is_zero() || time.0 > longest {
        problems.add(at, too_long(longest));
    }
    match jitter {
        Some(jitter) if !jitter.0.is_zero() => Time::Jitter { middle: seconds(time), half: seconds(jitter) },
        _ => Time::Fixed(time.0),
    }
}

fn points(at: &At<'_>, written: &[(String, ConfigDuration)], problems: &mut Problems) -> Time {
    let mut points: Vec<(f64, f64)> = Vec::new();
    for (name, time) in written {
        match name.strip_prefix('p').and_then(percent) {
            Some(percent) if (0.0..=100.0).contains(&percent) => {
                let point = (percent / 100.0, seconds(*time));
                let place = points.iter().filter(|(other, _)| *other <= point.0).count();
                points.insert(place, point);
            }
            _ => problems
                .add(at.field(name), "expected `p` and a number from 0 to 100, such as `p50` or `p99.9`"),
        }
    }
    if points.is_empty() {
        problems.add(at, "expected at least one, such as `{p50: 20ms, p99: 900ms}`");
    }
    for pair in points.windows(2) {
        if let [(p0, t0), (p1, t1)] = pair {
            if p0 == p1 {
                problems.add(at, "has one percentile twice");
            } else if t1 < t0 {
                problems.add(at, "expected times that never fall from a percentile to a higher one");
            }
        }
    }
    if points.first().is_none_or(|(p, _)| *p > 0.0) {
        points.insert(0, (0.0, 0.0));
    }
    Time::Percentiles(points)
}

/// Digits, with at most one point among them; `None` for what is none or above all shares.
#[expect(clippy::cast_precision_loss, reason = "a float has 53 bits")]
fn percent(number: &str) -> Option<f64> {
    let (mut digits, mut places) = (0_u64, None);
    for byte in number.bytes() {
        match (byte, &mut places) {
            (b'.', None) => places = Some(0),
            (b'0'..=b'9', None) => digits = digits.checked_mul(10)?.checked_add(u64::from(byte & 15))?,
            // Further decimals are beyond what a float tells of a hundred.
            (b'0'..=b'9', Some(15)) => {}
            (b'0'..=b'9', Some(places)) => {
                digits = digits.checked_mul(10)?.checked_add(u64::from(byte & 15))?;
                *places = i32::saturating_add(*places, 1);
            }
            _ => return None,
        }
    }
    let some = number.len() > usize::from(places.is_some());
    some.then(|| digits as f64 / 10_f64.powi(places.unwrap_or(0)))
}

fn positive(at: &At<'_>, time: ConfigDuration, problems: &mut Problems) {
    if time.0.is_zero() {
        problems.add(at, "expected more than 0");
    }
}

#[inline(never)]
fn seconds(time: ConfigDuration) -> f64 {
    time.0.as_secs_f64()
}

/// The nearest; what is no time is none, or the longest.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast saturates, and it is not negative"
)]
fn nanoseconds(seconds: f64) -> u64 {
    (seconds.max(0.0) * 1e9 + 0.5) as u64
}

#[cfg(test)]
mod tests;
