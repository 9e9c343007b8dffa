//! Faults that count: exactly N of M, and the first of each key. Pure steps of a state that all workers share.

use std::time::Duration;

use weir_sdk::nanos;

/// Keys that share one value of the shared state.
const KEYS_PER_SLOT: usize = 8;

/// Bytes of one key: hash, count, when it was seen last.
const ENTRY: usize = 20;

/// One step of exactly `faults` of `of`: whether this request is one of them. They are spread evenly, and every `of` requests in a row, wherever
/// one begins to count, have exactly `faults`.
pub(crate) fn exactly(state: Option<&[u8]>, faults: u32, of: u32) -> (Vec<u8>, bool) {
    let of = u64::from(of.max(1));
    let number = state
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u64::from_le_bytes)
        .checked_rem(of)
        .unwrap_or(0);
    let next = number.saturating_add(1);
    // Both factors are below 2^32 + 1.
    let before = number.saturating_mul(u64::from(faults)).checked_div(of);
    let after = next.saturating_mul(u64::from(faults)).checked_div(of);
    (next.to_le_bytes().to_vec(), after > before)
}

/// Which of the slots a key is in.
pub(crate) fn slot(key: u64, max_keys: u32) -> u32 {
    let slots = u64::from(max_keys).div_ceil(8).max(1);
    u32::try_from(key.checked_rem(slots).unwrap_or(0)).unwrap_or(0)
}

/// A key that a slot remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    key: u64,
    count: u32,
    last_ms: u64,
}

/// One step of "the first `requests` of each key" in the key's slot: whether this request is one of them.
pub(crate) fn first(
    state: Option<&[u8]>,
    key: u64,
    requests: u32,
    now_ms: u64,
    forget_after: Duration,
) -> (Vec<u8>, bool) {
    let mut seen = read(state, now_ms, milliseconds(forget_after).saturating_sub(1));
    let count = seen.iter().find(|seen| seen.key == key).map_or(0, |seen| seen.count);
    let takes = count < requests;
    let now = Seen { key, count: count.saturating_add(u32::from(takes)), last_ms: now_ms };
    seen.retain(|seen| seen.key != key);
    // The one that was seen last stands last.
    if seen.len() >= KEYS_PER_SLOT {
        seen.remove(0);
    }
    seen.push(now);
    (write(&seen), takes)
}

/// One step of "each key once" in the key's slot: whether it is the first request of it. Never forgets a key before its time: where all places are
/// taken, no other key is let in.
pub(crate) fn once(state: Option<&[u8]>, key: u64, now_ms: u64, forget_after: Duration) -> (Vec<u8>, bool) {
    let mut seen = read(state, now_ms, milliseconds(forget_after));
    let is_first = seen.len() < KEYS_PER_SLOT && seen.iter().all(|seen| seen.key != key);
    if is_first {
        seen.push(Seen { key, count: 1, last_ms: now_ms });
    }
    (write(&seen), is_first)
}

/// The keys that were seen no longer ago than that.
#[inline(never)]
fn read(state: Option<&[u8]>, now_ms: u64, most_ms: u64) -> Vec<Seen> {
    let mut all = Vec::new();
    for entry in state.unwrap_or_default().as_chunks::<ENTRY>().0 {
        if let Some(seen) = seen(entry)
            && now_ms.saturating_sub(seen.last_ms) <= most_ms
        {
            all.push(seen);
        }
    }
    all
}

fn seen(entry: &[u8]) -> Option<Seen> {
    let (key, rest) = entry.split_first_chunk()?;
    let (count, last_ms) = rest.split_first_chunk()?;
    Some(Seen {
        key: u64::from_le_bytes(*key),
        count: u32::from_le_bytes(*count),
        last_ms: u64::from_le_bytes(last_ms.try_into().ok()?),
    })
}

#[inline(never)]
fn write(all: &[Seen]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(all.len().saturating_mul(ENTRY));
    for seen in all {
        bytes.extend_from_slice(&seen.key.to_le_bytes());
        bytes.extend_from_slice(&seen.count.to_le_bytes());
        bytes.extend_from_slice(&seen.last_ms.to_le_bytes());
    }
    bytes
}

fn milliseconds(time: Duration) -> u64 {
    nanos(time) / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn each_key_once_and_none_forgotten_too_soon() {
        let mut state: Option<Vec<u8>> = None;
        let mut once = |key, now_ms| {
            let (new, is_first) = once(state.as_deref(), key, now_ms, Duration::from_millis(100));
            state = Some(new);
            is_first
        };
        assert!((1..=8).all(|key| once(key, key)));
        assert!((1..=8).all(|key| !once(key, 50)));
        assert!(!once(9, 101), "no place is free, as the first may still come until then");
        assert!(once(9, 102));
        assert!(!once(9, 202));
        assert!(once(9, 203), "by then the signature itself is over");
    }

    #[test]
    fn exactly_n_of_every_m() {
        for (faults, of) in [(0, 1), (1, 1), (2, 10), (3, 7), (7, 7), (999, 1000), (1, u32::MAX)] {
            let mut state: Option<Vec<u8>> = None;
            let taken: Vec<bool> = (0..3000)
                .map(|_| {
                    let (next, takes) = exactly(state.as_deref(), faults, of);
                    state = Some(next);
                    takes
                })
                .collect();
            for window in taken.windows(of as usize) {
                let count = window.iter().filter(|takes| **takes).count();
                assert_eq!(count, faults as usize, "{faults} of {of}");
            }
        }
    }

    #[test]
    fn what_somebody_else_wrote_is_a_beginning() {
        assert!(exactly(Some(b"abc"), 1, 1).1);
        assert!(first(Some(b"abc"), 1, 1, 0, HOUR).1);
        let (next, takes) = exactly(Some(&u64::MAX.to_le_bytes()), u32::MAX, u32::MAX);
        assert!(takes && next.len() == 8);
    }

    #[test]
    fn a_key_fails_and_then_succeeds() {
        let mut state: Option<Vec<u8>> = None;
        let mut step = |key, now_ms| {
            let (next, takes) = first(state.as_deref(), key, 2, now_ms, HOUR);
            state = Some(next);
            takes
        };
        assert_eq!(
            [step(1, 0), step(2, 0), step(1, 1), step(1, 2), step(2, 3)],
            [true, true, true, false, true]
        );
        // Seen once in a while it stays remembered; not seen for an hour it starts anew.
        assert_eq!([step(1, 3_000_000), step(1, 6_000_000), step(1, 9_600_000)], [false, false, true]);
    }

    #[test]
    fn memory_is_bounded_and_the_longest_unseen_goes_first() {
        let mut state: Option<Vec<u8>> = None;
        for key in 0..1000 {
            state = Some(first(state.as_deref(), key, 1, 0, HOUR).0);
            assert!(state.as_ref().unwrap().len() <= KEYS_PER_SLOT * ENTRY);
        }
        assert!(!first(state.as_deref(), 992, 1, 0, HOUR).1, "is remembered");
        assert!(first(state.as_deref(), 991, 1, 0, HOUR).1, "was forgotten");
        assert_eq!([slot(7, 8), slot(9, 16), slot(u64::MAX, 0)], [0, 1, 0]);
    }
}
