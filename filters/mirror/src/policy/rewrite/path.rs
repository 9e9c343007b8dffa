//! Rewriting of a path: replaced, with another beginning, or by a regular expression. The query stays.

use weir_sdk::{At, Problems, Regex};

use crate::config::Path;
use crate::policy::bytes::joined;
use crate::policy::check;

/// Checks what stands at `at`. Returns the regular expression, where there is one.
pub(crate) fn compile(at: &At<'_>, written: &Path, problems: &mut Problems) -> Option<Regex> {
    match written {
        Path::Replace(replace) => plain(at, "replace", replace, problems),
        Path::Prefix(prefix) => {
            plain(at, "prefix.from", &prefix.from, problems);
            plain(at, "prefix.to", &prefix.to, problems);
        }
        Path::Regex(regex) => match Regex::new(&regex.pattern) {
            Ok(pattern) => {
                let found = substitution(&regex.substitution, pattern.groups());
                check::told(problems, at, "regex.substitution", found);
                return Some(pattern);
            }
            Err(reason) => check::refuse(problems, at, "regex.pattern", &reason),
        },
    }
    None
}

#[inline(never)]
fn plain(at: &At<'_>, field: &str, value: &str, problems: &mut Problems) {
    if !value.starts_with('/') || value.bytes().any(|byte| matches!(byte, b'?' | b'#' | 0..=b' ' | 0x7f)) {
        let reason = "expected a path such as `/shadow`, without query, fragment and spaces";
        check::refuse(problems, at, field, reason);
    }
}

/// The new path of an old one; `None` where it cannot be rewritten: a regular expression wants UTF-8, and makes no path that does not begin
/// with `/` or has a control character.
pub(crate) fn of(written: &Path, regex: Option<&Regex>, whole: &[u8]) -> Option<Vec<u8>> {
    let at = whole.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(whole.len());
    let (path, query) = whole.split_at_checked(at)?;
    let (new, rest) = match written {
        Path::Replace(new) => (new.as_bytes(), &b""[..]),
        Path::Prefix(prefix) => match path.strip_prefix(prefix.from.as_bytes()) {
            Some(rest) => (prefix.to.as_bytes(), rest),
            None => (path, &b""[..]),
        },
        Path::Regex(written) => {
            let mut new = replaced(std::str::from_utf8(path).ok()?, regex?, written.substitution.as_bytes());
            if new.first() != Some(&b'/') || new.iter().any(|byte| *byte <= b' ' || *byte == 0x7f) {
                return None;
            }
            new.extend_from_slice(query);
            return Some(new);
        }
    };
    Some([new, rest, query].concat())
}

/// A path with every match replaced, as RE2's `GlobalReplace` does: one that is empty does not count where another ended.
fn replaced(path: &str, pattern: &Regex, substitution: &[u8]) -> Vec<u8> {
    let mut new = Vec::new();
    let mut places = vec![None; pattern.groups().saturating_add(1).saturating_mul(2)];
    let (mut kept, mut start) = (0, 0);
    let mut ended = None;
    while pattern.find_at(path, start, &mut places) {
        let of_group = |group: usize| match places.as_chunks::<2>().0.get(group) {
            Some([Some(from), Some(to)]) => Some(*from..*to),
            _ => None,
        };
        let Some(range) = of_group(0) else { break };
        start = range.end;
        if !range.is_empty() || ended != Some(range.end) {
            new.extend_from_slice(path.as_bytes().get(kept..range.start).unwrap_or_default());
            let mut is_escaped = false;
            for byte in substitution {
                let begins = *byte == b'\\' && !is_escaped;
                if is_escaped && *byte != b'\\' {
                    let range = of_group(usize::from(byte.wrapping_sub(b'0'))).unwrap_or_default();
                    new.extend_from_slice(path.as_bytes().get(range).unwrap_or_default());
                } else if !begins {
                    new.push(*byte);
                }
                is_escaped = begins;
            }
            kept = range.end;
            ended = Some(range.end);
        } else if start < path.len() {
            start = start.saturating_add(1);
            while !path.is_char_boundary(start) {
                start = start.saturating_add(1);
            }
        } else {
            break;
        }
    }
    new.extend_from_slice(path.as_bytes().get(kept..).unwrap_or_default());
    new
}

/// Checks `\1` and `\\`; `groups` is how many there are, beside the whole match.
fn substitution(text: &str, groups: usize) -> Result<(), String> {
    let mut is_escaped = false;
    for byte in text.bytes() {
        let begins = byte == b'\\' && !is_escaped;
        if is_escaped && byte != b'\\' {
            if !byte.is_ascii_digit() {
                break;
            }
            let group = usize::from(byte & 15);
            if group > groups {
                let [group, groups] = [group, groups].map(|number| number.to_string());
                let group = joined("`\\", &group, "` is not a group of `pattern`; it has ");
                return Err(joined(&group, &groups, ""));
            }
        }
        is_escaped = begins;
    }
    if is_escaped { Err(String::from("expected a digit or a backslash behind `\\`")) } else { Ok(()) }
}
