//! One request's way through the limits: all that are for it admit it, or it takes from none.

use std::rc::Rc;

use weir_sdk::Status;
use weir_sdk::limit::Admission;

use super::limit::Limit;
use super::{Cause, Counts, Held, Inputs};
use crate::config::{OnError, OnMissing};

/// Why a request is refused.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) limit: Rc<Limit>,
    pub(crate) bucket: usize,
    /// What the limit said; nothing when it was not asked, or could not be.
    pub(crate) admission: Option<Admission>,
    pub(crate) text: Rc<str>,
}

impl Refusal {
    /// Seconds until the request would be admitted; at least 1.
    pub(crate) fn retry_s(&self) -> Option<u64> {
        let reset = self.admission?.reset_ns?;
        Some(reset.div_ceil(1_000_000_000).max(1))
    }
}

/// The longest wait.
#[derive(Clone, Debug)]
pub(crate) struct Waits {
    pub(crate) limit: Rc<Limit>,
    pub(crate) ns: u64,
}

pub(crate) struct Attempt<'a> {
    inputs: &'a Inputs<'a>,
    on_error: OnError,
    refusal: Option<Refusal>,
    pub(crate) taken: Vec<Held>,
    pub(crate) waits: Option<Waits>,
    /// The limit with the smallest share remaining.
    pub(crate) lowest: Option<(Rc<Limit>, Admission)>,
    /// All that were asked.
    pub(crate) policies: Vec<Rc<str>>,
}

impl<'a> Attempt<'a> {
    pub(crate) fn new(inputs: &'a Inputs<'a>, on_error: OnError) -> Self {
        Self {
            inputs,
            on_error,
            refusal: None,
            taken: Vec::new(),
            waits: None,
            lowest: None,
            policies: Vec::new(),
        }
    }

    pub(crate) fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_ref()
    }

    /// Takes from the limit, where it is for the request.
    pub(crate) fn take(&mut self, limit: &Rc<Limit>, counts: &mut Counts) {
        if !limit.matches.is_match(self.inputs.request) {
            return;
        }
        let key = limit.key.of(self.inputs.request);
        if key.is_missing {
            counts.add(Cause::KeyMissing);
            match limit.on_missing {
                OnMissing::Skip => return,
                OnMissing::Shared => {}
                OnMissing::Deny => return self.refuse(limit, 0, None, &limit.texts.missing, counts),
            }
        }
        let Some(place) = limit.place(&key) else {
            return;
        };
        let Some(bucket) = limit.bucket(place) else {
            return;
        };
        let now = self.inputs.clocks.ns(bucket.of_day);
        let cost = limit.cost.of(self.inputs.request);
        let taken = match bucket.table.take(self.inputs.store, &key.bytes, now, cost) {
            Ok(taken) => taken,
            Err(error) => {
                let contended = error.status == Status::CasMismatch;
                counts.add(if contended { Cause::Contended } else { Cause::Error });
                if self.on_error == OnError::Deny {
                    self.refuse(limit, place, None, &limit.texts.failed, counts);
                }
                return;
            }
        };
        if taken.overflowed {
            counts.add(Cause::Overflow);
        }
        let admission = taken.admission;
        let Some(receipt) = taken.receipt else {
            return self.refuse(limit, place, Some(admission), &limit.texts.refused, counts);
        };
        self.taken.push(Held { limit: Rc::clone(limit), bucket: place, receipt });
        self.policies.push(Rc::clone(&bucket.policy));
        if admission.wait_ns > self.waits.as_ref().map_or(0, |waits| waits.ns) {
            self.waits = Some(Waits { limit: Rc::clone(limit), ns: admission.wait_ns });
        }
        let is_lower = |(_, lowest): &(_, Admission)| share(&admission, lowest) < share(lowest, &admission);
        if self.lowest.as_ref().is_none_or(is_lower) {
            self.lowest = Some((Rc::clone(limit), admission));
        }
    }

    fn refuse(
        &mut self,
        limit: &Rc<Limit>,
        bucket: usize,
        admission: Option<Admission>,
        text: &Rc<str>,
        counts: &mut Counts,
    ) {
        if limit.dry_run {
            counts.refused.push(limit.counter);
            return;
        }
        self.refusal = Some(Refusal { limit: Rc::clone(limit), bucket, admission, text: Rc::clone(text) });
    }

    /// When the request was refused, gives back what it has taken before. What could not be given back stays in `taken`.
    pub(crate) fn give_back(&mut self) -> Option<Refusal> {
        let refusal = self.refusal.take()?;
        let Inputs { clocks, store, .. } = self.inputs;
        self.taken.retain(|held| held.limit.give_back(held.bucket, &held.receipt, clocks, *store).is_err());
        Some(refusal)
    }
}

/// What is left of one, times the size of the other: to compare shares without rounding.
fn share(one: &Admission, other: &Admission) -> u128 {
    u128::from(one.remaining).saturating_mul(other.limit.into())
}
