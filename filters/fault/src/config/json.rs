//! JSON that a configuration holds as it is. Knows no body.
//!
//! serde_json's values would bring their own reader and writer: 20 kB of a module.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use weir_sdk::FromConfig;
use weir_sdk::config::{Node, Reader};

mod text;

pub(crate) use text::push_string;

/// Any JSON, as the text that a body has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json(pub String);

impl FromConfig for Json {
    fn from_config(node: &Node, _: &mut Reader) -> Option<Self> {
        let mut text = String::new();
        text::push(&mut text, node);
        Some(Self(text))
    }

    fn blank() -> Self {
        Self(String::new())
    }
}

impl JsonSchema for Json {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Json".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        true.into()
    }
}

/// The members of a JSON merge patch, ascending by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patch(pub Vec<(String, Patched)>);

/// What a member becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Patched {
    /// It is taken away.
    Removed,
    /// An object: its members are patched.
    Members(Patch),
    /// Any other value, as text.
    Value(String),
}

impl FromConfig for Patch {
    fn from_config(node: &Node, reader: &mut Reader) -> Option<Self> {
        let Node::Object(_) = node else { return reader.expected("an object", node) };
        match Patched::of(node) {
            Patched::Members(patch) => Some(patch),
            Patched::Removed | Patched::Value(_) => None,
        }
    }

    fn blank() -> Self {
        Self::default()
    }
}

impl Patched {
    fn of(node: &Node) -> Self {
        match node {
            Node::Null => Self::Removed,
            Node::Object(fields) => {
                let mut members = Vec::with_capacity(fields.len());
                for (name, value) in text::sorted(fields) {
                    members.push((name.clone(), Self::of(value)));
                }
                Self::Members(Patch(members))
            }
            other => {
                let mut text = String::new();
                text::push(&mut text, other);
                Self::Value(text)
            }
        }
    }
}

impl JsonSchema for Patch {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Patch".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": true })
    }
}
