//! A serde deserializer over a [`Node`] whose errors know where they happened and what was expected there.
//!
//! Knows no wording: [`super::explain`] makes sentences of a [`Fault`].

mod variant;

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
    pub(super) fn new(kind: Kind) -> Self {
        Self(Box::new(Place { steps: Vec::new(), target: Target::Value, kind }))
    }

    #[cold]
    fn within(mut self, step: Step) -> Self {
        self.0.steps.push(step);
        self
    }

    /// The key itself is wrong, not what it stands for.
    #[cold]
    fn at(mut self, key: &str, target: Target) -> Self {
        self.0.target = target;
        self.within(Step::Key(String::from(key)))
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
        Self::new(Kind::Expected(expected.to_string()))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(Kind::Expected(expected.to_string()))
    }

    fn invalid_length(_: usize, expected: &dyn Expected) -> Self {
        Self::new(Kind::Expected(expected.to_string()))
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
        Self::new(Kind::Custom(String::from(field) + " is there twice"))
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

impl Decoder<'_> {
    /// Decodes the node as what it is, and a placeholder as what is wanted.
    fn decode<'de, V: Visitor<'de>>(self, wanted: Wanted, visitor: V) -> Result<V::Value, Fault> {
        let mut made = None;
        if let Node::Placeholder { tried, depth } = self.0 {
            made =
                Some(placeholder::make(wanted, *tried, *depth).ok_or_else(|| Fault::new(Kind::Placeholder))?);
        }
        let result = Decoder(made.as_ref().unwrap_or(self.0)).visit(wanted, visitor);
        // Every error of a made-up value is of one kind, which is not reported.
        if made.is_some() { result.map_err(|_| Fault::new(Kind::Placeholder)) } else { result }
    }

    /// Shows the visitor what is there. Once per type: inlined, it would be most of a filter's code.
    #[inline(never)]
    fn visit<'de, V: Visitor<'de>>(self, wanted: Wanted, visitor: V) -> Result<V::Value, Fault> {
        match (self.0, wanted) {
            (Node::Text(text), Wanted::Enum(_)) => visitor.visit_enum(Variant { name: text, content: None }),
            (node, Wanted::Enum(known)) => match node {
                Node::Object(fields) if let [(name, content)] = fields.as_slice() => {
                    visitor.visit_enum(Variant { name, content: Some(content) })
                }
                _ => Err(Fault::new(Kind::NotOneVariant { known })),
            },
            (Node::Null, _) => visitor.visit_unit(),
            (Node::Bool(value), _) => visitor.visit_bool(*value),
            (Node::Unsigned(value), _) => visitor.visit_u64(*value),
            (Node::Negative(value), _) => visitor.visit_i64(*value),
            (Node::Float(value), _) => visitor.visit_f64(*value),
            (Node::Text(text), _) => visitor.visit_str(text),
            (Node::List(items), _) => {
                let mut list = List { items: items.iter(), next: 0 };
                let value = visitor.visit_seq(&mut list)?;
                match list.items.len() {
                    0 => Ok(value),
                    _ => Err(Fault::new(Kind::Expected(String::from("a shorter list")))),
                }
            }
            (Node::Object(fields), _) => visitor.visit_map(Object { fields: fields.iter(), current: None }),
            (Node::Placeholder { .. }, _) => Err(Fault::new(Kind::Placeholder)),
        }
    }
}

macro_rules! wanted {
    ($($method:ident($($argument:ident: $type:ty),*) $wanted:expr;)*) => {
        $(fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, Fault> {
            self.decode($wanted, visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Decoder<'_> {
    type Error = Fault;

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
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let made = match self.0 {
            Node::Placeholder { tried, depth } => placeholder::make(Wanted::Struct(fields), *tried, *depth),
            _ => None,
        };
        let Node::Object(fields) = made.as_ref().unwrap_or(self.0) else {
            return Err(Fault::new(Kind::Expected(String::from("struct"))));
        };
        let result = visitor.visit_map(Object { fields: fields.iter(), current: None });
        if made.is_some() { result.map_err(|_| Fault::new(Kind::Placeholder)) } else { result }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    wanted! {
        deserialize_i8() Wanted::Number;
        deserialize_i16() Wanted::Number;
        deserialize_i32() Wanted::Number;
        deserialize_i64() Wanted::Number;
        deserialize_u8() Wanted::Number;
        deserialize_u16() Wanted::Number;
        deserialize_u32() Wanted::Number;
        deserialize_u64() Wanted::Number;
        deserialize_f32() Wanted::Number;
        deserialize_f64() Wanted::Number;
        deserialize_bool() Wanted::Bool;
        deserialize_char() Wanted::Text;
        deserialize_str() Wanted::Text;
        deserialize_string() Wanted::Text;
        deserialize_bytes() Wanted::Text;
        deserialize_byte_buf() Wanted::Text;
        deserialize_identifier() Wanted::Text;
        deserialize_unit() Wanted::Null;
        deserialize_unit_struct(_name: &'static str) Wanted::Null;
        deserialize_seq() Wanted::List;
        deserialize_tuple(len: usize) Wanted::Tuple(len);
        deserialize_tuple_struct(_name: &'static str, len: usize) Wanted::Tuple(len);
        deserialize_map() Wanted::Map;
        deserialize_any() Wanted::Anything;
        deserialize_enum(_name: &'static str, variants: &'static [&'static str]) Wanted::Enum(variants);
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

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
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

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        match self.current.take() {
            Some((key, value)) => {
                seed.deserialize(Decoder(value)).map_err(|fault| fault.within(Step::Key(key.clone())))
            }
            None => Err(Fault::new(Kind::Placeholder)),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.fields.len())
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
