//! Matching of the path, without query and fragment.
//!
//! Knows `:path` only.

use schemars::JsonSchema;
use serde::Serialize;

use super::compiled::{Compile, compiled};
use super::string::{StringMatcher, Text};
use crate::{At, FromConfig, Problems};

/// What the path must be: exactly one of `exact`, `prefix`, `segment_prefix`, `suffix`, `contains` and `regex`. The query string is
/// not part of the path, and nothing is decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq, FromConfig, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PathMatch {
    /// The whole path, such as `/login`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    /// How the path begins: `/a` also matches `/ab`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// The segments the path begins with: `/a` matches `/a`, `/a/` and `/a/b`, not `/ab`. A slash at the end makes no difference.
    /// Envoy calls it `path_separated_prefix`, the Gateway API `PathPrefix`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segment_prefix: Option<String>,
    /// How the path ends, such as `.png`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suffix: Option<String>,
    /// What the path contains.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// A regular expression for the whole path, as in RE2; at most 1024 bytes. Never matches a path that is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// Whether ASCII letters match in either case; not for `regex`. Default: false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ignore_case: bool,
}

/// Fields of a [`PathMatch`]; the first three begin as paths do.
const FIELDS: [&str; 5] = ["exact", "prefix", "segment_prefix", "suffix", "contains"];

const NO_BEGINNING: &str = "never matches: a path begins with `/`";
const QUERY: &str = "never matches: query and fragment are not part of the path; use `query_parameters`";

/// A compiled [`PathMatch`].
#[derive(Clone, Debug)]
pub struct PathMatcher {
    text: Box<StringMatcher>,
    /// How long a prefix of whole segments is.
    segments: Option<usize>,
}

compiled!(PathMatch => PathMatcher);

impl Compile for PathMatch {
    type Matcher = PathMatcher;

    fn compile(&self, at: &At<'_>, problems: &mut Problems) -> Option<PathMatcher> {
        let Self { exact, prefix, segment_prefix, suffix, contains, regex, ignore_case } = self;
        let texts = [exact, prefix, segment_prefix, suffix, contains];
        for query in [false, true] {
            for (place, (field, text)) in FIELDS.iter().zip(&texts).enumerate() {
                let Some(text) = text else { continue };
                let is_wrong = match query {
                    true => text.bytes().any(|byte| matches!(byte, b'?' | b'#')),
                    false => place < 3 && !text.starts_with('/'),
                };
                if is_wrong {
                    problems.refuse(at, field, if query { QUERY } else { NO_BEGINNING });
                    return None;
                }
            }
        }
        let mut text = Text::of([exact, prefix, suffix, contains, regex], *ignore_case);
        let mut given = text.given();
        given.add("segment_prefix", segment_prefix.is_some());
        let known = "`exact`, `prefix`, `segment_prefix`, `suffix`, `contains`, `regex`";
        if !given.is_one(known, at, problems) {
            return None;
        }
        let mut segments = None;
        if let Some(prefix) = segment_prefix {
            let prefix = prefix.trim_end_matches('/');
            segments = Some(prefix.len());
            text.fields[1] = Some(if prefix.is_empty() { "/" } else { prefix });
        }
        Some(PathMatcher { text: text.compile(at, problems)?, segments })
    }
}

impl PathMatcher {
    /// Whether the value of `:path`, which may have a query, matches.
    #[must_use]
    pub fn is_match(&self, path: &[u8]) -> bool {
        let path = path.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default();
        self.text.is_match(path)
            && self.segments.is_none_or(|length| matches!(path.get(length), None | Some(b'/')))
    }
}
