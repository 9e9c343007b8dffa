//! Percentages: a plain number as Istio users write it, or Envoy's `FractionalPercent`.
//!
//! Knows no draw; [`FractionalPercent::includes`](crate::FractionalPercent::includes) does.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::ser::{Serialize, Serializer};

use super::duration::unexpected;
use super::{FromConfig, Node, Reader, serde_form};
use crate::fraction::{Denominator, FractionalPercent};

/// Parts of a million in one percent.
const PPM_PER_PERCENT: u32 = 10_000;

/// A share of the traffic in a configuration: `25`, `0.5`, `0.0001` (one in a million), or
/// `{"numerator": 5, "denominator": "TEN_THOUSAND"}`.
///
/// From 0 to 100; a plain number may have four decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Percentage(pub FractionalPercent);

impl Percentage {
    /// A share in parts of a million; more than a million count as a million.
    #[must_use]
    pub fn from_ppm(ppm: u32) -> Self {
        let ppm = ppm.min(Denominator::Million.value());
        Self(if ppm.is_multiple_of(PPM_PER_PERCENT) {
            FractionalPercent { numerator: ppm / PPM_PER_PERCENT, denominator: Denominator::Hundred }
        } else {
            FractionalPercent { numerator: ppm, denominator: Denominator::Million }
        })
    }
}

impl fmt::Display for Percentage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Serialize for Percentage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            FractionalPercent { numerator, denominator: Denominator::Hundred } => {
                serializer.serialize_u32(numerator)
            }
            fraction => fraction.serialize(serializer),
        }
    }
}

serde_form!(Percentage);

const EXPECTED: &str =
    "a percentage from 0 to 100, such as 25 or 0.5, or an object {\"numerator\": …, \"denominator\": …}";

impl FromConfig for Percentage {
    fn from_config(node: &Node, reader: &mut Reader) -> Option<Self> {
        let number = match node {
            Node::Unsigned(percent) => match u32::try_from(*percent) {
                Ok(percent @ 0..=100) => {
                    return Some(Self::from_ppm(percent.saturating_mul(PPM_PER_PERCENT)));
                }
                _ => Some(super::number(*percent)),
            },
            Node::Negative(percent) => Some(super::signed(*percent)),
            // Refuses also what is not a number.
            Node::Float(percent) if (0.0..=100.0).contains(percent) => {
                return of_decimal(*percent).or_else(|| {
                    let reason =
                        "expected at most four decimals: 0.0001 is one in a million, the smallest share";
                    reader.refuse(reason)
                });
            }
            Node::Float(percent) => super::words::decimal(*percent),
            Node::Text(text) => {
                // It may hold a percentage.
                let number = text.trim().trim_end_matches('%').trim_end();
                let meant = super::words::is_decimal(number).then_some(number);
                unexpected(reader, EXPECTED, &super::words::quoted(text), meant);
                return None;
            }
            Node::Object(_) => return FractionalPercent::from_config(node, reader).map(Self),
            _ => return reader.expected(EXPECTED, node),
        };
        let found = number.as_deref().unwrap_or("another number");
        unexpected(reader, "a percentage from 0 to 100", found, None);
        None
    }

    fn blank() -> Self {
        Self(FractionalPercent::blank())
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be within 0 to 10^6 before"
)]
fn of_decimal(percent: f64) -> Option<Percentage> {
    let ppm = percent * f64::from(PPM_PER_PERCENT);
    // A decimal fraction is not exact in binary: 10^-6 of a part is far above that error and far below a digit.
    ((ppm - ppm.round()).abs() <= 1e-6).then(|| Percentage::from_ppm(ppm.round() as u32))
}

impl JsonSchema for Percentage {
    fn schema_name() -> Cow<'static, str> {
        "Percentage".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A share: a plain percentage from 0 to 100 with at most four decimals, or Envoy's FractionalPercent.",
            "oneOf": [
                { "type": "number", "minimum": 0, "maximum": 100 },
                generator.subschema_for::<FractionalPercent>(),
            ],
        })
    }
}
