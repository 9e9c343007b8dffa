//! The sliding window, counted in tenths, and never in favour of the one who asks.

use super::{Admission, Steps, put, u64_at};

/// Tenths of the window that are over and still count.
const PAST: usize = 10;
/// With the one that is not over.
const SEGMENTS: usize = PAST + 1;

/// At most `max` in *any* stretch of time of a window's length.
///
/// What was taken counts until the tenth of the window in which it was has left the window as a whole: up to a tenth longer than it should. That is
/// the price of counting instead of remembering every moment; the usual approximation, which weighs the last window's count, can be wrong in
/// both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlidingWindow {
    max: u32,
    segment_ns: u64,
}

/// What was taken in the tenth `segment`, and in the ten before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    segment: u64,
    /// The newest first.
    counts: [u32; SEGMENTS],
}

impl State {
    fn used(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(u64::from(*count)))
    }

    fn add(mut self, amount: u64) -> Self {
        if let Some(newest) = self.counts.first_mut() {
            *newest = newest.saturating_add(u32::try_from(amount).unwrap_or(u32::MAX));
        }
        self
    }
}

impl SlidingWindow {
    /// `None` when a number is 0.
    #[must_use]
    pub fn new(max: u32, window_ns: u64) -> Option<Self> {
        (max > 0 && window_ns > 0).then_some(Self { max, segment_ns: window_ns.div_ceil(PAST as u64) })
    }

    fn at(self, mut state: State, now: u64) -> State {
        let segment = now.checked_div(self.segment_ns).unwrap_or_default();
        let moved =
            usize::try_from(segment.saturating_sub(state.segment)).unwrap_or(usize::MAX).min(SEGMENTS);
        if moved > 0 {
            state.counts.rotate_right(moved);
            state.counts.iter_mut().take(moved).for_each(|count| *count = 0);
            state.segment = segment;
        }
        state
    }

    /// Nanoseconds until no more than `most` of what is counted still is.
    fn time(self, state: &State, now: u64, most: u64) -> u64 {
        let mut used = state.used();
        for (age, count) in state.counts.iter().enumerate().rev() {
            if used <= most {
                // The tenth before this one was the last that had to leave.
                return self.leaves(state, age.saturating_add(1), now);
            }
            used = used.saturating_sub(u64::from(*count));
        }
        self.leaves(state, 0, now)
    }

    fn leaves(self, state: &State, age: usize, now: u64) -> u64 {
        let Some(after) = SEGMENTS.checked_sub(age).filter(|after| *after > 0) else {
            return 0;
        };
        let segment = state.segment.saturating_add(u64::try_from(after).unwrap_or_default());
        segment.saturating_mul(self.segment_ns).saturating_sub(now)
    }
}

impl Steps for SlidingWindow {
    type State = State;

    const BYTES: usize = 8 + 4 * SEGMENTS;

    fn read(bytes: &[u8]) -> Option<State> {
        let mut state = State { segment: u64_at(bytes, 0)?, ..State::default() };
        let words = bytes.get(8..)?.as_chunks::<4>().0;
        for (count, word) in state.counts.iter_mut().zip(words) {
            *count = u32::from_le_bytes(*word);
        }
        (words.len() == SEGMENTS).then_some(state)
    }

    fn write(state: State, bytes: &mut [u8]) {
        put(bytes, 0, &state.segment.to_le_bytes());
        for (index, count) in state.counts.iter().enumerate() {
            put(bytes, index.saturating_mul(4).saturating_add(8), &count.to_le_bytes());
        }
    }

    fn take(&self, state: State, now: u64, cost: u64) -> (State, Admission) {
        let max = u64::from(self.max);
        let before = self.at(state, now);
        let admitted = before.used().saturating_add(cost) <= max;
        let state = if admitted { before.add(cost) } else { before };
        let reset_ns = match admitted {
            true => Some(self.time(&state, now, max.saturating_sub(1))),
            false => max.checked_sub(cost).map(|most| self.time(&state, now, most)),
        };
        let admission = Admission {
            admitted,
            limit: max,
            remaining: max.saturating_sub(state.used()),
            wait_ns: 0,
            reset_ns,
            full_ns: Some(self.time(&state, now, 0)),
        };
        (state, admission)
    }

    fn refund(&self, state: State, receipt: State, now: u64, amount: u64) -> State {
        let mut state = self.at(state, now);
        let age = state.segment.checked_sub(receipt.segment).and_then(|age| usize::try_from(age).ok());
        if let Some(count) = age.and_then(|age| state.counts.get_mut(age)) {
            *count = count.saturating_sub(u32::try_from(amount).unwrap_or(u32::MAX));
        }
        state
    }

    fn charge(&self, state: State, now: u64, amount: u64) -> State {
        self.at(state, now).add(amount)
    }

    fn is_idle(&self, state: State, now: u64) -> bool {
        self.at(state, now).used() == 0
    }
}
