//! Logarithm, exponential and the normal quantile from additions, multiplications, divisions and square roots alone, which IEEE 754 fixes to
//! the last bit: a draw gives the same delay in Envoy, in the harness and in a native test, whatever mathematics library each has.

use std::f64::consts::{LN_2, SQRT_2};

/// The natural logarithm of a positive, finite number that is not subnormal; relative error below 10^-14.
pub(crate) fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let biased = i32::try_from((bits >> 52) & 0x7ff).unwrap_or(1023);
    let mut exponent = f64::from(biased.saturating_sub(1023));
    let mut mantissa = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | 0x3ff0_0000_0000_0000);
    if mantissa > SQRT_2 {
        mantissa /= 2.0;
        exponent += 1.0;
    }
    // ln m = 2 artanh t, |t| < 0.172: 11 terms leave less than 10^-17.
    let t = (mantissa - 1.0) / (mantissa + 1.0);
    let square = t * t;
    let mut power = t;
    let mut sum = 0.0;
    let mut odd = 1.0;
    for _ in 0..11 {
        sum += power / odd;
        power *= square;
        odd += 2.0;
    }
    exponent * LN_2 + 2.0 * sum
}

/// e to the power of x, from -700 to 700, beyond as at these ends; relative error below 10^-13.
pub(crate) fn exp(x: f64) -> f64 {
    let x = x.clamp(-700.0, 700.0);
    let halvings = (x / LN_2).round();
    let rest = x - halvings * LN_2;
    // Taylor, |rest| < 0.347: 15 terms leave less than 10^-18.
    let mut term = 1.0;
    let mut sum = 1.0;
    let mut n = 1.0;
    for _ in 0..15 {
        term *= rest / n;
        sum += term;
        n += 1.0;
    }
    let two = if halvings < 0.0 { 0.5 } else { 2.0 };
    let mut left = halvings.abs();
    while left >= 1.0 {
        sum *= two;
        left -= 1.0;
    }
    sum
}

/// The quantile of the normal distribution with mean 0 and deviation 1, for a probability within (0, 1). P. J. Acklam's rational
/// approximation; relative error below 1.2 · 10^-9.
pub(crate) fn normal_quantile(p: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969_683_028_665_376e1,
        2.209_460_984_245_205e2,
        -2.759_285_104_469_687e2,
        1.383_577_518_672_69e2,
        -3.066_479_806_614_716e1,
        2.506_628_277_459_239,
    ];
    const B: [f64; 6] = [
        -5.447_609_879_822_406e1,
        1.615_858_368_580_409e2,
        -1.556_989_798_598_866e2,
        6.680_131_188_771_972e1,
        -1.328_068_155_288_572e1,
        1.0,
    ];
    const C: [f64; 6] = [
        -7.784_894_002_430_293e-3,
        -3.223_964_580_411_365e-1,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const D: [f64; 5] = [
        7.784_695_709_041_462e-3,
        3.224_671_290_700_398e-1,
        2.445_134_137_142_996,
        3.754_408_661_907_416,
        1.0,
    ];
    /// Below it, and above its complement, the tails are.
    const TAIL: f64 = 0.024_25;
    let tail = |p: f64| {
        let q = (-2.0 * ln(p)).sqrt();
        polynomial(&C, q) / polynomial(&D, q)
    };
    if p < TAIL {
        tail(p)
    } else if p > 1.0 - TAIL {
        -tail(1.0 - p)
    } else {
        let q = p - 0.5;
        let square = q * q;
        q * polynomial(&A, square) / polynomial(&B, square)
    }
}

/// The coefficients stand from the highest power to the constant.
fn polynomial(coefficients: &[f64], x: f64) -> f64 {
    coefficients.iter().fold(0.0, |sum, coefficient| sum * x + coefficient)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(got: f64, want: f64, relative: f64) {
        assert!((got - want).abs() <= relative * want.abs().max(1e-300), "{got} is not {want}");
    }

    #[test]
    fn they_are_what_the_library_says() {
        for i in 1..4000 {
            let x = f64::from(i) * 0.37;
            check(ln(x), x.ln(), 1e-13);
            check(ln(1.0 / x), (1.0 / x).ln(), 1e-13);
            let y = f64::from(i - 2000) * 0.34;
            check(exp(y), y.exp(), 1e-12);
        }
        check(ln(1e-300), 1e-300_f64.ln(), 1e-14);
        assert_eq!(ln(1.0), 0.0);
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(1e9).is_finite() && exp(-1e9) > 0.0);
    }

    /// Abramowitz and Stegun, table 26.5.
    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (p, want) in [
            (0.5, 0.0),
            (0.75, 0.674_489_750_2),
            (0.975, 1.959_963_984_5),
            (0.99, 2.326_347_874_0),
            (0.999, 3.090_232_306_2),
            (0.001, -3.090_232_306_2),
            (0.01, -2.326_347_874_0),
        ] {
            assert!((normal_quantile(p) - want).abs() < 1e-8, "{p}: {}", normal_quantile(p));
        }
    }
}
