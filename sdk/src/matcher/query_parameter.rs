//! Matching of a query parameter.
//!
//! Knows `:path` only.

use schemars::JsonSchema;
use serde::Serialize;

use super::compiled::{Compile, compiled};
use super::value::{IntegerRange, Named, Written};
use crate::names::cut;
use crate::{At, FromConfig, Problems};

/// A query parameter and what its value must be: at most one of `exact`, `prefix`, `suffix`, `contains`, `regex`, `range` and
/// `present`; with none of them it must be there.
///
/// The first of several values counts, nothing is URL-decoded, and a bare key has an empty value: as in Envoy.
#[derive(Clone, Debug, Default, PartialEq, Eq, FromConfig, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QueryParameterMatch {
    /// The parameter's name, as it stands in the URL; case matters.
    pub name: String,
    /// The whole value; empty for a bare key.
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
    /// The value is an integer in this range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<IntegerRange>,
    /// Whether the parameter must be there (`true`) or missing (`false`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub present: Option<bool>,
    /// Whether ASCII letters of the value match in either case; not for `regex`. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignore_case: bool,
    /// Matches when the value does not. A missing parameter still does not match, unless presence is asked for. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub invert_match: bool,
}

/// A compiled [`QueryParameterMatch`].
#[derive(Clone, Debug)]
pub struct QueryParameterMatcher(pub(super) Box<Named>);

compiled!(QueryParameterMatch => QueryParameterMatcher);

impl Compile for QueryParameterMatch {
    type Matcher = QueryParameterMatcher;

    fn compile(&self, at: &At<'_>, problems: &mut Problems) -> Option<QueryParameterMatcher> {
        let Self { name, exact, prefix, suffix, contains, regex, range, .. } = self;
        if name.is_empty() || name.bytes().any(|byte| matches!(byte, b'&' | b'=' | b'#')) {
            let reason = "expected a parameter's name as it stands in the URL, without `&`, `=` and `#`";
            problems.refuse(at, "name", reason);
        }
        let written = Written {
            texts: [exact, prefix, suffix, contains, regex],
            ignore_case: self.ignore_case,
            range,
            present: self.present,
            invert: self.invert_match,
        };
        Named::new(name, &written, at, problems).map(QueryParameterMatcher)
    }
}

impl QueryParameterMatcher {
    /// Whether the value of `:path` has such a parameter.
    #[must_use]
    pub fn is_match(&self, path: &[u8]) -> bool {
        self.0.value.is_match(query_parameter(path, &self.0.name))
    }
}

/// The first value of a query parameter of `:path`, not decoded; empty for a bare key.
#[must_use]
pub fn query_parameter<'p>(path: &'p [u8], name: &str) -> Option<&'p [u8]> {
    let (path, _) = cut(path, b'#');
    let (_, mut rest) = cut(path, b'?');
    while let Some(query) = rest {
        let (parameter, others) = cut(query, b'&');
        rest = others;
        match parameter.strip_prefix(name.as_bytes()) {
            // Of `?&`, the nothing between is no parameter.
            Some([]) if !parameter.is_empty() => return Some(&[]),
            Some([b'=', value @ ..]) => return Some(value),
            _ => {}
        }
    }
    None
}
