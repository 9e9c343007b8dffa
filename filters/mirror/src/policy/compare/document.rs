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

impl<'j> Node<'j> {
    /// Reads a document; `None` for what is not JSON.
    pub(super) fn parse(bytes: &'j [u8]) -> Option<Self> {
        let mut tokens = Tokens::new(std::str::from_utf8(bytes).ok()?);
        // Objects and arrays that are not yet read to their ends, and where they begin.
        let mut open: Vec<(usize, Value<'j>)> = Vec::new();
        let mut root = None;
        while let Some(token) = tokens.next().ok()? {
            let end = tokens.at();
            let (start, value) = match token {
                Token::Key(key) => {
                    if let Some((_, Value::Object(members))) = open.last_mut() {
                        // Its value follows.
                        members.push((key.decode(), Node { value: Value::Literal(""), text: "" }));
                    }
                    continue;
                }
                Token::Object => {
                    open.push((end.saturating_sub(1), Value::Object(Vec::new())));
                    continue;
                }
                Token::Array => {
                    open.push((end.saturating_sub(1), Value::Array(Vec::new())));
                    continue;
                }
                Token::End => {
                    let (start, mut value) = open.pop()?;
                    if let Value::Object(members) = &mut value {
                        sort_by(members, |(one, first), (other, second)| {
                            (one, first.text.as_ptr()) < (other, second.text.as_ptr())
                        });
                    }
                    (start, value)
                }
                Token::Text(text) => {
                    let start = end.saturating_sub(text.raw().len()).saturating_sub(2);
                    (start, Value::Text(text.decode()))
                }
                Token::Number(text) => (end.saturating_sub(text.len()), Value::Number(text)),
                Token::Literal(text) => (end.saturating_sub(text.len()), Value::Literal(text)),
            };
            let node = Node { value, text: tokens.between(start, end) };
            match open.last_mut() {
                Some((_, Value::Object(members))) => members.last_mut()?.1 = node,
                Some((_, Value::Array(items))) => items.push(node),
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
