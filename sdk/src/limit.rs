//! Limits: how much is admitted in a time, as pure state machines over a few bytes, and a bounded table of such states for keys.
//!
//! Knows no host and no clock: the time is an argument, in nanoseconds since any fixed moment; a [`Store`] keeps the bytes. All arithmetic is on
//! integers, so that nothing drifts. A clock that goes back admits nothing: what was known stays until the clock has caught up.
//!
//! The bytes of a state that has never been stepped are zeros, and a state that is idle again does as well as one of zeros: that is what lets
//! a [`Table`] forget keys without giving anything away.

mod concurrency;
mod fixed_window;
mod gcra;
mod sliding_window;
mod table;
#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))]
mod tests;
mod token_bucket;

pub use concurrency::Concurrency;
pub use fixed_window::FixedWindow;
pub use gcra::Gcra;
pub use sliding_window::SlidingWindow;
pub use table::{Ask, OnFull, Receipt, Store, Table, Taken};
pub use token_bucket::TokenBucket;

/// What a limit answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Admission {
    /// Whether the cost was taken. A refusal takes nothing.
    pub admitted: bool,
    /// How much there is when nothing is used.
    pub limit: u64,
    /// How much could be taken now, rounded down.
    pub remaining: u64,
    /// How long what was admitted has to wait first, in nanoseconds; 0 without a [`Queue`].
    pub wait_ns: u64,
    /// Nanoseconds until there is 1 to take, or until the refused cost is there, should nobody else take any; `None` when no clock tells, or never.
    pub reset_ns: Option<u64>,
    /// Nanoseconds until nothing is used, should nobody take any; `None` when no clock tells.
    pub full_ns: Option<u64>,
}

/// How much may be admitted ahead of its time, and wait: bounded in number and in time. The default is not at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Queue {
    /// At most so much waits.
    pub max_queued: u64,
    /// And none of it longer than so many nanoseconds.
    pub max_wait_ns: u64,
}

/// One algorithm: steps of a state. The default state is that of nothing used.
trait Steps {
    type State: Copy + Default;

    /// The bytes of a state: a fixed number, zeros for the default.
    const BYTES: usize;

    fn read(bytes: &[u8]) -> Option<Self::State>;
    fn write(state: Self::State, bytes: &mut [u8]);

    /// Takes `cost`, or nothing.
    fn take(&self, state: Self::State, now: u64, cost: u64) -> (Self::State, Admission);

    /// Gives back up to `amount` of what a take has taken that left `receipt`: never more than what is still missing because of it.
    fn refund(&self, state: Self::State, receipt: Self::State, now: u64, amount: u64) -> Self::State;

    /// Takes `amount` whatever is there, as a debt if need be.
    fn charge(&self, state: Self::State, now: u64, amount: u64) -> Self::State;

    /// Whether the state does from now on what the default state would do.
    fn is_idle(&self, state: Self::State, now: u64) -> bool;
}

/// An algorithm and its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// See [`TokenBucket`].
    TokenBucket(TokenBucket),
    /// See [`Gcra`].
    Gcra(Gcra),
    /// See [`FixedWindow`].
    FixedWindow(FixedWindow),
    /// See [`SlidingWindow`].
    SlidingWindow(SlidingWindow),
    /// See [`Concurrency`].
    Concurrency(Concurrency),
}

macro_rules! dispatch {
    ($algorithm:expr, $steps:ident => $do:expr) => {
        match $algorithm {
            Algorithm::TokenBucket($steps) => $do,
            Algorithm::Gcra($steps) => $do,
            Algorithm::FixedWindow($steps) => $do,
            Algorithm::SlidingWindow($steps) => $do,
            Algorithm::Concurrency($steps) => $do,
        }
    };
}

fn bytes_of<S: Steps>(_: &S) -> usize {
    S::BYTES
}

fn take<S: Steps>(steps: &S, bytes: &mut [u8], now: u64, cost: u64) -> Admission {
    let (state, admission) = steps.take(S::read(bytes).unwrap_or_default(), now, cost);
    if admission.admitted {
        S::write(state, bytes);
    }
    admission
}

fn refund<S: Steps>(steps: &S, bytes: &mut [u8], receipt: &[u8], now: u64, amount: u64) {
    if let (Some(state), Some(receipt)) = (S::read(bytes), S::read(receipt)) {
        S::write(steps.refund(state, receipt, now, amount), bytes);
    }
}

fn charge<S: Steps>(steps: &S, bytes: &mut [u8], now: u64, amount: u64) {
    S::write(steps.charge(S::read(bytes).unwrap_or_default(), now, amount), bytes);
}

fn is_idle<S: Steps>(steps: &S, bytes: &[u8], now: u64) -> bool {
    steps.is_idle(S::read(bytes).unwrap_or_default(), now)
}

