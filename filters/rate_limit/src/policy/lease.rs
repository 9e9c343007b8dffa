//! Tokens that were taken from the service in advance: one key's state, as pure steps. Knows no host and no clock.
//!
//! At most `tokens` are there or on their way, so a key can be admitted at most `tokens` ahead of what the service knows, and only until they
//! expire. Who takes more says so in the state first (`asking`): of many workers one asks.

use super::wrong;
use crate::config;
use weir_sdk::{At, Problems};

/// A compiled [`config::Lease`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lease {
    tokens: u64,
    refill_below: u64,
    duration_ns: u64,
    hot_after: u64,
    /// How long an answer is waited for before somebody else may ask: its worker is gone then.
    patience_ns: u64,
}

/// What is known of a key. All times are on the monotonic clock, in nanoseconds; 0 is long ago.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    remaining: u64,
    /// When what remains must not be spent any more.
    expires: u64,
    /// Until when nobody else asks for more.
    asking: u64,
    /// Since when requests that asked are counted.
    since: u64,
    asks: u64,
    /// Until when the service has said that the key is over its limit.
    denied: u64,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spend {
    /// It is admitted; so many are to be taken in the background. `expires` tells where it was spent, to give it back.
    Spent { refill: Option<u64>, expires: u64 },
    /// It is over the limit for so long.
    Denied { reset_ns: u64 },
    /// It asks itself; so many are to be taken in the background.
    Ask { lease: Option<u64> },
}

/// The longest time that tokens may be kept.
const LONGEST_NS: u64 = 3_600_000_000_000;

impl Lease {
    /// Checks and compiles what stands at a place.
    pub(crate) fn compile(
        at: &At<'_>,
        lease: &config::Lease,
        timeout_ns: u64,
        problems: &mut Problems,
    ) -> Self {
        if lease.tokens == 0 {
            wrong(at, "tokens", "expected 1 or more, found 0", problems);
        }
        let refill_below = lease.refill_below.unwrap_or(lease.tokens.div_ceil(2));
        if lease.tokens > 0 && !(1..=lease.tokens).contains(&refill_below) {
            let reason = format!("expected 1 to `tokens`, {}, found {refill_below}", lease.tokens);
            wrong(at, "refill_below", &reason, problems);
        }
        let duration_ns = weir_sdk::nanos(lease.duration.0);
        if !(1..=LONGEST_NS).contains(&duration_ns) {
            let reason = format!("expected more than 0 and at most `1h`, found `{}`", lease.duration);
            wrong(at, "duration", &reason, problems);
        }
        Self {
            tokens: lease.tokens.into(),
            refill_below: refill_below.into(),
            duration_ns,
            hot_after: lease.hot_after.into(),
            // Envoy ends the call at its timeout; the rest is for a worker that is busy.
            patience_ns: timeout_ns.saturating_mul(2).saturating_add(100_000_000),
        }
    }

    /// A request comes.
    pub(crate) fn spend(&self, mut state: State, now: u64, cost: u64) -> (State, Spend) {
        let left = state.left(now);
        if cost <= left && left > 0 {
            state.remaining = left.saturating_sub(cost);
            let missing = self.tokens.saturating_sub(state.remaining);
            let low = state.remaining < self.refill_below && missing > 0;
            let refill = state.may_ask(now, low).then_some(missing);
            state.begin(refill, now, self.patience_ns);
            return (state, Spend::Spent { refill, expires: state.expires });
        }
        if now < state.denied {
            return (state, Spend::Denied { reset_ns: state.denied.saturating_sub(now) });
        }
        if now.saturating_sub(state.since) >= self.duration_ns {
            (state.since, state.asks) = (now, 0);
        }
        state.asks = state.asks.saturating_add(1);
        let missing = self.tokens.saturating_sub(left);
        let lease = state.may_ask(now, state.asks > self.hot_after && missing > 0).then_some(missing);
        state.begin(lease, now, self.patience_ns);
        (state, Spend::Ask { lease })
    }

    /// Tokens that were asked for are there. `reset_ns`: when the service's limit begins anew.
    pub(crate) fn granted(&self, mut state: State, now: u64, tokens: u64, reset_ns: Option<u64>) -> State {
        state.remaining = state.left(now).saturating_add(tokens).min(self.tokens);
        state.expires = now.saturating_add(self.within(reset_ns));
        state.asking = 0;
        state
    }

    /// Tokens that were asked for are not to be had: nobody asks for more for a while.
    pub(crate) fn not_granted(&self, mut state: State, now: u64, reset_ns: Option<u64>) -> State {
        state.asking = now.saturating_add(self.within(reset_ns));
        state
    }

    /// A request that asked itself is over the limit. Without a time that is known of this request only.
    pub(crate) fn denied(&self, mut state: State, now: u64, reset_ns: Option<u64>) -> State {
        if reset_ns.is_some() {
            state.denied = now.saturating_add(self.within(reset_ns));
        }
        state
    }

    /// A request gives back what it has spent of tokens that were to expire then.
    pub(crate) fn give_back(&self, mut state: State, now: u64, cost: u64, expires: u64) -> State {
        if state.expires >= expires && now < state.expires {
            state.remaining = state.remaining.saturating_add(cost).min(self.tokens);
        }
        state
    }

    /// Whether nothing would be forgotten with the state.
    pub(crate) fn is_idle(&self, state: &State, now: u64) -> bool {
        state.left(now) == 0
            && now >= state.asking
            && now >= state.denied
            && now.saturating_sub(state.since) >= self.duration_ns
    }

    fn within(&self, reset_ns: Option<u64>) -> u64 {
        reset_ns.unwrap_or(u64::MAX).min(self.duration_ns)
    }
}

impl State {
    fn left(&self, now: u64) -> u64 {
        if now < self.expires { self.remaining } else { 0 }
    }

    fn may_ask(&self, now: u64, wanted: bool) -> bool {
        wanted && now >= self.asking
    }

    fn begin(&mut self, asked: Option<u64>, now: u64, patience_ns: u64) {
        if asked.is_some() {
            self.asking = now.saturating_add(patience_ns);
        }
    }

    /// Bytes of a state.
    pub(crate) const BYTES: usize = 48;

    pub(crate) fn read(bytes: &[u8]) -> Self {
        let (words, _) = bytes.as_chunks::<8>();
        let mut words = words.iter().map(|word| u64::from_le_bytes(*word));
        let mut next = || words.next().unwrap_or_default();
        Self {
            remaining: next(),
            expires: next(),
            asking: next(),
            since: next(),
            asks: next(),
            denied: next(),
        }
    }

    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        let Self { remaining, expires, asking, since, asks, denied } = self;
        for word in [remaining, expires, asking, since, asks, denied] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests;
