//! Sorting in few bytes of code: the standard library's sorts are 3 to 6 kB of a module, once more for every type.

/// Sorts in place by heaps, in `n log n` steps whatever the order was; equal items end in any order.
pub(crate) fn sort<T: Ord>(items: &mut [T]) {
    sort_by(items, |one, other| one < other);
}

/// As [`sort`], by what is less than what.
pub(crate) fn sort_by<T>(items: &mut [T], is_less: fn(&T, &T) -> bool) {
    let len = items.len();
    by_heaps(&mut By { items, is_less }, len);
}

/// Items by their places, whatever they are: the code that sorts is there once.
trait Items {
    fn is_less(&self, one: usize, other: usize) -> bool;
    fn swap(&mut self, one: usize, other: usize);
}

struct By<'i, T> {
    items: &'i mut [T],
    is_less: fn(&T, &T) -> bool,
}

impl<T> Items for By<'_, T> {
    fn is_less(&self, one: usize, other: usize) -> bool {
        match (self.items.get(one), self.items.get(other)) {
            (Some(one), Some(other)) => (self.is_less)(one, other),
            _ => false,
        }
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.items.swap(one, other);
    }
}

fn by_heaps(items: &mut dyn Items, len: usize) {
    for start in (0..len / 2).rev() {
        sift(items, start, len);
    }
    for end in (1..len).rev() {
        items.swap(0, end);
        sift(items, 0, end);
    }
}

/// Lets an item sink below what is larger, among the first `end`.
fn sift(items: &mut dyn Items, mut parent: usize, end: usize) {
    loop {
        let left = parent.saturating_mul(2).saturating_add(1);
        if left >= end {
            return;
        }
        let right = left.saturating_add(1);
        let larger = if right < end && items.is_less(left, right) { right } else { left };
        if !items.is_less(parent, larger) {
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
