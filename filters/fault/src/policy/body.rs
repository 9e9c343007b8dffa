//! Bodies that end early or come damaged: a pure step from one part of a body to what becomes of it.

use std::rc::Rc;

use weir_sdk::{At, Draw, Mutation, Problems, Salt};

use super::json;
use crate::config::Patch;

/// What Envoy holds of a body: `per_connection_buffer_limit_bytes` of its listeners, 1 MiB unless configured (`BODY-12`).
const ENVOY_BUFFERS: u32 = 1_048_576;

/// `max_body_bytes` of what stands at `at`.
pub(crate) fn body_limit(at: &At<'_>, bytes: u32, problems: &mut Problems) -> usize {
    if bytes > ENVOY_BUFFERS {
        problems.add(
            at.field("max_body_bytes"),
            "expected at most 1048576: Envoy holds no more unless configured, and drops the stream",
        );
    }
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// How a body is damaged. Made at configure.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Damage {
    /// Ends after so many bytes; then perhaps a reset.
    Truncate { after: u64, reset: bool },
    /// One byte of every so many.
    Flip { every: u64 },
    /// A value becomes another.
    Json { path: Vec<String>, value: Vec<u8>, max: usize },
    /// This byte.
    Utf8 { at: u64 },
    /// `content-length` and this.
    Length { add: i32 },
    /// Not damaged, but another text.
    Text(Rc<[u8]>),
    /// Not damaged, but with other members.
    Merge { patch: Rc<Patch>, max: usize },
}

impl Damage {
    /// Whether the body ends early, and is whole until then.
    pub(crate) fn is_truncation(&self) -> bool {
        matches!(self, Self::Truncate { .. })
    }

    /// Whether it is a change rather than damage.
    pub(crate) fn is_change(&self) -> bool {
        matches!(self, Self::Text(_) | Self::Merge { .. })
    }
}

/// What a response's headers must become before its body is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    Keep,
    Set(u64),
    Remove,
}

impl Length {
    /// Changes the headers.
    pub(crate) fn change(self, mutations: &mut Vec<Mutation>) {
        mutations.push(match self {
            Self::Keep => return,
            Self::Set(length) => Mutation::Set("content-length".into(), length.to_string().into()),
            Self::Remove => Mutation::Remove("content-length".into()),
        });
    }
}

/// A body that is being damaged.
#[derive(Clone, Debug)]
pub(crate) struct Damaging {
    damage: Rc<Damage>,
    /// Where the next part begins.
    offset: u64,
    /// The bytes are gone that were to go; what comes next is the reset.
    reset_next: bool,
    done: bool,
    /// Makes each block's draw.
    salt: Salt,
}

/// What becomes of a part of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// It passes.
    Pass,
    /// These bytes take its place.
    Become(Vec<u8>),
    /// It is held until there is more.
    Hold,
    /// It goes no further: the stream is reset, once what went before has been written.
    Reset,
}

/// Whether anything was damaged, as far as this part tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Unknown,
    Damaged,
    /// It could not be.
    Spared,
}

impl Damaging {
    /// Begins, and says what the headers must become; `None` when this response cannot be damaged so.
    pub(crate) fn begin(
        damage: &Rc<Damage>,
        content_length: Option<u64>,
        salt: Salt,
    ) -> Option<(Self, Length)> {
        let length = match (&**damage, content_length) {
            (Damage::Truncate { after, reset: false }, Some(length)) if length > *after => {
                Length::Set(*after)
            }
            (Damage::Json { max, .. } | Damage::Merge { max, .. }, Some(length))
                if usize::try_from(length).unwrap_or(usize::MAX) > *max =>
            {
                return None;
            }
            (Damage::Json { .. } | Damage::Merge { .. }, _) => Length::Remove,
            (Damage::Text(text), Some(_)) => Length::Set(u64::try_from(text.len()).unwrap_or(u64::MAX)),
            (Damage::Length { .. }, None) => return None,
            (Damage::Length { add }, Some(length)) => {
                let wrong = length.saturating_add_signed(i64::from(*add));
                if wrong == length {
                    return None;
                }
                Length::Set(wrong)
            }
            _ => Length::Keep,
        };
        let damage = Rc::clone(damage);
        Some((Self { damage, offset: 0, reset_next: false, done: false, salt }, length))
    }

