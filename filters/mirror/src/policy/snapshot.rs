//! What is kept of a request until it is complete: its headers, and its body up to a limit. Knows no target.

use weir_sdk::{HeaderMap, Headers as _};

use super::bytes::whole;

/// A request on its way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The headers, as they were when this filter saw them.
    pub headers: HeaderMap,
    /// The beginning of the body.
    pub body: Vec<u8>,
    /// How long the body is so far, kept or not.
    pub length: u64,
    /// The trailers.
    pub trailers: HeaderMap,
    limit: usize,
}

impl Snapshot {
    /// Of headers; up to `limit` bytes of the body will be kept.
    #[must_use]
    pub fn new(headers: HeaderMap, limit: usize) -> Self {
        Self { headers, body: Vec::new(), length: 0, trailers: HeaderMap::new(), limit }
    }

    /// How many bytes of a part of this size are to be kept.
    #[must_use]
    pub fn room(&self, size: usize) -> usize {
        self.limit.saturating_sub(self.body.len()).min(size)
    }

    /// A part of the body of this size has come; `kept` are its first bytes, [`Snapshot::room`] of them.
    pub fn add(&mut self, size: usize, kept: &[u8]) {
        self.length = self.length.saturating_add(u64::try_from(size).unwrap_or(u64::MAX));
        self.body.extend_from_slice(kept);
    }

    /// Whether all of the body was kept.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        u64::try_from(self.body.len()).ok() == Some(self.length)
    }

    /// What the request says its body's length is.
    #[must_use]
    pub fn declared_length(&self) -> Option<u64> {
        whole(self.headers.get("content-length")?)
    }
}

/// Bytes that a block of headers takes.
#[must_use]
pub fn size(headers: &HeaderMap) -> usize {
    // Names and values, and the four numbers of an entry on a machine of 32 bits.
    headers
        .iter()
        .map(|(name, value)| name.len().saturating_add(value.len()).saturating_add(16))
        .fold(0, usize::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_limit_is_kept() {
        let mut snapshot = Snapshot::new(HeaderMap::new(), 5);
        assert_eq!(snapshot.room(3), 3);
        snapshot.add(3, b"abc");
        assert_eq!(snapshot.room(3), 2);
        snapshot.add(3, b"de");
        assert_eq!((snapshot.room(9), snapshot.length, snapshot.body.as_slice()), (0, 6, &b"abcde"[..]));
    }
}
