//! What a module says of itself: the custom section `weir.metadata`, JSON in UTF-8. `weir build` writes it; anybody's tool may.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The name of the custom section.
pub const SECTION: &str = "weir.metadata";

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
    fn fields_of_a_newer_version_are_passed_over() {
        let metadata: Metadata =
            serde_json::from_value(json!({"name": "a", "version": "1", "new": 3})).unwrap();
        assert_eq!(metadata, Metadata { name: "a".into(), version: "1".into(), ..Metadata::default() });
    }
}
