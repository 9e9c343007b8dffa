//! Rewriting of a path: replaced, with another beginning, or by a regular expression. The query stays.

use regex_lite::{Captures, Regex};
use weir_sdk::{At, Problems};

use crate::config;

/// A compiled [`config::Path`].
#[derive(Clone, Debug)]
pub(crate) enum Path {
    Replace(Vec<u8>),
    Prefix { from: Vec<u8>, to: Vec<u8> },
    Regex { pattern: Regex, substitution: Vec<Part> },
}

/// A part of a substitution.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Part {
    Text(String),
    Group(usize),
}

impl Path {
    /// Checks and compiles what stands at `at`.
    pub(crate) fn compile(at: &At<'_>, written: &config::Path, problems: &mut Problems) -> Option<Self> {
        let before = problems.len();
        let mut check = |field: &str, value: &str| {
            if !value.starts_with('/')
                || value.bytes().any(|byte| matches!(byte, b'?' | b'#' | 0..=b' ' | 0x7f))
            {
                let reason = "expected a path such as `/shadow`, without query, fragment and spaces";
                problems.add(at.field(field), reason);
            }
        };
        let compiled = match written {
            config::Path::Replace(replace) => {
                check("replace", replace);
                Self::Replace(replace.clone().into_bytes())
            }
            config::Path::Prefix(prefix) => {
                check("prefix.from", &prefix.from);
                check("prefix.to", &prefix.to);
                Self::Prefix { from: prefix.from.clone().into_bytes(), to: prefix.to.clone().into_bytes() }
            }
            config::Path::Regex(regex) => {
                let pattern = Regex::new(&regex.pattern)
                    .map_err(|error| problems.add(at.field("regex.pattern"), error.to_string()))
                    .ok()?;
                let substitution = substitution(&regex.substitution, pattern.captures_len())
                    .map_err(|reason| problems.add(at.field("regex.substitution"), reason))
                    .ok()?;
                Self::Regex { pattern, substitution }
            }
        };
        (problems.len() == before).then_some(compiled)
    }

    /// The new path of an old one; `None` where it cannot be rewritten: a regular expression wants UTF-8, and makes no path that does not begin
    /// with `/` or has a control character.
    pub(crate) fn of(&self, whole: &[u8]) -> Option<Vec<u8>> {
        let at = whole.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(whole.len());
        let (path, query) = whole.split_at_checked(at)?;
        Some(match self {
            Self::Replace(new) => [new.as_slice(), query].concat(),
            Self::Prefix { from, to } => match path.strip_prefix(from.as_slice()) {
                Some(rest) => [to.as_slice(), rest, query].concat(),
                None => whole.to_vec(),
            },
            Self::Regex { pattern, substitution } => {
                let new = pattern.replace_all(std::str::from_utf8(path).ok()?, |groups: &Captures<'_>| {
                    let text = |part: &Part| match part {
                        Part::Text(text) => text.clone(),
                        Part::Group(group) => {
                            groups.get(*group).map_or_else(String::new, |group| group.as_str().into())
                        }
                    };
                    substitution.iter().map(text).collect::<String>()
                });
                if !new.starts_with('/') || new.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
                    return None;
                }
                [new.as_bytes(), query].concat()
            }
        })
    }
}

/// Reads `\1` and `\\`; `groups` is how many there are, the whole match among them.
fn substitution(text: &str, groups: usize) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            plain.push(character);
            continue;
        }
        match characters.next() {
            Some('\\') => plain.push('\\'),
            Some(digit @ '0'..='9') => {
                let group = usize::try_from(digit.to_digit(10).unwrap_or_default()).unwrap_or_default();
                if group >= groups {
                    return Err(format!(
                        "`\\{digit}` is not a group of `pattern`; it has {}",
                        groups.saturating_sub(1)
                    ));
                }
                parts.push(Part::Text(std::mem::take(&mut plain)));
                parts.push(Part::Group(group));
            }
            _ => return Err("expected a digit or a backslash behind `\\`".to_owned()),
        }
    }
    parts.push(Part::Text(plain));
    Ok(parts)
}
