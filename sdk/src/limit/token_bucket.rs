//! The token bucket, refilled evenly as Envoy's own: what is missing, and when that was.

use super::{Admission, Queue, Refunds, Steps, div_ceil, divide, put, u64_at};

/// Up to `max_tokens`, refilled by `tokens_per_fill` in each interval: evenly, not in steps, as Envoy's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenBucket {
    pub(super) max_tokens: u32,
    pub(super) tokens_per_fill: u32,
    pub(super) interval_ns: u64,
    pub(super) queue: Queue,
}

/// What is missing to a full bucket, in tokens times `interval_ns`: so a nanosecond brings `tokens_per_fill`, and nothing is ever rounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) missing: u128,
    /// Never goes back.
    pub(super) at: u64,
    pub(super) refunds: Refunds,
}

impl TokenBucket {
    /// `None` when a number is 0.
    #[must_use]
    pub fn new(max_tokens: u32, tokens_per_fill: u32, interval_ns: u64) -> Option<Self> {
        let all = max_tokens > 0 && tokens_per_fill > 0 && interval_ns > 0;
        all.then_some(Self { max_tokens, tokens_per_fill, interval_ns, queue: Queue::default() })
    }

    /// With a queue.
    #[must_use]
    pub fn with_queue(self, queue: Queue) -> Self {
        Self { queue, ..self }
    }

    fn refilled(self, state: State, now: u64) -> State {
        let elapsed = now.saturating_sub(state.at);
        let come = u128::from(elapsed).saturating_mul(self.tokens_per_fill.into());
        State { missing: state.missing.saturating_sub(come), at: state.at.max(now), refunds: state.refunds }
    }

    /// Refilled, before something is taken.
    fn busy(self, state: State, now: u64) -> State {
        let state = self.refilled(state, now);
        State { refunds: state.refunds.at(state.at, state.missing == 0), ..state }
    }

    fn cost(self, amount: u64) -> u128 {
        u128::from(amount).saturating_mul(self.interval_ns.into())
    }

    /// Nanoseconds from `now` until so much has come: the refill goes on at `state.at`.
    fn time(self, state: State, now: u64, scaled: u128) -> Option<u64> {
        let time = div_ceil(scaled, self.tokens_per_fill.into())?;
        if time == 0 { Some(0) } else { time.checked_add(state.at.saturating_sub(now)) }
    }
}

impl Steps for TokenBucket {
    type State = State;

    const BYTES: usize = 24 + Refunds::BYTES;

    fn read(bytes: &[u8]) -> Option<State> {
        let (missing, at) = bytes.split_first_chunk()?;
        let refunds = Refunds::read(at.get(8..)?)?;
        Some(State { missing: u128::from_le_bytes(*missing), at: u64_at(at, 0)?, refunds })
    }

    fn write(state: State, bytes: &mut [u8]) {
        put(bytes, 0, &state.missing.to_le_bytes());
        put(bytes, 16, &state.at.to_le_bytes());
        state.refunds.write(bytes, 24);
    }

    fn take(&self, state: State, now: u64, cost: u64) -> (State, Admission) {
        let before = self.busy(state, now);
        let size = self.cost(self.max_tokens.into());
        let missing = before.missing.saturating_add(self.cost(cost));
        let over = missing.saturating_sub(size);
        let wait = self.time(before, now, over);
        let waits = cost <= self.max_tokens.into()
            && over <= self.cost(self.queue.max_queued)
            && wait.is_some_and(|wait| wait <= self.queue.max_wait_ns);
        let admitted = over == 0 || waits;
        let state = if admitted { State { missing, ..before } } else { before };
        let next = state.missing.saturating_add(self.cost(1)).saturating_sub(size);
        let reset_ns = match admitted {
            true => self.time(state, now, next),
            false => wait.filter(|_| cost <= self.max_tokens.into()),
        };
        let admission = Admission {
            admitted,
            limit: self.max_tokens.into(),
            remaining: divide(size.saturating_sub(state.missing), self.interval_ns).unwrap_or_default(),
            wait_ns: if admitted { wait.unwrap_or_default() } else { 0 },
            reset_ns,
            full_ns: self.time(state, now, state.missing),
        };
        (state, admission)
    }

    fn refund(&self, state: State, receipt: State, now: u64, amount: u64) -> State {
        let state = self.refilled(state, now);
        let left = self.refilled(receipt, state.at).missing;
        let still = state.refunds.still(receipt.refunds, left, self.cost(1)).min(self.cost(amount));
        State { missing: state.missing.saturating_sub(still), refunds: state.refunds.and(amount), ..state }
    }

    fn charge(&self, state: State, now: u64, amount: u64) -> State {
        let state = self.busy(state, now);
        State { missing: state.missing.saturating_add(self.cost(amount)), ..state }
    }

    fn is_idle(&self, state: State, now: u64) -> bool {
        self.refilled(state, now).missing == 0
    }
}
