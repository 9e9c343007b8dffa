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
        let Some((place, head)) = self.find(key, rules, call.now_ns)? else {
            return Ok(None);
        };
        if let Some(admission) = head.and_then(|head| head.answer(rules, call)) {
            return Ok(Some((place, admission, Steps::default())));
        }
        let answer = self.change(&place, rules, call.now_ns, |circuit| circuit.admit(rules, call))?;
        // Another key has the place since this worker looked last: found anew, once.
        let Some((admission, steps)) = answer else {
            self.forget(&place);
            let Some((place, _)) = self.find(key, rules, call.now_ns)? else {
                return Ok(None);
            };
            let answer = self.change(&place, rules, call.now_ns, |circuit| circuit.admit(rules, call))?;
            return Ok(answer.map(|(admission, steps)| (place, admission, steps)));
        };
        Ok(Some((place, admission, steps)))
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
        let answer = self.change(place, rules, end.now_ns, |circuit| circuit.record(rules, ticket, end))?;
        if answer.is_none() {
            self.forget(place);
        }
        Ok(answer.unwrap_or((Recorded::Late, Steps::default())))
    }

    /// Steps a circuit; `None` when its place is another's now, which is left as it is.
    fn change<R>(
        &self,
        place: &Place,
        rules: &Rules,
        now_ns: u64,
        mut step: impl FnMut(&mut Circuit) -> R,
    ) -> Result<Option<R>, HostError> {
        let Some(shared) = self.places.get(place.index) else {
            return Ok(None);
        };
        let changed = shared.update(|old| {
            let mut circuit = old.unwrap_or_default();
            if circuit.key() != &*place.key {
                return (circuit, None);
            }
            let answer = step(&mut circuit);
            let head = circuit.head(rules, now_ns);
            (circuit, Some((head, answer)))
        })?;
        Ok(changed.map(|(head, answer)| {
            self.remember(place, head, now_ns);
            answer
        }))
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
        let ways = 0..WAYS.min(count);
        ways.filter_map(|way| first.wrapping_add(way).checked_rem(count)).collect()
    }

    fn copied(&self, key: &[u8], row: &[usize]) -> Option<(usize, Copy)> {
        let copies = self.copies.borrow();
        row.iter().find_map(|index| {
            let copy = copies.get(*index)?.as_ref().filter(|copy| &*copy.key == key)?;
            Some((*index, copy.clone()))
        })
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
                    let mine = shared.update(|old| {
                        let mut circuit = old.unwrap_or_default();
                        if circuit.key().is_empty() {
                            circuit.give_to(key, now_ns);
                        }
                        let mine = circuit.key() == &**key;
                        (circuit, mine)
                    })?;
                    if mine {
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
        let locked = self.lock.update(|held| match held {
            // Further away than any lock: the clock was set back.
            Some(held) if held > now_ns && held <= until_ns => (held, false),
            _ => (until_ns, true),
        })?;
        if !locked {
            return Ok(None);
        }
        let given = match self.seek(key, row, rules, now_ns) {
            Ok(None) => self.give_idle(key, row, now_ns),
            found => found,
        };
        let _ = self.lock.update(|held| (if held == Some(until_ns) { 0 } else { held.unwrap_or(0) }, ()));
        given
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
            if !shared.get()?.unwrap_or_default().is_idle(now_ns, self.idle_ns) {
                continue;
            }
            let given = shared.update(|old| {
                let mut circuit = old.unwrap_or_default();
                let idle = circuit.is_idle(now_ns, self.idle_ns);
                if idle {
                    circuit.give_to(key, now_ns);
                }
                (circuit, idle)
            })?;
            if given {
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
