//! Tables by the host's ids. The host hands ids out one after the other, so one multiplication spreads them; nobody outside the
//! host chooses them, so no keyed hash is needed. Not the standard library's table, which is three times as much code.

use std::mem;

use crate::CalloutId;

/// A table by context id or token: places in a ring, of which one is looked for from where its id points to.
#[derive(Debug)]
pub(crate) struct IdMap<V> {
    /// A power of two of them, or none; a quarter is free, so that each search ends soon.
    places: Vec<Place<V>>,
    /// How many are not free.
    taken: usize,
}

#[derive(Debug)]
enum Place<V> {
    Free,
    /// Not free, so that what was put behind it is found.
    Left,
    Of(u32, V),
}

impl<V> Default for IdMap<V> {
    fn default() -> Self {
        Self { places: Vec::new(), taken: 0 }
    }
}

impl<V> IdMap<V> {
    /// What an id stands for.
    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut V> {
        let index = self.find(id)?;
        match self.places.get_mut(index)? {
            Place::Of(_, value) => Some(value),
            _ => None,
        }
    }

    /// As [`IdMap::get_mut`].
    pub(crate) fn get(&self, id: u32) -> Option<&V> {
        match self.places.get(self.find(id)?)? {
            Place::Of(_, value) => Some(value),
            _ => None,
        }
    }

    /// Notes what an id stands for. What it stood for before is given back.
    pub(crate) fn insert(&mut self, id: u32, value: V) -> Option<V> {
        if let Some(old) = self.get_mut(id) {
            return Some(mem::replace(old, value));
        }
        if self.taken.saturating_add(1) > self.places.len() / 4 * 3 {
            self.make_room();
        }
        self.put(id, value);
        None
    }

    /// Forgets an id.
    pub(crate) fn remove(&mut self, id: u32) -> Option<V> {
        let index = self.find(id)?;
        match mem::replace(self.places.get_mut(index)?, Place::Left) {
            Place::Of(_, value) => Some(value),
            _ => None,
        }
    }

    /// Forgets all but some.
    pub(crate) fn keep(&mut self, stays: impl Fn(&V) -> bool) {
        for place in &mut self.places {
            if matches!(place, Place::Of(_, value) if !stays(value)) {
                *place = Place::Left;
            }
        }
    }

    /// The place of an id that is there.
    fn find(&self, id: u32) -> Option<usize> {
        let mut index = self.start(id);
        // As some are free, this is as good as without end.
        for _ in &self.places {
            match self.places.get(index)? {
                Place::Free => return None,
                Place::Of(other, _) if *other == id => return Some(index),
                _ => index = self.after(index),
            }
        }
        None
    }

    /// Writes to the first place that nobody has, of an id that is not there.
    fn put(&mut self, id: u32, value: V) {
        let mut index = self.start(id);
        while let Some(Place::Of(..)) = self.places.get(index) {
            index = self.after(index);
        }
        if let Some(place) = self.places.get_mut(index) {
            if matches!(place, Place::Free) {
                self.taken = self.taken.saturating_add(1);
            }
            *place = Place::Of(id, value);
        }
    }

    /// Twice as many places as are needed, or up to four times.
    fn make_room(&mut self) {
        let needed = self.places.iter().filter(|place| matches!(place, Place::Of(..))).count();
        let room = needed.saturating_mul(2).saturating_add(2).next_power_of_two();
        let mut places = Vec::with_capacity(room);
        places.resize_with(room, || Place::Free);
        self.taken = 0;
        for place in mem::replace(&mut self.places, places) {
            if let Place::Of(id, value) = place {
                self.put(id, value);
            }
        }
    }

    /// Fibonacci hashing: 2^32 divided by the golden ratio, odd, of which the high bits count.
    fn start(&self, id: u32) -> usize {
        let bits = self.places.len().trailing_zeros();
        let index = id.wrapping_mul(0x9e37_79b9).checked_shr(32_u32.saturating_sub(bits)).unwrap_or(0);
        usize::try_from(index).unwrap_or(0)
    }

    fn after(&self, index: usize) -> usize {
        index.wrapping_add(1) & self.places.len().wrapping_sub(1)
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
            assert!(table.places.len() <= 2048, "{}", table.places.len());
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
        assert!(table.places.len() <= 32, "{}", table.places.len());
    }
}
