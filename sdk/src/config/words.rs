//! The parts that sentences about configurations are made of: lists, quotations, numbers, the name that was probably meant.
//!
//! Knows no configuration.

use crate::names::cut;

/// Text is quoted up to this many characters.
const MAX_QUOTED: usize = 60;

/// A list of names such as ``` `a`, `b` ```.
pub(crate) fn list<'a>(mut names: impl Iterator<Item = &'a str>, quote: char) -> String {
    listed(&mut names, quote)
}

fn listed(names: &mut dyn Iterator<Item = &str>, quote: char) -> String {
    let mut text = String::new();
    for name in names {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push(quote);
        text.push_str(name);
        text.push(quote);
    }
    text
}

/// Three texts in one, of which some may be empty: a call is a third of what an array of them costs.
#[must_use]
#[inline(never)]
pub fn joined(first: &str, second: &str, third: &str) -> String {
    let length = first.len().saturating_add(second.len()).saturating_add(third.len());
    let mut text = String::with_capacity(length);
    for part in [first, second, third] {
        text.push_str(part);
    }
    text
}

/// Whether text is digits, with at most one point between them and a sign before them.
pub(super) fn is_decimal(text: &str) -> bool {
    let text = text.as_bytes();
    let (before, after) = cut(text.strip_prefix(b"-").unwrap_or(text), b'.');
    let all_digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    all_digits(before) && after.is_none_or(all_digits)
}

/// Text as JSON writes it, cut when it is long.
pub(crate) fn quoted(text: &str) -> String {
    let mut whole = String::from("\"");
    for (count, character) in text.chars().enumerate() {
        if count >= MAX_QUOTED {
            whole.push('…');
            break;
        }
        match character {
            '"' | '\\' => whole.extend(['\\', character]),
            _ if character.is_control() => push_unicode(&mut whole, character),
            _ => whole.push(character),
        }
    }
    whole.push('"');
    whole
}

/// A character as its number: `\u{7f}`.
#[inline(never)]
pub(super) fn push_unicode(text: &mut String, character: char) {
    text.push_str("\\u{");
    push_hex(text, character.into());
    text.push('}');
}

/// A number in hexadecimal digits, without zeros at the left.
#[inline(never)]
pub(crate) fn push_hex(text: &mut String, number: u32) {
    let mut shift = 28_u32;
    while shift > 0 && number >> shift == 0 {
        shift = shift.wrapping_sub(4);
    }
    loop {
        text.extend(char::from_digit((number >> shift) & 15, 16));
        let Some(next) = shift.checked_sub(4) else { break };
        shift = next;
    }
}

/// A whole number as text: a third of the code that the standard library has for it, once for every type.
#[must_use]
#[inline(never)]
pub fn number(value: u64) -> String {
    let mut text = String::new();
    push_digits(&mut text, value);
    text
}

fn push_digits(text: &mut String, value: u64) {
    if value > 9 {
        push_digits(text, value / 10);
    }
    text.extend(u32::try_from(value % 10).ok().and_then(|digit| char::from_digit(digit, 10)));
}

/// As [`number`], with a sign where it is below 0.
#[must_use]
pub fn signed(value: i64) -> String {
    joined(if value < 0 { "-" } else { "" }, &number(value.unsigned_abs()), "")
}

/// A number as text without the code that prints any `f64`; `None` when it has more than six decimals or is beyond 10^12.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be below 10^18 just before"
)]
#[must_use]
pub fn decimal(value: f64) -> Option<String> {
    const SCALE: u64 = 1_000_000;
    let scaled = value.abs() * 1e6;
    // Refuses also infinities and what is not a number.
    if !(0.0..1e18).contains(&scaled) || (scaled - scaled.round()).abs() > 1e-3 {
        return None;
    }
    let scaled = scaled.round() as u64;
    let mut text = String::from(if value < 0.0 { "-" } else { "" });
    text.push_str(&number(scaled / SCALE));
    let decimals = number((scaled % SCALE).wrapping_add(SCALE));
    let decimals = decimals.strip_prefix('1').unwrap_or_default().trim_end_matches('0');
    if !decimals.is_empty() {
        text.push('.');
        text.push_str(decimals);
    }
    Some(text)
}

/// The known name that was probably meant: the same but for case and separators, or few typing errors away.
pub(super) fn nearest<'k>(name: &str, known: &'k str) -> Option<&'k str> {
    let simple = simplify(name);
    let limit = (simple.len() / 3).max(1);
    if simple.is_empty() || simple.len() > 64 {
        return None;
    }
    let (mut best, mut typing_error, mut longer) = (limit, None, None);
    for known in super::names::all(known) {
        let other = simplify(known);
        let distance = distance(&simple, &other);
        if distance < best || distance == best && typing_error.is_none() {
            (best, typing_error) = (distance, Some(known));
        }
        // A plural, a shortened or a lengthened name.
        let long_enough = simple.len() >= 4 && other.len() >= 4;
        if longer.is_none() && long_enough && (other.starts_with(&simple) || simple.starts_with(&other)) {
            longer = Some(known);
        }
    }
    typing_error.or(longer)
}

fn simplify(name: &str) -> Vec<u8> {
    let mut simple = name.to_ascii_lowercase().into_bytes();
    simple.retain(|byte| !b"_- ".contains(byte));
    simple
}

/// How many bytes are typed wrongly, left out, added or swapped with their neighbour between two names.
fn distance(left: &[u8], right: &[u8]) -> usize {
    let (height, width) = (left.len().wrapping_add(1), right.len().wrapping_add(1));
    // Between the first bytes of one and the first of the other: a row for each byte of `left`, behind that of none.
    let mut all = Vec::new();
    for row in 0..height {
        for column in 0..width {
            let mut best = if row == 0 { column } else { row };
            if row > 0 && column > 0 {
                let (a, b) = (row.wrapping_sub(1), column.wrapping_sub(1));
                let up = width.wrapping_add(1);
                best = before(&all, width).min(before(&all, 1)).wrapping_add(1);
                best = best.min(before(&all, up).wrapping_add(usize::from(!is_same(left, a, right, b))));
                let (other_a, other_b) = (a.wrapping_sub(1), b.wrapping_sub(1));
                if is_same(left, a, right, other_b) && is_same(left, other_a, right, b) {
                    best = best.min(before(&all, up.wrapping_mul(2)).wrapping_add(1));
                }
            }
            all.push(best);
        }
    }
    before(&all, 1)
}

/// What stands so far from the end.
#[inline(never)]
fn before(all: &[usize], back: usize) -> usize {
    all.get(all.len().wrapping_sub(back)).copied().unwrap_or(0)
}

#[inline(never)]
fn is_same(left: &[u8], a: usize, right: &[u8], b: usize) -> bool {
    left.get(a).is_some_and(|byte| right.get(b) == Some(byte))
}
