//! Reads the wire forms of all matchers that compare a value: they share their fields, and so the code that reads them.
//!
//! Knows no field's meaning. Derived readers would be the largest part of a filter's code.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};

use super::attribute::AttributeType;
use super::value::IntegerRange;

/// Fields that hold an optional text.
const TEXTS: [&str; 7] = ["exact", "prefix", "suffix", "contains", "regex", "segment_prefix", "wildcard"];

/// Fields that are true or, when not given, false.
const FLAGS: [&str; 4] = ["ignore_case", "invert_match", "treat_missing_header_as_empty", "include_port"];

/// What the fields of a wire form hold; those it does not have are empty.
#[derive(Default)]
pub(super) struct Fields {
    /// In the order of [`TEXTS`].
    pub(super) texts: [Option<String>; 7],
    /// In the order of [`FLAGS`].
    pub(super) flags: [bool; 4],
    pub(super) name: String,
    pub(super) path: Vec<String>,
    pub(super) kind: Option<AttributeType>,
    pub(super) range: Option<IntegerRange>,
    pub(super) present: Option<bool>,
}

/// Reads a form that has these fields, of which `name` and `path` must be given.
pub(super) fn read<'de, D: Deserializer<'de>>(
    deserializer: D,
    known: &'static [&'static str],
) -> Result<Fields, D::Error> {
    deserializer.deserialize_struct("", known, Form(known))
}

struct Form(&'static [&'static str]);

impl<'de> Visitor<'de> for Form {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("struct")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = Fields::default();
        let mut given: Vec<&str> = Vec::new();
        while let Some(field) = map.next_key_seed(Field(self.0))? {
            if given.contains(&field) {
                return Err(Error::duplicate_field(field));
            }
            given.push(field);
            let place = |names: &[&str]| names.iter().position(|name| *name == field);
            if let Some(text) = place(&TEXTS).and_then(|index| fields.texts.get_mut(index)) {
                *text = map.next_value()?;
            } else if let Some(flag) = place(&FLAGS).and_then(|index| fields.flags.get_mut(index)) {
                *flag = map.next_value()?;
            } else {
                match field {
                    "name" => fields.name = map.next_value()?,
                    "path" => fields.path = map.next_value()?,
                    "type" => fields.kind = map.next_value()?,
                    "range" => fields.range = map.next_value()?,
                    _ => fields.present = map.next_value()?,
                }
            }
        }
        match ["name", "path"].into_iter().find(|field| self.0.contains(field) && !given.contains(field)) {
            Some(missing) => Err(Error::missing_field(missing)),
            None => Ok(fields),
        }
    }
}

/// A key that is one of these fields.
struct Field(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for Field {
    type Value = &'static str;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<&'static str, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Field {
    type Value = &'static str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("field identifier")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<&'static str, E> {
        let known = self.0.iter().copied().find(|name| *name == key);
        known.ok_or_else(|| E::unknown_field(key, self.0))
    }
}

/// `Deserialize` for a wire form: its fields by name, and where [`Fields`] has them.
macro_rules! wire_form {
    ($form:ident { $($field:literal),+ }, $pattern:pat => $made:expr) => {
        impl<'de> serde::Deserialize<'de> for $form {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let $pattern = $crate::matcher::wire::read(deserializer, &[$($field),+])?;
                Ok($made)
            }
        }
    };
}
pub(super) use wire_form;
