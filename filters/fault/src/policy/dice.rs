//! The dice of a stream: independent points, all made from one key, be it a client's, the request's id or a random number.

use weir_sdk::{Draw, FractionalPercent, Percentage, Salt};

/// What is drawn for. Each has a salt of its own, so that no two depend on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Whether the fault takes the request: the plain salt, so that people can repeat it.
    Pick,
    Limit,
    Delay,
    DelayTime,
    End,
    ResponseDelay,
    ResponseDelayTime,
    ResponseEnd,
    Change,
}

/// What stands behind the salt, in the order of [`Purpose`].
const SUFFIXES: [&str; 9] = [
    "",
    "/limit",
    "/delay",
    "/delay_time",
    "/end",
    "/response_delay",
    "/response_delay_time",
    "/response_end",
    "/change",
];

/// The salts of a fault.
#[derive(Clone, Debug)]
pub(crate) struct Salts([Salt; 9]);

impl Salts {
    pub(crate) fn new(salt: &str) -> Self {
        let mut salts = [Salt::new(""); SUFFIXES.len()];
        for (place, suffix) in salts.iter_mut().zip(&SUFFIXES) {
            *place = Salt::new(&[salt, suffix].concat());
        }
        Self(salts)
    }

    /// The point of `key` for a purpose.
    pub(crate) fn draw(&self, key: &[u8], purpose: Purpose) -> Draw {
        // There are as many as purposes.
        self.0.get(purpose as usize).map_or(Draw::from_random(0), |salt| Draw::sticky(key, *salt))
    }

    /// Whether a share includes that point.
    #[inline(never)]
    pub(crate) fn hit(&self, share: Share, key: &[u8], purpose: Purpose) -> bool {
        share.0.is_none_or(|share| share.includes(self.draw(key, purpose)))
    }
}

/// A share; none is everything, and needs no draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share(pub(crate) Option<FractionalPercent>);

impl Share {
    /// As it is written.
    pub(crate) fn of(percentage: Option<Percentage>) -> Self {
        Self(percentage.map(|percentage| percentage.0))
    }

    /// The share that a caller asked for: at most this one, of the same denominator.
    pub(crate) fn lowered(self, numerator: Option<u32>) -> Self {
        let Some(numerator) = numerator else {
            return self;
        };
        let most = self.0.unwrap_or(FractionalPercent { numerator: 100, denominator: Default::default() });
        Self(Some(FractionalPercent { numerator: most.numerator.min(numerator), ..most }))
    }
}

/// A point as a number within (0, 1), never at its ends.
pub(crate) fn unit(draw: Draw) -> f64 {
    const PARTS: u32 = 1 << 31;
    // Numbers of 31 and of 21 bits: both conversions, and the sum, are exact.
    let high = draw.position(u64::from(PARTS));
    let both = draw.position(u64::from(PARTS) << 21);
    let low = both.wrapping_sub(high << 21) & 0x1f_ffff;
    let high = f64::from(u32::try_from(high).unwrap_or(0));
    let low = f64::from(u32::try_from(low).unwrap_or(0));
    (high + (low + 0.5) / f64::from(1_u32 << 21)) / f64::from(PARTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_lie_between_nought_and_one() {
        for (bits, want) in [(0, 0.0), (u64::MAX, 1.0), (1 << 63, 0.5), (1 << 62, 0.25), (0xc0 << 56, 0.75)] {
            let unit = unit(Draw::from_random(bits));
            assert!(unit > 0.0 && unit < 1.0 && (unit - want).abs() < 1e-15, "{bits:x}: {unit}");
        }
    }

    #[test]
    fn dice_of_one_key_do_not_follow_each_other() {
        let salts = Salts::new("s");
        let half = |key: u32, purpose| salts.draw(&key.to_le_bytes(), purpose).position(2);
        let equal = (0..10_000).filter(|key| half(*key, Purpose::Pick) == half(*key, Purpose::Delay)).count();
        assert!((4_800..5_200).contains(&equal), "{equal}");
    }

    #[test]
    fn callers_lower_a_share_and_never_raise_it() {
        let of = |numerator| Some(FractionalPercent { numerator, denominator: Default::default() });
        assert_eq!(Share(of(40)).lowered(Some(10)), Share(of(10)));
        assert_eq!(Share(of(40)).lowered(Some(90)), Share(of(40)));
        assert_eq!(Share(of(40)).lowered(None), Share(of(40)));
        assert_eq!(Share(None).lowered(Some(7)), Share(of(7)));
    }
}
