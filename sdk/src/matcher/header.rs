//! Matching of a header.
//!
//! Knows no other part of a request.

use schemars::JsonSchema;
use serde::Serialize;

use super::compiled::{Compile, compiled};
use super::value::{IntegerRange, Named, Written};
use crate::config::joined;
use crate::names::is_token;
use crate::{At, FromConfig, Headers, Problems};

/// A header and what its value must be, as Envoy's `HeaderMatcher`: at most one of `exact`, `prefix`, `suffix`, `contains`, `regex`,
/// `range` and `present`; with none of them the header must be there.
///
/// Several lines of the header are one value, joined with `,`.
#[derive(Clone, Debug, Default, PartialEq, Eq, FromConfig, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeaderMatch {
    /// The header's name, in any case; `host` is `:authority`.
    pub name: String,
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
    /// The value is an integer in this range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<IntegerRange>,
    /// Whether the header must be there (`true`) or missing (`false`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub present: Option<bool>,
    /// Whether ASCII letters of the value match in either case; not for `regex`. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignore_case: bool,
    /// Matches when the value does not. A missing header still does not match, unless presence is asked for. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub invert_match: bool,
    /// Takes a missing header for an empty one. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub treat_missing_header_as_empty: bool,
}

/// A compiled [`HeaderMatch`].
#[derive(Clone, Debug)]
pub struct HeaderMatcher(pub(super) Box<Named>);

compiled!(HeaderMatch => HeaderMatcher);

impl Compile for HeaderMatch {
    type Matcher = HeaderMatcher;

    fn compile(&self, at: &At<'_>, problems: &mut Problems) -> Option<HeaderMatcher> {
        let Self { name, exact, prefix, suffix, contains, regex, range, .. } = self;
        if !is_token(name.strip_prefix(':').unwrap_or(name)) {
            let reason = joined("expected a header's name, found ", &crate::config::quoted(name), "");
            problems.refuse(at, "name", &reason);
        }
        let written = Written {
            texts: [exact, prefix, suffix, contains, regex],
            ignore_case: self.ignore_case,
            range,
            present: self.present,
            invert: self.invert_match,
        };
        let mut named = Named::new(name, &written, at, problems)?;
        // As blocks have it: lower case, `:authority` for `host`.
        named.name.make_ascii_lowercase();
        if named.name == "host" {
            named.name = String::from(":authority");
        }
        named.missing_is_empty = self.treat_missing_header_as_empty;
        Some(HeaderMatcher(named))
    }
}

impl HeaderMatcher {
    /// Compiles what stands at a place; what is wrong is noted.
    pub fn compile(wire: &HeaderMatch, at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        Compile::compile(wire, at, problems)
    }

    /// Whether the block has such a header.
    #[must_use]
    pub fn is_match(&self, headers: &dyn Headers) -> bool {
        let Named { name, value, missing_is_empty } = &*self.0;
        let joined = headers.joined(name);
        value.is_match(joined.as_deref().or(missing_is_empty.then_some(&[])))
    }
}
