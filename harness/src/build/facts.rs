//! What a crate says of its module: Cargo.toml and the schema beside it become the module's metadata. Builds nothing.
//!
//! `[package.metadata.weir]` of Cargo.toml may have `clusters` (where the configuration names clusters: JSON pointers with `*`),
//! `callbacks` (the only exports `proxy_on_…` that stay), `panics` (what a panic does), `schema` (the file of the configuration's JSON Schema, default
//! `config.schema.json`, which may be missing) and `max_bytes` (the module must not be larger).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use super::{BuildError, Crate};
use crate::inspect::{Inspection, Metadata};

/// The table `[package.metadata.weir]`, and what Cargo.toml says beside it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Manifest {
    /// JSON pointers, in which `*` is every element or field, to what names clusters in a configuration.
    pub clusters: Vec<String>,
    /// The only exports `proxy_on_…` that stay; absent: all that do something.
    pub callbacks: Option<BTreeSet<String>>,
    /// What a panic does.
    pub panics: Panics,
    /// The file of the configuration's JSON Schema, from the crate's folder.
    pub schema: Option<PathBuf>,
    /// The most bytes that the module may have.
    pub max_bytes: Option<u64>,
}

/// What a panic of a module does, before it traps.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Panics {
    /// It writes its message to Envoy's log.
    #[default]
    Print,
    /// Nothing: Envoy logs the trap. The module is a tenth smaller.
    Trap,
}

/// What the module of a crate says of itself.
pub(super) fn metadata(found: &Crate, inspection: &Inspection) -> Result<Metadata, BuildError> {
    let named = found.weir.schema.is_some();
    let path = found.folder().join(found.weir.schema.clone().unwrap_or_else(|| "config.schema.json".into()));
    let schema = match fs::read(&path) {
        Ok(text) => {
            let schema: Value = serde_json::from_slice(&text).map_err(|error| BuildError::Io {
                path: path.clone(),
                source: io::Error::new(io::ErrorKind::InvalidData, format!("is no JSON: {error}")),
            })?;
            Some(without_prose(schema))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && !named => None,
        Err(source) => return Err(BuildError::Io { path, source }),
    };
    Ok(Metadata {
        name: found.name.clone(),
        version: found.version.clone(),
        license: found.license.clone(),
        description: found.description.clone(),
        hostcalls: hostcalls(inspection),
        clusters: found.weir.clusters.clone(),
        schema,
    })
}

/// Host functions that a module imports of the proxy, sorted.
pub(super) fn hostcalls(inspection: &Inspection) -> Vec<String> {
    let of_proxy = inspection.imports.iter().filter(|import| import.module == "env");
    let names: BTreeSet<&str> = of_proxy.map(|import| import.name.as_str()).collect();
    names.into_iter().map(str::to_owned).collect()
}

/// A schema without descriptions, examples and titles, which are two thirds of it and decide nothing.
fn without_prose(schema: Value) -> Value {
    const PROSE: [&str; 3] = ["description", "examples", "title"];
    /// Their fields are names of the schema's author, not words of JSON Schema.
    const NAMED: [&str; 5] = ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"];
    match schema {
        Value::Object(fields) => {
            let parts = fields.into_iter().filter(|(word, _)| !PROSE.contains(&word.as_str()));
            let parts = parts.map(|(word, part)| match part {
                // Values, not schemas.
                part if ["const", "default", "enum"].contains(&word.as_str()) => (word, part),
                Value::Object(named) if NAMED.contains(&word.as_str()) => {
                    (word, named.into_iter().map(|(name, part)| (name, without_prose(part))).collect())
                }
                part => (word, without_prose(part)),
            });
            Value::Object(parts.collect())
        }
        Value::Array(parts) => parts.into_iter().map(without_prose).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_loses_its_prose_and_no_field() {
        let schema = json!({
            "title": "Config", "description": "All of it.", "type": "object", "required": ["title"],
            "properties": {
                "title": {"type": "string", "description": "The title.", "default": {"title": "kept"}},
                "description": {"$ref": "#/$defs/examples"},
            },
            "$defs": {"examples": {"oneOf": [{"const": "a", "description": "One."}], "examples": ["a"]}},
        });
        let expected = json!({
            "type": "object", "required": ["title"],
            "properties": {
                "title": {"type": "string", "default": {"title": "kept"}},
                "description": {"$ref": "#/$defs/examples"},
            },
            "$defs": {"examples": {"oneOf": [{"const": "a"}]}},
        });
        assert_eq!(without_prose(schema), expected);
    }
}