impl Algorithm {
    /// How many bytes a state has.
    #[must_use]
    pub fn state_bytes(&self) -> usize {
        dispatch!(self, steps => bytes_of(steps))
    }

    /// Takes `cost` of the state, or nothing. Bytes of another length count as of nothing used, and are left as they are.
    pub fn take(&self, state: &mut [u8], now_ns: u64, cost: u64) -> Admission {
        dispatch!(self, steps => take(steps, state, now_ns, cost))
    }

    /// Gives back up to `amount` of a take that left the state `receipt`: never more than what is still missing because of it, so that what is
    /// admitted stays within the limit as if the take had been that much smaller.
    pub fn refund(&self, state: &mut [u8], receipt: &[u8], now_ns: u64, amount: u64) {
        dispatch!(self, steps => refund(steps, state, receipt, now_ns, amount));
    }

    /// Takes `amount` whatever is there: what a response has cost is not refused any more, it is missing to the next requests.
    pub fn charge(&self, state: &mut [u8], now_ns: u64, amount: u64) {
        dispatch!(self, steps => charge(steps, state, now_ns, amount));
    }

    /// Whether the state is as good as one that was never used.
    #[must_use]
    pub fn is_idle(&self, state: &[u8], now_ns: u64) -> bool {
        dispatch!(self, steps => is_idle(steps, state, now_ns))
    }

    /// How much there is when nothing is used.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.take(&mut vec![0; self.state_bytes()], 0, 0).limit
    }

    /// Whether what was taken comes back by time alone; otherwise only by [`Algorithm::refund`].
    #[must_use]
    pub fn is_refilled_by_time(&self) -> bool {
        !matches!(self, Self::Concurrency(_))
    }
}

/// What a state that is refilled by time remembers of refunds, so that none gives back what time has brought back already.
///
/// What a take has left to be refilled is at least what there was after it, less what time has brought and what others were given back since;
/// and nothing, once everything was there: `since` tells whether that has been.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Refunds {
    /// When the first was taken after nothing was used.
    since: u64,
    /// How much was given back; wraps.
    given: u64,
}

impl Refunds {
    const BYTES: usize = 16;

    fn read(bytes: &[u8]) -> Option<Self> {
        Some(Self { since: u64_at(bytes, 0)?, given: u64_at(bytes, 8)? })
    }

    fn write(self, bytes: &mut [u8], start: usize) {
        put(bytes, start, &self.since.to_le_bytes());
        put(bytes, start.saturating_add(8), &self.given.to_le_bytes());
    }

    /// Before something is taken.
    fn at(self, now: u64, nothing_used: bool) -> Self {
        if nothing_used { Self { since: now, ..self } } else { self }
    }

    fn and(self, amount: u64) -> Self {
        Self { given: self.given.wrapping_add(amount), ..self }
    }

    /// How much of a take is still missing because of it, at least: `left` is what there was after it, less what time has brought.
    fn still(self, receipt: Self, left: u128, unit: u128) -> u128 {
        if self.since != receipt.since {
            return 0;
        }
        left.saturating_sub(u128::from(self.given.wrapping_sub(receipt.given)).saturating_mul(unit))
    }
}

/// The quotient, rounded up; `None` for a division by 0 or a quotient of more than 64 bits.
#[must_use]
pub fn div_ceil(dividend: u128, divisor: u64) -> Option<u64> {
    divide(dividend.checked_add(u128::from(divisor.checked_sub(1)?))?, divisor)
}

/// The quotient, rounded down; `None` for a division by 0 or a quotient of more than 64 bits. Nearly always the dividend has no more than that either;
/// otherwise bit by bit, as the compiler's division of 128 bits is a kilobyte of code.
#[inline(never)]
fn divide(dividend: u128, divisor: u64) -> Option<u64> {
    if let Ok(dividend) = u64::try_from(dividend) {
        return dividend.checked_div(divisor);
    }
    let (mut rest, mut bits) = (dividend >> 64, dividend);
    if rest >= u128::from(divisor) {
        return None;
    }
    let mut quotient = 0_u64;
    for _ in 0..64 {
        bits <<= 1;
        rest = (rest << 1) | u128::from(bits >> 64 & 1 == 1);
        quotient <<= 1;
        if rest >= u128::from(divisor) {
            rest = rest.wrapping_sub(divisor.into());
            quotient |= 1;
        }
    }
    Some(quotient)
}

/// A `u64` at a place of the bytes.
fn u64_at(bytes: &[u8], start: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(start..)?.first_chunk()?))
}

fn put(bytes: &mut [u8], start: usize, value: &[u8]) {
    let end = start.saturating_add(value.len());
    if let Some(place) = bytes.get_mut(start..end) {
        place.copy_from_slice(value);
    }
}
