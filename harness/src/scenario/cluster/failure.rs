//! How a cluster fails, as a name or as an object. The form only.

use std::fmt;

use schemars::JsonSchema;
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// How a cluster fails instead of answering: a type alone, or an object with its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Failure {
    /// What happens.
    #[serde(rename = "type")]
    pub kind: FailureType,
    /// How many of the requests fail so, in percent, by the seed; the others are answered. Default 100.
    pub percentage: f64,
    /// `RESET_IN_BODY` only: how many bytes of the body come before the reset. Default half of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_bytes: Option<u64>,
}

/// What happens when a cluster fails.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FailureType {
    /// No connection comes about: Envoy answers 503 `UF`.
    ConnectFailure,
    /// The connection is closed before any answer: Envoy answers 503 `UC`.
    #[default]
    Reset,
    /// The headers come and a part of the body, then the connection is closed.
    ResetInBody,
    /// The request is taken and never answered, so that timeouts run out.
    Timeout,
}

impl From<FailureType> for Failure {
    fn from(kind: FailureType) -> Self {
        Self { kind, percentage: 100.0, after_bytes: None }
    }
}

/// The object form.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Fields {
    /// What happens.
    #[serde(rename = "type")]
    kind: FailureType,
    /// How many of the requests fail so, in percent, by the seed; the others are answered. Default 100.
    #[serde(default = "all")]
    percentage: f64,
    /// `RESET_IN_BODY` only: how many bytes of the body come before the reset. Default half of it.
    #[serde(default)]
    after_bytes: Option<u64>,
}

fn all() -> f64 {
    100.0
}

/// Both forms; for the JSON Schema only.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes the form, is never made")]
enum Form {
    /// The type alone.
    Type(FailureType),
    /// With parameters.
    Fields(Fields),
}

impl JsonSchema for Failure {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Failure".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Form::json_schema(generator)
    }
}

impl<'de> Deserialize<'de> for Failure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FailureVisitor)
    }
}

struct FailureVisitor;

impl<'de> Visitor<'de> for FailureVisitor {
    type Value = Failure;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`CONNECT_FAILURE`, `RESET`, `RESET_IN_BODY`, `TIMEOUT`, or `{type: …, percentage: …}`")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Failure, E> {
        FailureType::deserialize(StrDeserializer::new(name)).map(Failure::from)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Failure, A::Error> {
        let Fields { kind, percentage, after_bytes } = Fields::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Failure { kind, percentage, after_bytes })
    }
}
