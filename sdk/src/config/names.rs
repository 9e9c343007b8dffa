//! Names of fields or variants in one text, each with a NUL behind it.

use crate::names::front;

/// The names, in their order.
pub(super) fn all(names: &str) -> impl Iterator<Item = &str> {
    let mut rest = names;
    std::iter::from_fn(move || if rest.is_empty() { None } else { Some(front(&mut rest, 0)) })
}

/// Where a name stands among them.
#[inline(never)]
pub(super) fn place(names: &str, name: &str) -> Option<usize> {
    all(names).position(|known| known == name)
}

/// The name at a place; an empty one where there is none.
#[inline(never)]
pub(crate) fn at(names: &str, place: usize) -> &str {
    all(names).nth(place).unwrap_or_default()
}
