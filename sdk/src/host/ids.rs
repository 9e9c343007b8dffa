//! Tables by the host's ids. The host hands ids out one after the other, so one multiplication spreads them; nobody outside the
//! host chooses them, so no keyed hash is needed.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::CalloutId;

/// A table by context id or token.
pub(crate) type IdMap<V> = HashMap<u32, V, BuildHasherDefault<IdHasher>>;

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
        self.0.get(&id.0)
    }

    /// A call was answered.
    pub fn remove(&mut self, id: CalloutId) -> Option<T> {
        self.0.remove(&id.0)
    }
}

/// Fibonacci hashing of one `u32`.
#[derive(Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, id: u32) {
        // 2^64 divided by the golden ratio, odd. Rotated, as 32-bit tables look at the low half only.
        self.0 = (self.0 ^ u64::from(id)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }
}
