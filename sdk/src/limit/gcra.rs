//! The generic cell rate algorithm: one number, the time at which everything taken will have been paid for.

use super::token_bucket::{self, TokenBucket};
use super::{Admission, Queue, Refunds, Steps, put};

/// `per_interval` in each interval, evenly; up to `burst` at once.
///
/// Admits what a [`TokenBucket`](super::TokenBucket) of the size `burst` admits, with fewer bytes of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gcra {
    per_interval: u32,
    interval_ns: u64,
    burst: u32,
    queue: Queue,
}

/// What has been taken, and when it will have been paid for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// The theoretical arrival time, in nanoseconds times `per_interval`: so one costs `interval_ns`, and nothing is ever rounded.
    paid_until: u128,
    refunds: Refunds,
}

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

    /// Now they do the same: what is not paid for is what is missing.
    fn bucket(self) -> TokenBucket {
        TokenBucket {
            max_tokens: self.burst,
            tokens_per_fill: self.per_interval,
            interval_ns: self.interval_ns,
            queue: self.queue,
        }
    }

    fn in_bucket(self, state: State, now: u64) -> token_bucket::State {
        let missing = state.paid_until.saturating_sub(self.scaled(now));
        token_bucket::State { missing, at: now, refunds: state.refunds }
    }

    fn of_bucket(self, state: token_bucket::State, now: u64) -> State {
        State { paid_until: self.scaled(now).saturating_add(state.missing), refunds: state.refunds }
    }
}

impl Steps for Gcra {
    type State = State;

    const BYTES: usize = 16 + Refunds::BYTES;

    fn read(bytes: &[u8]) -> Option<State> {
        let (paid_until, refunds) = bytes.split_first_chunk()?;
        Some(State { paid_until: u128::from_le_bytes(*paid_until), refunds: Refunds::read(refunds)? })
    }

    fn write(state: State, bytes: &mut [u8]) {
        put(bytes, 0, &state.paid_until.to_le_bytes());
        state.refunds.write(bytes, 16);
    }

    fn take(&self, state: State, now: u64, cost: u64) -> (State, Admission) {
        let (state, admission) = self.bucket().take(self.in_bucket(state, now), now, cost);
        (self.of_bucket(state, now), admission)
    }

    fn refund(&self, state: State, receipt: State, now: u64, amount: u64) -> State {
        let left = receipt.paid_until.saturating_sub(self.scaled(now));
        let still = state.refunds.still(receipt.refunds, left, self.cost(1)).min(self.cost(amount));
        State { paid_until: state.paid_until.saturating_sub(still), refunds: state.refunds.and(amount) }
    }

    fn charge(&self, state: State, now: u64, amount: u64) -> State {
        self.of_bucket(self.bucket().charge(self.in_bucket(state, now), now, amount), now)
    }

    fn is_idle(&self, state: State, now: u64) -> bool {
        state.paid_until <= self.scaled(now)
    }
}
