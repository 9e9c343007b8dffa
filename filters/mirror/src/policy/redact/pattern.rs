//! What is recognised by its look: card numbers, e-mail addresses, credentials, and what a regular expression finds.
//!
//! Knows no place and no encoding: it sees decoded text. All but the regular expressions read a text once, whatever it says.

use std::ops::Range;

use weir_sdk::Regex;

use super::percent::{base64, find};
use super::text::{CLOSE, OPEN};
use crate::config::Find;

/// Longest regular expression in bytes, as in the SDK's matchers.
const MAX_REGEX_LENGTH: usize = 1024;

/// What a search costs beside its text, as bytes of text.
const SEARCH_BYTES: u64 = 4;

/// Digits of a card number, ISO/IEC 7812: shorter ones are no longer issued.
const CARD_DIGITS: std::ops::RangeInclusive<usize> = 13..=19;

/// Characters between two groups of digits of one number.
const MAX_GAP: usize = 3;

/// Something to look for.
#[derive(Clone, Debug)]
pub(super) enum Finder {
    Card,
    Email,
    Credentials,
    Regex(Box<Regex>),
}

impl Finder {
    pub(super) fn compile(find: &Find) -> Result<Self, String> {
        let text = match find {
            Find::CardNumber {} => return Ok(Self::Card),
            Find::Email {} => return Ok(Self::Email),
            Find::Credentials {} => return Ok(Self::Credentials),
            Find::Regex(text) => text,
        };
        if text.len() > MAX_REGEX_LENGTH {
            return Err(["is ", &text.len().to_string(), " bytes long; at most 1024 are accepted"].concat());
        }
        let regex = Regex::new(text).map_err(|error| ["is not a regular expression: ", &error].concat())?;
        if regex.matches("") {
            return Err(String::from(
                "matches nothing at all, and so everywhere; expected at least one character",
            ));
        }
        Ok(Self::Regex(Box::new(regex)))
    }

    /// Adds where it is found; not empty, in any order, and they may overlap. Regular expressions take from `budget`; when nothing is left,
    /// all of the text counts as found.
    pub(super) fn find(&self, text: &str, budget: &mut u64, found: &mut Vec<Range<usize>>) {
        match self {
            Self::Card => cards(text, found),
            Self::Email => emails(text, found),
            Self::Credentials => {
                schemes(text, found);
                tokens(text, found);
                user_infos(text, found);
            }
            Self::Regex(regex) => expressions(text, regex, budget, found),
        }
    }
}

/// What a regular expression finds. To find one match the engine may read to the end of the text, so that many of them can take the square of
/// its length: what each might take is paid before.
fn expressions(text: &str, regex: &Regex, budget: &mut u64, found: &mut Vec<Range<usize>>) {
    // Two steps of an expression are one unit.
    let cost = u64::try_from(regex.steps().div_ceil(2)).unwrap_or(u64::MAX);
    let mut places = [None; 2];
    let mut start = 0usize;
    while start < text.len() {
        let rest = u64::try_from(text.len().saturating_sub(start)).unwrap_or(u64::MAX);
        let Some(left) = budget.checked_sub(rest.saturating_add(SEARCH_BYTES).saturating_mul(cost)) else {
            *budget = 0;
            found.push(0..text.len());
            return;
        };
        *budget = left;
        if !regex.find_at(text, start, &mut places) {
            return;
        }
        let [Some(from), Some(to)] = places else { return };
        let range = from..to;
        // Nothing was found before a character: on to the next one.
        let next = text.get(range.end..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8);
        start = if range.is_empty() { range.end.saturating_add(next) } else { range.end };
        if !range.is_empty() {
            found.push(range);
        }
    }
}

/// A digit: ASCII or full-width, which some languages' parsers take for the same.
fn digit(char: char) -> Option<u32> {
    match char {
        '0'..='9' => char.to_digit(10),
        '\u{ff10}'..='\u{ff19}' => u32::from(char).checked_sub(0xff10),
        _ => None,
    }
}

fn is_gap(char: char) -> bool {
    matches!(char, '-' | '.' | '_' | '/' | '+' | '\u{ad}' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}')
        || char.is_whitespace()
}

/// The last digits of a run, the newest at the end: value, start, and whether a group begins with it.
type Run = Vec<(u32, usize, bool)>;

