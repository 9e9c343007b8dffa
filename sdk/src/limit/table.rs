//! Many keys in a fixed number of places, so that memory is bounded by construction: a hash table of small sets, each one value of a [`Store`].
//!
//! Knows no host. A key has a slot of its own in its set while there is room. A slot is given to another key only when it is idle, which is
//! the same as never used, so that forgetting gives nothing away. When no slot of the set is idle, newcomers share the set's
//! overflow state; one that later finds a slot begins it with what the overflow state says, not full.

use std::rc::Rc;

use super::{Admission, Algorithm};
use crate::HostError;
use crate::fraction::xxh64;

/// Slots of a set: the value that one step reads and writes stays below half a kilobyte.
const WAYS: usize = 8;
/// Bytes of a fingerprint.
const FINGERPRINT: usize = 8;

/// What keeps values for all workers, such as shared data.
pub trait Store {
    /// Steps the value of `key`: `next` gets what is there and returns what is to be there, or `None` to leave it. Called again when somebody else
    /// was faster, so it must do nothing but that.
    ///
    /// # Errors
    /// The value could not be read or written; nothing was written then.
    fn update(
        &self,
        key: &[u8],
        next: &mut dyn FnMut(Option<Vec<u8>>) -> Option<Vec<u8>>,
    ) -> Result<(), HostError>;
}

/// What happens to a key for which there is no slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFull {
    /// It shares one state with the others for which there is none.
    #[default]
    Shared,
    /// It is refused.
    Deny,
}

/// The states of a limit's keys.
#[derive(Clone, Debug)]
pub struct Table {
    name: Rc<[u8]>,
    algorithm: Algorithm,
    /// 0: one state for all keys.
    sets: u32,
    seed: u64,
    on_full: OnFull,
}

/// What a take has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The answer.
    pub admission: Admission,
    /// Where it was taken; nothing when it was refused.
    pub receipt: Option<Receipt>,
    /// Whether there was no slot for the key.
    pub overflowed: bool,
}

/// Where something was taken, to give it back or to take more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    set: u32,
    /// `None`: the overflow state.
    fingerprint: Option<u64>,
    /// The state that the take has left.
    state: Rc<[u8]>,
    ask: Ask,
}

impl Receipt {
    /// How much was taken, in the asker's units.
    #[must_use]
    pub fn cost(&self) -> u64 {
        self.ask.cost
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// How many units.
    pub cost: u64,
    /// How much of the state is a unit, at least 1: with N, one of N who have a state each takes an Nth of what a state has, so that all
    /// together take no more than one state has.
    pub unit: u64,
    /// How much of the state has to be left.
    pub leave: u64,
}

impl Ask {
    /// So much, with nothing left.
    #[must_use]
    pub fn of(cost: u64) -> Self {
        Self { cost, unit: 1, leave: 0 }
    }

    fn take(self, algorithm: &Algorithm, state: &mut [u8], now: u64) -> Admission {
        let cost = self.cost.saturating_mul(self.unit);
        if self.leave == 0 && self.unit == 1 {
            return algorithm.take(state, now, cost);
        }
        let probe = |state: &[u8], cost: u64| {
            algorithm.take(&mut state.to_vec(), now, cost.saturating_add(self.leave))
        };
        let mut admission = probe(state, cost);
        if admission.admitted {
            admission = algorithm.take(state, now, cost);
            let next = probe(state, self.unit);
            admission.reset_ns = if next.admitted { Some(0) } else { next.reset_ns };
        }
        let units = |amount: u64| amount.checked_div(self.unit).unwrap_or(amount);
        Admission {
            limit: units(admission.limit.saturating_sub(self.leave)),
            remaining: units(admission.remaining.saturating_sub(self.leave)),
            ..admission
        }
    }
}

impl Table {
    /// One state, whatever the key. `name` is the store's key.
    #[must_use]
    pub fn single(name: &str, algorithm: Algorithm) -> Self {
        Self { name: name.as_bytes().into(), algorithm, sets: 0, seed: 0, on_full: OnFull::Shared }
    }

    /// A state for each of up to `max_keys` keys, rounded up to a multiple of 8. `name` begins the store's keys; `seed` is to be unknown to those who
    /// choose keys, and the same for all who share the states.
    #[must_use]
    pub fn keyed(name: &str, algorithm: Algorithm, max_keys: u32, seed: u64, on_full: OnFull) -> Self {
        let sets = max_keys.div_ceil(WAYS as u32).max(1);
        Self { name: name.as_bytes().into(), algorithm, sets, seed, on_full }
    }

