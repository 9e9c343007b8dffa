//! Whether one share is larger than another beyond chance: exact tests, so that they hold for any counts, few errors among many calls too,
//! where a z-test calls chance significant.
//!
//! Both tails are sums over a distribution with one mode whose neighbouring terms have a simple ratio. They are summed from the mode outwards,
//! relative to it: no logarithms, no factorials, and as many terms as the distribution is wide.

/// Terms smaller than this, relative to the mode, are nothing: no confidence that can be configured is as near to 1.
const NOTHING: f64 = 1e-20;

/// How probable it is that chance alone puts `errors` or more of all errors on one side, were both equal: Fisher's exact test, one-sided. Each
/// side has errors among its calls.
pub(crate) fn two_samples(one: (u64, u64), other: (u64, u64)) -> f64 {
    let ((errors, calls), (other_errors, other_calls)) = (one, other);
    let (all_errors, all_calls) = (errors.saturating_add(other_errors), calls.saturating_add(other_calls));
    let least = all_errors.saturating_sub(other_calls);
    let most = all_errors.min(calls);
    // The mode of the hypergeometric distribution.
    let mode = (float(calls) + 1.0) * (float(all_errors) + 1.0) / (float(all_calls) + 2.0);
    let mode = whole(mode).clamp(least, most);
    // From so many errors here to one more.
    let ratio = |here: u64| {
        let missing = float(all_errors.saturating_sub(here)) * float(calls.saturating_sub(here));
        let there = other_calls.saturating_add(here).saturating_sub(all_errors);
        missing / (float(here.saturating_add(1)) * float(there.saturating_add(1)))
    };
    upper_tail(errors, least, mode, most, &ratio)
}

/// How probable it is that chance alone makes `errors` or more of `calls` errors, where each is one with this probability: the exact binomial
/// test, one-sided.
pub(crate) fn one_sample((errors, calls): (u64, u64), assumed_ppm: u32) -> f64 {
    let odds = f64::from(assumed_ppm) / f64::from(1_000_000_u32.saturating_sub(assumed_ppm));
    if assumed_ppm == 0 || !odds.is_finite() {
        return if errors == 0 || assumed_ppm > 0 { 1.0 } else { 0.0 };
    }
    let mode = whole((float(calls) + 1.0) * f64::from(assumed_ppm) / 1e6).min(calls);
    let ratio = |here: u64| float(calls.saturating_sub(here)) / float(here.saturating_add(1)) * odds;
    upper_tail(errors, 0, mode, calls, &ratio)
}

/// The share of a distribution that lies at `from` or above.
fn upper_tail(from: u64, least: u64, mode: u64, most: u64, ratio: &dyn Fn(u64) -> f64) -> f64 {
    if from <= least {
        return 1.0;
    }
    let (mut below, mut above) = (0.0, 0.0);
    let mut add = |place: u64, weight: f64| if place < from { below += weight } else { above += weight };
    let (mut place, mut weight) = (mode, 1.0);
    while weight > NOTHING && place <= most {
        add(place, weight);
        weight *= ratio(place);
        place = place.saturating_add(1);
    }
    let (mut place, mut weight) = (mode, 1.0);
    while weight > NOTHING && place > least {
        place = place.saturating_sub(1);
        weight /= ratio(place);
        add(place, weight);
    }
    above / (below + above)
}

/// Counts are far below 2^53.
fn float(count: u64) -> f64 {
    count as f64
}

/// Where a mode lies, which need not be exact.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast saturates, and it is not negative"
)]
fn whole(mode: f64) -> u64 {
    mode as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn near(got: f64, want: f64) {
        assert!((got - want).abs() <= want * 1e-6, "{got} is not {want}");
    }

    /// Tables whose probabilities are small fractions.
    #[test]
    fn known_tables() {
        // Fisher's tea: all four of four are found, and three or more.
        near(two_samples((4, 4), (0, 4)), 1.0 / 70.0);
        near(two_samples((3, 4), (1, 4)), 17.0 / 70.0);
        near(two_samples((1, 20), (0, 180)), 0.1);
        near(two_samples((0, 10), (5, 10)), 1.0);
        near(two_samples((10, 10), (10, 10)), 1.0);
        near(one_sample((1, 1), 250_000), 0.25);
        near(one_sample((2, 3), 500_000), 0.5);
        near(one_sample((3, 3), 10_000), 1e-6);
        near(one_sample((1, 100), 10_000), 1.0 - 0.99_f64.powi(100));
    }

    #[test]
    fn the_edges_are_no_divisions_by_zero() {
        for (one, other) in
            [((0, 0), (0, 0)), ((0, 1), (0, 0)), ((1, 1), (0, 0)), ((0, 0), (1, 1)), ((5, 5), (5, 5))]
        {
            near(two_samples(one, other), 1.0);
        }
        near(one_sample((0, 10), 0), 1.0);
        assert_eq!(one_sample((1, 10), 0), 0.0);
        near(one_sample((10, 10), 1_000_000), 1.0);
        assert!(two_samples((1_000_000, 1_000_000), (0, 1_000_000)) < 1e-18);
        assert!(two_samples((500_000, 1_000_000), (500_000, 1_000_000)) > 0.5);
    }
}
