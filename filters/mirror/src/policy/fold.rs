//! Keys as lenient servers compare them. Knows no path and no rule.

use table::{LONG, ROWS};

mod table;

/// A key as lenient servers compare it: without case (also of the letters that Unicode folds to ASCII ones, as Go's decoder does), without
/// spaces, control and invisible characters.
pub(crate) fn fold(key: &str) -> String {
    if key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
        return String::from(key);
    }
    let mut folded = String::with_capacity(key.len());
    for char in key.chars().filter(|char| !is_invisible(*char)) {
        let (one, rest) = without_case(char);
        folded.push(one);
        folded.push_str(rest);
    }
    folded
}

fn is_invisible(char: char) -> bool {
    char.is_whitespace()
        || char.is_control()
        || matches!(char, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

/// The lower case of its upper case: a letter, and what follows it.
fn without_case(char: char) -> (char, &'static str) {
    if char.is_ascii() {
        return (char.to_ascii_lowercase(), "");
    }
    let code = u32::from(char);
    let below = ROWS.partition_point(|[first, ..]| *first <= code);
    let row = below.checked_sub(1).and_then(|at| ROWS.get(at));
    if let Some([first, last, to]) = row
        && code <= *last
    {
        let place = code.saturating_sub(*first);
        let alternates = *to == first.saturating_add(1);
        return if alternates && place % 2 == 1 { (char, "") } else { (letter(*to, place, char), "") };
    }
    let below = LONG.partition_point(|(first, ..)| *first <= code);
    let row = below.checked_sub(1).and_then(|at| LONG.get(at));
    match row {
        Some((first, last, to, rest)) if code <= *last => {
            (letter(*to, code.saturating_sub(*first), char), rest)
        }
        _ => (char, ""),
    }
}

fn letter(first: u32, place: u32, instead: char) -> char {
    char::from_u32(first.saturating_add(place)).unwrap_or(instead)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_lose_their_case_as_the_standard_library_has_it() {
        for char in '\0'..=char::MAX {
            let expected: String = char.to_uppercase().flat_map(char::to_lowercase).collect();
            let (one, rest) = without_case(char);
            assert_eq!([&String::from(one), rest].concat(), expected, "{:x}", u32::from(char));
        }
    }

    #[test]
    fn keys_lose_their_case_and_what_cannot_be_seen() {
        for (key, expected) in [
            ("password", "password"),
            ("Pass_Word", "pass_word"),
            (" pass\u{200b}word\t", "password"),
            ("\u{17f}e\u{212a}ret", "sekret"),
            ("STRA\u{1e9e}E", "stra\u{df}e"),
            ("stra\u{df}e", "strasse"),
            ("\u{c9}T\u{c9}", "\u{e9}t\u{e9}"),
        ] {
            assert_eq!(fold(key), expected, "{key}");
        }
    }
}
