//! What a request costs, and what its response turns out to cost.

use std::rc::Rc;

use weir_sdk::{At, Problems, RequestView};

use super::wrong;
use super::{End, names};
use crate::config;

/// A compiled [`config::Cost`].
#[derive(Clone, Debug)]
pub(crate) enum Cost {
    Fixed(u64),
    Header { name: Rc<str>, default: u64, min: u64, max: u64 },
}

/// A compiled [`config::Charge`].
#[derive(Clone, Debug)]
pub(crate) enum Charge {
    Bytes { attribute: [&'static str; 2], unit: u64 },
    Latency { unit_ns: u64 },
    Header(Rc<str>),
    Trailer(Rc<str>),
}

impl Cost {
    pub(crate) fn compile(at: &At<'_>, cost: Option<&config::Cost>, problems: &mut Problems) -> Self {
        match cost {
            None => Self::Fixed(1),
            Some(config::Cost::Fixed(cost)) => {
                if *cost == 0 {
                    wrong(at, "fixed", "expected 1 or more, found 0", problems);
                }
                Self::Fixed((*cost).into())
            }
            Some(config::Cost::Header(header)) => {
                let name =
                    weir_sdk::names::readable_header(&header.name, "x-cost").unwrap_or_else(|reason| {
                        wrong(at, "header.name", &reason, problems);
                        "x-cost".into()
                    });
                if header.max == 0 || header.min > header.max {
                    let reason = "expected `min` to be at most `max`, and `max` at least 1";
                    wrong(at, "header", reason, problems);
                }
                Self::Header {
                    name,
                    default: header.default.into(),
                    min: header.min.into(),
                    max: header.max.into(),
                }
            }
        }
    }

    pub(crate) fn of(&self, request: &dyn RequestView) -> u64 {
        match self {
            Self::Fixed(cost) => *cost,
            Self::Header { name, default, min, max } => {
                request.get(name).and_then(number).map_or(*default, |cost| cost.max(*min).min(*max))
            }
        }
    }
}

impl Charge {
    pub(crate) fn compile(at: &At<'_>, charge: &config::Charge, problems: &mut Problems) -> Self {
        let mut refuse = |field: &str, reason: &str| wrong(at, field, reason, problems);
        let mut positive = |field: &str, value: u64| {
            if value == 0 {
                refuse(field, "expected more than 0");
            }
            value
        };
        match charge {
            config::Charge::ResponseBytes(per) => Self::Bytes {
                attribute: ["response", "size"],
                unit: positive("response_bytes.unit_bytes", per.unit_bytes.into()),
            },
            config::Charge::RequestBytes(per) => Self::Bytes {
                attribute: ["request", "size"],
                unit: positive("request_bytes.unit_bytes", per.unit_bytes.into()),
            },
            config::Charge::Latency(per) => {
                let unit_ns = weir_sdk::nanos(per.unit.0);
                Self::Latency { unit_ns: positive("latency.unit", unit_ns) }
            }
            config::Charge::ResponseHeader(header) => {
                Self::Header(name(at, "response_header", header, problems))
            }
            config::Charge::ResponseTrailer(trailer) => {
                Self::Trailer(name(at, "response_trailer", trailer, problems))
            }
        }
    }

    /// What the stream has cost; `None` when nothing tells.
    pub(crate) fn of(&self, end: &End<'_>) -> Option<u64> {
        let parts = |whole: u64, unit: u64| (unit > 0).then(|| whole.div_ceil(unit));
        match self {
            Self::Bytes { attribute, unit } => {
                let size = end.attributes.attribute_int(attribute)?;
                parts(u64::try_from(size).ok()?, *unit)
            }
            Self::Latency { unit_ns } => {
                let time = end.attributes.attribute_duration(&["request", "duration"])?;
                parts(u64::try_from(time.as_nanos()).ok()?, *unit_ns)
            }
            Self::Header(name) => end.headers.get(name).and_then(number),
            Self::Trailer(name) => end.trailers.get(name).and_then(number),
        }
        // Nobody owes more than a limit can ever be.
        .map(|cost| cost.min(u32::MAX.into()))
    }
}

fn name(at: &At<'_>, field: &str, name: &str, problems: &mut Problems) -> Rc<str> {
    names::header(name).unwrap_or_else(|reason| {
        wrong(at, field, &reason, problems);
        name.into()
    })
}

/// A whole number, with nothing but digits.
fn number(text: &[u8]) -> Option<u64> {
    digits(text.trim_ascii())
}

/// The number that digits write, at most the largest.
pub(crate) fn digits(text: &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for byte in text {
        if !byte.is_ascii_digit() {
            return None;
        }
        number = number.saturating_mul(10).saturating_add(u64::from(byte & 15));
    }
    (!text.is_empty()).then_some(number)
}
