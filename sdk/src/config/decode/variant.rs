//! Externally tagged variants: `"name"`, or `{"name": content}`.
//!
//! Knows no wording but that of a variant with too much or too little.

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, VariantAccess, Visitor};

use super::{Decoder, Fault, Kind, Target};
use crate::config::node::Node;

/// A variant: `"name"` or `{"name": content}`.
pub(super) struct Variant<'n> {
    pub(super) name: &'n str,
    pub(super) content: Option<&'n Node>,
}

impl<'de, 'n> EnumAccess<'de> for Variant<'n> {
    type Error = Fault;
    type Variant = Content<'n>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Content<'n>), Fault> {
        match seed.deserialize(IntoDeserializer::<Fault>::into_deserializer(self.name)) {
            Ok(value) => Ok((value, Content { name: self.name, node: self.content })),
            Err(fault) if self.content.is_some() => Err(fault.at(self.name, Target::Variant)),
            Err(fault) => Err(fault),
        }
    }
}

/// What belongs to a variant.
pub(super) struct Content<'n> {
    name: &'n str,
    node: Option<&'n Node>,
}

impl Content<'_> {
    fn decode<'de, S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Fault> {
        match self.node {
            Some(node) => seed.deserialize(Decoder(node)).map_err(|fault| fault.within_field(self.name)),
            None => Err(Fault::new(Kind::Custom(
                ["`", self.name, "` needs a value: write {\"", self.name, "\": …}"].concat(),
            ))),
        }
    }
}

impl<'de> VariantAccess<'de> for Content<'_> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        match self.node {
            None | Some(Node::Null | Node::Placeholder { .. }) => Ok(()),
            Some(Node::Object(fields)) if fields.is_empty() => Ok(()),
            Some(_) => Err(Fault::new(Kind::Custom(
                ["`", self.name, "` takes no value: write \"", self.name, "\""].concat(),
            ))),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        self.decode(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Fault> {
        self.decode(Visit(visitor, Shape::Tuple(len)))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.decode(Visit(visitor, Shape::Struct(fields)))
    }
}

enum Shape {
    Tuple(usize),
    Struct(&'static [&'static str]),
}

/// A visitor as a seed.
struct Visit<V>(V, Shape);

impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for Visit<V> {
    type Value = V::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        match self.1 {
            Shape::Tuple(len) => deserializer.deserialize_tuple(len, self.0),
            Shape::Struct(fields) => deserializer.deserialize_struct("", fields, self.0),
        }
    }
}
