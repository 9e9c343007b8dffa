//! How long a request or response waits.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use weir_sdk::config::serde::{Serialize, Serializer};
use weir_sdk::config::{Node, Reader};
use weir_sdk::{ConfigDuration, FromConfig, Percentage};

use super::Empty;

/// A delay: a duration such as `7s`, or an object.
#[derive(Clone, Debug)]
pub enum Delay {
    /// The same for all.
    Fixed(ConfigDuration),
    /// Everything else.
    Spec(Box<DelaySpec>),
}

/// A delay in full: exactly one of `fixed_delay`, `uniform`, `normal`, `lognormal`, `exponential`, `pareto`, `percentiles` and `header_delay`.
/// Whole milliseconds, rounded up; 0 is no delay.
#[derive(Clone, Debug, Default, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DelaySpec {
    /// The same for all; more than 0.
    #[serde(default)]
    pub fixed_delay: Option<ConfigDuration>,
    /// `fixed_delay` is shifted evenly by up to this much, up or down, not below 0. Default 0.
    #[serde(default)]
    pub jitter: Option<ConfigDuration>,
    /// Evenly between two durations.
    #[serde(default)]
    pub uniform: Option<Uniform>,
    /// The bell curve; what falls below 0 is 0.
    #[serde(default)]
    pub normal: Option<Normal>,
    /// A long tail, by its median and its 99th percentile: what latencies usually look like.
    #[serde(default)]
    pub lognormal: Option<Lognormal>,
    /// Memoryless, by its mean.
    #[serde(default)]
    pub exponential: Option<Exponential>,
    /// A heavy tail, by its least value and its shape.
    #[serde(default)]
    pub pareto: Option<Pareto>,
    /// What was measured: `{p50: 20ms, p99: 900ms}`. The name is `p` and a number from 0 to 100, decimals allowed. Evenly in between; below the
    /// first from 0, above the last the last.
    #[serde(default)]
    #[schemars(with = "Option<std::collections::BTreeMap<String, ConfigDuration>>")]
    pub percentiles: Option<Percentiles>,
    /// The caller's `x-envoy-fault-delay-request`, milliseconds; no delay without it or when it is no number. The caller's
    /// `x-envoy-fault-delay-request-percentage` lowers the numerator of `percentage`. Requests only.
    #[serde(default)]
    pub header_delay: Option<Empty>,
    /// The share of the fault's requests that are delayed, drawn on its own. Default: all.
    #[serde(default)]
    pub percentage: Option<Percentage>,
    /// No delay is longer. Default and most: a second less than `stream_idle_timeout`.
    #[serde(default)]
    pub max_delay: Option<ConfigDuration>,
}

/// Evenly between `min` and `max`.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Uniform {
    /// The least.
    pub min: ConfigDuration,
    /// The most; not below `min`.
    pub max: ConfigDuration,
}

/// The bell curve.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Normal {
    /// The middle.
    pub mean: ConfigDuration,
    /// The standard deviation.
    pub std_dev: ConfigDuration,
}

/// A lognormal distribution by two of its percentiles.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lognormal {
    /// Half are below; more than 0.
    pub median: ConfigDuration,
    /// 99 of 100 are below; not below `median`.
    pub p99: ConfigDuration,
}

/// An exponential distribution.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exponential {
    /// The mean; more than 0.
    pub mean: ConfigDuration,
}

/// A Pareto distribution.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pareto {
    /// The least; more than 0.
    pub min: ConfigDuration,
    /// The tail index, 0.1 to 100: the smaller, the heavier the tail. With 1.16, one fifth have four fifths of the time.
    pub shape: f64,
}

/// Names such as `p99` and their times, in the order of the names.
#[derive(Clone, Debug, Default)]
pub struct Percentiles(pub Vec<(String, ConfigDuration)>);

impl FromConfig for Percentiles {
    fn from_config(node: &Node, reader: &mut Reader) -> Option<Self> {
        let Node::Object(fields) = node else { return reader.expected("an object", node) };
        let mut times: Vec<(String, ConfigDuration)> = Vec::new();
        for (name, value) in fields {
            let end = reader.enter(name);
            if let Some(time) = ConfigDuration::from_config(value, reader) {
                let place = times.iter().filter(|(other, _)| other < name).count();
                times.insert(place, (name.clone(), time));
            }
            reader.leave(end);
        }
        (times.len() == fields.len()).then_some(Self(times))
    }

    fn blank() -> Self {
        Self::default()
    }
}

/// For the default in the schema.
impl Serialize for Percentiles {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, time)| (name, time)))
    }
}

impl FromConfig for Delay {
    fn from_config(node: &Node, reader: &mut Reader) -> Option<Self> {
        match node {
            Node::Text(text) => match text.parse() {
                Ok(delay) => Some(Self::Fixed(delay)),
                Err(error) => reader.refuse(error.to_string()),
            },
            Node::Object(_) => FromConfig::from_config(node, reader).map(Self::Spec),
            _ => reader.expected("a duration such as \"7s\", or an object such as {\"uniform\": …}", node),
        }
    }

    fn blank() -> Self {
        Self::Fixed(FromConfig::blank())
    }
}

impl JsonSchema for Delay {
    fn schema_name() -> Cow<'static, str> {
        "Delay".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A delay: a duration such as `7s`, or an object.",
            "oneOf": [generator.subschema_for::<ConfigDuration>(), generator.subschema_for::<DelaySpec>()],
        })
    }
}
