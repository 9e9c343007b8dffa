//! How many at the same time. Knows no time: what was taken comes back when it is given back.

use super::{Admission, Steps, put};

/// At most `max` at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Concurrency {
    max: u32,
}

/// How many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State(u64);

impl Concurrency {
    /// `None` when `max` is 0.
    #[must_use]
    pub fn new(max: u32) -> Option<Self> {
        (max > 0).then_some(Self { max })
    }
}

impl Steps for Concurrency {
    type State = State;

    const BYTES: usize = 8;

    fn read(bytes: &[u8]) -> Option<State> {
        Some(State(u64::from_le_bytes(bytes.try_into().ok()?)))
    }

    fn write(state: State, bytes: &mut [u8]) {
        put(bytes, 0, &state.0.to_le_bytes());
    }

    fn take(&self, State(active): State, _: u64, cost: u64) -> (State, Admission) {
        let max = u64::from(self.max);
        let after = active.saturating_add(cost);
        let admitted = after <= max;
        let state = if admitted { after } else { active };
        let remaining = max.saturating_sub(state);
        let known = |is_so: bool| is_so.then_some(0);
        let admission = Admission {
            admitted,
            limit: max,
            remaining,
            wait_ns: 0,
            reset_ns: known(admitted && remaining > 0),
            full_ns: known(state == 0),
        };
        (State(state), admission)
    }

    fn refund(&self, State(active): State, _: State, _: u64, amount: u64) -> State {
        State(active.saturating_sub(amount))
    }

    fn charge(&self, State(active): State, _: u64, amount: u64) -> State {
        State(active.saturating_add(amount))
    }

    fn is_idle(&self, State(active): State, _: u64) -> bool {
        active == 0
    }
}
