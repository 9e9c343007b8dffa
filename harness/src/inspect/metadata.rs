//! What a module says of itself: the custom section `weir.metadata`, JSON in UTF-8, compressed with gzip or plain. `weir build` writes it;
//! anybody's tool may.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The name of the custom section.
pub const SECTION: &str = "weir.metadata";

/// How a section begins that is compressed (RFC 1952); JSON never does.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The longest text of a section that is read. Ours have 18 kB; a few bytes of gzip can stand for any number of them.
const MAX_TEXT_BYTES: u64 = 4 << 20;

/// The text of the section. Fields that are not known are passed over: a newer `weir` may have written it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Metadata {
    /// The filter's name: that of its crate.
    pub name: String,
    /// Its version, such as `0.1.0`.
    pub version: String,
    /// An SPDX expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// What it does, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Host functions that it imports of the proxy, in order of their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hostcalls: Vec<String>,
    /// Where its configuration names clusters that it calls or routes to: JSON pointers, in which `*` is every element or field, such as
    /// `/targets/*/cluster`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<String>,
    /// The JSON Schema of its configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<serde_json::Value>,
}

impl Metadata {
    /// Reads a section, compressed or not; `None` when it is neither, or longer than 4 MiB.
    #[must_use]
    pub fn from_section(data: &[u8]) -> Option<Self> {
        if !data.starts_with(&GZIP) {
            return serde_json::from_slice(data).ok();
        }
        let mut text = Vec::new();
        GzDecoder::new(data).take(MAX_TEXT_BYTES + 1).read_to_end(&mut text).ok()?;
        (text.len() as u64 <= MAX_TEXT_BYTES).then(|| serde_json::from_slice(&text).ok())?
    }

    /// The section, compressed: a sixth of its text, most of which is the schema. Without time and name, so the same metadata is the same bytes.
    ///
    /// # Errors
    /// None that can happen with a value of this type; serde and the compressor have their own.
    pub fn to_section(&self) -> io::Result<Vec<u8>> {
        let mut compressed = GzEncoder::new(Vec::new(), Compression::best());
        compressed.write_all(&serde_json::to_vec(self)?)?;
        compressed.finish()
    }

    /// The values in `config` that name clusters, with the JSON pointer of each, in the order of [`Metadata::clusters`].
    #[must_use]
    pub fn clusters_in<'v>(&self, config: &'v serde_json::Value) -> Vec<(String, &'v str)> {
        let mut found = Vec::new();
        for pattern in &self.clusters {
            let steps: Vec<&str> = pattern.split('/').skip(1).collect();
            collect(config, &steps, String::new(), &mut found);
        }
        found
    }
}

fn collect<'v>(value: &'v serde_json::Value, steps: &[&str], at: String, found: &mut Vec<(String, &'v str)>) {
    let Some((step, rest)) = steps.split_first() else {
        found.extend(value.as_str().map(|text| (at, text)));
        return;
    };
    match value {
        serde_json::Value::Array(elements) if *step == "*" => {
            for (index, element) in elements.iter().enumerate() {
                collect(element, rest, format!("{at}/{index}"), found);
            }
        }
        serde_json::Value::Object(fields) => {
            for (name, field) in fields.iter().filter(|(name, _)| *step == "*" || *step == name.as_str()) {
                collect(field, rest, format!("{at}/{name}"), found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn clusters_are_found_where_the_metadata_says() {
        let clusters = ["/targets/*/cluster", "/service/cluster", "/named/*"].map(str::to_owned).to_vec();
        let metadata = Metadata { clusters, ..Metadata::default() };
        let config = json!({
            "targets": [{"cluster": "a"}, {"other": 1}, {"cluster": 3}, {"cluster": "b"}],
            "service": {"cluster": "c"},
            "named": {"x": "d"},
        });
        let found: Vec<(String, &str)> = metadata.clusters_in(&config);
        let found: Vec<(&str, &str)> = found.iter().map(|(at, name)| (at.as_str(), *name)).collect();
        let expected = [
            ("/targets/0/cluster", "a"),
            ("/targets/3/cluster", "b"),
            ("/service/cluster", "c"),
            ("/named/x", "d"),
        ];
        assert_eq!(found, expected);
        assert!(metadata.clusters_in(&json!(3)).is_empty());
    }

    #[test]
    fn a_section_is_read_compressed_and_plain_and_never_without_end() {
        let metadata = Metadata {
            name: "a".into(),
            version: "1".into(),
            schema: Some(json!({"type": "object", "required": vec!["field"; 500]})),
            ..Metadata::default()
        };
        let section = metadata.to_section().unwrap();
        let text = serde_json::to_vec(&metadata).unwrap();
        assert!(section.len() < text.len() / 10, "{} of {}", section.len(), text.len());
        assert_eq!(section, metadata.to_section().unwrap());
        assert_eq!(Metadata::from_section(&section).as_ref(), Some(&metadata));
        assert_eq!(Metadata::from_section(&text), Some(metadata));
        for broken in [&section[..section.len() - 9], &text[1..], b"", &GZIP[..]] {
            assert_eq!(Metadata::from_section(broken), None);
        }
        let long = Metadata { name: "a".repeat(5 << 20), version: "1".into(), ..Metadata::default() };
        assert_eq!(Metadata::from_section(&long.to_section().unwrap()), None);
    }

    #[test]
    fn fields_of_a_newer_version_are_passed_over() {
        let metadata: Metadata =
            serde_json::from_value(json!({"name": "a", "version": "1", "new": 3})).unwrap();
        assert_eq!(metadata, Metadata { name: "a".into(), version: "1".into(), ..Metadata::default() });
    }
}
