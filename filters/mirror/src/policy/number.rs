//! Numbers as they are written, compared and spelled out without loss.
//!
//! Knows no floating point: JSON's numbers have no bounds, and `1e3`, `1000` and `1000.0` are one.

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
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = [whole, fraction].concat();
        let digits = all.trim_end_matches('0');
        if digits.trim_start_matches('0').is_empty() {
            return Some(Self { negative: false, digits: String::new(), exponent: 0 });
        }
        let zeros = i64::try_from(all.len().checked_sub(digits.len())?).ok()?;
        let decimals = i64::try_from(fraction.len()).ok()?;
        let exponent: i64 = exponent.strip_prefix('+').unwrap_or(exponent).parse().ok()?;
        let exponent = exponent.checked_sub(decimals)?.checked_add(zeros)?;
        Some(Self { negative, digits: String::from(digits.trim_start_matches('0')), exponent })
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
