//! A JSON document as a tree that borrows from its text.
//!
//! Knows no comparison. As deep as the tokens allow ([`MAX_DEPTH`](crate::policy::json::MAX_DEPTH)), so that recursion over it is bounded.

use std::borrow::Cow;

use crate::policy::json::{Token, Tokens};
use crate::policy::sort::sort_by;

/// A value, and where it stands in the text.
#[derive(Clone, Debug)]
pub(super) struct Node<'j> {
    pub(super) value: Value<'j>,
    pub(super) text: &'j str,
}

#[derive(Clone, Debug)]
pub(super) enum Value<'j> {
    /// By key; values of one key keep their order.
    Object(Vec<(Cow<'j, str>, Node<'j>)>),
    Array(Vec<Node<'j>>),
    Text(Cow<'j, str>),
    Number(&'j str),
    Literal(&'j str),
}

/// An object or array that is not yet read to its end.
struct Open<'j> {
    key: Option<Cow<'j, str>>,
    start: usize,
    value: Value<'j>,
}

impl<'j> Node<'j> {
    /// Reads a document; `None` for what is not JSON.
    pub(super) fn parse(bytes: &'j [u8]) -> Option<Self> {
        let mut tokens = Tokens::new(std::str::from_utf8(bytes).ok()?);
        let mut open: Vec<Open<'j>> = Vec::new();
        let mut key = None;
        let mut root = None;
        while let Some(token) = tokens.next().ok()? {
            let end = tokens.at();
            let (key, node) = match token {
                Token::Key(text) => {
                    key = Some(text.decode());
                    continue;
                }
                Token::Object | Token::Array => {
                    let value = if token == Token::Object {
                        Value::Object(Vec::new())
                    } else {
                        Value::Array(Vec::new())
                    };
                    open.push(Open { key: key.take(), start: end.saturating_sub(1), value });
                    continue;
                }
                Token::End => {
                    let Open { key, start, mut value } = open.pop()?;
                    if let Value::Object(members) = &mut value {
                        sort_by(members, |(one, first), (other, second)| {
                            (one, first.text.as_ptr()) < (other, second.text.as_ptr())
                        });
                    }
                    (key, Node { value, text: tokens.between(start, end) })
                }
                Token::Text(text) => {
                    let start = end.saturating_sub(text.raw().len()).saturating_sub(2);
                    (key.take(), Node { value: Value::Text(text.decode()), text: tokens.between(start, end) })
                }
                Token::Number(text) => (key.take(), Node { value: Value::Number(text), text }),
                Token::Literal(text) => (key.take(), Node { value: Value::Literal(text), text }),
            };
            match (open.last_mut().map(|open| &mut open.value), key) {
                (Some(Value::Object(members)), Some(key)) => members.push((key, node)),
                (Some(Value::Array(items)), _) => items.push(node),
                _ => root = Some(node),
            }
        }
        root
    }

    /// The name of its type.
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::Object(_) => "object",
            Value::Array(_) => "array",
            Value::Text(_) => "string",
            Value::Number(_) => "number",
            Value::Literal("null") => "null",
            Value::Literal(_) => "boolean",
        }
    }

    /// How many members, elements or characters it has.
    pub(super) fn length(&self) -> Option<usize> {
        match &self.value {
            Value::Object(members) => Some(members.len()),
            Value::Array(items) => Some(items.len()),
            Value::Text(text) => Some(text.chars().count()),
            Value::Number(_) | Value::Literal(_) => None,
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self.value, Value::Literal("null"))
    }
}
