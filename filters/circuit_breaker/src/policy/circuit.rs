//! The state of one circuit, as all workers share it, and its bytes. Steps are in `machine`.

use weir_sdk::SharedValue;

use super::bytes;
use super::rules::Rules;
use super::window::Window;

/// How many probes can be under way at once.
pub(super) const SLOTS: usize = 16;

/// A longer key is cut and made unique by its hash.
const KEY_BYTES: usize = 128;

/// The first byte of a state: changes with its form, so that an older module's is not misread.
const VERSION: u8 = 2;

/// How many times of calls are kept for a quantile.
pub(super) const SAMPLES: usize = 64;

/// What a circuit does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Lets everything through and watches.
    #[default]
    Closed,
    /// Lets probes through.
    HalfOpen,
    /// Lets nothing through.
    Open,
    /// Lets a growing share through and watches.
    Recovering,
}

impl State {
    /// All, in the order of their bytes.
    const ALL: [Self; 4] = [Self::Closed, Self::HalfOpen, Self::Open, Self::Recovering];

    /// As logs and headers say it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half-open",
            Self::Open => "open",
            Self::Recovering => "recovering",
        }
    }
}

/// A probe that is under way. Ticket 0: none is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) ticket: u32,
    pub(super) until_ns: u64,
}

/// All of a circuit but its window: what admits a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(super) state: State,
    /// Grows with each transition that makes the results of calls before it late.
    pub(super) generation: u64,
    /// When the state began.
    pub(super) since_ns: u64,
    /// How long it stays open this time.
    pub(super) open_ns: u64,
    /// How often it has opened in a row.
    pub(super) openings: u32,
    /// Errors one after another.
    pub(super) consecutive: u32,
    /// Results of this half-open time.
    pub(super) succeeded: u32,
    pub(super) failed: u32,
    pub(super) last_ticket: u32,
    pub(super) leases: [Lease; SLOTS],
    /// Calls under way, where they are limited.
    pub(super) in_flight: u32,
    /// The adaptive limit in thousandths; 0: not found yet.
    pub(super) limit_milli: u32,
    /// When it was last found anew: with AIMD, shrunk.
    pub(super) shrunk_ns: u64,
    /// Gradient: the least time, 0: not known; how many times were looked at since the last step; the limit that stands back while the least time is
    /// measured, 0: it is not; when that began, or is due again.
    pub(super) least_us: u32,
    pub(super) sampled: u32,
    pub(super) kept_milli: u32,
    pub(super) measure_ns: u64,
    /// With what probability requests are shed, in parts of a million. Not written: made of the windows.
    pub(super) shed_ppm: u32,
    /// When it was last written.
    pub(super) used_ns: u64,
}

/// One circuit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Circuit {
    /// Whose it is; empty: nobody's.
    pub(super) key: Vec<u8>,
    pub(super) head: Head,
    pub(super) window: Window,
    /// Those of `Rules::more`.
    pub(super) more: Vec<Window>,
    /// Times of calls in us since the gradient's last step: all, or a fair draw of them.
    pub(super) samples: Vec<u32>,
}

impl Circuit {
    /// A closed one.
    pub(crate) fn new(key: &[u8]) -> Self {
        Self { key: key.to_vec(), ..Self::nobodys() }
    }

    /// What is in a place that was never used.
    #[inline(never)]
    pub(crate) fn nobodys() -> Self {
        Self::default()
    }

    /// Whose it is.
    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    /// What admits requests now.
    pub(crate) fn head(&mut self, rules: &Rules, now_ns: u64) -> Head {
        self.weigh(rules, now_ns);
        self.head
    }

    /// Whether nothing would be lost if its place were given to another: closed, nothing under way, and not used for `idle_ns`.
    pub(crate) fn is_idle(&self, now_ns: u64, idle_ns: u64) -> bool {
        let head = &self.head;
        head.state == State::Closed && head.in_flight == 0 && now_ns.abs_diff(head.used_ns) >= idle_ns
    }

    /// Gives its place to another. The generation goes on, so that results of calls of the one before are late.
    pub(crate) fn give_to(&mut self, key: &[u8], now_ns: u64) {
        let generation = self.head.generation.wrapping_add(1);
        *self = Self::new(key);
        self.head.generation = generation;
        self.head.used_ns = now_ns;
    }
}

/// The bytes that a circuit is found by: short ones as they are.
pub(crate) fn short_key(key: &[u8]) -> Vec<u8> {
    if key.len() <= KEY_BYTES {
        return key.to_vec();
    }
    let hash = weir_sdk::digest::hmac_sha256(b"circuit_breaker", key);
    let mut short: Vec<u8> = key.iter().take(KEY_BYTES.saturating_sub(hash.len())).copied().collect();
    short.extend(hash);
    short
}

