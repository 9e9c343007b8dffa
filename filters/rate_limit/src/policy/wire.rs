//! The messages of `envoy.service.ratelimit.v3.RateLimitService`, as much of them as there is use for. Numbers of fields are those of Envoy's
//! `rls.proto` and `ratelimit.proto`.

use std::rc::Rc;

use weir_sdk::Bytes;
use weir_sdk::protobuf::{Fields, put_bytes, put_number};

use crate::config::{RequestRate, Unit};

type Lines = Vec<(Rc<str>, Bytes)>;

/// A descriptor without its hits.
pub(crate) fn descriptor<'a>(
    entries: impl Iterator<Item = (&'a str, &'a [u8])>,
    limit: Option<&RequestRate>,
) -> Vec<u8> {
    let mut descriptor = Vec::new();
    for (key, value) in entries {
        let mut entry = Vec::new();
        put_bytes(&mut entry, 1, key.as_bytes());
        // A `string` of protobuf is UTF-8, and servers refuse a message with one that is not.
        put_bytes(&mut entry, 2, String::from_utf8_lossy(value).as_bytes());
        put_bytes(&mut descriptor, 1, &entry);
    }
    if let Some(limit) = limit {
        let mut rate = Vec::new();
        put_number(&mut rate, 1, limit.requests_per_unit.into());
        put_number(&mut rate, 2, unit_number(limit.unit));
        put_bytes(&mut descriptor, 2, &rate);
    }
    descriptor
}

/// A request of these descriptors, each with its hits. Where all have the same, they are said once, as services that are older than
/// `RateLimitDescriptor.hits_addend` understand it.
pub(crate) fn request<'a>(
    domain: &str,
    descriptors: impl Iterator<Item = (&'a [u8], u64)> + Clone,
) -> Vec<u8> {
    let first = descriptors.clone().next().map_or(0, |(_, hits)| hits);
    // 0 is 1 there.
    let same = first > 0 && descriptors.clone().all(|(_, hits)| hits == first);
    let mut request = Vec::new();
    put_bytes(&mut request, 1, domain.as_bytes());
    for (descriptor, hits) in descriptors {
        let mut descriptor = descriptor.to_vec();
        if !same {
            let mut number = Vec::new();
            put_number(&mut number, 1, hits);
            put_bytes(&mut descriptor, 3, &number);
        }
        put_bytes(&mut request, 2, &descriptor);
    }
    if same && first > 1 {
        put_number(&mut request, 3, first);
    }
    request
}

/// What the service says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) over_limit: bool,
    /// One for each descriptor, or none.
    pub(crate) statuses: Vec<Status>,
    pub(crate) response_headers: Lines,
    pub(crate) request_headers: Lines,
    pub(crate) raw_body: Vec<u8>,
}

/// What the service says of one descriptor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) over_limit: bool,
    pub(crate) limit: Option<CurrentLimit>,
    pub(crate) remaining: u32,
    pub(crate) reset_ns: Option<u64>,
}

/// The limit that was applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CurrentLimit {
    pub(crate) requests: u32,
    /// Seconds of its unit; 0 for none that is known.
    pub(crate) window_s: u64,
    pub(crate) name: String,
}

/// More of each than any service sends.
const MOST: usize = 64;

const OK: u32 = 1;
const OVER_LIMIT: u32 = 2;

impl Answer {
    /// Reads an answer. `None` for what is none, and for a code that is neither `OK` nor `OVER_LIMIT`.
    pub(crate) fn read(message: &[u8]) -> Option<Self> {
        let mut answer = Self::default();
        let mut code = 0;
        let mut fields = Fields::new(message);
        for (number, value) in fields.by_ref() {
            match number {
                1 => code = value.u32()?,
                2 if answer.statuses.len() < MOST => answer.statuses.push(Status::read(value.bytes()?)?),
                3 => answer.response_headers.extend(header(value.bytes()?, &answer.response_headers)),
                4 => answer.request_headers.extend(header(value.bytes()?, &answer.request_headers)),
                5 => answer.raw_body = value.bytes()?.to_vec(),
                _ => {}
            }
        }
        answer.over_limit = code == OVER_LIMIT;
        (fields.is_whole() && (code == OK || code == OVER_LIMIT)).then_some(answer)
    }
}

impl Status {
    fn read(message: &[u8]) -> Option<Self> {
        let mut status = Self::default();
        let mut fields = Fields::new(message);
        for (number, value) in fields.by_ref() {
            match number {
                1 => status.over_limit = value.u32()? == OVER_LIMIT,
                2 => status.limit = Some(CurrentLimit::read(value.bytes()?)?),
                3 => status.remaining = value.u32()?,
                4 => status.reset_ns = duration_ns(value.bytes()?),
                _ => {}
            }
        }
        fields.is_whole().then_some(status)
    }
}

impl CurrentLimit {
    fn read(message: &[u8]) -> Option<Self> {
        let mut limit = Self::default();
        let mut fields = Fields::new(message);
        for (number, value) in fields.by_ref() {
            match number {
                1 => limit.requests = value.u32()?,
                2 => limit.window_s = window_s(value.u32()?),
                3 => {
                    // It stands in a header, between quotes.
                    let name = std::str::from_utf8(value.bytes()?).unwrap_or_default();
                    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
                    if name.len() <= 128 && name.bytes().all(is_plain) {
                        name.clone_into(&mut limit.name);
                    }
                }
                _ => {}
            }
        }
        fields.is_whole().then_some(limit)
    }
}

/// A header of the service, unless it is none that a filter may set.
fn header(message: &[u8], others: &Lines) -> Option<(Rc<str>, Bytes)> {
    let (mut name, mut value) = (&[][..], &[][..]);
    for (number, field) in Fields::new(message) {
        match number {
            1 => name = field.bytes()?,
            // `value`, or `raw_value`.
            2 | 3 => value = field.bytes()?,
            _ => {}
        }
    }
    let name = super::names::header(std::str::from_utf8(name).ok()?).ok()?;
    let is_one_line = !value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
    (is_one_line && others.len() < MOST).then(|| (name, value.into()))
}

/// A `google.protobuf.Duration`; negative ones are none.
fn duration_ns(message: &[u8]) -> Option<u64> {
    let (mut seconds, mut nanos) = (0, 0);
    for (number, value) in Fields::new(message) {
        let weir_sdk::protobuf::Value::Number(value) = value else {
            return None;
        };
        match number {
            1 => seconds = u64::try_from(value.cast_signed()).ok()?,
            2 => nanos = value.min(999_999_999),
            _ => {}
        }
    }
    Some(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

fn unit_number(unit: Unit) -> u64 {
    match unit {
        Unit::Second => 1,
        Unit::Minute => 2,
        Unit::Hour => 3,
        Unit::Day => 4,
        Unit::Month => 5,
        Unit::Year => 6,
        Unit::Week => 7,
    }
}

/// Seconds of a unit by its number, as Envoy's `x-ratelimit-limit` counts them: a month has 30 days, a year 365.
fn window_s(unit: u32) -> u64 {
    const DAY: u64 = 86_400;
    match unit {
        1 => 1,
        2 => 60,
        3 => 3_600,
        4 => DAY,
        5 => DAY.saturating_mul(30),
        6 => DAY.saturating_mul(365),
        7 => DAY.saturating_mul(7),
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