/// Numbers begin and end with groups of digits: a longer number without gaps is not searched for one within it.
fn cards(text: &str, found: &mut Vec<Range<usize>>) {
    let mut run = Run::new();
    let (mut group, mut gap, mut end) = (0usize, 0usize, 0usize);
    for (at, char) in text.char_indices() {
        if let Some(value) = digit(char) {
            if run.len() >= *CARD_DIGITS.end() {
                run.remove(0);
            }
            run.push((value, at, group == 0));
            group = group.saturating_add(1);
            gap = 0;
            end = at.saturating_add(char.len_utf8());
            continue;
        }
        if group > 0 {
            card_at_the_end(&run, end, found);
            if group > *CARD_DIGITS.end() {
                run.clear();
            }
        }
        group = 0;
        gap = gap.saturating_add(1);
        if gap > MAX_GAP || !is_gap(char) {
            run.clear();
        }
    }
    if group > 0 {
        card_at_the_end(&run, end, found);
    }
}

/// The longest number that ends here: Luhn's sum is taken from the right, and looked at where a group begins.
fn card_at_the_end(run: &[(u32, usize, bool)], end: usize, found: &mut Vec<Range<usize>>) {
    let mut sum: u32 = 0;
    let mut card = None;
    let mut count = 0usize;
    for (value, start, begins) in run.iter().rev() {
        count = count.saturating_add(1);
        let doubled = if count.is_multiple_of(2) { value.saturating_mul(2) } else { *value };
        sum = sum.saturating_add(if doubled > 9 { doubled.saturating_sub(9) } else { doubled });
        let issued = matches!(value, 2..=6 | 8);
        if *begins && CARD_DIGITS.contains(&count) && sum.is_multiple_of(10) && issued {
            card = Some(*start..end);
        }
    }
    found.extend(card);
}

/// The length of the characters of a kind that a text begins with.
#[inline(never)]
fn leading(text: &str, kind: fn(char) -> bool) -> usize {
    text.char_indices().find(|(_, char)| !kind(*char)).map_or(text.len(), |(at, _)| at)
}

/// Where the characters of a kind begin that a text ends in.
#[inline(never)]
fn trailing(text: &str, kind: fn(char) -> bool) -> usize {
    let others = text.char_indices().rev().find(|(_, char)| !kind(*char));
    others.map_or(0, |(at, char)| at.saturating_add(char.len_utf8()))
}

/// `local@domain.tld`. The local part may be quoted, both may be in any script.
fn emails(text: &str, found: &mut Vec<Range<usize>>) {
    for (at, byte) in text.bytes().enumerate() {
        if byte != b'@' {
            continue;
        }
        let before = text.get(..at).unwrap_or_default();
        let start = match before.strip_suffix('"') {
            Some(quoted) => match quoted.bytes().rposition(|byte| matches!(byte, b'"' | b'@' | b'\n')) {
                Some(quote) => quote,
                None => before.len(),
            },
            None => trailing(before, |char| {
                char.is_ascii_alphanumeric() || is_one_of(char, b"!#$%'*+-^_`{|}~.") || is_letter(char)
            }),
        };
        let after = text.get(at.saturating_add(1)..).unwrap_or_default();
        let length = leading(after, |char| {
            char.is_ascii_alphanumeric() || matches!(char, '-' | '.') || is_letter(char)
        });
        let domain = after.get(..length).unwrap_or_default();
        let domain = domain.get(..trailing(domain, |char| matches!(char, '.' | '-'))).unwrap_or_default();
        let last = domain.bytes().rposition(|byte| byte == b'.').unwrap_or(domain.len());
        let first = domain.as_bytes().get(last.saturating_add(1));
        if start < at && first.is_some_and(|first| !first.is_ascii_digit()) {
            let end = at.saturating_add(1).saturating_add(domain.len());
            found.push(start..end);
        }
    }
}

fn is_one_of(char: char, bytes: &[u8]) -> bool {
    u8::try_from(char).is_ok_and(|byte| bytes.contains(&byte))
}

fn is_letter(char: char) -> bool {
    !char.is_ascii() && !char.is_whitespace() && !matches!(char, OPEN | CLOSE)
}

