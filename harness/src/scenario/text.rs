//! Texts, bytes and durations as scenarios and cases write them, and header lines as a list or a map. Knows no message.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use schemars::JsonSchema;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// A text, or bytes that are no UTF-8.
#[derive(Clone, Debug, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum BytesText {
    /// A text.
    Text(String),
    /// Any bytes.
    Base64 {
        /// The bytes in base64.
        base64: String,
    },
}

impl BytesText {
    /// The bytes; `None` when `base64` is not base64, which reading a case refuses.
    #[must_use]
    pub fn bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::Text(text) => Some(text.clone().into_bytes()),
            Self::Base64 { base64 } => BASE64.decode(base64).ok(),
        }
    }
}

impl<'de> Deserialize<'de> for BytesText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BytesTextVisitor)
    }
}

struct BytesTextVisitor;

impl<'de> Visitor<'de> for BytesTextVisitor {
    type Value = BytesText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text (put numbers, `true`, `false` and `null` in quotes) or `{base64: …}`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<BytesText, E> {
        Ok(BytesText::Text(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<BytesText, A::Error> {
        let mut base64 = None;
        while let Some(key) = map.next_key::<String>()? {
            if key != "base64" {
                return Err(A::Error::unknown_field(&key, &["base64"]));
            }
            base64 = Some(map.next_value::<String>()?);
        }
        let base64 = base64.ok_or_else(|| A::Error::missing_field("base64"))?;
        if let Err(error) = BASE64.decode(&base64) {
            return Err(A::Error::custom(format_args!(
                "expected base64 with padding, found `{base64}`: {error}"
            )));
        }
        Ok(BytesText::Base64 { base64 })
    }
}

/// The two forms of header lines; for the JSON Schema only.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes the form, is never made")]
pub(crate) enum HeaderLines {
    /// `[[name, value], …]`
    List(Vec<(String, BytesText)>),
    /// `{name: value, …}`
    Map(BTreeMap<String, BytesText>),
}

/// Reads header lines in either form.
pub(crate) fn header_lines<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<(String, BytesText)>, D::Error> {
    deserializer.deserialize_any(HeaderLinesVisitor)
}

struct HeaderLinesVisitor;

impl<'de> Visitor<'de> for HeaderLinesVisitor {
    type Value = Vec<(String, BytesText)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("header lines: a list of `[name, value]` or a map of names to values")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut lines = Vec::new();
        while let Some(line) = seq.next_element()? {
            lines.push(line);
        }
        Ok(lines)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut lines = Vec::new();
        while let Some(line) = map.next_entry()? {
            lines.push(line);
        }
        Ok(lines)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }
}
