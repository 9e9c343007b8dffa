//! Envoy's `StringMatcher` and `RegexMatcher`.

use regex::bytes::{Regex, RegexBuilder};
use serde_json::Value;

use super::parse::{Fields, RouteError, object, string};

/// How a text must be.
#[derive(Clone, Debug)]
pub(super) struct StringMatch {
    pattern: Pattern,
    ignore_case: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Pattern {
    Exact(Vec<u8>),
    Prefix(Vec<u8>),
    Suffix(Vec<u8>),
    Contains(Vec<u8>),
    Regex(Regex),
}

impl StringMatch {
    pub(super) fn new(pattern: Pattern) -> Self {
        Self { pattern, ignore_case: false }
    }

    pub(super) fn parse(value: &Value, path: &str) -> Result<Self, RouteError> {
        let mut fields = object(value, path)?;
        let pattern = pattern(&mut fields, ["exact", "prefix", "suffix", "contains", "safe_regex"])?;
        let Some(pattern) = pattern else {
            return Err(fields.error("", "one of exact, prefix, suffix, contains, safe_regex is needed"));
        };
        let ignore_case = fields.bool("ignore_case")?;
        fields.finish()?;
        Ok(Self { pattern, ignore_case })
    }

    pub(super) fn is_match(&self, text: &[u8]) -> bool {
        let fold = |text: &[u8]| text.to_ascii_lowercase();
        if let (true, Pattern::Exact(_) | Pattern::Prefix(_) | Pattern::Suffix(_) | Pattern::Contains(_)) =
            (self.ignore_case, &self.pattern)
        {
            return self.pattern.folded(&fold).is_match(&fold(text));
        }
        self.pattern.is_match(text)
    }
}

impl Pattern {
    fn is_match(&self, text: &[u8]) -> bool {
        match self {
            Self::Exact(want) => text == want,
            Self::Prefix(want) => text.starts_with(want),
            Self::Suffix(want) => text.ends_with(want),
            Self::Contains(want) => want.is_empty() || text.windows(want.len()).any(|part| part == want),
            Self::Regex(regex) => regex.is_match(text),
        }
    }

    fn folded(&self, fold: &impl Fn(&[u8]) -> Vec<u8>) -> Self {
        match self {
            Self::Exact(text) => Self::Exact(fold(text)),
            Self::Prefix(text) => Self::Prefix(fold(text)),
            Self::Suffix(text) => Self::Suffix(fold(text)),
            Self::Contains(text) => Self::Contains(fold(text)),
            Self::Regex(regex) => Self::Regex(regex.clone()),
        }
    }
}

/// One of the five forms, under the names given.
pub(super) fn pattern(fields: &mut Fields<'_>, names: [&str; 5]) -> Result<Option<Pattern>, RouteError> {
    let [exact, prefix, suffix, contains, safe_regex] = names;
    let mut found = Vec::new();
    let makes = [
        (exact, Pattern::Exact as fn(Vec<u8>) -> Pattern),
        (prefix, Pattern::Prefix),
        (suffix, Pattern::Suffix),
        (contains, Pattern::Contains),
    ];
    for (name, make) in makes {
        if let Some((value, path)) = fields.child(name) {
            found.push(make(string(value, &path)?.as_bytes().to_vec()));
        }
    }
    if let Some((value, path)) = fields.child(safe_regex) {
        found.push(Pattern::Regex(regex(value, &path)?));
    }
    if found.len() > 1 {
        return Err(fields.error("", &format!("only one of {} may be given", names.join(", "))));
    }
    Ok(found.pop())
}

/// A `RegexMatcher`: the whole text must match.
pub(super) fn regex(value: &Value, path: &str) -> Result<Regex, RouteError> {
    compile(value, path, true)
}

/// A regular expression, matching the whole text or any part.
pub(super) fn compile(value: &Value, path: &str, whole: bool) -> Result<Regex, RouteError> {
    let mut fields = object(value, path)?;
    fields.ignore(&["google_re2"]);
    let pattern = fields.required_string("regex")?;
    let text = if whole { format!(r"\A(?:{pattern})\z") } else { pattern };
    let regex = RegexBuilder::new(&text).size_limit(1 << 24).build();
    let regex = regex.map_err(|error| {
        let last = error.to_string();
        let last = last.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        fields.error("regex", &format!("not a regular expression: {last}"))
    })?;
    fields.finish()?;
    Ok(regex)
}
