//! Bodies and durations as clusters write them. Knows no message.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::time;

/// A body: a text, `{base64: …}` for any bytes, or `{file: …}` for the content of a file, relative to the scenario or case.
#[derive(Clone, Debug, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Body {
    /// A text.
    Text(String),
    /// Any bytes.
    Base64 {
        /// The bytes in base64.
        base64: String,
    },
    /// The content of a file. Loading a scenario or case puts the content in its place.
    File {
        /// The file, relative to the scenario or case.
        file: PathBuf,
    },
}

impl Body {
    /// The bytes; none of a file that was not read, nor of what is not base64 (which reading a scenario refuses).
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.clone().into_bytes(),
            Self::Base64 { base64 } => BASE64.decode(base64).unwrap_or_default(),
            Self::File { .. } => Vec::new(),
        }
    }

    /// Puts the content of the file in its place.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn read(&mut self, base: &Path) -> Result<(), String> {
        if let Self::File { file } = self {
            let content = std::fs::read(base.join(&*file))
                .map_err(|error| format!("`{}`: {error} (relative to this file)", file.display()))?;
            *self = Self::from(content);
        }
        Ok(())
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        String::from_utf8(bytes)
            .map_or_else(|error| Self::Base64 { base64: BASE64.encode(error.as_bytes()) }, Self::Text)
    }
}

impl From<&str> for Body {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BodyVisitor)
    }
}

struct BodyVisitor;

impl<'de> Visitor<'de> for BodyVisitor {
    type Value = Body;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a text (put numbers, `true`, `false` and `null` in quotes), `{base64: …}` or `{file: …}`",
        )
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Body, E> {
        Ok(Body::Text(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Body, A::Error> {
        let Some(key) = map.next_key::<String>()? else {
            return Err(A::Error::custom("expected `{base64: …}` or `{file: …}`, found nothing"));
        };
        let body = match key.as_str() {
            "base64" => {
                let base64: String = map.next_value()?;
                if let Err(error) = BASE64.decode(&base64) {
                    return Err(A::Error::custom(format_args!(
                        "expected base64 with padding, found `{base64}`: {error}"
                    )));
                }
                Body::Base64 { base64 }
            }
            "file" => Body::File { file: map.next_value()? },
            _ => return Err(A::Error::unknown_field(&key, &["base64", "file"])),
        };
        match map.next_key::<String>()? {
            Some(other) => Err(A::Error::custom(format_args!("`{other}` stands beside `{key}`; give one"))),
            None => Ok(body),
        }
    }
}

/// A duration, written as a number with a unit: `250ms`, `1.5s`, `2m`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(SpanVisitor)
    }
}

struct SpanVisitor;

impl Visitor<'_> for SpanVisitor {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as `250ms`, `1.5s` or `2m`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Span, E> {
        let parsed = time::parse_duration(text).map(Span);
        parsed.ok_or_else(|| {
            E::custom(format_args!("expected a duration such as `250ms`, `1.5s` or `2m`, found `{text}`"))
        })
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}ns", self.0.as_nanos()))
    }
}

impl JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^[0-9]+(\.[0-9]{1,9})?(ns|us|ms|s|m|h|d)$",
            "description": "A duration: a number with a unit, such as `250ms`, `1.5s` or `2m`."
        })
    }
}
