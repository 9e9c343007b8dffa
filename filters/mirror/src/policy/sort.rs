//! Sorting in few bytes of code: the standard library's sorts are 3 to 6 kB of a module, once more for every type.

/// Sorts in place by heaps, in `n log n` steps whatever the order was; equal items end in any order.
pub(crate) fn sort<T: Ord>(items: &mut [T]) {
    let len = items.len();
    for start in (0..len / 2).rev() {
        sift(items, start, len);
    }
    for end in (1..len).rev() {
        items.swap(0, end);
        sift(items, 0, end);
    }
}

/// Lets an item sink below what is larger, among the first `end`.
fn sift<T: Ord>(items: &mut [T], mut parent: usize, end: usize) {
    loop {
        let left = parent.saturating_mul(2).saturating_add(1);
        if left >= end {
            return;
        }
        let right = left.saturating_add(1);
        let larger = if right < end && items.get(left) < items.get(right) { right } else { left };
        if items.get(parent) >= items.get(larger) {
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
