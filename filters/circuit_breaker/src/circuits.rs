//! The table of circuits that all workers share: a fixed number of places in shared data, each changed by compare-and-swap, and this worker's
//! copies of them. The imperative part: what a circuit does is the policy's.

use std::cell::RefCell;
use std::rc::Rc;

use weir_sdk::{HostError, PluginHost, Shared};

use crate::policy::{Admission, Call, Circuit, End, Head, Outcome, Recorded, Rules, Steps, Ticket};

/// Places that a key can have.
const WAYS: usize = 8;

/// How long a worker may take to find a place for a new key in a row that is full. The others let requests of new keys pass meanwhile; a
/// worker that dies in it holds them up for no longer.
const LOCK_NS: u64 = 1_000_000_000;

/// The table.
#[derive(Debug)]
pub(crate) struct Circuits {
    places: Vec<Shared<Circuit>>,
    /// Held, until this time, by the worker that gives an idle place to another key.
    lock: Shared<u64>,
    copies: RefCell<Vec<Option<Copy>>>,
    refresh_ns: u64,
    idle_ns: u64,
}

/// What this worker last saw of a place.
#[derive(Clone, Debug)]
struct Copy {
    key: Rc<[u8]>,
    head: Head,
    seen_ns: u64,
}

/// Where a circuit is, as a stream remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    index: usize,
    key: Rc<[u8]>,
}

impl Place {
    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }
}

impl Circuits {
    /// A table of so many places. `name` tells its circuits from others' with the same `vm_id`.
    pub(crate) fn new(host: &PluginHost, name: &str, places: u32, refresh_ns: u64, idle_ns: u64) -> Self {
        let key = |index: u32| format!("circuit_breaker.v1.{name}.{index}");
        Self {
            places: (0..places).map(|index| host.shared(&key(index))).collect(),
            lock: host.shared(&format!("circuit_breaker.v1.{name}.lock")),
            copies: RefCell::new(vec![None; usize::try_from(places).unwrap_or(0)]),
            refresh_ns,
            idle_ns,
        }
    }

    /// Asks the circuit of `key` to let a request through. `None`: there is no room for it.
    ///
    /// # Errors
    /// The host refuses, or other workers were faster too often: nothing has been changed then.
    pub(crate) fn admit(
        &self,
        key: &[u8],
        rules: &Rules,
        call: &Call,
    ) -> Result<Option<(Place, Admission, Steps)>, HostError> {
        let mut is_first = true;
        loop {
            let Some((place, head)) = self.find(key, rules, call.now_ns)? else {
                return Ok(None);
            };
            if is_first && let Some(admission) = head.and_then(|head| head.answer(rules, call)) {
                return Ok(Some((place, admission, Steps::default())));
            }
            let mut answer = None;
            let admit = &mut |circuit: &mut Circuit| answer = Some(circuit.admit(rules, call));
            if self.change(&place, rules, call.now_ns, admit)? || !is_first {
                return Ok(answer.map(|(admission, steps)| (place, admission, steps)));
            }
            // Another key has the place since this worker looked last: found anew, once.
            self.forget(&place);
            is_first = false;
        }
    }

    /// Tells a circuit how a call has ended.
    ///
    /// # Errors
    /// As for [`Circuits::admit`].
    pub(crate) fn record(
        &self,
        place: &Place,
        rules: &Rules,
        ticket: &Ticket,
        end: &End,
    ) -> Result<(Recorded, Steps), HostError> {
        if !ticket.holds_something() && !matches!(end.outcome, Outcome::Call { .. }) {
            return Ok((Recorded::Nothing, Steps::default()));
        }
        let mut answer = (Recorded::Late, Steps::default());
        let record = &mut |circuit: &mut Circuit| answer = circuit.record(rules, ticket, end);
        if !self.change(place, rules, end.now_ns, record)? {
            self.forget(place);
            answer = (Recorded::Late, Steps::default());
        }
        Ok(answer)
    }

    /// Steps what is in a place, perhaps more than once. Whether there is such a place.
    fn step(&self, index: usize, next: &mut dyn FnMut(&mut Circuit)) -> Result<bool, HostError> {
        let Some(shared) = self.places.get(index) else {
            return Ok(false);
        };
        shared.update(|old| {
            let mut circuit = old.unwrap_or_else(Circuit::nobodys);
            next(&mut circuit);
            (circuit, true)
        })
    }

    /// Steps a circuit; not when its place is another's now, which is left as it is. Tells whether it has.
    fn change(
        &self,
        place: &Place,
        rules: &Rules,
        now_ns: u64,
        next: &mut dyn FnMut(&mut Circuit),
    ) -> Result<bool, HostError> {
        let mut seen = None;
        self.step(place.index, &mut |circuit| {
            seen = None;
            if circuit.key() == &*place.key {
                next(circuit);
                seen = Some(circuit.head(rules, now_ns));
            }
        })?;
        let Some(head) = seen else {
            return Ok(false);
        };
        self.remember(place, head, now_ns);
        Ok(true)
    }

