//! Matching of text: exact, prefix, suffix, contains, regular expression.
//!
//! Knows no request.

use schemars::JsonSchema;
use serde::Serialize;

use super::compiled::{Compile, compiled};
use super::value::Given;
use crate::config::{joined, number};
use crate::{At, FromConfig, Problems, Regex};

/// Longest regular expression, in bytes.
const MAX_REGEX_LENGTH: usize = 1024;

/// How text is compared: exactly one of `exact`, `prefix`, `suffix`, `contains` and `regex`.
#[derive(Clone, Debug, Default, PartialEq, Eq, FromConfig, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StringMatch {
    /// The whole value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    /// How the value begins; not empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// How the value ends; not empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suffix: Option<String>,
    /// What the value contains; not empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// A regular expression for the whole value, as in RE2; at most 1024 bytes. Never matches a value that is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// Whether ASCII letters match in either case; not for `regex`, where `(?i)` says so. Default: false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ignore_case: bool,
}

/// A compiled [`StringMatch`].
#[derive(Clone, Debug)]
pub struct StringMatcher {
    kind: Kind,
    /// Empty for a regular expression.
    text: Vec<u8>,
    regex: Option<Box<Regex>>,
    ignore_case: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Exact,
    Prefix,
    Suffix,
    Contains,
    Regex,
}

/// The fields of a [`StringMatch`], and what each is.
const FIELDS: [(&str, Kind); 5] = [
    ("exact", Kind::Exact),
    ("prefix", Kind::Prefix),
    ("suffix", Kind::Suffix),
    ("contains", Kind::Contains),
    ("regex", Kind::Regex),
];

/// The fields of a [`StringMatch`], wherever they are written: exact, prefix, suffix, contains, regex.
#[derive(Clone, Copy)]
pub(super) struct Text<'w> {
    pub(super) fields: [Option<&'w str>; 5],
    pub(super) ignore_case: bool,
}

impl<'w> Text<'w> {
    #[inline(never)]
    pub(super) fn of(texts: [&'w Option<String>; 5], ignore_case: bool) -> Self {
        Self { fields: texts.map(Option::as_deref), ignore_case }
    }

    /// The fields that are given, by name.
    #[inline(never)]
    pub(super) fn given(&self) -> Given {
        let mut given = Given::default();
        for ((name, _), text) in FIELDS.iter().zip(&self.fields) {
            given.add(name, text.is_some());
        }
        given
    }

    /// Compiles the one field that is given; nothing when none is, or when it means nothing, which is noted.
    #[inline(never)]
    pub(super) fn compile(&self, at: &At<'_>, problems: &mut Problems) -> Option<Box<StringMatcher>> {
        let mut fields = FIELDS.iter().zip(&self.fields);
        let ((field, kind), text) = fields.find(|(_, value)| value.is_some())?;
        let (kind, text, ignore_case) = (*kind, (*text)?, self.ignore_case);
        if kind == Kind::Regex {
            if ignore_case {
                let reason = "does not go with `regex`; begin the expression with (?i)";
                problems.refuse(at, "ignore_case", reason);
                return None;
            }
            let regex = regex_of(text, &at.field(field), problems)?;
            let regex = Some(regex);
            return Some(Box::new(StringMatcher { kind, text: Vec::new(), regex, ignore_case }));
        }
        if text.is_empty() && kind != Kind::Exact {
            let reason = "is empty and would match everything; leave it out, or use `present`";
            problems.refuse(at, field, reason);
        }
        Some(Box::new(StringMatcher { kind, text: text.as_bytes().to_vec(), regex: None, ignore_case }))
    }
}

/// A regular expression that matches whole values.
pub(super) fn regex_of(text: &str, at: &At<'_>, problems: &mut Problems) -> Option<Box<Regex>> {
    let reason = if text.is_empty() {
        String::from("is empty; to match an empty value use `exact`")
    } else if text.len() > MAX_REGEX_LENGTH {
        let length = number(u64::try_from(text.len()).unwrap_or(u64::MAX));
        joined("is ", &length, " bytes long; at most 1024 are accepted")
    } else {
        match Regex::new(text) {
            Ok(regex) => return Some(Box::new(regex)),
            Err(error) => joined("is not a regular expression: ", &error, ""),
        }
    };
    problems.add(at, reason);
    None
}

compiled!(StringMatch => StringMatcher);

impl Compile for StringMatch {
    type Matcher = StringMatcher;

    fn compile(&self, at: &At<'_>, problems: &mut Problems) -> Option<StringMatcher> {
        let Self { exact, prefix, suffix, contains, regex, ignore_case } = self;
        let text = Text::of([exact, prefix, suffix, contains, regex], *ignore_case);
        let known = "`exact`, `prefix`, `suffix`, `contains`, `regex`";
        if !text.given().is_one(known, at, problems) {
            return None;
        }
        text.compile(at, problems).map(|matcher| *matcher)
    }
}

impl StringMatcher {
    /// Whether the value matches. Any bytes are accepted; a regular expression matches UTF-8 only.
    #[must_use]
    pub fn is_match(&self, value: &[u8]) -> bool {
        let equal = |part: &[u8], text: &[u8]| {
            if self.ignore_case { part.eq_ignore_ascii_case(text) } else { part == text }
        };
        let text = &*self.text;
        match self.kind {
            Kind::Exact => equal(value, text),
            Kind::Prefix => value.get(..text.len()).is_some_and(|part| equal(part, text)),
            Kind::Suffix => {
                let start = value.len().checked_sub(text.len());
                start.and_then(|start| value.get(start..)).is_some_and(|part| equal(part, text))
            }
            // An empty text is refused at configure; `windows` takes no length of zero.
            Kind::Contains => value.windows(text.len().max(1)).any(|part| equal(part, text)),
            Kind::Regex => {
                let text = std::str::from_utf8(value).ok();
                text.zip(self.regex.as_ref()).is_some_and(|(text, regex)| regex.matches(text))
            }
        }
    }
}