/// `Bearer <token>` and `Basic <user and password>`: what follows the name of the scheme.
fn schemes(text: &str, found: &mut Vec<Range<usize>>) {
    for (at, byte) in text.bytes().enumerate() {
        if !matches!(byte, b'b' | b'B') {
            continue;
        }
        for (name, basic) in [("bearer", false), ("basic", true)] {
            let start = at.saturating_add(name.len());
            if !text.get(at..start).is_some_and(|here| here.eq_ignore_ascii_case(name)) {
                continue;
            }
            let rest = text.get(start..).unwrap_or_default();
            let gap = leading(rest, |char| matches!(char, ' ' | '\t' | ':' | '"'));
            // Without the gap the name is a part of a longer word, perhaps one of many: only what stands apart is measured.
            if gap == 0 {
                continue;
            }
            let token = rest.get(gap..).unwrap_or_default();
            let length = leading(token, |char| char.is_ascii_alphanumeric() || is_one_of(char, b"-._~+/="));
            let value = token.get(..length).unwrap_or_default();
            let likely =
                if basic { base64(value).is_some_and(|pair| pair.contains(&b':')) } else { length >= 8 };
            if likely {
                let start = start.saturating_add(gap);
                found.push(start..start.saturating_add(length));
            }
        }
    }
}

fn is_part(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '-' | '_')
}

/// JSON Web Tokens: three or five parts of base64url, of which the first is a JSON object.
fn tokens(text: &str, found: &mut Vec<Range<usize>>) {
    let mut start = 0usize;
    while let Some(rest) = text.get(start..).filter(|rest| !rest.is_empty()) {
        start = start.saturating_add(leading(rest, |char| !is_part(char)));
        let word = text.get(start..).unwrap_or_default();
        let word = word.get(..leading(word, |char| is_part(char) || char == '.')).unwrap_or_default();
        let end = start.saturating_add(word.len());
        // A sentence may stand before it: `see.eyJ…`.
        let mut at = start;
        for part in word.as_bytes().split(|byte| *byte == b'.') {
            let behind = at.saturating_add(part.len());
            if part.starts_with(b"e") && behind < end && begins_object(part) {
                found.push(at..end);
                break;
            }
            at = behind.saturating_add(1);
        }
        start = end;
    }
}

/// Whether this is an object of JSON, encoded.
fn begins_object(encoded: &[u8]) -> bool {
    let json = std::str::from_utf8(encoded).ok().and_then(base64).unwrap_or_default();
    json.strip_prefix(b"{").is_some_and(|rest| rest.trim_ascii_start().starts_with(b"\""))
}

