//! JSON as a tree that keeps repeated keys.
//!
//! Knows no configuration.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::Problems;
use super::words::push_unicode;

/// What is written at one place of a configuration: a JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number from 0 on.
    Unsigned(u64),
    /// A whole number below 0.
    Negative(i64),
    /// Any other number.
    Float(f64),
    /// A string.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// An object: its fields in the order they are written in.
    Object(Vec<(String, Node)>),
}

impl Node {
    /// Leaves the first of equal keys, and notes the others.
    pub(super) fn remove_duplicates(&mut self, path: &mut String, problems: &mut Problems) {
        let end = path.len();
        match self {
            Self::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    push_index(path, index);
                    item.remove_duplicates(path, problems);
                    shorten(path, end);
                }
            }
            Self::Object(fields) => {
                // Not a set: an object has few fields, and the code of a set is more than all of this.
                let mut index = 0_usize;
                while let Some((key, _)) = fields.get(index) {
                    if fields.iter().take(index).any(|(known, _)| known == key) {
                        push_key(path, key);
                        problems.add(&*path, "is there twice; leave one of them");
                        shorten(path, end);
                        fields.remove(index);
                    } else {
                        index = index.saturating_add(1);
                    }
                }
                for (key, value) in fields {
                    push_key(path, key);
                    value.remove_duplicates(path, problems);
                    shorten(path, end);
                }
            }
            _ => {}
        }
    }
}

/// Back to the length that a path had before.
#[inline(never)]
pub(super) fn shorten(path: &mut String, end: usize) {
    while path.len() > end {
        path.pop();
    }
}

/// Extends the path of a list by an item: `a.b[2]`.
pub(super) fn push_index(path: &mut String, index: usize) {
    path.push('[');
    push_number(path, index);
    path.push(']');
}

/// Writes a number that counts something.
pub(super) fn push_number(text: &mut String, number: usize) {
    text.push_str(&super::number(u64::try_from(number).unwrap_or(u64::MAX)));
}

/// Extends the path of an object by a field as people write it: `a.b`, with keys that are not words quoted: `a["b.c"]`.
pub(super) fn push_key(path: &mut String, key: &str) {
    if !key.is_empty() && key.chars().all(is_plain) {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(key);
    } else {
        path.push_str("[\"");
        for c in key.chars() {
            match c {
                '\t' => path.push_str("\\t"),
                '\r' => path.push_str("\\r"),
                '\n' => path.push_str("\\n"),
                '\'' | '"' | '\\' => path.extend(['\\', c]),
                ' '..='~' => path.push(c),
                _ => push_unicode(path, c),
            }
        }
        path.push_str("\"]");
    }
}

/// Whether a character stands in a path as it is: what people write keys with, and not what they could not see.
fn is_plain(c: char) -> bool {
    match c {
        '_' | '-' | '@' => true,
        '\u{80}'..='\u{bf}' | '\u{2000}'..='\u{206f}' | '\u{fe00}'..='\u{feff}' | '\u{e0000}'.. => false,
        _ => c.is_ascii_alphanumeric() || !c.is_ascii(),
    }
}

/// For what serde reads; `super::json` reads text.
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
