//! What is recognised by its look: card numbers, e-mail addresses, credentials, and what a regular expression finds.
//!
//! Knows no place and no encoding: it sees decoded text. All but the regular expressions read a text once, whatever it says.

use std::ops::Range;

use weir_sdk::Regex;

use super::percent::base64;
use super::text::{CLOSE, OPEN};
use crate::config::Find;
use crate::policy::bytes::{find, joined};

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
            return Err(joined("is ", &text.len().to_string(), " bytes long; at most 1024 are accepted"));
        }
        let regex = Regex::new(text).map_err(|error| joined("is not a regular expression: ", &error, ""))?;
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

/// Where the characters of a kind end that begin here.
#[inline(never)]
fn end_of(text: &str, start: usize, kind: fn(char) -> bool) -> usize {
    let mut rest = text.get(start..).unwrap_or_default().chars();
    loop {
        let end = text.len().saturating_sub(rest.as_str().len());
        if !rest.next().is_some_and(kind) {
            return end;
        }
    }
}

/// Where the characters of a kind begin that end here.
#[inline(never)]
fn start_of(text: &str, end: usize, kind: fn(char) -> bool) -> usize {
    let mut before = text.get(..end).unwrap_or_default().chars();
    loop {
        let start = before.as_str().len();
        if !before.next_back().is_some_and(kind) {
            return start;
        }
    }
}

/// The last of such bytes between two places.
fn last(text: &str, start: usize, end: usize, wanted: &[u8]) -> Option<usize> {
    let at = text.as_bytes().get(start..end)?.iter().rposition(|byte| wanted.contains(byte))?;
    Some(start.saturating_add(at))
}

/// `local@domain.tld`. The local part may be quoted, both may be in any script.
fn emails(text: &str, found: &mut Vec<Range<usize>>) {
    for (at, byte) in text.bytes().enumerate() {
        if byte != b'@' {
            continue;
        }
        let start = match at.checked_sub(1).filter(|quote| text.as_bytes().get(*quote) == Some(&b'"')) {
            Some(quote) => last(text, 0, quote, b"\"@\n").unwrap_or(at),
            None => start_of(text, at, |char| {
                char.is_ascii_alphanumeric() || is_one_of(char, b"!#$%'*+-^_`{|}~.") || is_letter(char)
            }),
        };
        let domain = at.saturating_add(1);
        let end = end_of(text, domain, |char| {
            char.is_ascii_alphanumeric() || matches!(char, '-' | '.') || is_letter(char)
        });
        let end = start_of(text, end, |char| matches!(char, '.' | '-'));
        let dot = last(text, domain, end, b".");
        let first = dot.and_then(|dot| text.as_bytes().get(dot.saturating_add(1)));
        if start < at && first.is_some_and(|first| !first.is_ascii_digit()) {
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
        let names: &[&str] = if matches!(byte, b'b' | b'B') { &["bearer", "basic"] } else { &[] };
        for name in names {
            let gap = at.saturating_add(name.len());
            let here = text.as_bytes().get(at..gap).unwrap_or_default();
            if !here.eq_ignore_ascii_case(name.as_bytes()) {
                continue;
            }
            let start = end_of(text, gap, |char| matches!(char, ' ' | '\t' | ':' | '"'));
            // Without the gap the name is a part of a longer word, perhaps one of many: only what stands apart is measured.
            if start == gap {
                continue;
            }
            let end = end_of(text, start, |char| char.is_ascii_alphanumeric() || is_one_of(char, b"-._~+/="));
            let value = text.get(start..end).unwrap_or_default();
            let likely = match *name {
                "basic" => base64(value).is_some_and(|pair| pair.contains(&b':')),
                _ => value.len() >= 8,
            };
            if likely {
                found.push(start..end);
            }
        }
    }
}

fn is_part(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '-' | '_')
}

/// JSON Web Tokens: three or five parts of base64url, of which the first is a JSON object.
fn tokens(text: &str, found: &mut Vec<Range<usize>>) {
    let mut end = 0usize;
    loop {
        let mut start = end_of(text, end, |char| !is_part(char));
        end = end_of(text, start, |char| is_part(char) || char == '.');
        // A sentence may stand before it: `see.eyJ…`.
        while start < end {
            let dot = end_of(text, start, is_part);
            if dot < end && begins_object(text.get(start..dot).unwrap_or_default()) {
                found.push(start..end);
                break;
            }
            start = dot.saturating_add(1);
        }
        if end >= text.len() {
            return;
        }
    }
}

/// Whether this is an object of JSON, encoded.
fn begins_object(encoded: &str) -> bool {
    let json = if encoded.starts_with('e') { base64(encoded).unwrap_or_default() } else { Vec::new() };
    json.strip_prefix(b"{").is_some_and(|rest| rest.trim_ascii_start().starts_with(b"\""))
}

/// What stands before the `@` of a URL's authority.
fn user_infos(text: &str, found: &mut Vec<Range<usize>>) {
    let mut start = 0usize;
    while let Some(slashes) = text.as_bytes().get(start..).and_then(|rest| find(rest, b"//")) {
        start = start.saturating_add(slashes).saturating_add(2);
        let end = end_of(text, start, |char| !char.is_whitespace() && !is_one_of(char, b"/?#\"<>\\"));
        if let Some(at) = last(text, start, end, b"@").filter(|at| *at > start) {
            found.push(start..at);
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