    /// One part: `size` bytes, which `bytes` gives when they are needed. After [`Part::Hold`] a part is everything so far.
    pub(crate) fn part(
        &mut self,
        size: usize,
        end_of_stream: bool,
        bytes: impl FnOnce() -> Vec<u8>,
    ) -> (Part, Outcome) {
        if self.reset_next {
            return (Part::Reset, Outcome::Unknown);
        }
        if self.done {
            // What takes a body's place has gone with its first part.
            let is_replaced = matches!(*self.damage, Damage::Text(_));
            return (if is_replaced { Part::Become(Vec::new()) } else { Part::Pass }, Outcome::Unknown);
        }
        let start = self.offset;
        let length = u64::try_from(size).unwrap_or(u64::MAX);
        let end = start.saturating_add(length);
        if !matches!(*self.damage, Damage::Json { .. } | Damage::Merge { .. }) {
            self.offset = end;
        }
        match &*self.damage {
            Damage::Truncate { after, reset } => {
                if end <= *after {
                    return (Part::Pass, Outcome::Unknown);
                }
                // Counted with the byte that is the first to be missing.
                let outcome = if start <= *after { Outcome::Damaged } else { Outcome::Unknown };
                if *reset && (end_of_stream || start >= *after) {
                    return (Part::Reset, outcome);
                }
                self.reset_next = *reset;
                let keep = usize::try_from(after.saturating_sub(start)).unwrap_or(usize::MAX);
                let mut kept = if keep == 0 { Vec::new() } else { bytes() };
                kept.truncate(keep);
                (Part::Become(kept), outcome)
            }
            Damage::Flip { every } => {
                let places = self.places(start, end, *every);
                if places.is_empty() {
                    return (Part::Pass, Outcome::Unknown);
                }
                let mut bytes = bytes();
                for place in places {
                    let byte = usize::try_from(place.saturating_sub(start)).ok();
                    if let Some(byte) = byte.and_then(|at| bytes.get_mut(at)) {
                        *byte ^= 0x55;
                    }
                }
                (Part::Become(bytes), if start == 0 { Outcome::Damaged } else { Outcome::Unknown })
            }
            Damage::Utf8 { at } => {
                if !(start..end).contains(at) {
                    let outcome = if end_of_stream { Outcome::Spared } else { Outcome::Unknown };
                    return (Part::Pass, outcome);
                }
                self.done = true;
                let mut bytes = bytes();
                let place = usize::try_from(at.saturating_sub(start)).ok();
                if let Some(byte) = place.and_then(|at| bytes.get_mut(at)) {
                    *byte = 0xff;
                }
                (Part::Become(bytes), Outcome::Damaged)
            }
            Damage::Json { max, .. } | Damage::Merge { max, .. } => {
                if size > *max {
                    self.done = true;
                    return (Part::Pass, Outcome::Spared);
                }
                if !end_of_stream {
                    return (Part::Hold, Outcome::Unknown);
                }
                self.done = true;
                let other = match &*self.damage {
                    Damage::Json { path, value, .. } => json::replaced(&bytes(), path, value),
                    Damage::Merge { patch, .. } => json::merged(&bytes(), patch),
                    _ => None,
                };
                other.map_or((Part::Pass, Outcome::Spared), |bytes| (Part::Become(bytes), Outcome::Damaged))
            }
            Damage::Text(text) => {
                self.done = true;
                (Part::Become(text.to_vec()), Outcome::Damaged)
            }
            Damage::Length { .. } => {
                let part = if end_of_stream { Part::Reset } else { Part::Pass };
                (part, if start == 0 { Outcome::Damaged } else { Outcome::Unknown })
            }
        }
    }

    /// The body ended with trailers: whether the stream is to be reset.
    pub(crate) fn trailers(&self) -> bool {
        self.reset_next || matches!(*self.damage, Damage::Length { .. })
    }

