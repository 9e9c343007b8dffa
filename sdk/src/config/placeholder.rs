//! A deserializer that makes up a value of whatever type is asked for, so that the errors behind the first one are found too.
//!
//! Knows nothing about the value it stands for. What it makes is thrown away: a configuration with a placeholder is refused.

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::decode::{Fault, Kind};

/// How many kinds of value a visitor that takes anything is offered.
pub(super) const KINDS: u8 = 5;

/// How deep made-up values nest; types that contain themselves have no end otherwise.
const MAX_DEPTH: u8 = 16;

/// Text that a number of types accept: a duration, a time, an address, an address block.
const TEXTS: [&str; KINDS as usize] = ["1s", "1970-01-01T00:00:00Z", "0.0.0.0", "0.0.0.0/0", ""];

#[derive(Clone, Copy)]
pub(super) struct Placeholder {
    tried: u8,
    depth: u8,
}

impl Placeholder {
    pub(super) fn new(tried: u8) -> Self {
        Self { tried, depth: 0 }
    }

    fn inner(self) -> Result<Self, Fault> {
        if self.depth >= MAX_DEPTH {
            return Err(Fault::new(Kind::Placeholder));
        }
        Ok(Self { depth: self.depth.saturating_add(1), ..self })
    }

    /// Every error of a made-up value is of one kind, which is not reported.
    fn made<T>(result: Result<T, Fault>) -> Result<T, Fault> {
        result.map_err(|_| Fault::new(Kind::Placeholder))
    }

    fn text(self) -> &'static str {
        TEXTS.get(usize::from(self.tried)).copied().unwrap_or_default()
    }
}

macro_rules! zeros {
    ($($method:ident: $visit:ident($($value:expr)?);)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            Self::made(visitor.$visit($($value)?))
        })*
    };
}

/// Numbers: 0, and 1 where 0 is not taken.
macro_rules! numbers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            Self::made(visitor.visit_u64(u64::from(self.tried > 0)))
        })*
    };
}

macro_rules! texts {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            Self::made(visitor.visit_str(self.text()))
        })*
    };
}

impl<'de> Deserializer<'de> for Placeholder {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        Self::made(match self.tried {
            0 => visitor.visit_u64(0),
            1 => visitor.visit_seq(Items { item: self, left: 0 }),
            2 => visitor.visit_map(Fields { value: self, names: [].iter() }),
            3 => visitor.visit_str("1s"),
            _ => visitor.visit_bool(false),
        })
    }

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_f32 deserialize_f64
    }

    texts! { deserialize_str deserialize_string deserialize_identifier }

    zeros! {
        deserialize_bool: visit_bool(false);
        deserialize_char: visit_char('a');
        deserialize_bytes: visit_bytes(&[]);
        deserialize_byte_buf: visit_bytes(&[]);
        deserialize_option: visit_none();
        deserialize_unit: visit_unit();
        deserialize_ignored_any: visit_unit();
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        Self::made(visitor.visit_unit())
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        Self::made(visitor.visit_newtype_struct(self))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_tuple(usize::from(self.tried > 0), visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Fault> {
        Self::made(visitor.visit_seq(Items { item: self.inner()?, left: len }))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        Self::made(visitor.visit_map(Fields { value: self, names: [].iter() }))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        Self::made(visitor.visit_map(Fields { value: self.inner()?, names: fields.iter() }))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        // The next variant each time: the first may contain the type itself.
        let name = variants.get(usize::from(self.tried)).or(variants.first()).copied().unwrap_or_default();
        Self::made(visitor.visit_enum(Variant { name, content: self.inner()? }))
    }
}

struct Items {
    item: Placeholder,
    left: usize,
}

impl<'de> SeqAccess<'de> for Items {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                seed.deserialize(self.item).map(Some)
            }
            None => Ok(None),
        }
    }
}

struct Fields {
    value: Placeholder,
    names: std::slice::Iter<'static, &'static str>,
}

impl<'de> MapAccess<'de> for Fields {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        match self.names.next() {
            Some(name) => seed.deserialize(IntoDeserializer::<Fault>::into_deserializer(*name)).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        seed.deserialize(self.value)
    }
}

struct Variant {
    name: &'static str,
    content: Placeholder,
}

impl<'de> EnumAccess<'de> for Variant {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Fault> {
        let name = seed.deserialize(IntoDeserializer::<Fault>::into_deserializer(self.name))?;
        Ok((name, self))
    }
}

impl<'de> VariantAccess<'de> for Variant {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        seed.deserialize(self.content)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Fault> {
        self.content.deserialize_tuple(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.content.deserialize_struct("", fields, visitor)
    }
}
