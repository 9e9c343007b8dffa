//! Header blocks as a proxy holds them: one byte arena and a table of entries; names lower case, values bytes, order and repetition kept.

use std::fmt;
use std::ops::Range;

/// A block of header lines. Any bytes are accepted; names are lower-cased when added.
#[derive(Clone, Default)]
pub struct Headers {
    arena: Vec<u8>,
    entries: Vec<(Range<usize>, Range<usize>)>,
}

impl Headers {
    /// An empty block.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a line at the end.
    pub fn push(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let start = self.arena.len();
        self.arena.extend(name.as_ref().iter().map(u8::to_ascii_lowercase));
        let middle = self.arena.len();
        self.arena.extend_from_slice(value.as_ref());
        self.entries.push((start..middle, middle..self.arena.len()));
    }

    /// All lines in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.entries.iter().map(|(name, value)| (&self.arena[name.clone()], &self.arena[value.clone()]))
    }

    /// The first value of `name` (lower case).
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// How many lines there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no line.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Forgets every line and keeps the memory.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.entries.clear();
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(lines: I) -> Self {
        let mut headers = Self::new();
        for (name, value) in lines {
            headers.push(name, value);
        }
        headers
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Headers {}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(
                self.iter()
                    .map(|(name, value)| (String::from_utf8_lossy(name), String::from_utf8_lossy(value))),
            )
            .finish()
    }
}
