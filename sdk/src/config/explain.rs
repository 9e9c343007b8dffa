//! Sentences for what is wrong with a value, and what would be accepted. Knows no configuration type.

use super::names;
use super::node::Node;
use super::words::{decimal, is_decimal, joined, list, nearest, number, quoted, signed};

/// Known names are listed up to this many.
const MAX_LISTED: usize = 16;

/// The kind of value that was expected.
#[derive(Clone, Copy)]
pub(super) enum Expected<'w> {
    Bool,
    Text,
    Number,
    /// A whole number; its range.
    Whole(&'static str),
    List,
    Object,
    /// In the type's own words.
    Other(&'w str),
}

/// A name that is none of the known ones: what it is called, which are known, and which was probably meant.
pub(super) fn unknown(what: &str, name: &str, known: &str, quote: char) -> String {
    let mut text = String::from(what);
    if known.is_empty() {
        text.push_str("; none is accepted here");
        return text;
    }
    let near = nearest(name, known);
    let count = names::all(known).count();
    if near.is_none() || count <= MAX_LISTED {
        text.push_str("; accepted: ");
        text.push_str(&list(names::all(known).take(MAX_LISTED), quote));
        if count > MAX_LISTED {
            text.push_str(", …");
        }
    }
    if let Some(near) = near {
        text.push_str("; did you mean ");
        text.push_str(&list(std::iter::once(near), quote));
        text.push('?');
    }
    text
}

/// Neither a variant's name nor an object with the one key that names it.
pub(super) fn not_one_variant(node: &Node, known: &str) -> String {
    let names = list(names::all(known).take(MAX_LISTED), '`');
    let (only, found) = match node {
        Node::Object(fields) if fields.is_empty() => ("", String::from("none")),
        Node::Object(fields) => {
            ("only ", list(fields.iter().take(MAX_LISTED).map(|(key, _)| key.as_str()), '`'))
        }
        _ => ("", describe(node)),
    };
    joined(&joined("expected ", only, "one of "), &names, &joined(", found ", &found, ""))
}

/// A value of another kind, or out of range.
pub(super) fn wrong_type(expected: Expected<'_>, node: &Node) -> String {
    let kind = match expected {
        Expected::Bool => "true or false",
        Expected::Text => "a string",
        Expected::Number => "a number",
        Expected::Whole(_) => "a whole number from ",
        Expected::List => "a list",
        Expected::Object => "an object",
        Expected::Other(words) => words,
    };
    let range = if let Expected::Whole(range) = expected { range } else { "" };
    let mut text = joined(&joined("expected ", kind, range), ", found ", &describe(node));
    if let Some(fix) = fix(expected, node) {
        text.push_str("; did you mean ");
        text.push_str(&fix);
        text.push('?');
    }
    text
}

/// The value that was probably meant, where that is evident.
fn fix(expected: Expected<'_>, node: &Node) -> Option<String> {
    match (expected, node) {
        (Expected::Text, Node::Bool(_) | Node::Unsigned(_) | Node::Negative(_) | Node::Float(_)) => {
            let value = scalar(node)?;
            Some(joined("\"", &value, "\""))
        }
        (Expected::Bool, Node::Text(_) | Node::Unsigned(_)) => {
            let written = match node {
                Node::Text(text) => text,
                _ => &scalar(node)?,
            };
            let written = written.to_ascii_lowercase();
            // In turns what means true and what means false.
            let place = names::place("true\0false\0yes\0no\0on\0off\x001\x000\0", &written)?;
            Some(String::from(if place & 1 == 0 { "true" } else { "false" }))
        }
        (Expected::Whole(_), Node::Text(text)) => crate::names::integer(text.trim().as_bytes()).map(signed),
        (Expected::Number, Node::Text(text)) if is_decimal(text.trim()) => Some(String::from(text.trim())),
        (Expected::Whole(_), Node::Float(_)) => scalar(node).filter(|text| !text.as_bytes().contains(&b'.')),
        (Expected::List, Node::Text(_) | Node::Unsigned(_) | Node::Negative(_) | Node::Bool(_)) => {
            Some(joined("[", &describe(node), "]"))
        }
        (Expected::List, Node::Object(_)) => Some(String::from("a list with this one object, [{…}]")),
        _ => None,
    }
}

/// What stands in the configuration, in a few words.
pub(super) fn describe(node: &Node) -> String {
    match node {
        Node::Null => String::from("null"),
        Node::List(_) => String::from("a list"),
        Node::Object(_) => String::from("an object"),
        Node::Text(text) => quoted(text),
        Node::Float(_) => scalar(node).unwrap_or_else(|| String::from("another number")),
        Node::Bool(_) | Node::Unsigned(_) | Node::Negative(_) => scalar(node).unwrap_or_default(),
    }
}

/// A number or boolean as text; `None` for numbers with more than six decimals.
fn scalar(node: &Node) -> Option<String> {
    match node {
        Node::Bool(value) => Some(String::from(if *value { "true" } else { "false" })),
        Node::Unsigned(value) => Some(number(*value)),
        Node::Negative(value) => Some(signed(*value)),
        Node::Float(value) => decimal(*value),
        _ => None,
    }
}
