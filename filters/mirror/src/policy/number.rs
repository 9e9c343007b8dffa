//! Numbers as they are written, compared and spelled out without loss.
//!
//! Compares without floating point: JSON's numbers have no bounds, and `1e3`, `1000` and `1000.0` are one.

use super::bytes::whole;

/// The value `digits` × 10^`exponent`: digits begin and end with no zero, and zero has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decimal {
    negative: bool,
    digits: String,
    exponent: i64,
}

impl Decimal {
    /// Reads a number of RFC 8259; `None` when its exponent is beyond all use.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
        let end = text.bytes().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(text.len());
        let mut digits = String::new();
        let (mut exponent, mut is_fraction) = (0_i64, false);
        for byte in text.bytes().take(end) {
            if byte == b'.' {
                is_fraction = true;
                continue;
            }
            exponent = exponent.saturating_sub(i64::from(is_fraction));
            if byte != b'0' || !digits.is_empty() {
                digits.push(char::from(byte));
            }
        }
        while digits.ends_with('0') {
            digits.pop();
            exponent = exponent.saturating_add(1);
        }
        if digits.is_empty() {
            return Some(Self { negative: false, digits, exponent: 0 });
        }
        if let Some(written) = text.as_bytes().get(end.saturating_add(1)..) {
            exponent = signed(written)?.checked_add(exponent)?;
        }
        Some(Self { negative, digits, exponent })
    }

    /// The nearest float, or one a few places beside it: without the tables that the standard library reads floats with, 16 kB of a module.
    #[expect(clippy::cast_precision_loss, reason = "a float has 53 bits")]
    pub(crate) fn float(&self) -> f64 {
        // 19 digits always fit.
        let (kept, cut) = self.digits.split_at_checked(19).unwrap_or((&self.digits, ""));
        let digits = whole(kept.as_bytes()).unwrap_or_default();
        let cut = i64::try_from(cut.len()).unwrap_or(i64::MAX);
        let mut exponent = self.exponent.saturating_add(cut).max(-700);
        let mut value = if self.negative { -(digits as f64) } else { digits as f64 };
        // The powers of ten up to 10^308 are floats, and those up to 10^22 exact ones.
        while exponent < -308 {
            value /= 1e308;
            exponent = exponent.saturating_add(308);
        }
        let scale = 10_f64.powi(i32::try_from(exponent.saturating_abs().min(309)).unwrap_or(309));
        if exponent < 0 { value / scale } else { value * scale }
    }

    /// Written so that equal numbers are written alike.
    pub(crate) fn canonical(&self) -> String {
        let sign = if self.negative { "-" } else { "" };
        [sign, &self.digits, "e", &self.exponent.to_string()].concat()
    }

    /// All its digits, when it is an integer of at most `most`.
    pub(crate) fn integer(&self, most: usize) -> Option<String> {
        let zeros = usize::try_from(self.exponent).ok()?;
        if self.digits.len().checked_add(zeros)? > most {
            return None;
        }
        Some([self.digits.as_str(), &"0".repeat(zeros)].concat())
    }
}

fn signed(text: &[u8]) -> Option<i64> {
    match text.strip_prefix(b"-") {
        Some(digits) => 0_i64.checked_sub_unsigned(whole(digits)?),
        None => i64::try_from(whole(text)?).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_many_spellings() {
        for (one, other, equal) in [
            ("1000", "1e3", true),
            ("1000", "1000.0", true),
            ("-0", "0.00e5", true),
            ("0.10", "1E-1", true),
            ("123456789012345678901", "123456789012345678902", false),
            ("-1", "1", false),
            ("00", "0", true),
        ] {
            assert_eq!(Decimal::parse(one) == Decimal::parse(other), equal, "{one} {other}");
        }
        assert_eq!(Decimal::parse("1e99999999999999999999"), None);
    }

    #[test]
    fn floats_are_near() {
        for text in [
            "0",
            "-0",
            "1",
            "-1.5",
            "0.1",
            "1e22",
            "123456789.125",
            "1e400",
            "-1e400",
            "1e-400",
            "4.9e-324",
            "1.7976e308",
            "2.2250738585072014e-308",
            "12345678901234567890123456789",
            "1e-330",
            "0.000000000000000000000000000000000001234567890123456789",
            "1e999999999999",
        ] {
            let (got, want) = (Decimal::parse(text).unwrap().float(), text.parse::<f64>().unwrap());
            let near = (got - want).abs() <= 1e-15 * want.abs() || (got - want).abs() <= 5e-324;
            assert!(got == want || near, "{text}: {got:e} and not {want:e}");
        }
    }

    #[test]
    fn integers_are_spelled_out() {
        let integer = |text| Decimal::parse(text).and_then(|number| number.integer(19));
        assert_eq!(integer("4.111111111111111e15").as_deref(), Some("4111111111111111"));
        assert_eq!(integer("4111111111111111.0").as_deref(), Some("4111111111111111"));
        assert_eq!(integer("1e18").as_deref(), Some("1000000000000000000"));
        assert_eq!(integer("1e19"), None);
        assert_eq!(integer("0.5"), None);
        assert_eq!(integer("1e999999999"), None);
    }
}
