//! The fixed window: so many in each, counted anew in the next.

use super::{Admission, Steps, put, u64_at};

/// `max` in each window. Windows begin at multiples of their length from the clock's zero: with the time of day, a minute begins with the minute.
///
/// Around a boundary up to twice `max` can come within a window's length. With a clock that is set back, the window that was reached lasts until
/// the clock has passed it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedWindow {
    max: u64,
    window_ns: u64,
}

/// Which window, and what was taken in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    window: u64,
    used: u64,
}

impl FixedWindow {
    /// `None` when a number is 0.
    #[must_use]
    pub fn new(max: u64, window_ns: u64) -> Option<Self> {
        (max > 0 && window_ns > 0).then_some(Self { max, window_ns })
    }

    fn at(self, state: State, now: u64) -> State {
        let window = now.checked_div(self.window_ns).unwrap_or_default();
        if window > state.window { State { window, used: 0 } } else { state }
    }
}

impl Steps for FixedWindow {
    type State = State;

    const BYTES: usize = 16;

    fn read(bytes: &[u8]) -> Option<State> {
        Some(State { window: u64_at(bytes, 0)?, used: u64_at(bytes, 8)? })
    }

    fn write(state: State, bytes: &mut [u8]) {
        put(bytes, 0, &state.window.to_le_bytes());
        put(bytes, 8, &state.used.to_le_bytes());
    }

    fn take(&self, state: State, now: u64, cost: u64) -> (State, Admission) {
        let before = self.at(state, now);
        let used = before.used.saturating_add(cost);
        let admitted = used <= self.max;
        let state = if admitted { State { used, ..before } } else { before };
        let end = state.window.saturating_add(1).saturating_mul(self.window_ns).saturating_sub(now);
        let remaining = self.max.saturating_sub(state.used);
        let reset_ns = match admitted {
            true if remaining > 0 => Some(0),
            _ => (cost <= self.max).then_some(end),
        };
        let full_ns = Some(if state.used == 0 { 0 } else { end });
        (state, Admission { admitted, limit: self.max, remaining, wait_ns: 0, reset_ns, full_ns })
    }

    fn refund(&self, state: State, receipt: State, now: u64, amount: u64) -> State {
        let state = self.at(state, now);
        if state.window != receipt.window {
            return state;
        }
        State { used: state.used.saturating_sub(amount), ..state }
    }

    fn charge(&self, state: State, now: u64, amount: u64) -> State {
        let state = self.at(state, now);
        State { used: state.used.saturating_add(amount), ..state }
    }

    fn is_idle(&self, state: State, now: u64) -> bool {
        self.at(state, now).used == 0
    }
}
