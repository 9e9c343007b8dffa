//! The generic cell rate algorithm: one number, the time at which everything taken will have been paid for.

use super::{Admission, Queue, Refunds, Steps, div_ceil, div_floor, put};

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

    /// Nanoseconds that so much takes to come.
    fn time(self, scaled: u128) -> Option<u64> {
        div_ceil(scaled, self.per_interval.into())
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

    fn take(&self, state: State, clock: u64, cost: u64) -> (State, Admission) {
        let now = self.scaled(clock);
        let latest = now.saturating_add(self.cost(self.burst.into()));
        let before = state.paid_until.max(now);
        let after = before.saturating_add(self.cost(cost));
        let over = after.saturating_sub(latest);
        let wait = self.time(over);
        let waits = cost <= self.burst.into()
            && over <= self.cost(self.queue.max_queued)
            && wait.is_some_and(|wait| wait <= self.queue.max_wait_ns);
        let admitted = over == 0 || waits;
        let refunds = state.refunds.at(clock, state.paid_until <= now);
        let paid_until = if admitted { after } else { before };
        let next = paid_until.saturating_add(self.cost(1)).saturating_sub(latest);
        let reset_ns = match admitted {
            true => self.time(next),
            false => wait.filter(|_| cost <= self.burst.into()),
        };
        let admission = Admission {
            admitted,
            limit: self.burst.into(),
            remaining: div_floor(latest.saturating_sub(paid_until), self.interval_ns.into()),
            wait_ns: if admitted { wait.unwrap_or_default() } else { 0 },
            reset_ns,
            full_ns: self.time(paid_until.saturating_sub(now)),
        };
        (State { paid_until, refunds }, admission)
    }

    fn refund(&self, state: State, receipt: State, now: u64, amount: u64) -> State {
        let left = receipt.paid_until.saturating_sub(self.scaled(now));
        let still = state.refunds.still(receipt.refunds, left, self.cost(1)).min(self.cost(amount));
        State { paid_until: state.paid_until.saturating_sub(still), refunds: state.refunds.and(amount) }
    }

    fn charge(&self, state: State, clock: u64, amount: u64) -> State {
        let now = self.scaled(clock);
        let refunds = state.refunds.at(clock, state.paid_until <= now);
        State { paid_until: state.paid_until.max(now).saturating_add(self.cost(amount)), refunds }
    }

    fn is_idle(&self, state: State, now: u64) -> bool {
        state.paid_until <= self.scaled(now)
    }
}
