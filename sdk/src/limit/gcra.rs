//! The generic cell rate algorithm: one number, the time at which everything taken will have been paid for.

use super::{Admission, Queue, Steps, div_ceil, div_floor, put};

/// `per_interval` in each interval, evenly; up to `burst` at once.
///
/// Admits what a [`TokenBucket`](super::TokenBucket) of the size `burst` admits, with fewer bytes of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gcra {
    per_interval: u32,
    interval_ns: u64,
    burst: u32,
    queue: Queue,
}

/// The theoretical arrival time, in nanoseconds times `per_interval`: so one costs `interval_ns`, and nothing is ever rounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State(u128);

impl Gcra {
    /// `None` when a number is 0.
    #[must_use]
    pub fn new(per_interval: u32, interval_ns: u64, burst: u32) -> Option<Self> {
        let all = per_interval > 0 && interval_ns > 0 && burst > 0;
        all.then_some(Self { per_interval, interval_ns, burst, queue: Queue::default() })
    }

    /// With a queue.
    #[must_use]
    pub fn with_queue(self, queue: Queue) -> Self {
        Self { queue, ..self }
    }

    fn scaled(self, now: u64) -> u128 {
        u128::from(now).saturating_mul(self.per_interval.into())
    }

    fn cost(self, amount: u64) -> u128 {
        u128::from(amount).saturating_mul(self.interval_ns.into())
    }

    /// Nanoseconds that so much takes to come.
    fn time(self, scaled: u128) -> Option<u64> {
        div_ceil(scaled, self.per_interval.into())
    }
}

impl Steps for Gcra {
    type State = State;

    const BYTES: usize = 16;

    fn read(bytes: &[u8]) -> Option<State> {
        Some(State(u128::from_le_bytes(bytes.try_into().ok()?)))
    }

    fn write(state: State, bytes: &mut [u8]) {
        put(bytes, 0, &state.0.to_le_bytes());
    }

    fn take(&self, State(paid_until): State, now: u64, cost: u64) -> (State, Admission) {
        let now = self.scaled(now);
        let latest = now.saturating_add(self.cost(self.burst.into()));
        let before = paid_until.max(now);
        let after = before.saturating_add(self.cost(cost));
        let over = after.saturating_sub(latest);
        let wait = self.time(over);
        let waits = cost <= self.burst.into()
            && over <= self.cost(self.queue.max_queued)
            && wait.is_some_and(|wait| wait <= self.queue.max_wait_ns);
        let admitted = over == 0 || waits;
        let state = if admitted { after } else { before };
        let remaining = div_floor(latest.saturating_sub(state), self.interval_ns.into());
        let next = state.saturating_add(self.cost(1)).saturating_sub(latest);
        let reset_ns = match admitted {
            true => self.time(next),
            false => wait.filter(|_| cost <= self.burst.into()),
        };
        let admission = Admission {
            admitted,
            limit: self.burst.into(),
            remaining,
            wait_ns: if admitted { wait.unwrap_or_default() } else { 0 },
            reset_ns,
            full_ns: self.time(state.saturating_sub(now)),
        };
        (State(state), admission)
    }

    fn refund(&self, State(paid_until): State, State(receipt): State, now: u64, amount: u64) -> State {
        // What the take has pushed out is at most `amount`, and gone wherever the state has been idle since: it was idle at `receipt` at the
        // earliest, and had others taken since, only later.
        let still = self.cost(amount).min(receipt.saturating_sub(self.scaled(now)));
        State(paid_until.saturating_sub(still))
    }

    fn charge(&self, State(paid_until): State, now: u64, amount: u64) -> State {
        State(paid_until.max(self.scaled(now)).saturating_add(self.cost(amount)))
    }

    fn is_idle(&self, State(paid_until): State, now: u64) -> bool {
        paid_until <= self.scaled(now)
    }
}
