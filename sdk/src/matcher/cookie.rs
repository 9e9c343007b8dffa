//! Matching of a cookie by its name.
//!
//! Knows the header `cookie` only.

use schemars::JsonSchema;
use serde::Serialize;

use super::compiled::{Compile, compiled};
use super::value::{IntegerRange, Named, Written};
use crate::names::cut;
use crate::{At, FromConfig, Headers, Problems};

/// A cookie and what its value must be: at most one of `exact`, `prefix`, `suffix`, `contains`, `regex`, `range` and `present`; with
/// none of them it must be there.
///
/// The first of several cookies of a name counts; quotes around a value do not belong to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, FromConfig, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CookieMatch {
    /// The cookie's name; case matters.
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
    /// Whether the cookie must be there (`true`) or missing (`false`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub present: Option<bool>,
    /// Whether ASCII letters of the value match in either case; not for `regex`. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignore_case: bool,
    /// Matches when the value does not. A missing cookie still does not match, unless presence is asked for. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub invert_match: bool,
}

/// A compiled [`CookieMatch`].
#[derive(Clone, Debug)]
pub struct CookieMatcher(pub(super) Box<Named>);

compiled!(CookieMatch => CookieMatcher);

impl Compile for CookieMatch {
    type Matcher = CookieMatcher;

    fn compile(&self, at: &At<'_>, problems: &mut Problems) -> Option<CookieMatcher> {
        let Self { name, exact, prefix, suffix, contains, regex, range, .. } = self;
        if name.is_empty()
            || name
                .contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, ';' | '=' | ',' | '"'))
        {
            problems.refuse(at, "name", "expected a cookie's name, without spaces and `;`, `=`, `,`");
        }
        let written = Written {
            texts: [exact, prefix, suffix, contains, regex],
            ignore_case: self.ignore_case,
            range,
            present: self.present,
            invert: self.invert_match,
        };
        Named::new(name, &written, at, problems).map(CookieMatcher)
    }
}

impl CookieMatcher {
    /// Whether the request has such a cookie.
    #[must_use]
    pub fn is_match(&self, request: &dyn Headers) -> bool {
        self.0.value.is_match(cookie(request, &self.0.name))
    }
}

/// The value of the first cookie of a name, over all `cookie` lines; without the quotes around it.
#[must_use]
pub fn cookie<'r>(request: &'r dyn Headers, name: &str) -> Option<&'r [u8]> {
    for (header, line) in request.map().iter() {
        let mut rest = (header == b"cookie").then_some(line);
        while let Some(line) = rest {
            let (pair, others) = cut(line, b';');
            rest = others;
            let (key, value) = cut(pair, b'=');
            if let Some(value) = value
                && key.trim_ascii() == name.as_bytes()
            {
                return Some(match value.trim_ascii() {
                    [b'"', inner @ .., b'"'] => inner,
                    value => value,
                });
            }
        }
    }
    None
}
