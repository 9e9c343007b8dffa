//! Places of streams in flight: what belongs to a stream is kept by its slot, and the memory of a slot is used again.

use std::ops::{Index, IndexMut};

/// The place of a stream. Another stream may have it later: what outlives a stream keeps its [`StreamId`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slot(usize);

/// One stream of the replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StreamId {
    pub slot: Slot,
    /// Counts the exchanges of the replay; never used again.
    pub number: u64,
}

/// Values by slot.
#[derive(Debug)]
pub(crate) struct Slots<T>(Vec<T>);

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Default> Slots<T> {
    /// A slot that did not exist before.
    pub(crate) fn add(&mut self) -> Slot {
        self.0.push(T::default());
        Slot(self.0.len() - 1)
    }
}

impl<T> Index<Slot> for Slots<T> {
    type Output = T;

    fn index(&self, slot: Slot) -> &T {
        &self.0[slot.0]
    }
}

impl<T> IndexMut<Slot> for Slots<T> {
    fn index_mut(&mut self, slot: Slot) -> &mut T {
        &mut self.0[slot.0]
    }
}
