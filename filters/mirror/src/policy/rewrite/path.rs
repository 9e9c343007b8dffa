//! Rewriting of a path: replaced, with another beginning, or by a regular expression. The query stays.

use weir_sdk::{At, Problems, Regex};

use crate::config;
use crate::policy::bytes::joined;

/// A compiled [`config::Path`].
#[derive(Clone, Debug)]
pub(crate) enum Path {
    Replace(Vec<u8>),
    Prefix { from: Vec<u8>, to: Vec<u8> },
    Regex { pattern: Box<Regex>, substitution: Vec<Part> },
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
                    .map_err(|error| problems.add(at.field("regex.pattern"), error))
                    .ok()?;
                let substitution = substitution(&regex.substitution, pattern.groups())
                    .map_err(|reason| problems.add(at.field("regex.substitution"), reason))
                    .ok()?;
                Self::Regex { pattern: Box::new(pattern), substitution }
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
                let new = replaced(std::str::from_utf8(path).ok()?, pattern, substitution);
                if !new.starts_with('/') || new.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
                    return None;
                }
                [new.as_bytes(), query].concat()
            }
        })
    }
}

/// A path with every match replaced, as RE2's `GlobalReplace` does: one that is empty does not count where another ended.
fn replaced(path: &str, pattern: &Regex, substitution: &[Part]) -> String {
    let mut new = String::new();
    let mut places = vec![None; pattern.groups().saturating_add(1).saturating_mul(2)];
    let (mut kept, mut start) = (0, 0);
    let mut ended = None;
    while pattern.find_at(path, start, &mut places) {
        let of_group = |group: usize| match places.chunks(2).nth(group) {
            Some([Some(from), Some(to)]) => Some(*from..*to),
            _ => None,
        };
        let Some(range) = of_group(0) else { break };
        start = range.end;
        if !range.is_empty() || ended != Some(range.end) {
            new.push_str(path.get(kept..range.start).unwrap_or_default());
            for part in substitution {
                new.push_str(match part {
                    Part::Text(text) => text,
                    Part::Group(group) => {
                        of_group(*group).and_then(|range| path.get(range)).unwrap_or_default()
                    }
                });
            }
            kept = range.end;
            ended = Some(range.end);
        } else {
            let Some(next) = path.get(start..).and_then(|rest| rest.chars().next()) else { break };
            start = start.saturating_add(next.len_utf8());
        }
    }
    new.push_str(path.get(kept..).unwrap_or_default());
    new
}

/// Reads `\1` and `\\`; `groups` is how many there are, beside the whole match.
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
                if group > groups {
                    let groups = u32::try_from(groups).unwrap_or(u32::MAX).to_string();
                    let group = String::from_iter(['`', '\\', digit]);
                    return Err(joined(&group, "` is not a group of `pattern`; it has ", &groups));
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
