//! Regular expressions as Istio reads them: with Go's `regexp`, and of limited length.

use regex::Regex;

/// The longest that Istio takes of a pattern for requests, and compiles of a proxy's version.
pub(super) const LONGEST: usize = 1024;

/// Why a text is no regular expression of Go's.
pub(super) fn problem(pattern: &str) -> Option<String> {
    // What is quoted so stands for itself, in Go only.
    if pattern.contains("\\Q") {
        return None;
    }
    match Regex::new(&go_braces(pattern)) {
        // What is too big for one may not be for the other.
        Ok(_) | Err(regex::Error::CompiledTooBig(_)) => {}
        Err(error) => {
            let error = error.to_string();
            let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
            return Some(format!("is no regular expression: {reason}"));
        }
    }
    let twice = repeated_twice(pattern)?;
    Some(format!("is no regular expression of Go's: `{twice}` repeats what is repeated already"))
}

/// As [`problem`], for a pattern that requests are matched with.
pub(super) fn problem_of_match(pattern: &str) -> Option<String> {
    if pattern.is_empty() {
        return Some("an empty regular expression matches nothing".to_owned());
    }
    if pattern.len() > LONGEST {
        return Some(format!("has {} bytes; Istio takes {LONGEST} at most", pattern.len()));
    }
    problem(pattern)
}

/// The same pattern with every `{` escaped that Go takes for itself: one that begins no count.
fn go_braces(pattern: &str) -> String {
    let mut text = String::with_capacity(pattern.len());
    let mut rest = pattern.char_indices();
    while let Some((index, c)) = rest.next() {
        match c {
            '\\' => {
                text.push(c);
                // `\p{Greek}` and `\x{10FFFF}` have braces of their own.
                if let Some((next, escaped)) = rest.next() {
                    text.push(escaped);
                    let after = &pattern[next + escaped.len_utf8()..];
                    if matches!(escaped, 'p' | 'P' | 'x') && after.starts_with('{') {
                        text.push('{');
                        rest.next();
                    }
                }
            }
            '{' if !is_count(&pattern[index + 1..]) => text.push_str("\\{"),
            c => text.push(c),
        }
    }
    text
}

/// Whether `2}`, `2,}` or `2,3}` begins a text.
fn is_count(text: &str) -> bool {
    let Some((count, _)) = text.split_once('}') else { return false };
    let (from, to) = count.split_once(',').unwrap_or((count, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    !from.is_empty() && is_number(from) && is_number(to)
}

/// Two repetitions behind each other, which Go's regular expressions refuse. Classes and what is escaped have none.
fn repeated_twice(pattern: &str) -> Option<String> {
    let mut rest = pattern.char_indices().peekable();
    // Where the repetition begins that has just ended.
    let mut last: Option<usize> = None;
    let mut in_class = false;
    while let Some((index, c)) = rest.next() {
        let begins = last.take();
        match c {
            '\\' => {
                rest.next();
            }
            '[' => in_class = true,
            ']' => in_class = false,
            _ if in_class => {}
            '*' | '+' | '?' => {
                if let Some(begin) = begins {
                    return Some(pattern[begin..=index].to_owned());
                }
                // It may be lazy.
                rest.next_if(|(_, next)| *next == '?');
                last = Some(index);
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_repeated_twice_is_found() {
        for (pattern, want) in [
            ("a++", Some("++")),
            ("a+?*", Some("+?*")),
            ("a+?b*", None),
            (r"a\++", None),
            ("[+*]+", None),
            (r"release-1\.2.*", None),
        ] {
            assert_eq!(repeated_twice(pattern).as_deref(), want, "{pattern}");
        }
    }

    #[test]
    fn patterns_are_those_that_go_reads() {
        for pattern in ["/v1/{id}", "a{2}b{2,}c{2,3}", r"\p{Greek}{2}\x{41}", "{", r"\Qa(\E", "[{]", "^$"] {
            assert_eq!(problem(pattern), None, "{pattern}");
        }
        for pattern in ["(", "a{2}{3", "[a", "*", "a**", "(?=a)", r"\p{Elvish}"] {
            let found = problem(pattern);
            // Only what begins a count is one.
            assert_eq!(found.is_none(), pattern == "a{2}{3", "{pattern}: {found:?}");
        }
        assert!(problem_of_match("").is_some());
        assert!(problem_of_match(&"a".repeat(LONGEST)).is_none());
        assert!(problem_of_match(&"a".repeat(LONGEST + 1)).is_some());
    }
}