/// What stands before the `@` of a URL's authority.
fn user_infos(text: &str, found: &mut Vec<Range<usize>>) {
    let mut start = 0usize;
    while let Some(rest) = text.get(start..)
        && let Some(slashes) = find(rest.as_bytes(), b"//")
    {
        start = start.saturating_add(slashes).saturating_add(2);
        let rest = text.get(start..).unwrap_or_default();
        let end = leading(rest, |char| !char.is_whitespace() && !is_one_of(char, b"/?#\"<>\\"));
        let authority = rest.as_bytes().get(..end).unwrap_or_default();
        let info = authority.iter().rposition(|byte| *byte == b'@').unwrap_or_default();
        if info > 0 {
            found.push(start..start.saturating_add(info));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::BUDGET;
    use super::*;

    /// What is found, each between `«»`.
    #[track_caller]
    fn check(find: &Find, text: &str, expected: &str) {
        let mut found = Vec::new();
        Finder::compile(find).unwrap().find(text, &mut BUDGET.clone(), &mut found);
        found.sort_by_key(|range| (range.start, usize::MAX - range.end));
        let (mut marked, mut end) = (String::new(), 0);
        for range in found.into_iter() {
            if range.end <= end {
                continue;
            }
            marked.push_str(&text[end..range.start.max(end)]);
            marked.push_str(&format!("«{}»", &text[range.start.max(end)..range.end]));
            end = range.end;
        }
        marked.push_str(&text[end..]);
        assert_eq!(marked, expected);
    }

    #[test]
    fn card_numbers() {
        let card = |text: &str, expected: &str| check(&Find::CardNumber {}, text, expected);
        card("4111111111111111", "«4111111111111111»");
        card("pay 4111 1111 1111 1111.", "pay «4111 1111 1111 1111».");
        card("4111-1111-1111-1111", "«4111-1111-1111-1111»");
        card("4111\u{a0}1111\u{2013}1111\u{200b}1111", "«4111\u{a0}1111\u{2013}1111\u{200b}1111»");
        card("3782 822463 10005", "«3782 822463 10005»");
        card("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "«4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1»");
        card("\u{ff14}111111111111111", "«\u{ff14}111111111111111»");
        card("cvv 123 4111 1111 1111 1111 737", "cvv 123 «4111 1111 1111 1111» 737");
        card("x4111111111111111y", "x«4111111111111111»y");
        card("12/27 4222222222222", "12/27 «4222222222222»");
        card("4111111111111111 5555555555554444", "«4111111111111111» «5555555555554444»");
        card("4111111111111112", "4111111111111112");
        card("1700000000000", "1700000000000");
        card("order 411111111111 1", "order 411111111111 1");
        card("4111:1111:1111:1111", "4111:1111:1111:1111");
        card("941111111111111111111111", "941111111111111111111111");
        card(&"4".repeat(100_000), &"4".repeat(100_000));
    }

    #[test]
    fn mail_addresses() {
        let email = |text: &str, expected: &str| check(&Find::Email {}, text, expected);
        email("to bob@example.com.", "to «bob@example.com».");
        email("<bob.o'hara+x@mail.example.co.uk>", "<«bob.o'hara+x@mail.example.co.uk»>");
        email("\"bob smith\"@example.com", "«\"bob smith\"@example.com»");
        email("jürgen@bücher.example", "«jürgen@bücher.example»");
        email("mail=bob@example.com&x", "mail=«bob@example.com»&x");
        email("npm i pkg@1.2.3, bob@localhost, @x.com, a@", "npm i pkg@1.2.3, bob@localhost, @x.com, a@");
        let many = "a@".repeat(50_000);
        email(&many, &many);
    }

    #[test]
    fn credentials() {
        let credentials = |text: &str, expected: &str| check(&Find::Credentials {}, text, expected);
        credentials(
            "Authorization: Bearer abcDEF123.x-y_z~+/=",
            "Authorization: Bearer «abcDEF123.x-y_z~+/=»",
        );
        credentials("bearer  12345678", "bearer  «12345678»");
        credentials("Basic dXNlcjpwYXNz", "Basic «dXNlcjpwYXNz»");
        credentials("Basic information, a bearer of news", "Basic information, a bearer of news");
        credentials(
            "t=eyJhbGciOiJub25lIn0.eyJzdWIiOiJqYWNrIn0.;",
            "t=«eyJhbGciOiJub25lIn0.eyJzdWIiOiJqYWNrIn0.»;",
        );
        credentials("ewogImFsZyI6ICJub25lIgp9.e30.x", "«ewogImFsZyI6ICJub25lIgp9.e30.x»");
        credentials("exchange.corp.example.com", "exchange.corp.example.com");
        credentials("https://bob:pa@ss@host/x", "https://«bob:pa@ss»@host/x");
        credentials("https://host/x@y", "https://host/x@y");
    }

    #[test]
    fn expressions_take_no_more_than_their_budget() {
        let text = "ab".repeat(20_000);
        for regex in ["(?:a.*z|a)", "a", &format!("(?:{})b", "a?b?".repeat(100))] {
            let (mut budget, mut found) = (BUDGET, Vec::new());
            Finder::compile(&Find::Regex(regex.into())).unwrap().find(&text, &mut budget, &mut found);
            assert_eq!((budget, found.last()), (0, Some(&(0..text.len()))), "{regex}");
        }
        let (mut budget, mut found) = (BUDGET, Vec::new());
        Finder::compile(&Find::Regex("AKIA[0-9A-Z]{16}".into())).unwrap().find(
            &text,
            &mut budget,
            &mut found,
        );
        assert!(budget > BUDGET / 2 && found.is_empty(), "{budget}");
    }

    #[test]
    fn expressions() {
        check(
            &Find::Regex("AKIA[0-9A-Z]{16}".into()),
            "k=AKIA0123456789ABCDEF;",
            "k=«AKIA0123456789ABCDEF»;",
        );
        check(&Find::Regex("(?i)x".into()), "aXbx", "a«X»b«x»");
        check(&Find::Regex("é+".into()), "é éé a", "«é» «éé» a");
        check(&Find::Regex(r"\bx?".into()), "x yé x", "«x» yé «x»");
        for wrong in ["a*", "(", "", "(a{1000}){1000}", "x|"] {
            assert!(Finder::compile(&Find::Regex(wrong.into())).is_err(), "{wrong}");
        }
        assert!(Finder::compile(&Find::Regex("a".repeat(1025))).is_err());
    }
}
