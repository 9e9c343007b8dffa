//! Names of fields or variants in one text, each with a NUL behind it.

use crate::names::cut;

/// The names, in their order.
pub(super) fn all(names: &str) -> impl Iterator<Item = &str> {
    let mut rest = names;
    std::iter::from_fn(move || {
        let (name, others) = rest.split_once('\0')?;
        rest = others;
        Some(name)
    })
}

/// Where a name stands among them.
#[inline(never)]
pub(super) fn place(names: &str, name: &str) -> Option<usize> {
    let mut rest = names.as_bytes();
    let mut place = 0_usize;
    while let (known, Some(others)) = cut(rest, 0) {
        if known == name.as_bytes() {
            return Some(place);
        }
        rest = others;
        place = place.wrapping_add(1);
    }
    None
}

/// The name at a place; an empty one where there is none.
#[inline(never)]
pub(super) fn at(names: &str, place: usize) -> &str {
    all(names).nth(place).unwrap_or_default()
}