impl SharedValue for Circuit {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        let head = &self.head;
        out.push(VERSION);
        out.push(State::ALL.iter().position(|state| *state == head.state).unwrap_or(0) as u8);
        out.push(u8::try_from(self.key.len()).unwrap_or(0));
        out.extend_from_slice(&self.key);
        for number in
            [head.generation, head.since_ns, head.open_ns, head.shrunk_ns, head.measure_ns, head.used_ns]
        {
            bytes::put_u64(&mut out, number);
        }
        for number in [
            head.openings,
            head.consecutive,
            head.succeeded,
            head.failed,
            head.last_ticket,
            head.in_flight,
            head.limit_milli,
            head.least_us,
            head.sampled,
            head.kept_milli,
        ] {
            bytes::put_u32(&mut out, number);
        }
        for lease in &head.leases {
            bytes::put_u32(&mut out, lease.ticket);
            bytes::put_u64(&mut out, lease.until_ns);
        }
        out.push(u8::try_from(self.samples.len()).unwrap_or(0));
        for sample in &self.samples {
            bytes::put_u32(&mut out, *sample);
        }
        out.push(u8::try_from(self.more.len()).unwrap_or(0));
        for window in self.more.iter().chain([&self.window]) {
            window.encode(&mut out);
        }
        out
    }

    /// Never `None`: what cannot be read is nobody's circuit, which the next request writes anew, so that foreign bytes stop nothing.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut circuit = Self::nobodys();
        Some(if circuit.read(bytes).is_some() { circuit } else { Self::nobodys() })
    }
}

impl Circuit {
    fn read(&mut self, mut from: &[u8]) -> Option<()> {
        let [version, state, key] = bytes::take(&mut from)?;
        let (key, rest) = from.split_at_checked(usize::from(key))?;
        from = rest;
        if version != VERSION {
            return None;
        }
        let head = &mut self.head;
        head.state = *State::ALL.get(usize::from(state))?;
        for number in [
            &mut head.generation,
            &mut head.since_ns,
            &mut head.open_ns,
            &mut head.shrunk_ns,
            &mut head.measure_ns,
            &mut head.used_ns,
        ] {
            *number = bytes::take_u64(&mut from)?;
        }
        for number in [
            &mut head.openings,
            &mut head.consecutive,
            &mut head.succeeded,
            &mut head.failed,
            &mut head.last_ticket,
            &mut head.in_flight,
            &mut head.limit_milli,
            &mut head.least_us,
            &mut head.sampled,
            &mut head.kept_milli,
        ] {
            *number = bytes::take_u32(&mut from)?;
        }
        for lease in &mut head.leases {
            lease.ticket = bytes::take_u32(&mut from)?;
            lease.until_ns = bytes::take_u64(&mut from)?;
        }
        let [samples] = bytes::take(&mut from)?;
        if usize::from(samples) > SAMPLES {
            return None;
        }
        for _ in 0..samples {
            self.samples.push(bytes::take_u32(&mut from)?);
        }
        let [more] = bytes::take(&mut from)?;
        for _ in 0..more {
            self.more.push(Window::decode(&mut from)?);
        }
        self.window = Window::decode(&mut from)?;
        self.key = key.to_vec();
        from.is_empty().then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_back_and_hostile_bytes_are_nobodys() {
        let mut circuit = Circuit::new(b"reviews");
        circuit.head.state = State::Recovering;
        circuit.head.leases[3] = Lease { ticket: 7, until_ns: 9 };
        circuit.head.in_flight = 5;
        circuit.head.least_us = 9;
        circuit.more = vec![Window::default(); 2];
        circuit.samples = vec![1, 2, 3];
        let bytes = circuit.encode();
        assert_eq!(Circuit::decode(&bytes), Some(circuit));
        for cut in 0..bytes.len() {
            assert_eq!(Circuit::decode(&bytes[..cut]), Some(Circuit::default()), "{cut}");
        }
        assert_eq!(Circuit::decode(&[0xff; 4096]), Some(Circuit::default()));
    }

    #[test]
    fn a_long_key_is_cut_and_stays_its_own() {
        let (one, other) = ([b'a'; 500], [b'a'; 501]);
        assert_eq!(short_key(&one).len(), KEY_BYTES);
        assert_ne!(short_key(&one), short_key(&other));
        assert_eq!(short_key(b"a"), b"a");
    }
}