    /// The places from `start` to `end` where a byte is flipped.
    fn places(&self, start: u64, end: u64, every: u64) -> Vec<u64> {
        let every = every.max(1);
        let (Some(first), Some(last)) = (start.checked_div(every), end.checked_div(every)) else {
            return Vec::new();
        };
        let mut places = Vec::new();
        for block in first..=last {
            let within = Draw::sticky(&block.to_le_bytes(), self.salt).position(every);
            let place = block.saturating_mul(every).saturating_add(within);
            if (start..end).contains(&place) {
                places.push(place);
            }
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts that come, the last of them ends; what goes out, and how it ends.
    #[track_caller]
    fn check(damage: Damage, length: Option<u64>, parts: &[&[u8]], want: &[u8], reset: bool) {
        let (mut damaging, _) = Damaging::begin(&damage.into(), length, Salt::new("s")).unwrap();
        let (mut out, mut held) = (Vec::new(), Vec::new());
        for (index, part) in parts.iter().enumerate() {
            held.extend_from_slice(part);
            let end = index + 1 == parts.len();
            match damaging.part(held.len(), end, || held.clone()).0 {
                Part::Pass => out.append(&mut held),
                Part::Become(bytes) => {
                    held.clear();
                    out.extend(bytes);
                }
                Part::Hold => assert!(!end, "held for ever"),
                Part::Reset => {
                    assert!(reset, "not to be reset");
                    assert_eq!(out, want);
                    return;
                }
            }
        }
        assert!(!reset, "to be reset");
        assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(want));
    }

    #[test]
    fn bodies_end_early() {
        let cut = |after, reset| Damage::Truncate { after, reset };
        check(cut(3, false), Some(6), &[b"abcdef", b""], b"abc", false);
        check(cut(3, false), None, &[b"ab", b"cd", b"ef"], b"abc", false);
        check(cut(0, false), None, &[b"ab", b""], b"", false);
        check(cut(9, false), None, &[b"ab", b""], b"ab", false);
        check(cut(3, true), None, &[b"ab", b"cd", b""], b"abc", true);
        check(cut(2, true), None, &[b"ab", b"cd", b""], b"ab", true);
        check(cut(0, true), None, &[b"ab", b""], b"", true);
        check(cut(2, true), None, &[b"ab", b""], b"ab", false);
        check(cut(1, true), None, &[b"ab"], b"", true);
    }

    #[test]
    fn bodies_are_damaged() {
        check(
            Damage::Flip { every: 1 },
            None,
            &[b"ab", b"c"],
            &[b'a' ^ 0x55, b'b' ^ 0x55, b'c' ^ 0x55],
            false,
        );
        check(Damage::Utf8 { at: 2 }, None, &[b"ab", b"cd", b""], b"ab\xffd", false);
        check(Damage::Utf8 { at: 9 }, None, &[b"ab", b""], b"ab", false);
        let json = |max| Damage::Json { path: vec!["a".to_owned()], value: b"null".to_vec(), max };
        check(json(100), None, &[b"{\"a\"", b": 1}", b""], b"{\"a\": null}", false);
        check(json(3), None, &[b"{\"a\"", b": 1}", b""], b"{\"a\": 1}", false);
        check(json(100), None, &[b"no JSON", b""], b"no JSON", false);
        check(Damage::Length { add: 5 }, Some(2), &[b"ab", b""], b"ab", true);
    }

    #[test]
    fn bodies_become_others() {
        let text = || Damage::Text(b"new"[..].into());
        check(text(), Some(6), &[b"abc", b"def", b""], b"new", false);
        check(text(), None, &[b"", b"abc"], b"new", false);
        let merge = |max| {
            let patch = weir_sdk::parse(Some(br#"{"a": 2}"#)).unwrap();
            Damage::Merge { patch: Rc::new(patch), max }
        };
        check(merge(100), None, &[b"{\"a\"", b": 1}", b""], b"{\"a\": 2}", false);
        check(merge(3), None, &[b"{\"a\"", b": 1}", b""], b"{\"a\": 1}", false);
        check(merge(100), None, &[b"[1]"], b"[1]", false);
    }

    #[test]
    fn as_many_bytes_are_flipped_as_there_are_blocks_however_they_are_cut() {
        let body = vec![0_u8; 10_000];
        let flip = |sizes: &[usize]| {
            let (mut damaging, _) =
                Damaging::begin(&Damage::Flip { every: 100 }.into(), None, Salt::new("s")).unwrap();
            let (mut out, mut rest) = (Vec::new(), body.as_slice());
            for size in sizes.iter().cycle() {
                let (part, after) = rest.split_at(rest.len().min(*size));
                rest = after;
                match damaging.part(part.len(), rest.is_empty(), || part.to_vec()).0 {
                    Part::Become(bytes) => out.extend(bytes),
                    _ => out.extend(part),
                }
                if rest.is_empty() {
                    return out;
                }
            }
            out
        };
        let whole = flip(&[10_000]);
        assert_eq!(
            whole.chunks(100).filter(|block| block.iter().filter(|byte| **byte != 0).count() == 1).count(),
            100
        );
        assert_eq!(flip(&[1, 999, 7]), whole);
    }

    #[test]
    fn headers_fit_what_is_done() {
        let length = |damage: Damage, length| {
            Damaging::begin(&damage.into(), length, Salt::new("")).map(|(_, length)| length)
        };
        assert_eq!(length(Damage::Truncate { after: 3, reset: false }, Some(6)), Some(Length::Set(3)));
        assert_eq!(length(Damage::Truncate { after: 9, reset: false }, Some(6)), Some(Length::Keep));
        assert_eq!(length(Damage::Truncate { after: 3, reset: true }, Some(6)), Some(Length::Keep));
        assert_eq!(length(Damage::Length { add: -9 }, Some(6)), Some(Length::Set(0)));
        assert_eq!(length(Damage::Length { add: -9 }, Some(0)), None);
        assert_eq!(length(Damage::Length { add: 1 }, None), None);
        let json = Damage::Json { path: Vec::new(), value: Vec::new(), max: 5 };
        assert_eq!([length(json.clone(), Some(6)), length(json, None)], [None, Some(Length::Remove)]);
        let text = || Damage::Text(b"new"[..].into());
        assert_eq!(
            [length(text(), Some(6)), length(text(), None)],
            [Some(Length::Set(3)), Some(Length::Keep)]
        );
    }
}
