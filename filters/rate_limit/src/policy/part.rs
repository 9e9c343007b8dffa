//! Which part of a limit a request may take: one of several Envoys' parts, its class's share. And from where on a limit is nearly used.

use weir_sdk::limit::{Admission, Ask};
use weir_sdk::{At, Key, KeySource, Problems, RequestMatcher, RequestView};

use super::cost::digits;
use super::wrong;
use crate::config;

/// The most Envoys.
const MOST_INSTANCES: u64 = 1_000_000;
/// The most classes.
const MOST_CLASSES: usize = 16;
/// Envoy's ratelimit service, `NEAR_LIMIT_RATIO`: 0.8.
const NEAR_PPM: u32 = 800_000;

/// What is compiled of a limit's `instances`, `classes` and `near_limit`.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    instances: u64,
    attribute: Option<Key>,
    classes: Vec<(RequestMatcher, u32)>,
    near_ppm: u32,
}

impl Parts {
    /// Checks and compiles those of the limit at a place, which has this size where it is not the service's.
    pub(crate) fn compile(
        at: &At<'_>,
        limit: &config::Limit,
        size: Option<u64>,
        problems: &mut Problems,
    ) -> Self {
        let mut parts = Self {
            instances: 1,
            attribute: None,
            classes: Vec::new(),
            near_ppm: limit.near_limit.map_or(NEAR_PPM, |share| share.0.ppm()),
        };
        let given = [
            ("instances", limit.instances.is_some()),
            ("classes", !limit.classes.is_empty()),
            ("near_limit", limit.near_limit.is_some()),
        ];
        if matches!(limit.algorithm, config::Algorithm::Global(_)) {
            for (field, _) in given.iter().filter(|(_, given)| *given) {
                wrong(at, field, "is not for `global`: the service decides", problems);
            }
        }
        if let Some(instances) = &limit.instances {
            let at = at.field("instances");
            let most = size.unwrap_or(MOST_INSTANCES).min(MOST_INSTANCES);
            parts.instances = instances.count.into();
            if !(1..=most).contains(&parts.instances) {
                let reason = format!("expected 1 to {most}, found {}", instances.count);
                wrong(&at, "count", &reason, problems);
            }
            if !instances.attribute.is_empty() {
                let source = KeySource::Attribute(instances.attribute.clone());
                parts.attribute = Key::compile(&at, &source, problems);
            }
        }
        if limit.classes.len() > MOST_CLASSES {
            wrong(at, "classes", "expected at most 16", problems);
        }
        if limit.queue.is_some() && !limit.classes.is_empty() {
            wrong(at, "classes", "is not for a limit with a `queue`", problems);
        }
        for (index, class) in limit.classes.iter().enumerate() {
            let at = at.item("classes", index);
            let matches = problems.take(at.field("match"), RequestMatcher::try_from(&class.matches));
            let share = class.share.0.ppm();
            if size.is_some_and(|size| part(size, share) == 0) {
                wrong(&at, "share", "is less than one request of the limit", problems);
            }
            parts.classes.push((matches.unwrap_or_default(), share));
        }
        parts
    }

    /// What a request asks of a state of this size.
    pub(crate) fn ask(&self, request: &dyn RequestView, size: u64, cost: u64) -> Ask {
        let said = self.attribute.as_ref().and_then(|attribute| count(&attribute.of(request)?));
        let class = self.classes.iter().find(|(matches, _)| matches.is_match(request));
        Ask {
            cost,
            unit: said.unwrap_or(self.instances).min(size).max(1),
            leave: class.map_or(0, |(_, share)| size.saturating_sub(part(size, *share))),
        }
    }

    /// Whether the limit is nearly used.
    pub(crate) fn is_near(&self, admission: &Admission) -> bool {
        let used = admission.limit.saturating_sub(admission.remaining);
        used > part(admission.limit, self.near_ppm)
    }
}

/// So many parts of a million, rounded down.
fn part(size: u64, ppm: u32) -> u64 {
    let of = |size: u64| size.saturating_mul(ppm.into());
    of(size / 1_000_000).saturating_add(of(size % 1_000_000) / 1_000_000)
}

/// How many an attribute says: digits, an integer, or a number of metadata.
fn count(bytes: &[u8]) -> Option<u64> {
    let count = match digits(bytes) {
        Some(count) => count,
        // No integer that counts is written as a number that counts, nor the other way round.
        None => match u64::from_le_bytes(bytes.try_into().ok()?) {
            integer @ 1..=MOST_INSTANCES => integer,
            bits => whole(f64::from_bits(bits))?,
        },
    };
    (1..=MOST_INSTANCES).contains(&count).then_some(count)
}

/// A number without a fraction.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast to an integer saturates, and only what comes back as it was is taken"
)]
fn whole(number: f64) -> Option<u64> {
    let integer = number as u32;
    (f64::from(integer) == number).then_some(integer.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_in_every_way_that_envoy_writes_them() {
        for (bytes, want) in [
            (b"3".to_vec(), Some(3)),
            (b"1000000".to_vec(), Some(1_000_000)),
            (b"1000001".to_vec(), None),
            (b"0".to_vec(), None),
            (b"-3".to_vec(), None),
            (b"three".to_vec(), None),
            (b"".to_vec(), None),
            (3_i64.to_le_bytes().to_vec(), Some(3)),
            ((-3_i64).to_le_bytes().to_vec(), None),
            (3_f64.to_le_bytes().to_vec(), Some(3)),
            (1e6_f64.to_le_bytes().to_vec(), Some(1_000_000)),
            (2.5_f64.to_le_bytes().to_vec(), None),
            (f64::NAN.to_le_bytes().to_vec(), None),
            ((-1.0_f64).to_le_bytes().to_vec(), None),
        ] {
            assert_eq!(count(&bytes), want, "{bytes:?}");
        }
    }
}