    /// The most bytes that all values together have, without what the store adds to each.
    #[must_use]
    pub fn max_bytes(&self) -> u64 {
        let state = self.algorithm.state_bytes();
        let slots = if self.sets == 0 { 0 } else { WAYS.saturating_mul(state.saturating_add(FINGERPRINT)) };
        let set = u64::try_from(state.saturating_add(slots)).unwrap_or(u64::MAX);
        set.saturating_mul(u64::from(self.sets.max(1)))
    }

    /// The algorithm.
    #[must_use]
    pub fn algorithm(&self) -> &Algorithm {
        &self.algorithm
    }

    /// Takes `cost` of the key's state, or nothing.
    ///
    /// # Errors
    /// The store's; nothing was taken then.
    pub fn take(&self, store: &dyn Store, key: &[u8], now_ns: u64, cost: u64) -> Result<Taken, HostError> {
        self.take_as(store, key, now_ns, Ask::of(cost))
    }

    /// Takes what is asked for of the key's state, or nothing. The answer is in the asker's units: what it would see if they were all there is.
    ///
    /// # Errors
    /// The store's; nothing was taken then.
    pub fn take_as(&self, store: &dyn Store, key: &[u8], now_ns: u64, ask: Ask) -> Result<Taken, HostError> {
        let (set, fingerprint) = self.place(key);
        let mut taken = None;
        store.update(&self.store_key(set), &mut |value| {
            let (value, step) = self.step(value, set, fingerprint, now_ns, ask);
            taken = Some(step);
            value
        })?;
        Ok(taken.unwrap_or_else(|| self.refused()))
    }

    /// What a take of nothing would say, with nothing written and no slot claimed.
    ///
    /// # Errors
    /// The store's.
    pub fn look(&self, store: &dyn Store, key: &[u8], now_ns: u64) -> Result<Admission, HostError> {
        let (number, fingerprint) = self.place(key);
        let mut admission = Admission::default();
        store.update(&self.store_key(number), &mut |value| {
            let mut set = Set::new(value, self.algorithm.state_bytes());
            let mut unused = vec![0; self.algorithm.state_bytes()];
            let state = set.state((self.sets > 0).then_some(fingerprint)).unwrap_or(&mut unused);
            admission = self.algorithm.take(state, now_ns, 0);
            None
        })?;
        Ok(admission)
    }

    /// Gives back up to `amount` units of what was taken; see [`Algorithm::refund`].
    ///
    /// # Errors
    /// The store's; nothing was given back then.
    pub fn refund(
        &self,
        store: &dyn Store,
        receipt: &Receipt,
        now_ns: u64,
        amount: u64,
    ) -> Result<(), HostError> {
        store.update(&self.store_key(receipt.set), &mut |value| {
            let mut set = Set::new(value, self.algorithm.state_bytes());
            let state = set.state(receipt.fingerprint)?;
            let amount = amount.min(receipt.ask.cost).saturating_mul(receipt.ask.unit);
            self.algorithm.refund(state, &receipt.state, now_ns, amount);
            Some(set.bytes)
        })
    }

    /// Takes `amount` units more, whatever is there; see [`Algorithm::charge`]. A key that was forgotten meanwhile gets a slot again, or is charged to its
    /// set's overflow.
    ///
    /// # Errors
    /// The store's; nothing was taken then.
    pub fn charge(
        &self,
        store: &dyn Store,
        receipt: &Receipt,
        now_ns: u64,
        amount: u64,
    ) -> Result<(), HostError> {
        store.update(&self.store_key(receipt.set), &mut |value| {
            let mut set = Set::new(value, self.algorithm.state_bytes());
            let own = receipt.fingerprint.filter(|own| set.find_or_claim(*own, &self.algorithm, now_ns));
            self.algorithm.charge(set.state(own)?, now_ns, amount.saturating_mul(receipt.ask.unit));
            Some(set.bytes)
        })
    }

