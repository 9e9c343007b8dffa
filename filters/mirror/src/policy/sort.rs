//! Sorting in few bytes of code: the standard library's sorts are 3 to 6 kB of a module, once more for every type.

/// Sorts in place by heaps, in `n log n` steps whatever the order was; equal items end in any order.
pub(crate) fn sort<T: Ord>(items: &mut [T]) {
    sort_by(items, |one, other| one < other);
}

/// As [`sort`], by what is less than what.
pub(crate) fn sort_by<T>(items: &mut [T], is_less: fn(&T, &T) -> bool) {
    let len = items.len();
    for start in (0..len / 2).rev() {
        sift(items, start, len, is_less);
    }
    for end in (1..len).rev() {
        items.swap(0, end);
        sift(items, 0, end, is_less);
    }
}

/// Lets an item sink below what is larger, among the first `end`.
#[inline(never)]
fn sift<T>(items: &mut [T], mut parent: usize, end: usize, is_less: fn(&T, &T) -> bool) {
    let less = |items: &[T], one: usize, other: usize| match (items.get(one), items.get(other)) {
        (Some(one), Some(other)) => is_less(one, other),
        _ => false,
    };
    loop {
        let left = parent.saturating_mul(2).saturating_add(1);
        if left >= end {
            return;
        }
        let right = left.saturating_add(1);
        let larger = if right < end && less(items, left, right) { right } else { left };
        if !less(items, parent, larger) {
            return;
        }
        items.swap(parent, larger);
        parent = larger;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_sorts_as_the_standard_library(items in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut expected = items.clone();
            expected.sort_unstable();
            let mut sorted = items;
            sort(&mut sorted);
            prop_assert_eq!(sorted, expected);
        }
    }
}