    /// Where the circuit of `key` is, and what is known of it, not older than may be; a place is made for a new one.
    fn find(
        &self,
        key: &[u8],
        rules: &Rules,
        now_ns: u64,
    ) -> Result<Option<(Place, Option<Head>)>, HostError> {
        let row = self.row(key);
        if let Some((index, copy)) = self.copied(key, &row) {
            let place = Place { index, key: copy.key };
            if now_ns.abs_diff(copy.seen_ns) < self.refresh_ns {
                return Ok(Some((place, Some(copy.head))));
            }
            if let Some(head) = self.look(&place, rules, now_ns)? {
                return Ok(Some((place, Some(head))));
            }
            self.forget(&place);
        }
        let key: Rc<[u8]> = key.into();
        match self.seek(&key, &row, rules, now_ns)? {
            Some(found) => Ok(Some(found)),
            None => self.replace(&key, &row, rules, now_ns),
        }
    }

    /// The places that a key can have, in the order in which they are tried: the same for all workers.
    fn row(&self, key: &[u8]) -> Vec<usize> {
        let count = self.places.len();
        // FNV-1a (Fowler, Noll, Vo; 64 bits).
        let hash = key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let first = usize::try_from(hash >> 32).unwrap_or(0);
        let mut row = Vec::with_capacity(WAYS);
        for way in 0..WAYS.min(count) {
            row.extend(first.wrapping_add(way).checked_rem(count));
        }
        row
    }

    fn copied(&self, key: &[u8], row: &[usize]) -> Option<(usize, Copy)> {
        let copies = self.copies.borrow();
        for index in row {
            if let Some(Some(copy)) = copies.get(*index)
                && &*copy.key == key
            {
                return Some((*index, copy.clone()));
            }
        }
        None
    }

    /// Looks at a place that should be of this key.
    fn look(&self, place: &Place, rules: &Rules, now_ns: u64) -> Result<Option<Head>, HostError> {
        let Some(shared) = self.places.get(place.index) else {
            return Ok(None);
        };
        let found = shared.get()?.filter(|circuit| circuit.key() == &*place.key);
        Ok(found.map(|mut circuit| {
            let head = circuit.head(rules, now_ns);
            self.remember(place, head, now_ns);
            head
        }))
    }

    /// Looks for a key in its row; a new one gets the first place that was never used. Places are never emptied, so two workers that look for
    /// the same new key try the same place, and one of them finds the other's.
    /// `None`: they are all others'.
    fn seek(
        &self,
        key: &Rc<[u8]>,
        row: &[usize],
        rules: &Rules,
        now_ns: u64,
    ) -> Result<Option<(Place, Option<Head>)>, HostError> {
        for index in row {
            let place = Place { index: *index, key: key.clone() };
            let Some(shared) = self.places.get(*index) else {
                continue;
            };
            match shared.get()? {
                Some(mut circuit) if circuit.key() == &**key => {
                    let head = circuit.head(rules, now_ns);
                    self.remember(&place, head, now_ns);
                    return Ok(Some((place, Some(head))));
                }
                Some(circuit) if !circuit.key().is_empty() => {}
                _ => {
                    let mut is_mine = false;
                    self.step(*index, &mut |circuit| {
                        if circuit.key().is_empty() {
                            circuit.give_to(key, now_ns);
                        }
                        is_mine = circuit.key() == &**key;
                    })?;
                    if is_mine {
                        return Ok(Some((place, None)));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Gives the place of an idle circuit to a new key. One worker at a time, so that no key gets two places.
    fn replace(
        &self,
        key: &Rc<[u8]>,
        row: &[usize],
        rules: &Rules,
        now_ns: u64,
    ) -> Result<Option<(Place, Option<Head>)>, HostError> {
        let until_ns = now_ns.saturating_add(LOCK_NS);
        // Further away than any lock: the clock was set back.
        let is_held = |held: u64| held > now_ns && held <= until_ns;
        if is_held(self.lock(&|held| if is_held(held) { held } else { until_ns })?) {
            return Ok(None);
        }
        let given = match self.seek(key, row, rules, now_ns) {
            Ok(None) => self.give_idle(key, row, now_ns),
            found => found,
        };
        let _ = self.lock(&|held| if held == until_ns { 0 } else { held });
        given
    }

    /// Changes until when the lock is held, and tells until when it was.
    fn lock(&self, next: &dyn Fn(u64) -> u64) -> Result<u64, HostError> {
        self.lock.update(|held| {
            let held = held.unwrap_or(0);
            (next(held), held)
        })
    }

    fn give_idle(
        &self,
        key: &Rc<[u8]>,
        row: &[usize],
        now_ns: u64,
    ) -> Result<Option<(Place, Option<Head>)>, HostError> {
        for index in row {
            let Some(shared) = self.places.get(*index) else {
                continue;
            };
            if !shared.get()?.unwrap_or_else(Circuit::nobodys).is_idle(now_ns, self.idle_ns) {
                continue;
            }
            let mut is_given = false;
            self.step(*index, &mut |circuit| {
                is_given = circuit.is_idle(now_ns, self.idle_ns);
                if is_given {
                    circuit.give_to(key, now_ns);
                }
            })?;
            if is_given {
                return Ok(Some((Place { index: *index, key: key.clone() }, None)));
            }
        }
        Ok(None)
    }

    fn remember(&self, place: &Place, head: Head, now_ns: u64) {
        if let Some(copy) = self.copies.borrow_mut().get_mut(place.index) {
            *copy = Some(Copy { key: place.key.clone(), head, seen_ns: now_ns });
        }
    }

    fn forget(&self, place: &Place) {
        if let Some(copy) = self.copies.borrow_mut().get_mut(place.index) {
            *copy = None;
        }
    }
}
