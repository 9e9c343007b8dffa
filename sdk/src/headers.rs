//! Header blocks: names are lower case, values are bytes, order and repetition are kept.
//!
//! Knows no host. A [`HeaderMap`] is one byte arena and a table of entries, so reading a block costs two allocations however many
//! lines it has. Policies take `&dyn Headers`: in a test that is a `HeaderMap`, in Envoy a view that is read when it is first asked.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// A block of headers that may have to be fetched first: a request, a response or trailers.
pub trait Headers {
    /// The whole block. A view fetches it at the first call and keeps it for the callback.
    fn map(&self) -> &HeaderMap;

    /// The first value of `name` (lower case), as Envoy's own look-up gives it (`HDR-15`).
    fn get(&self, name: &str) -> Option<&[u8]> {
        self.map().first(name)
    }

    /// All values of `name`, joined with `,` as Envoy's matchers see them; borrowed when there is one.
    fn joined(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.map().join(name)
    }

    /// `:method`.
    fn method(&self) -> Option<&[u8]> {
        self.get(":method")
    }

    /// `:path`, with the query.
    fn path(&self) -> Option<&[u8]> {
        self.get(":path")
    }

    /// `:authority`, which Envoy also makes of HTTP/1's `host`.
    fn authority(&self) -> Option<&[u8]> {
        self.get(":authority")
    }

    /// Whether it is a gRPC message, as Envoy tells: the `content-type` is `application/grpc` or begins with `application/grpc+` (`FLOW-29`).
    fn is_grpc(&self) -> bool {
        let rest = self.get("content-type").and_then(|kind| kind.strip_prefix(b"application/grpc"));
        rest.is_some_and(|rest| rest.is_empty() || rest.first() == Some(&b'+'))
    }
}

/// An owned block of headers. Names are lower-cased when they are added; any bytes are accepted.
#[derive(Clone, Default)]
pub struct HeaderMap {
    /// Invariant: every range of `entries` lies within `arena`.
    arena: Vec<u8>,
    entries: Vec<(Range<usize>, Range<usize>)>,
}

/// What a view shows that has nothing.
pub(crate) static EMPTY: HeaderMap = HeaderMap { arena: Vec::new(), entries: Vec::new() };

impl HeaderMap {
    /// An empty block.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The block of the ABI's pairs (`HDR-10`): a count; the lengths of each name and value; then all of them, each with a NUL behind
    /// it. The bytes become the arena. `None` for bytes of any other form.
    pub(crate) fn from_pairs(mut bytes: Vec<u8>) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Self::new());
        }
        let (count, lengths) = bytes.split_first_chunk::<4>()?;
        let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
        let (lengths, rest) = lengths.split_at_checked(count.checked_mul(8)?)?;
        let mut start = bytes.len().checked_sub(rest.len())?;
        let mut part = |length: [u8; 4]| {
            let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
            let range = start..start.saturating_add(length);
            start = range.end.saturating_add(1);
            range
        };
        let mut entries = Vec::with_capacity(count);
        for [name, value] in lengths.as_chunks::<4>().0.as_chunks::<2>().0 {
            entries.push((part(*name), part(*value)));
        }
        // A part that is too long leads past the end, or to as far as there is.
        if start != bytes.len() {
            return None;
        }
        for (name, _) in &entries {
            bytes.get_mut(name.clone())?.make_ascii_lowercase();
        }
        Some(Self { arena: bytes, entries })
    }

    /// Adds a line at the end; repeated names are kept apart.
    pub fn push(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let start = self.arena.len();
        self.arena.extend(name.as_ref().iter().map(u8::to_ascii_lowercase));
        let middle = self.arena.len();
        self.arena.extend_from_slice(value.as_ref());
        self.entries.push((start..middle, middle..self.arena.len()));
    }

    /// Removes every line of `name`.
    pub fn remove(&mut self, name: &str) {
        let Self { arena, entries } = self;
        entries.retain(|(key, _)| arena.get(key.clone()) != Some(name.as_bytes()));
    }

    /// Replaces every line of `name` by one at the end.
    pub fn set(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.remove(name);
        self.push(name, value);
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

    /// All lines in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        self.entries.iter().map(|(key, value)| {
            (
                self.arena.get(key.clone()).unwrap_or_default(),
                self.arena.get(value.clone()).unwrap_or_default(),
            )
        })
    }

    /// The first value of `name`.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(key, _)| *key == name.as_bytes()).map(|(_, value)| value)
    }

    /// Every value of `name`, in order.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(key, _)| *key == name.as_bytes()).map(|(_, value)| value)
    }

    fn join(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let mut joined: Option<Cow<'_, [u8]>> = None;
        for (key, value) in self.iter() {
            if key != name.as_bytes() {
                continue;
            }
            match &mut joined {
                None => joined = Some(Cow::Borrowed(value)),
                Some(values) => {
                    let values = values.to_mut();
                    values.push(b',');
                    values.extend_from_slice(value);
                }
            }
        }
        joined
    }
}

impl Headers for HeaderMap {
    fn map(&self) -> &HeaderMap {
        self
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for HeaderMap {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(lines: I) -> Self {
        let mut map = Self::new();
        for (name, value) in lines {
            map.push(name, value);
        }
        map
    }
}

impl PartialEq for HeaderMap {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for HeaderMap {}

impl fmt::Debug for HeaderMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.iter().map(|(name, value)| {
                (String::from_utf8_lossy(name).into_owned(), String::from_utf8_lossy(value).into_owned())
            }))
            .finish()
    }
}
