//! A serde deserializer over a [`Node`] whose errors know where they happened and what was expected there.
//!
//! Knows no wording: [`super::explain`] makes sentences of a [`Fault`].

mod variant;

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, Expected, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::forward_to_deserialize_any;

use super::node::{Node, Step};
use super::placeholder::{self, Wanted};
use variant::Variant;

/// What stopped a decode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault(Box<Place>);

/// Where a decode stopped, and why. Boxed: every step of a decode passes it on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// From the innermost step outwards.
    pub(super) steps: Vec<Step>,
    pub(super) target: Target,
    pub(super) kind: Kind,
}

/// What of the place is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Value,
    /// The key of a field or of a map.
    Key,
    /// The key that names a variant.
    Variant,
}

/// The kinds of [`Fault`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Missing(&'static str),
    UnknownField {
        known: &'static [&'static str],
    },
    UnknownVariant {
        known: &'static [&'static str],
    },
    /// Neither a variant's name nor an object with the one key that names it.
    NotOneVariant {
        known: &'static [&'static str],
    },
    /// A value of the wrong type or out of range; serde's words for what was expected.
    Expected(String),
    /// The type's own words.
    Custom(String),
    /// A placeholder did not decode; the value it stands for is reported already.
    Placeholder,
}

impl Fault {
    #[cold]
    #[inline(never)]
    pub(super) fn new(kind: Kind) -> Self {
        Self(Box::new(Place { steps: Vec::new(), target: Target::Value, kind }))
    }

    #[cold]
    #[inline(never)]
    fn within(mut self, step: Step) -> Self {
        self.0.steps.push(step);
        self
    }

    /// Within the value of this key.
    #[cold]
    #[inline(never)]
    fn within_field(self, key: &str) -> Self {
        self.within(Step::Key(String::from(key)))
    }

    /// The key itself is wrong, not what it stands for.
    #[cold]
    #[inline(never)]
    fn at(mut self, key: &str, target: Target) -> Self {
        self.0.target = target;
        self.within_field(key)
    }
}

impl std::ops::Deref for Fault {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.0
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not the configuration that is expected")
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::new(Kind::Custom(text.to_string()))
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        mismatch(expected)
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        mismatch(expected)
    }

    fn invalid_length(_: usize, expected: &dyn Expected) -> Self {
        mismatch(expected)
    }

    fn unknown_variant(_: &str, known: &'static [&'static str]) -> Self {
        Self::new(Kind::UnknownVariant { known })
    }

    fn unknown_field(_: &str, known: &'static [&'static str]) -> Self {
        Self::new(Kind::UnknownField { known })
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(Kind::Missing(field))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new(Kind::Custom([field, " is there twice"].concat()))
    }
}

/// Decodes one node.
#[derive(Clone, Copy)]
pub(super) struct Decoder<'n>(&'n Node);

impl<'n> Decoder<'n> {
    pub(super) fn new(node: &'n Node) -> Self {
        Self(node)
    }
}

impl<'n> Decoder<'n> {
    /// What is there, or a made-up value of what is wanted. [`explain`](super::explain) knows which errors are a made-up value's.
    #[inline(never)]
    fn node(self, wanted: Wanted) -> Result<Cow<'n, Node>, Fault> {
        match self.0 {
            Node::Placeholder { tried, depth } => match placeholder::make(wanted, *tried, *depth) {
                Some(made) => Ok(Cow::Owned(made)),
                None => Err(nothing()),
            },
            node => Ok(Cow::Borrowed(node)),
        }
    }
}

/// The visitor cannot take what is there.
#[cold]
#[inline(never)]
fn mismatch(expected: &dyn Expected) -> Fault {
    Fault::new(Kind::Expected(expected.to_string()))
}

/// What is there is not this.
#[cold]
#[inline(never)]
fn unlike(expected: &str) -> Fault {
    Fault::new(Kind::Expected(String::from(expected)))
}

#[cold]
#[inline(never)]
fn not_one_variant(known: &'static [&'static str]) -> Fault {
    Fault::new(Kind::NotOneVariant { known })
}

#[cold]
#[inline(never)]
fn nothing() -> Fault {
    Fault::new(Kind::Placeholder)
}