    /// One step of a set's value: what is to be written, if anything.
    pub(super) fn step(
        &self,
        value: Option<Vec<u8>>,
        set_number: u32,
        fingerprint: u64,
        now: u64,
        ask: Ask,
    ) -> (Option<Vec<u8>>, Taken) {
        let mut set = Set::new(value, self.algorithm.state_bytes());
        let has_slot = self.sets > 0 && set.find_or_claim(fingerprint, &self.algorithm, now);
        if self.sets > 0 && !has_slot && self.on_full == OnFull::Deny {
            return (None, Taken { overflowed: true, ..self.refused() });
        }
        let fingerprint = has_slot.then_some(fingerprint);
        let Some(state) = set.state(fingerprint) else {
            return (None, self.refused());
        };
        let admission = ask.take(&self.algorithm, state, now);
        let overflowed = self.sets > 0 && !has_slot;
        if !admission.admitted {
            // Nothing was taken: what there is to know is in what is there.
            return (None, Taken { admission, receipt: None, overflowed });
        }
        let receipt = Receipt { set: set_number, fingerprint, state: (&*state).into(), ask };
        (Some(set.bytes), Taken { admission, receipt: Some(receipt), overflowed })
    }

    /// The set and the fingerprint of a key.
    pub(super) fn place(&self, key: &[u8]) -> (u32, u64) {
        if self.sets == 0 {
            return (0, 0);
        }
        let hash = xxh64(key, self.seed);
        let set = u128::from(hash).wrapping_mul(u128::from(self.sets)) >> 64;
        (u32::try_from(set).unwrap_or_default(), hash)
    }

    fn store_key(&self, set: u32) -> Vec<u8> {
        let mut key = Vec::with_capacity(self.name.len().saturating_add(4));
        key.extend_from_slice(&self.name);
        if self.sets > 0 {
            key.extend_from_slice(&set.to_be_bytes());
        }
        key
    }

    fn refused(&self) -> Taken {
        // What an untouched state would say of its size, with nothing of it to be had.
        let mut state = vec![0; self.algorithm.state_bytes()];
        let fresh = self.algorithm.take(&mut state, 0, 0);
        let admission = Admission { limit: fresh.limit, ..Admission::default() };
        Taken { admission, receipt: None, overflowed: false }
    }
}

/// The value of a set: the overflow state, then the slots in use, each a fingerprint and a state.
struct Set {
    bytes: Vec<u8>,
    state: usize,
}

impl Set {
    fn new(value: Option<Vec<u8>>, state: usize) -> Self {
        let mut bytes = value.unwrap_or_default();
        if bytes.len() < state {
            bytes.resize(state, 0);
        }
        Self { bytes, state }
    }

    fn overflow(&self) -> Vec<u8> {
        self.bytes.get(..self.state).unwrap_or_default().to_vec()
    }

    fn slots(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let slots = self.bytes.get(self.state..).unwrap_or_default();
        slots.chunks_exact(self.state.saturating_add(FINGERPRINT)).filter_map(|slot| {
            let (fingerprint, state) = slot.split_first_chunk()?;
            Some((u64::from_le_bytes(*fingerprint), state))
        })
    }

    fn slot(&mut self, fingerprint: u64) -> Option<&mut [u8]> {
        let size = self.state.saturating_add(FINGERPRINT);
        let slots = self.bytes.get_mut(self.state..)?;
        slots.chunks_exact_mut(size).find(|slot| slot.starts_with(&fingerprint.to_le_bytes()))
    }

    /// The state of a slot, or the overflow state.
    fn state(&mut self, fingerprint: Option<u64>) -> Option<&mut [u8]> {
        match fingerprint {
            Some(fingerprint) => self.slot(fingerprint)?.get_mut(FINGERPRINT..),
            None => self.bytes.get_mut(..self.state),
        }
    }

    /// Whether the key has a slot now: its own, a free one, or one that is idle.
    fn find_or_claim(&mut self, fingerprint: u64, algorithm: &Algorithm, now: u64) -> bool {
        let mut used = 0_usize;
        let mut idle = None;
        for (owner, state) in self.slots() {
            if owner == fingerprint {
                return true;
            }
            if idle.is_none() && algorithm.is_idle(state, now) {
                idle = Some(owner);
            }
            used = used.saturating_add(1);
        }
        if idle.is_none() && used >= WAYS {
            return false;
        }
        let overflow = self.overflow();
        if !algorithm.is_refilled_by_time() && !algorithm.is_idle(&overflow, now) {
            // What this key may hold there is given back there; it has to wait until all is.
            return false;
        }
        match idle.and_then(|owner| self.slot(owner)) {
            Some(slot) => {
                let (name, state) = slot.split_at_mut(FINGERPRINT.min(slot.len()));
                name.copy_from_slice(&fingerprint.to_le_bytes());
                state.copy_from_slice(&overflow);
            }
            None => {
                self.bytes.extend_from_slice(&fingerprint.to_le_bytes());
                self.bytes.extend_from_slice(&overflow);
            }
        }
        true
    }
}
