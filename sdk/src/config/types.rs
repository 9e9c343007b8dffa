//! What the types of the standard library look like in a configuration. Knows no object's fields.

use std::collections::BTreeMap;

use super::decode::{FromConfig, Reader};
use super::explain::Expected;
use super::node::Node;

impl FromConfig for bool {
    fn from_config(node: &Node, reader: &mut Reader) -> Option<Self> {
        match node {
            Node::Bool(value) => Some(*value),
            _ => reader.wrong_type(Expected::Bool, node),
        }
    }

    fn blank() -> Self {
        false
    }
}

impl FromConfig for String {
    fn from_config(node: &Node, reader: &mut Reader) -> Option<Self> {
        match node {
            Node::Text(text) => Some(text.clone()),
            _ => reader.wrong_type(Expected::Text, node),
        }
    }

    fn blank() -> Self {
        Self::new()
    }
}

impl FromConfig for f64 {
    #[expect(clippy::cast_precision_loss, reason = "as any reader of JSON does")]
    fn from_config(node: &Node, reader: &mut Reader) -> Option<Self> {
        match node {
            Node::Unsigned(value) => Some(*value as Self),
            Node::Negative(value) => Some(*value as Self),
            Node::Float(value) => Some(*value),
            _ => reader.wrong_type(Expected::Number, node),
        }
    }

    fn blank() -> Self {
        0.0
    }
}

/// Whole numbers and their ranges; that of `usize` is that of wasm.
macro_rules! whole {
    ($read:ident: $($type:ident: $range:literal,)*) => {$(
        impl FromConfig for $type {
            fn from_config(node: &Node, reader: &mut Reader) -> Option<Self> {
                let value = $read(node).and_then(|value| Self::try_from(value).ok());
                value.or_else(|| reader.wrong_type(Expected::Whole($range), node))
            }

            fn blank() -> Self {
                0
            }
        }

        impl FromKey for $type {
            fn from_key(key: &str, reader: &mut Reader) -> Option<Self> {
                let value = key.parse().ok();
                if value.is_none() {
                    let reason = concat!("the key should be a whole number from ", $range);
                    reader.note_key(key, String::from(reason));
                }
                value
            }
        }
    )*};
}

whole! { unsigned:
    u8: "0 to 255",
    u16: "0 to 65535",
    u32: "0 to 4294967295",
    u64: "0 to 18446744073709551615",
    usize: "0 to 4294967295",
}

whole! { signed:
    i8: "-128 to 127",
    i16: "-32768 to 32767",
    i32: "-2147483648 to 2147483647",
    i64: "-9223372036854775808 to 9223372036854775807",
}

fn unsigned(node: &Node) -> Option<u64> {
    if let Node::Unsigned(value) = node { Some(*value) } else { None }
}

fn signed(node: &Node) -> Option<i64> {
    if let Node::Negative(value) = node { Some(*value) } else { i64::try_from(unsigned(node)?).ok() }
}

impl<T: FromConfig> FromConfig for Option<T> {
    const IS_OPTIONAL: bool = true;

    fn from_config(node: &Node, reader: &mut Reader) -> Option<Self> {
        let mut value = None;
        value.fill(node, reader).then_some(value)
    }

    fn blank() -> Self {
        None
    }

    fn fill(&mut self, node: &Node, reader: &mut Reader) -> bool {
        *self = if let Node::Null = node { None } else { Some(T::blank()) };
        self.as_mut().is_none_or(|value| value.fill(node, reader))
    }
}

impl<T: FromConfig> FromConfig for Box<T> {
    fn from_config(node: &Node, reader: &mut Reader) -> Option<Self> {
        let mut value = Self::blank();
        value.fill(node, reader).then_some(value)
    }

    fn blank() -> Self {
        Self::new(T::blank())
    }

    fn fill(&mut self, node: &Node, reader: &mut Reader) -> bool {
        (**self).fill(node, reader)
    }
}