fn visit_number<'de, V: Visitor<'de>>(node: &Node, visitor: V) -> Result<V::Value, Fault> {
    match node {
        Node::Unsigned(value) => visitor.visit_u64(*value),
        Node::Negative(value) => visitor.visit_i64(*value),
        Node::Float(value) => visitor.visit_f64(*value),
        _ => Err(mismatch(&visitor)),
    }
}

fn visit_text<'de, V: Visitor<'de>>(node: &Node, visitor: V) -> Result<V::Value, Fault> {
    match node {
        Node::Text(text) => visitor.visit_str(text),
        _ => Err(mismatch(&visitor)),
    }
}

fn visit_null<'de, V: Visitor<'de>>(node: &Node, visitor: V) -> Result<V::Value, Fault> {
    match node {
        Node::Null => visitor.visit_unit(),
        _ => Err(mismatch(&visitor)),
    }
}

fn visit_list<'de, V: Visitor<'de>>(node: &Node, visitor: V) -> Result<V::Value, Fault> {
    let Node::List(items) = node else { return Err(mismatch(&visitor)) };
    let mut list = List { items: items.iter(), next: 0 };
    let value = visitor.visit_seq(&mut list)?;
    match list.items.len() {
        0 => Ok(value),
        _ => Err(unlike("a shorter list")),
    }
}

fn visit_object<'de, V: Visitor<'de>>(node: &Node, visitor: V) -> Result<V::Value, Fault> {
    let Node::Object(fields) = node else { return Err(mismatch(&visitor)) };
    visitor.visit_map(Object { fields: fields.iter(), current: None })
}

/// As [`visit_object`], for a visitor whose own words for what it expects are `struct` and its name in the program.
fn visit_struct<'de, V: Visitor<'de>>(node: &Node, visitor: V) -> Result<V::Value, Fault> {
    match node {
        Node::Object(_) => visit_object(node, visitor),
        _ => Err(unlike("struct")),
    }
}

fn visit_variant<'de, V: Visitor<'de>>(
    node: &Node,
    known: &'static [&'static str],
    visitor: V,
) -> Result<V::Value, Fault> {
    let variant = match node {
        Node::Text(name) => Variant { name, content: None },
        Node::Object(fields) if let [(name, content)] = fields.as_slice() => {
            Variant { name, content: Some(content) }
        }
        _ => return Err(not_one_variant(known)),
    };
    visitor.visit_enum(variant)
}

fn visit<'de, V: Visitor<'de>>(node: &Node, visitor: V) -> Result<V::Value, Fault> {
    match node {
        Node::Null => visitor.visit_unit(),
        Node::Bool(value) => visitor.visit_bool(*value),
        Node::Unsigned(_) | Node::Negative(_) | Node::Float(_) => visit_number(node, visitor),
        Node::Text(text) => visitor.visit_str(text),
        Node::List(_) => visit_list(node, visitor),
        Node::Object(_) => visit_object(node, visitor),
        Node::Placeholder { .. } => Err(nothing()),
    }
}

/// Once per type: inlined into each other, the visitors would be several times their size.
macro_rules! shapes {
    ($($method:ident($($argument:ident: $type:ty),*) $wanted:expr, |$node:ident, $visitor:ident| $visit:expr;)*) => {
        $(#[inline(never)]
        fn $method<V: Visitor<'de>>(self, $($argument: $type,)* $visitor: V) -> Result<V::Value, Fault> {
            let node = self.node($wanted)?;
            let $node: &Node = &node;
            $visit
        })*
    };
}

