//! Makes up a value of whatever type is asked for, so that the errors behind the first one are found too.
//!
//! Knows nothing about the value it stands for. What it makes is thrown away: a configuration with a placeholder is refused.

use super::node::Node;

/// How many kinds of value a visitor that takes anything is offered.
pub(super) const KINDS: u8 = 5;

/// How deep made-up values nest; types that contain themselves have no end otherwise.
const MAX_DEPTH: u8 = 16;

/// Text that a number of types accept: a duration, a time, an address, an address block.
const TEXTS: [&str; KINDS as usize] = ["1s", "1970-01-01T00:00:00Z", "0.0.0.0", "0.0.0.0/0", ""];

/// What a type asks for.
#[derive(Clone, Copy)]
pub(super) enum Wanted {
    Anything,
    Bool,
    Number,
    Text,
    Null,
    /// A list of any length.
    List,
    /// A list of this length.
    Tuple(usize),
    Map,
    Struct(&'static [&'static str]),
    Enum(&'static [&'static str]),
}

/// A value of the kind that is wanted, the next one each time; `None` when it would nest too deep.
pub(super) fn make(wanted: Wanted, tried: u8, depth: u8) -> Option<Node> {
    let part = Node::Placeholder { tried, depth: depth.saturating_add(1) };
    let text = TEXTS.get(usize::from(tried)).copied().unwrap_or_default();
    if depth >= MAX_DEPTH {
        return None;
    }
    Some(match (wanted, tried) {
        // 0, and 1 where 0 is not taken.
        (Wanted::Number, _) => Node::Unsigned(u64::from(tried > 0)),
        (Wanted::Bool, _) => Node::Bool(false),
        (Wanted::Text, _) => Node::Text(String::from(text)),
        (Wanted::Null, _) => Node::Null,
        (Wanted::List, _) => Node::List(vec![part; usize::from(tried > 0)]),
        (Wanted::Tuple(length), _) => Node::List(vec![part; length]),
        (Wanted::Map, _) => Node::Object(Vec::new()),
        (Wanted::Struct(names), _) => {
            Node::Object(names.iter().map(|name| (String::from(*name), part.clone())).collect())
        }
        // The first variant may contain the type itself.
        (Wanted::Enum(names), _) => {
            let name = names.get(usize::from(tried)).or(names.first())?;
            Node::Object(vec![(String::from(*name), part)])
        }
        (Wanted::Anything, 0) => Node::Unsigned(0),
        (Wanted::Anything, 1) => Node::List(Vec::new()),
        (Wanted::Anything, 2) => Node::Object(Vec::new()),
        (Wanted::Anything, 3) => Node::Text(String::from(text)),
        (Wanted::Anything, _) => Node::Bool(false),
    })
}
