//! Keys as lenient servers compare them. Knows no path and no rule.

use table::{HIGH_ROWS, LONG, ROWS};

mod table;

/// A key as lenient servers compare it: without case (also of the letters that Unicode folds to ASCII ones, as Go's decoder does), without
/// spaces, control and invisible characters.
pub(crate) fn fold(key: &str) -> String {
    if key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
        return String::from(key);
    }
    let mut folded = String::with_capacity(key.len());
    for char in key.chars().filter(|char| !is_invisible(*char)) {
        push_without_case(&mut folded, char);
    }
    folded
}

fn is_invisible(char: char) -> bool {
    char.is_whitespace()
        || char.is_control()
        || matches!(char, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

/// Writes the lower case of a character's upper case.
fn push_without_case(out: &mut String, char: char) {
    let code = u32::from(char);
    let plane = code & 0x1_0000;
    // Beyond U+1FFFF are no letters with a case.
    let Ok(low) = u16::try_from(code.wrapping_sub(plane)) else {
        return out.push(char);
    };
    let letter = |first: u16, place: u16| {
        char::from_u32(plane | u32::from(first.saturating_add(place))).unwrap_or(char)
    };
    if char.is_ascii() {
        return out.push(char.to_ascii_lowercase());
    }
    let rows = if plane == 0 { ROWS.as_flattened() } else { HIGH_ROWS.as_flattened() };
    if let Some([first, _, to]) = row(rows, 3, low) {
        let place = low.saturating_sub(*first);
        let alternates = *to == first.saturating_add(1);
        return out.push(if alternates && place % 2 == 1 { char } else { letter(*to, place) });
    }
    match row(LONG.as_flattened(), 5, low).filter(|_| plane == 0) {
        Some([first, _, to, rest @ ..]) => {
            out.push(letter(*to, low.saturating_sub(*first)));
            out.extend(rest.iter().filter(|code| **code != 0).map(|code| letter(*code, 0)));
        }
        _ => out.push(char),
    }
}

/// The row that a letter is in, of rows of so many numbers each, of which the first two are its first and its last letter.
fn row(rows: &[u16], width: usize, letter: u16) -> Option<&[u16]> {
    let (mut start, mut end) = (0usize, rows.len().checked_div(width)?);
    while start < end {
        let middle = start.midpoint(end);
        if *rows.get(middle.saturating_mul(width))? <= letter {
            start = middle.saturating_add(1);
        } else {
            end = middle;
        }
    }
    let at = start.checked_sub(1)?.saturating_mul(width);
    let row = rows.get(at..at.saturating_add(width))?;
    if *row.get(1)? >= letter { Some(row) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_lose_their_case_as_the_standard_library_has_it() {
        for char in '\0'..=char::MAX {
            let expected: String = char.to_uppercase().flat_map(char::to_lowercase).collect();
            let mut folded = String::new();
            push_without_case(&mut folded, char);
            assert_eq!(folded, expected, "{:x}", u32::from(char));
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
