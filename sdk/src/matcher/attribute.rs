//! Matching of any attribute.
//!
//! Knows no list of them: what Envoy has by that path is compared.

use schemars::JsonSchema;
use serde::Serialize;

use super::compiled::{Compile, compiled};
use super::value::{Asked, IntegerRange, ValueMatcher, Written};
use crate::attributes::{decode_bool, decode_double, decode_int};
use crate::{At, Attributes, FromConfig, Problems};

/// The most segments a path may have; Envoy's longest, a key in a route's metadata, has five and one for each struct it is in.
const MAX_SEGMENTS: usize = 12;

/// How an attribute's bytes are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromConfig, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AttributeType {
    /// Text, such as `request.host` or `xds.cluster_name`.
    #[default]
    String,
    /// An integer, such as `source.port` or `connection.id`; for `range`.
    Int,
    /// A number of metadata; for `range`.
    Double,
    /// A boolean, such as `connection.mtls`: the text `true` or `false`.
    Bool,
}

/// An attribute and what it must be: at most one of `exact`, `prefix`, `suffix`, `contains`, `regex`, `range` and `present`; with
/// none of them Envoy must know it.
#[derive(Clone, Debug, Default, PartialEq, Eq, FromConfig, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AttributeMatch {
    /// The path, a segment each: `["source", "port"]`, `["xds", "route_metadata", "filter_metadata", "my.namespace", "tier"]`.
    pub path: Vec<String>,
    /// How the attribute is read. Default: `INT` with `range`, `STRING` otherwise.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<AttributeType>,
    /// The whole value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    /// How the value begins; not empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// How the value ends; not empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suffix: Option<String>,
    /// What the value contains; not empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// A regular expression for the whole value, as in RE2; at most 1024 bytes. Never matches a value that is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// The value is a number in this range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<IntegerRange>,
    /// Whether Envoy must know the attribute (`true`) or not (`false`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub present: Option<bool>,
    /// Whether ASCII letters of the value match in either case; not for `regex`. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignore_case: bool,
    /// Matches when the value does not. A missing attribute still does not match, unless presence is asked for. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub invert_match: bool,
}

/// A compiled [`AttributeMatch`].
#[derive(Clone, Debug)]
pub struct AttributeMatcher {
    path: Vec<String>,
    kind: AttributeType,
    value: ValueMatcher,
}

compiled!(AttributeMatch => AttributeMatcher);

impl Compile for AttributeMatch {
    type Matcher = AttributeMatcher;

    fn compile(&self, at: &At<'_>, problems: &mut Problems) -> Option<AttributeMatcher> {
        let Self { path, kind, exact, prefix, suffix, contains, regex, range, .. } = self;
        let texts = [exact, prefix, suffix, contains, regex];
        let kind = kind.unwrap_or(if range.is_some() { AttributeType::Int } else { AttributeType::String });
        if path.is_empty()
            || path.len() > MAX_SEGMENTS
            || path.iter().any(|s| s.is_empty() || s.as_bytes().contains(&0))
        {
            let reason = "expected 1 to 12 segments, none of them empty, such as [\"source\", \"port\"]";
            problems.refuse(at, "path", reason);
        }
        match kind {
            AttributeType::Int | AttributeType::Double if texts.iter().any(|text| text.is_some()) => {
                problems.refuse(at, "type", "a number is compared by `range` only");
            }
            AttributeType::Bool if range.is_some() => {
                problems.refuse(at, "range", "does not go with the type `BOOL`");
            }
            _ => {}
        }
        let (ignore_case, invert) = (self.ignore_case, self.invert_match);
        let written = Written { texts, ignore_case, range, present: self.present, invert };
        let value = ValueMatcher::new(&written, at, problems)?;
        Some(AttributeMatcher { path: path.clone(), kind, value })
    }
}

impl AttributeMatcher {
    /// Whether the attribute is there and as it must be. Bytes of another type than `type` do not match.
    #[must_use]
    pub fn is_match(&self, attributes: &(impl Attributes + ?Sized)) -> bool {
        let mut path = [""; MAX_SEGMENTS];
        for (slot, segment) in path.iter_mut().zip(&self.path) {
            *slot = segment;
        }
        let bytes = attributes.attribute(path.get(..self.path.len()).unwrap_or_default());
        let bytes = bytes.as_deref();
        let invert = self.value.invert;
        match (&self.value.asked, self.kind) {
            (Asked::Range(range), AttributeType::Int) => {
                bytes.and_then(decode_int).is_some_and(|number| range.contains(number) != invert)
            }
            #[expect(
                clippy::cast_precision_loss,
                reason = "bounds beyond 2^53 are compared as the nearest double"
            )]
            (Asked::Range(range), AttributeType::Double) => bytes
                .and_then(decode_double)
                .is_some_and(|number| (number >= range.start as f64 && number < range.end as f64) != invert),
            (Asked::Text(text), AttributeType::Bool) => bytes
                .and_then(decode_bool)
                .is_some_and(|truth| text.is_match(if truth { b"true" } else { b"false" }) != invert),
            _ => self.value.is_match(bytes),
        }
    }
}