impl<'de> Deserializer<'de> for Decoder<'_> {
    type Error = Fault;

    #[inline(never)]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0 {
            Node::Null | Node::Placeholder { .. } => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    /// An object and nothing else: serde would take the items of a list for the fields in order.
    #[inline(never)]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let node = self.node(Wanted::Struct(fields))?;
        visit_struct(&node, visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    // Text in a form of its type's own, which may have words for what else stands there; `deserialize_string` is for any text.
    shapes! {
        deserialize_any() Wanted::Anything, |node, visitor| visit(node, visitor);
        deserialize_str() Wanted::Text, |node, visitor| visit(node, visitor);
        deserialize_bytes() Wanted::Text, |node, visitor| visit(node, visitor);
        deserialize_byte_buf() Wanted::Text, |node, visitor| visit(node, visitor);
        deserialize_string() Wanted::Text, |node, visitor| visit_text(node, visitor);
        deserialize_char() Wanted::Text, |node, visitor| visit_text(node, visitor);
        deserialize_identifier() Wanted::Text, |node, visitor| visit_text(node, visitor);
        deserialize_i8() Wanted::Number, |node, visitor| visit_number(node, visitor);
        deserialize_i16() Wanted::Number, |node, visitor| visit_number(node, visitor);
        deserialize_i32() Wanted::Number, |node, visitor| visit_number(node, visitor);
        deserialize_i64() Wanted::Number, |node, visitor| visit_number(node, visitor);
        deserialize_u8() Wanted::Number, |node, visitor| visit_number(node, visitor);
        deserialize_u16() Wanted::Number, |node, visitor| visit_number(node, visitor);
        deserialize_u32() Wanted::Number, |node, visitor| visit_number(node, visitor);
        deserialize_u64() Wanted::Number, |node, visitor| visit_number(node, visitor);
        deserialize_f32() Wanted::Number, |node, visitor| visit_number(node, visitor);
        deserialize_f64() Wanted::Number, |node, visitor| visit_number(node, visitor);
        deserialize_bool() Wanted::Bool, |node, visitor| match node {
            Node::Bool(value) => visitor.visit_bool(*value),
            _ => Err(mismatch(&visitor)),
        };
        deserialize_unit() Wanted::Null, |node, visitor| visit_null(node, visitor);
        deserialize_unit_struct(_name: &'static str) Wanted::Null, |node, visitor| visit_null(node, visitor);
        deserialize_seq() Wanted::List, |node, visitor| visit_list(node, visitor);
        deserialize_tuple(len: usize) Wanted::Tuple(len), |node, visitor| visit_list(node, visitor);
        deserialize_tuple_struct(_name: &'static str, len: usize) Wanted::Tuple(len),
            |node, visitor| visit_list(node, visitor);
        deserialize_map() Wanted::Map, |node, visitor| visit_object(node, visitor);
        deserialize_enum(_name: &'static str, known: &'static [&'static str]) Wanted::Enum(known),
            |node, visitor| visit_variant(node, known, visitor);
    }
}

/// The items of a list.
struct List<'n> {
    items: std::slice::Iter<'n, Node>,
    next: usize,
}

impl<'de> SeqAccess<'de> for &mut List<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(item) = self.items.next() else { return Ok(None) };
        let index = self.next;
        self.next = index.saturating_add(1);
        seed.deserialize(Decoder(item)).map(Some).map_err(|fault| fault.within(Step::Index(index)))
    }
}

/// The fields of an object.
struct Object<'n> {
    fields: std::slice::Iter<'n, (String, Node)>,
    current: Option<&'n (String, Node)>,
}

impl<'de> MapAccess<'de> for Object<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        self.current = self.fields.next();
        let Some((key, _)) = self.current else { return Ok(None) };
        seed.deserialize(Key(key)).map(Some).map_err(|fault| fault.at(key, Target::Key))
    }

    #[inline(never)]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        match self.current.take() {
            Some((key, value)) => seed.deserialize(Decoder(value)).map_err(|fault| fault.within_field(key)),
            None => Err(nothing()),
        }
    }
}

/// A key: text, or a number in quotes where the map's keys are numbers.
struct Key<'n>(&'n str);

macro_rules! number_keys {
    ($($method:ident: $visit:ident($type:ty);)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            match self.0.parse::<$type>() {
                Ok(number) => visitor.$visit(number),
                Err(_) => visitor.visit_str(self.0),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for Key<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_str(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_enum(Variant { name: self.0, content: None })
    }

    number_keys! {
        deserialize_i8: visit_i64(i64);
        deserialize_i16: visit_i64(i64);
        deserialize_i32: visit_i64(i64);
        deserialize_i64: visit_i64(i64);
        deserialize_u8: visit_u64(u64);
        deserialize_u16: visit_u64(u64);
        deserialize_u32: visit_u64(u64);
        deserialize_u64: visit_u64(u64);
    }

    forward_to_deserialize_any! {
        bool i128 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}
