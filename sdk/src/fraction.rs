//! Shares of the traffic: a point is drawn, at random or fixed by a key, and a share includes it or not.
//!
//! Knows no host and no randomness of its own: the random number comes from the caller.
//!
//! # The frozen draw
//! A sticky draw is `XXH64(key, seed = XXH64(salt, seed = 0))`, where key and salt are bytes as they are, a salt being UTF-8.
//! The 64 bits are a point in [0, 1): their value divided by 2^64. Neither will ever change, since users would change sides.
//!
//! ```
//! use weir_sdk::{Draw, Salt};
//!
//! // Salt, key, the point's 64 bits, the point in parts of a million.
//! for (salt, key, bits, ppm) in [
//!     ("", "", 0xa258_d6ec_1fb5_d95c, 634_168),
//!     ("reviews-v2", "jack", 0x2035_2ad5_f509_9d1b, 125_811),
//!     ("reviews-v2", "jason", 0xcf12_50cc_9ca6_e083, 808_873),
//!     ("reviews-v3", "jack", 0x15f2_25c0_59bd_4779, 85_726),
//!     ("checkout 2026", "user-4711", 0x0e54_8c44_80cf_6cfd, 55_977),
//!     ("prüfung", "Zoë", 0x36cf_2b58_9fa4_8317, 214_098),
//!     ("reviews-v2", "203.0.113.7", 0x3fd5_1798_c184_f116, 249_345),
//!     ("reviews-v2", "3f2504e0-4f89-11d3-9a0c-0305e82c3301", 0x6021_25e2_96fa_d667, 375_505),
//! ] {
//!     let draw = Draw::sticky(key.as_bytes(), Salt::new(salt));
//!     assert_eq!((draw, draw.ppm()), (Draw::from_random(bits), ppm));
//! }
//! ```
//!
//! # Nobody moves back
//! A share of n parts covers the points from 0 to n: growing it adds points and removes none. The arms of a [`Split`] lie side by
//! side in the order given. An arm that grows keeps every key it has; where the others move, they move towards it. With the total
//! fixed, an arm that grows at the expense of a later one moves keys to earlier arms only: list the canary first.

mod split;
mod xxh64;

#[cfg(test)]
mod tests;

use std::fmt;

use crate::FromConfig;
use crate::config::{joined, number};
use schemars::JsonSchema;
use serde::Serialize;

pub use split::Split;
pub use xxh64::xxh64;

/// What a numerator is a part of; the names are Envoy's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromConfig, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Denominator {
    /// 100: percent.
    #[default]
    Hundred,
    /// 10 000: hundredths of a percent.
    TenThousand,
    /// 1 000 000: parts of a million.
    Million,
}

impl Denominator {
    /// The number.
    #[must_use]
    pub const fn value(self) -> u32 {
        match self {
            Self::Hundred => 100,
            Self::TenThousand => 10_000,
            Self::Million => 1_000_000,
        }
    }
}

/// A share as Envoy writes it: `{"numerator": 5, "denominator": "TEN_THOUSAND"}`.
///
/// In a configuration the numerator is at most the denominator; made in code, a larger one is all of the traffic, as in Envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromConfig, Serialize, JsonSchema)]
#[serde(try_from = "Written", deny_unknown_fields)]
#[schemars(!try_from)]
pub struct FractionalPercent {
    /// How many parts, from 0 to the denominator.
    pub numerator: u32,
    /// Of how many; `HUNDRED` when not given.
    #[serde(default)]
    pub denominator: Denominator,
}

/// [`FractionalPercent`] before its numerator is checked.
#[derive(FromConfig)]
#[serde(deny_unknown_fields)]
struct Written {
    numerator: u32,
    #[serde(default)]
    denominator: Denominator,
}

impl TryFrom<Written> for FractionalPercent {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let Written { numerator, denominator } = written;
        if numerator > denominator.value() {
            return Err(joined(
                "expected a numerator of at most ",
                &number(denominator.value().into()),
                &joined(", which is all of the traffic, found ", &number(numerator.into()), ""),
            ));
        }
        Ok(Self { numerator, denominator })
    }
}

impl FractionalPercent {
    /// Whether the share covers the point: of all points, exactly numerator ÷ denominator.
    #[must_use]
    pub fn includes(self, draw: Draw) -> bool {
        draw.position(u64::from(self.denominator.value())) < u64::from(self.numerator)
    }

    /// The share in parts of a million: 0 to 1 000 000.
    #[must_use]
    pub fn ppm(self) -> u32 {
        let scale = 1_000_000_u32.checked_div(self.denominator.value()).unwrap_or_default();
        self.numerator.saturating_mul(scale).min(1_000_000)
    }
}

impl fmt::Display for FractionalPercent {
    /// As a percentage, such as `12.5 %`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

/// A draw as it stands in explanations, such as ` (draw 12.5811 %)`; of parts of a million.
#[must_use]
#[inline(never)]
pub fn drawn(ppm: u32) -> String {
    // Four digits behind the point: those behind the 1.
    let decimals = number(((ppm % 10_000).wrapping_add(10_000)).into());
    let decimals = joined(".", decimals.strip_prefix('1').unwrap_or_default(), " %)");
    joined(" (draw ", &number((ppm / 10_000).into()), &decimals)
}

impl FractionalPercent {
    /// As it is displayed, without the code that formats.
    #[must_use]
    pub fn text(&self) -> String {
        let scale = self.denominator.value() / 100;
        let whole = self.numerator.checked_div(scale).unwrap_or_default();
        let part = self.numerator.checked_rem(scale).unwrap_or_default();
        let mut text = number(whole.into());
        if part != 0 {
            // The digits after the point: `scale` is a power of ten, so those of scale + part after its leading 1.
            let digits = number(part.saturating_add(scale).into());
            text.push('.');
            text.push_str(digits.strip_prefix('1').unwrap_or_default().trim_end_matches('0'));
        }
        text.push_str(" %");
        text
    }
}

/// Keeps experiments apart: the same key draws independent points under different salts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Salt(u64);

impl Salt {
    /// The salt of an experiment's name; the empty one is a salt like any other.
    #[must_use]
    pub fn new(salt: &str) -> Self {
        Self(xxh64(salt.as_bytes(), 0))
    }
}

/// A point in [0, 1): its value divided by 2^64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Draw(u64);

impl Draw {
    /// A point from 64 random bits.
    #[must_use]
    pub const fn from_random(bits: u64) -> Self {
        Self(bits)
    }

    /// The point of a key: the same on every worker, replica and machine, for ever (see the [module](self)).
    #[must_use]
    pub fn sticky(key: &[u8], salt: Salt) -> Self {
        Self(xxh64(key, salt.0))
    }

    /// The point in parts of a million, rounded down: 0 to 999 999.
    #[must_use]
    pub fn ppm(self) -> u32 {
        u32::try_from(self.position(1_000_000)).unwrap_or_default()
    }

    /// Which of `total` equal parts the point lies in: 0 to `total` - 1, and 0 for none.
    #[must_use]
    pub fn position(self, total: u64) -> u64 {
        // Two factors below 2^64 have a product below 2^128, and its upper half is the result.
        let product = u128::from(self.0).wrapping_mul(u128::from(total));
        u64::try_from(product >> 64).unwrap_or_default()
    }
}
