//! YAML that keeps its order and may have comments: what a configuration is read as, and what manifests are made of. Reads no file.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// A value of YAML whose fields stand in the order in which they were written.
#[derive(Clone, Debug, PartialEq)]
pub enum Tree {
    /// A text, a number, a boolean or nothing.
    Scalar(Value),
    /// A text of several lines that is shown as such.
    Block(String),
    /// A list.
    List(Vec<Tree>),
    /// Fields.
    Map(Vec<(String, Tree)>),
    /// A value with a comment above it.
    Noted(String, Box<Tree>),
}

impl Default for Tree {
    fn default() -> Self {
        Self::Map(Vec::new())
    }
}

impl Tree {
    /// These fields.
    #[must_use]
    pub fn map<const N: usize>(fields: [(&str, Tree); N]) -> Self {
        Self::Map(fields.into_iter().map(|(name, tree)| (name.to_owned(), tree)).collect())
    }

    /// With one field more; nothing happens to what has no fields.
    #[must_use]
    pub fn with(mut self, name: &str, tree: impl Into<Tree>) -> Self {
        if let Self::Map(fields) = &mut self {
            fields.push((name.to_owned(), tree.into()));
        }
        self
    }

    /// With one field more, where there is a value.
    #[must_use]
    pub fn with_some(self, name: &str, tree: Option<impl Into<Tree>>) -> Self {
        match tree {
            Some(tree) => self.with(name, tree),
            None => self,
        }
    }

    /// With a comment above it.
    #[must_use]
    pub fn noted(self, comment: impl Into<String>) -> Self {
        Self::Noted(comment.into(), Box::new(self))
    }

    /// Without fields, elements, or anything else.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Map(fields) => fields.is_empty(),
            Self::List(items) => items.is_empty(),
            Self::Scalar(value) => value.is_null(),
            Self::Block(text) => text.is_empty(),
            Self::Noted(_, tree) => tree.is_empty(),
        }
    }

    /// The value without order and comments.
    #[must_use]
    pub fn value(&self) -> Value {
        match self {
            Self::Scalar(value) => value.clone(),
            Self::Block(text) => Value::String(text.clone()),
            Self::List(items) => items.iter().map(Self::value).collect(),
            Self::Map(fields) => {
                let fields = fields.iter().map(|(name, tree)| (name.clone(), tree.value()));
                Value::Object(fields.collect::<Map<_, _>>())
            }
            Self::Noted(_, tree) => tree.value(),
        }
    }

    /// Puts a text in the place of the text at a JSON pointer; whether there is one.
    pub fn set(&mut self, pointer: &str, text: &str) -> bool {
        let Some(rest) = pointer.strip_prefix('/') else {
            if !pointer.is_empty() || !matches!(self, Self::Scalar(Value::String(_))) {
                return false;
            }
            *self = text.into();
            return true;
        };
        let (step, rest) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let found = match self {
            Self::List(items) => step.parse().ok().and_then(|index: usize| items.get_mut(index)),
            Self::Map(fields) => fields.iter_mut().find(|(name, _)| name == step).map(|(_, tree)| tree),
            Self::Noted(_, tree) => return tree.set(pointer, text),
            Self::Scalar(_) | Self::Block(_) => None,
        };
        found.is_some_and(|tree| tree.set(rest, text))
    }
}

impl From<&str> for Tree {
    fn from(text: &str) -> Self {
        Self::Scalar(text.into())
    }
}

impl From<String> for Tree {
    fn from(text: String) -> Self {
        Self::Scalar(text.into())
    }
}

impl From<bool> for Tree {
    fn from(value: bool) -> Self {
        Self::Scalar(value.into())
    }
}

impl From<i32> for Tree {
    fn from(value: i32) -> Self {
        Self::Scalar(value.into())
    }
}

impl From<u16> for Tree {
    fn from(value: u16) -> Self {
        Self::Scalar(value.into())
    }
}

impl<T: Into<Tree>> From<Vec<T>> for Tree {
    fn from(items: Vec<T>) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyTree)
    }
}

struct AnyTree;

impl<'de> Visitor<'de> for AnyTree {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of YAML or JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(Value::Null))
    }

    fn visit_none<E: de::Error>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(Value::Null))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Tree, E> {
        Ok(value.into())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Tree, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("JSON has no such number"))?;
        Ok(Tree::Scalar(Value::Number(number)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Tree, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Tree::Map(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    #[test]
    fn fields_keep_their_order() {
        let tree: Tree = yaml::parse("z: 1\na: {y: no, b: [1.5, true, null]}\n").unwrap();
        let list = Tree::List(vec![Tree::Scalar(1.5.into()), true.into(), Tree::Scalar(Value::Null)]);
        let inner = Tree::map([("y", "no".into()), ("b", list)]);
        assert_eq!(tree, Tree::map([("z", Tree::Scalar(1_u64.into())), ("a", inner)]));
    }

    #[test]
    fn texts_are_replaced_where_they_stand() {
        let mut tree: Tree = yaml::parse("targets:\n- {cluster: a}\n- {cluster: b, n: 1}\n").unwrap();
        assert!(tree.set("/targets/1/cluster", "c"));
        assert!(!tree.set("/targets/1/n", "c"));
        assert!(!tree.set("/targets/2/cluster", "c"));
        assert_eq!(
            tree.value(),
            serde_json::json!({"targets": [{"cluster": "a"}, {"cluster": "c", "n": 1}]})
        );
    }
}
