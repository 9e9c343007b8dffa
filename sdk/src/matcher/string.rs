//! Matching of text: exact, prefix, suffix, contains, regular expression.
//!
//! Knows no request.

use regex_lite::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{ConfigError, FromConfig};

/// Longest regular expression, in bytes. With [`MAX_REGEX_SIZE`] it bounds what one match can cost: the engine is linear in the
/// length of the value times the size of the expression.
const MAX_REGEX_LENGTH: usize = 1024;

/// Largest compiled regular expression, in bytes; stops `(a{1000}){1000}`.
const MAX_REGEX_SIZE: usize = 128 * 1024;

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
    pattern: Pattern,
    ignore_case: bool,
}

#[derive(Clone, Debug)]
enum Pattern {
    Exact(Box<[u8]>),
    Prefix(Box<[u8]>),
    Suffix(Box<[u8]>),
    Contains(Box<[u8]>),
    Regex(Regex),
}

/// The fields of a [`StringMatch`], wherever they are written.
#[derive(Clone, Copy)]
pub(super) struct Text<'w> {
    pub(super) exact: Option<&'w str>,
    pub(super) prefix: Option<&'w str>,
    pub(super) suffix: Option<&'w str>,
    pub(super) contains: Option<&'w str>,
    pub(super) regex: Option<&'w str>,
    pub(super) ignore_case: bool,
}

impl<'w> Text<'w> {
    /// Exact, prefix, suffix, contains, regex.
    pub(super) fn of(texts: [&'w Option<String>; 5], ignore_case: bool) -> Self {
        let [exact, prefix, suffix, contains, regex] = texts.map(Option::as_deref);
        Self { exact, prefix, suffix, contains, regex, ignore_case }
    }

    /// The fields that are given, by name.
    pub(super) fn given(self) -> Vec<&'static str> {
        let fields = [
            ("exact", self.exact),
            ("prefix", self.prefix),
            ("suffix", self.suffix),
            ("contains", self.contains),
            ("regex", self.regex),
        ];
        fields.into_iter().filter(|(_, value)| value.is_some()).map(|(name, _)| name).collect()
    }

    /// Compiles the one field that is given; `None` when none is.
    pub(super) fn compile(self) -> Result<Option<StringMatcher>, ConfigError> {
        let Self { exact, prefix, suffix, contains, regex, ignore_case } = self;
        if ignore_case && regex.is_some() {
            return Err(ConfigError::invalid(
                "ignore_case",
                "does not go with `regex`; begin the expression with (?i)",
            ));
        }
        let pattern = match (exact, prefix, suffix, contains, regex) {
            (Some(text), ..) => Pattern::Exact(text.as_bytes().into()),
            (_, Some(text), ..) => Pattern::Prefix(filled("prefix", text)?),
            (_, _, Some(text), ..) => Pattern::Suffix(filled("suffix", text)?),
            (_, _, _, Some(text), _) => Pattern::Contains(filled("contains", text)?),
            (_, _, _, _, Some(text)) => Pattern::Regex(regex_of("regex", text)?),
            _ => return Ok(None),
        };
        Ok(Some(StringMatcher { pattern, ignore_case }))
    }
}

fn filled(field: &str, text: &str) -> Result<Box<[u8]>, ConfigError> {
    if text.is_empty() {
        return Err(ConfigError::invalid(
            field,
            "is empty and would match everything; leave it out, or use `present`",
        ));
    }
    Ok(text.as_bytes().into())
}

/// A regular expression that matches whole values.
pub(super) fn regex_of(field: &str, text: &str) -> Result<Regex, ConfigError> {
    let refused = |reason: String| Err(ConfigError::invalid(field, reason));
    if text.is_empty() {
        return refused(String::from("is empty; to match an empty value use `exact`"));
    }
    if text.len() > MAX_REGEX_LENGTH {
        return refused(["is ", &text.len().to_string(), " bytes long; at most 1024 are accepted"].concat());
    }
    let build = |text: &str| RegexBuilder::new(text).size_limit(MAX_REGEX_SIZE).build();
    // Alone first, or `a)|(b` would pass as part of the group around it.
    if let Err(error) = build(text) {
        return refused(["is not a regular expression: ", &error.to_string()].concat());
    }
    // A comment of `(?x)` at the end hides the closing bracket; a line break ends it.
    build(&["^(?:", text, ")$"].concat())
        .or_else(|_| build(&["^(?:", text, "\n)$"].concat()))
        .or_else(|error| refused(["is not a regular expression: ", &error.to_string()].concat()))
}

impl TryFrom<StringMatch> for StringMatcher {
    type Error = ConfigError;

    fn try_from(wire: StringMatch) -> Result<Self, ConfigError> {
        Self::try_from(&wire)
    }
}

impl TryFrom<&StringMatch> for StringMatcher {
    type Error = ConfigError;

    fn try_from(wire: &StringMatch) -> Result<Self, ConfigError> {
        let StringMatch { exact, prefix, suffix, contains, regex, ignore_case } = wire;
        Self::try_from(Text::of([exact, prefix, suffix, contains, regex], *ignore_case))
    }
}

impl TryFrom<Text<'_>> for StringMatcher {
    type Error = ConfigError;

    fn try_from(text: Text<'_>) -> Result<Self, ConfigError> {
        super::value::exactly_one(&text.given(), "`exact`, `prefix`, `suffix`, `contains`, `regex`")?;
        text.compile()?.ok_or_else(|| ConfigError::invalid("", "cannot match anything"))
    }
}

impl StringMatcher {
    /// Whether the value matches. Any bytes are accepted; a regular expression matches UTF-8 only.
    #[must_use]
    pub fn is_match(&self, value: &[u8]) -> bool {
        let equal = |part: &[u8], text: &[u8]| {
            if self.ignore_case { part.eq_ignore_ascii_case(text) } else { part == text }
        };
        match &self.pattern {
            Pattern::Exact(text) => equal(value, text),
            Pattern::Prefix(text) => value.get(..text.len()).is_some_and(|part| equal(part, text)),
            Pattern::Suffix(text) => {
                let start = value.len().checked_sub(text.len());
                start.and_then(|start| value.get(start..)).is_some_and(|part| equal(part, text))
            }
            // An empty text is refused at configure; `windows` takes no length of zero.
            Pattern::Contains(text) => value.windows(text.len().max(1)).any(|part| equal(part, text)),
            Pattern::Regex(regex) => std::str::from_utf8(value).is_ok_and(|text| regex.is_match(text)),
        }
    }
}