impl<T: FromConfig> FromConfig for Vec<T> {
    fn from_config(node: &Node, reader: &mut Reader) -> Option<Self> {
        let mut list = Self::new();
        list.fill(node, reader).then_some(list)
    }

    fn blank() -> Self {
        Self::new()
    }

    fn fill(&mut self, node: &Node, reader: &mut Reader) -> bool {
        *self = Self::new();
        fill_list(self, node, reader)
    }
}

/// A list, whatever it is of.
trait List {
    /// Reads one more item at its end.
    fn fill_next(&mut self, node: &Node, reader: &mut Reader) -> bool;
}

impl<T: FromConfig> List for Vec<T> {
    fn fill_next(&mut self, node: &Node, reader: &mut Reader) -> bool {
        self.push(T::blank());
        self.last_mut().is_some_and(|place| place.fill(node, reader))
    }
}

#[inline(never)]
fn fill_list(list: &mut dyn List, node: &Node, reader: &mut Reader) -> bool {
    reader.each(node, &mut |item, reader| list.fill_next(item, reader))
}

impl<A: FromConfig, B: FromConfig> FromConfig for (A, B) {
    fn from_config(node: &Node, reader: &mut Reader) -> Option<Self> {
        let mut pair = Self::blank();
        pair.fill(node, reader).then_some(pair)
    }

    fn blank() -> Self {
        (A::blank(), B::blank())
    }

    fn fill(&mut self, node: &Node, reader: &mut Reader) -> bool {
        let mut next = 0_u8;
        if !matches!(node, Node::List(items) if items.len() == 2) {
            return reader.expected::<()>("a list of two", node).is_some();
        }
        reader.each(node, &mut |item, reader| {
            next = next.saturating_add(1);
            if next == 1 { self.0.fill(item, reader) } else { self.1.fill(item, reader) }
        })
    }
}

/// What can be a key of a map.
pub trait FromKey: Sized {
    /// Reads a key; `None` after telling the reader what is wrong.
    fn from_key(key: &str, reader: &mut Reader) -> Option<Self>;
}

impl FromKey for String {
    fn from_key(key: &str, _: &mut Reader) -> Option<Self> {
        Some(Self::from(key))
    }
}

impl<K: FromKey + Ord, V: FromConfig> FromConfig for BTreeMap<K, V> {
    fn from_config(node: &Node, reader: &mut Reader) -> Option<Self> {
        let Node::Object(fields) = node else {
            return reader.wrong_type(Expected::Object, node);
        };
        let mut map = Self::new();
        let mut whole = true;
        for (key, value) in fields {
            let Some(read) = K::from_key(key, reader) else {
                whole = false;
                continue;
            };
            let end = reader.enter(key);
            match V::from_config(value, reader) {
                Some(value) => drop(map.insert(read, value)),
                None => whole = false,
            }
            reader.leave(end);
        }
        whole.then_some(map)
    }

    fn blank() -> Self {
        Self::new()
    }
}

/// Any JSON.
impl FromConfig for serde_json::Value {
    fn from_config(node: &Node, reader: &mut Reader) -> Option<Self> {
        Some(match node {
            Node::Null => Self::Null,
            Node::Bool(value) => Self::Bool(*value),
            Node::Unsigned(value) => Self::from(*value),
            Node::Negative(value) => Self::from(*value),
            Node::Float(value) => Self::from(*value),
            Node::Text(text) => Self::String(text.clone()),
            Node::List(_) => Self::Array(FromConfig::from_config(node, reader)?),
            Node::Object(_) => Self::Object(FromConfig::from_config(node, reader)?),
        })
    }

    fn blank() -> Self {
        Self::Null
    }
}

/// Any object.
impl FromConfig for serde_json::Map<String, serde_json::Value> {
    fn from_config(node: &Node, reader: &mut Reader) -> Option<Self> {
        let fields: BTreeMap<String, serde_json::Value> = FromConfig::from_config(node, reader)?;
        Some(fields.into_iter().collect())
    }

    fn blank() -> Self {
        Self::new()
    }
}
