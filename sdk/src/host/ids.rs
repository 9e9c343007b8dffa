//! Tables by the host's ids. The host hands ids out one after the other, so one multiplication spreads them; nobody outside the
//! host chooses them, so no keyed hash is needed. Not the standard library's table, which is a kilobyte of code for each type of value.

use std::mem;

use crate::CalloutId;

/// A table by context id or token.
#[derive(Debug)]
pub(crate) struct IdMap<V> {
    index: Index,
    /// By the places that the index gives.
    values: Vec<Option<V>>,
}

impl<V> Default for IdMap<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V> IdMap<V> {
    pub(crate) const fn new() -> Self {
        let index = Index { ring: Vec::new(), taken: 0, places: 0, unused: Vec::new() };
        Self { index, values: Vec::new() }
    }

    /// What an id stands for.
    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut V> {
        self.values.get_mut(self.index.find(id)?)?.as_mut()
    }

    /// As [`IdMap::get_mut`].
    pub(crate) fn get(&self, id: u32) -> Option<&V> {
        self.values.get(self.index.find(id)?)?.as_ref()
    }

    /// Notes what an id stands for. What it stood for before is given back.
    pub(crate) fn insert(&mut self, id: u32, value: V) -> Option<V> {
        let place = self.index.find(id).unwrap_or_else(|| self.index.add(id));
        match self.values.get_mut(place) {
            Some(old) => old.replace(value),
            None => {
                self.values.push(Some(value));
                None
            }
        }
    }

    /// Forgets an id.
    pub(crate) fn remove(&mut self, id: u32) -> Option<V> {
        self.values.get_mut(self.index.remove(id)?)?.take()
    }

    /// Forgets all but some.
    pub(crate) fn keep(&mut self, stays: impl Fn(&V) -> bool) {
        let values = &mut self.values;
        self.index.keep(&mut |place| {
            let value = values.get_mut(place);
            let goes = value.filter(|value| value.as_ref().is_none_or(|value| !stays(value)));
            goes.map(Option::take).is_none()
        });
    }
}

/// Which place is whose: a ring, in which an id is looked for from where its hash points to.
#[derive(Debug, Default)]
struct Index {
    /// A power of two of entries, or none; a quarter is [`FREE`], so that each search ends soon.
    ring: Vec<Entry>,
    /// How many are not free.
    taken: usize,
    /// How many places there are.
    places: usize,
    /// Those of them that nobody has.
    unused: Vec<usize>,
}

/// An id and its place.
type Entry = (u32, usize);

/// No place: nothing was here.
const FREE: usize = usize::MAX;
/// No place any more: what was put behind it is still to be found.
const LEFT: usize = usize::MAX - 1;

impl Index {
    fn find(&self, id: u32) -> Option<usize> {
        self.search(id).map(|(_, place)| place)
    }

    /// Gives a place to an id that has none: one that was given back, or the next.
    fn add(&mut self, id: u32) -> usize {
        if self.taken.saturating_add(1) > self.ring.len().saturating_mul(3) / 4 {
            self.make_room();
        }
        let place = self.unused.pop().unwrap_or(self.places);
        self.places = self.places.max(place.saturating_add(1));
        self.put((id, place));
        place
    }

    /// Takes the place back.
    fn remove(&mut self, id: u32) -> Option<usize> {
        let (index, place) = self.search(id)?;
        self.ring.get_mut(index)?.1 = LEFT;
        self.unused.push(place);
        Some(place)
    }

    /// Takes back those that do not stay.
    fn keep(&mut self, stays: &mut dyn FnMut(usize) -> bool) {
        for (_, place) in &mut self.ring {
            if *place < LEFT && !stays(*place) {
                self.unused.push(mem::replace(place, LEFT));
            }
        }
    }

    /// Where the entry of an id is, and its place.
    #[inline(never)]
    fn search(&self, id: u32) -> Option<(usize, usize)> {
        let mut index = self.start(id);
        // As some are free, this is as good as without end.
        for _ in &self.ring {
            match self.ring.get(index)? {
                (_, FREE) => return None,
                (other, place) if *other == id && *place != LEFT => return Some((index, *place)),
                _ => index = self.after(index),
            }
        }
        None
    }

    /// Writes where nobody is, for an id that is not there.
    fn put(&mut self, entry: Entry) {
        let mut index = self.start(entry.0);
        while let Some((_, place)) = self.ring.get_mut(index) {
            if *place >= LEFT {
                self.taken = self.taken.saturating_add(usize::from(*place == FREE));
                break;
            }
            index = self.after(index);
        }
        if let Some(old) = self.ring.get_mut(index) {
            *old = entry;
        }
    }

    /// Twice as many entries as are needed, or up to four times.
    fn make_room(&mut self) {
        let needed = self.places.saturating_sub(self.unused.len());
        let room = needed.saturating_mul(2).saturating_add(2).next_power_of_two();
        self.taken = 0;
        let old = mem::take(&mut self.ring);
        self.ring.resize(room, (0, FREE));
        for entry in &old {
            if entry.1 < LEFT {
                self.put(*entry);
            }
        }
    }

    /// Fibonacci hashing: 2^32 divided by the golden ratio, odd, of which the high bits count.
    fn start(&self, id: u32) -> usize {
        let bits = self.ring.len().trailing_zeros();
        let index = id.wrapping_mul(0x9e37_79b9).checked_shr(32_u32.saturating_sub(bits)).unwrap_or(0);
        usize::try_from(index).unwrap_or(0)
    }

    fn after(&self, index: usize) -> usize {
        index.wrapping_add(1) & self.ring.len().wrapping_sub(1)
    }
}

/// What a plugin keeps of the calls that it has sent, until they are answered.
#[derive(Debug)]
pub struct Calls<T>(IdMap<T>);

impl<T> Default for Calls<T> {
    fn default() -> Self {
        Self(IdMap::default())
    }
}

impl<T> Calls<T> {
    /// A call has left. What an id stood for before is given back, should the host use one again.
    pub fn insert(&mut self, id: CalloutId, call: T) -> Option<T> {
        self.0.insert(id.0, call)
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, id: CalloutId) -> Option<&T> {
        self.0.get(id.0)
    }

    /// A call was answered.
    pub fn remove(&mut self, id: CalloutId) -> Option<T> {
        self.0.remove(id.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_what_a_map_of_the_standard_library_is() {
        let (mut table, mut want) = (IdMap::default(), std::collections::HashMap::new());
        // Knuth's multiplier instead of dice; few ids, so that most are met again.
        let mut seed = 1_u64;
        for step in 0..20_000_u32 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let id = (seed >> 33) as u32 % 300;
            match (seed >> 60) % 4 {
                0 | 1 => assert_eq!(table.insert(id, step), want.insert(id, step)),
                2 => assert_eq!(table.remove(id), want.remove(&id)),
                _ => assert_eq!(table.get(id), want.get(&id)),
            }
            if step % 5_000 == 0 {
                table.keep(|value| value % 2 == 0);
                want.retain(|_, value| *value % 2 == 0);
            }
            assert!(table.index.ring.len() <= 2048, "{}", table.index.ring.len());
        }
        for id in 0..300 {
            assert_eq!(table.get_mut(id), want.get_mut(&id));
        }
    }

    #[test]
    fn streams_that_come_and_go_need_no_more_room() {
        let mut table = IdMap::default();
        for id in 0..100_000 {
            table.insert(id, id);
            assert_eq!(id.checked_sub(5).and_then(|old| table.remove(old)), id.checked_sub(5));
        }
        assert!(table.index.ring.len() <= 32, "{}", table.index.ring.len());
    }
}
