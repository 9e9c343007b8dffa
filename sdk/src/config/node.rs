//! JSON as a tree that keeps repeated keys and can hold a placeholder where a value was set aside.
//!
//! Knows no configuration; `serde_json` reads the text, to a depth of 128.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::Problems;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Unsigned(u64),
    Negative(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
    /// Stands for a value that has an error or is missing, and decodes as whatever is asked for. `tried` counts the kinds of
    /// value that were tried in vain.
    Placeholder {
        tried: u8,
        /// How many made-up values it is in.
        depth: u8,
    },
}

/// One step from a value to a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

impl Node {
    /// The part that is one step away.
    pub(super) fn child(&self, step: &Step) -> Option<&Self> {
        match (self, step) {
            (Self::Object(fields), Step::Key(key)) => {
                fields.iter().find(|(name, _)| name == key).map(|(_, value)| value)
            }
            (Self::List(items), Step::Index(index)) => items.get(*index),
            _ => None,
        }
    }

    /// As [`Node::child`], to change it.
    pub(super) fn child_mut(&mut self, step: &Step) -> Option<&mut Self> {
        match (self, step) {
            (Self::Object(fields), Step::Key(key)) => {
                fields.iter_mut().find(|(name, _)| name == key).map(|(_, value)| value)
            }
            (Self::List(items), Step::Index(index)) => items.get_mut(*index),
            _ => None,
        }
    }

    /// Whether a value in here was set aside.
    pub(super) fn holds_placeholder(&self) -> bool {
        match self {
            Self::Placeholder { .. } => true,
            Self::List(items) => items.iter().any(Self::holds_placeholder),
            Self::Object(fields) => fields.iter().any(|(_, value)| value.holds_placeholder()),
            _ => false,
        }
    }

    /// Leaves the first of equal keys, and notes the others.
    pub(super) fn remove_duplicates(&mut self, path: &str, problems: &mut Problems) {
        match self {
            Self::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    item.remove_duplicates(&path_of(path, &Step::Index(index)), problems);
                }
            }
            Self::Object(fields) => {
                let mut seen = std::collections::BTreeSet::new();
                fields.retain(|(key, _)| {
                    let first = seen.insert(key.clone());
                    if !first {
                        problems
                            .add(path_of(path, &Step::Key(key.clone())), "is there twice; leave one of them");
                    }
                    first
                });
                for (key, value) in fields {
                    value.remove_duplicates(&path_of(path, &Step::Key(key.clone())), problems);
                }
            }
            _ => {}
        }
    }
}

/// The path of a part as people write it: `a.b[2]`, with keys that are not words quoted: `a["b.c"]`.
pub(super) fn path_of(path: &str, step: &Step) -> String {
    let mut whole = String::from(path);
    match step {
        Step::Index(index) => {
            whole.push('[');
            whole.push_str(&index.to_string());
            whole.push(']');
        }
        Step::Key(key)
            if !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || "_-@".contains(c)) =>
        {
            if !path.is_empty() {
                whole.push('.');
            }
            whole.push_str(key);
        }
        Step::Key(key) => {
            whole.push_str("[\"");
            whole.extend(key.chars().flat_map(char::escape_default));
            whole.push_str("\"]");
        }
    }
    whole
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Negative(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(String::from(value)))
    }

    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(Node::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Node, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = object.next_entry()? {
            fields.push(field);
        }
        Ok(Node::Object(fields))
    }
}
