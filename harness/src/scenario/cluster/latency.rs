//! How late a cluster answers, as a duration or as a distribution. The form only.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::Span;
use crate::time;

/// How late a cluster answers: always the same, such as `20ms`, or by a distribution and the seed.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Latency {
    /// Always this.
    Fixed(Span),
    /// By a distribution.
    Distribution(Distribution),
}

/// A distribution of latencies; none is ever below 0.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Distribution {
    /// Evenly between the two.
    Uniform {
        /// The shortest.
        min: Span,
        /// The longest.
        max: Span,
    },
    /// Normal; what would be below 0 is 0.
    Normal {
        /// The mean.
        mean: Span,
        /// The standard deviation.
        deviation: Span,
    },
    /// Log-normal, as latencies of services often are: given by what half and by what 99 % of the requests stay below.
    Lognormal {
        /// Half of the requests are faster. More than 0.
        median: Span,
        /// 99 % of the requests are faster. Not below `median`.
        p99: Span,
    },
    /// Measured percentiles by name, such as `{p50: 20ms, p99: 900ms, p99.9: 2s}`; straight lines between them, from 0 at `p0` where that is
    /// not given, and none above the last.
    Percentiles(BTreeMap<String, Span>),
}

impl Latency {
    /// A fixed latency.
    #[must_use]
    pub fn fixed(duration: Duration) -> Self {
        Self::Fixed(Span(duration))
    }
}

/// The percentile that a name such as `p99.9` names: 0 to 100.
pub(crate) fn percentile(name: &str) -> Option<f64> {
    let number = name.strip_prefix('p')?;
    let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    number.parse().ok().filter(|percent| plain && (0.0..=100.0).contains(percent))
}

impl<'de> Deserialize<'de> for Latency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LatencyVisitor)
    }
}

struct LatencyVisitor;

impl<'de> Visitor<'de> for LatencyVisitor {
    type Value = Latency;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a duration such as `250ms`, or one of `{uniform: …}`, `{normal: …}`, `{lognormal: …}`, `{percentiles: …}`",
        )
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Latency, E> {
        let duration = time::parse_duration(text);
        duration.map(Latency::fixed).ok_or_else(|| {
            E::custom(format_args!("expected a duration such as `250ms`, `1.5s` or `2m`, found `{text}`"))
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Latency, A::Error> {
        Distribution::deserialize(MapAccessDeserializer::new(map)).map(Latency::Distribution)
    }
}
