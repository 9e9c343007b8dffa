//! Header blocks as a proxy holds them: one byte arena and a table of entries; names lower case, values bytes, order and repetition kept.
//! Mutation follows Envoy's header map (`HDR-20` to `HDR-24`); which names join belongs to the kind of block, so callers say it.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

mod inline;

pub use inline::Kind;

/// A block of header lines. Any bytes are accepted; names are lower-cased when added.
#[derive(Clone, Default)]
pub struct Headers {
    arena: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Clone)]
struct Entry {
    name: Range<usize>,
    value: Range<usize>,
}

impl Headers {
    /// An empty block.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a line at the end.
    pub fn push(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let entry = self.store(name.as_ref(), value.as_ref());
        self.entries.push(entry);
    }

    /// Adds a line as Envoy's `addCopy` does (`HDR-20`): a value of an inline name joins the line that is there with `,`;
    /// a pseudo header goes to the end of the pseudo block, any other line to the end.
    pub fn add(&mut self, name: &[u8], value: &[u8], kind: Kind) {
        if let Some(at) = self.position(name)
            && kind.is_inline(self.name_at(at))
        {
            self.join(at, value);
            return;
        }
        self.append(name, value);
    }

    /// Adds a line at the end of its block without joining.
    pub fn append(&mut self, name: &[u8], value: &[u8]) {
        let entry = self.store(name, value);
        if name.first() == Some(&b':') {
            let end = self.entries.iter().take_while(|entry| self.is_pseudo(entry)).count();
            self.entries.insert(end, entry);
        } else {
            self.entries.push(entry);
        }
    }

    /// Removes every line of `name` and adds one at the end of its block (`HDR-21`).
    pub fn replace(&mut self, name: &[u8], value: &[u8]) {
        self.remove(name);
        self.append(name, value);
    }

    /// Gives the first line of `name` another value in place and removes its others; adds a line when there is none.
    pub fn set(&mut self, name: &[u8], value: &[u8]) {
        let Some(at) = self.position(name) else {
            return self.append(name, value);
        };
        let start = self.arena.len();
        self.arena.extend_from_slice(value);
        self.entries[at].value = start..self.arena.len();
        let mut index = 0;
        let arena = &self.arena;
        self.entries.retain(|entry| {
            index += 1;
            index <= at + 1 || !arena[entry.name.clone()].eq_ignore_ascii_case(name)
        });
    }

    /// Removes every line of `name` (any case); returns how many there were.
    pub fn remove(&mut self, name: &[u8]) -> usize {
        let before = self.entries.len();
        let arena = &self.arena;
        self.entries.retain(|entry| !arena[entry.name.clone()].eq_ignore_ascii_case(name));
        before - self.entries.len()
    }

    /// Keeps the lines for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        let arena = &self.arena;
        self.entries.retain(|entry| keep(&arena[entry.name.clone()], &arena[entry.value.clone()]));
    }

    /// All lines in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        self.entries.iter().map(|entry| (&self.arena[entry.name.clone()], &self.arena[entry.value.clone()]))
    }

    /// The first value of `name` (any case).
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.position(name).map(|at| &self.arena[self.entries[at].value.clone()])
    }

    /// Every value of `name` (any case), in order.
    pub fn get_all<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// All values of `name` joined with `,`; absent when there is no line.
    #[must_use]
    pub fn joined(&self, name: &[u8]) -> Option<Cow<'_, [u8]>> {
        let first = self.position(name)?;
        let mut all = Cow::Borrowed(&self.arena[self.entries[first].value.clone()]);
        for entry in &self.entries[first + 1..] {
            if entry.name.len() == name.len() && self.arena[entry.name.clone()].eq_ignore_ascii_case(name) {
                let all = all.to_mut();
                all.push(b',');
                all.extend_from_slice(&self.arena[entry.value.clone()]);
            }
        }
        Some(all)
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

    /// The bytes of all names and values (`HDR-16`).
    #[must_use]
    pub fn byte_size(&self) -> usize {
        self.entries.iter().map(|entry| entry.name.len() + entry.value.len()).sum()
    }

    /// Forgets every line and keeps the memory.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.entries.clear();
    }

    fn position(&self, name: &[u8]) -> Option<usize> {
        self.entries.iter().position(|entry| {
            entry.name.len() == name.len() && self.arena[entry.name.clone()].eq_ignore_ascii_case(name)
        })
    }

    fn name_at(&self, at: usize) -> &[u8] {
        &self.arena[self.entries[at].name.clone()]
    }

    fn is_pseudo(&self, entry: &Entry) -> bool {
        self.arena[entry.name.clone()].first() == Some(&b':')
    }

    fn store(&mut self, name: &[u8], value: &[u8]) -> Entry {
        let start = self.arena.len();
        self.arena.extend(name.iter().map(u8::to_ascii_lowercase));
        let middle = self.arena.len();
        self.arena.extend_from_slice(value);
        Entry { name: start..middle, value: middle..self.arena.len() }
    }

    fn join(&mut self, at: usize, value: &[u8]) {
        if value.is_empty() {
            return;
        }
        let old = self.entries[at].value.clone();
        let start = self.arena.len();
        self.arena.extend_from_within(old.clone());
        if !old.is_empty() {
            self.arena.push(b',');
        }
        self.arena.extend_from_slice(value);
        self.entries[at].value = start..self.arena.len();
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

#[cfg(test)]
mod tests;
