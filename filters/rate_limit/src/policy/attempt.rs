//! One request's way through the limits: all that are for it admit it, or it takes from none.

use std::rc::Rc;

use weir_sdk::Status;
use weir_sdk::limit::Admission;

use super::answers::Asked;
use super::global::Global;
use super::key::Written;
use super::lease::Spend;
use super::limit::{Limit, LimitText};
use super::wire::Answer;
use super::{Cause, Counts, Held, Inputs, Took, give_back};
use crate::config::{OnError, OnMissing};

/// Why a request is refused.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) limit: Rc<Limit>,
    /// What the limit said; nothing when it was not asked, or could not be.
    pub(crate) told: Option<Told>,
    /// When the request would be admitted, should nobody else come.
    pub(crate) retry_ns: Option<u64>,
    pub(crate) text: Rc<str>,
    /// What the service sends to the client, where it is the one that refuses.
    pub(crate) service: Option<Box<Answer>>,
}

impl Refusal {
    pub(crate) fn new(limit: &Rc<Limit>, text: LimitText) -> Self {
        let text = limit.text(text);
        Self { limit: Rc::clone(limit), told: None, retry_ns: None, text, service: None }
    }

    /// Seconds until the request would be admitted; at least 1.
    pub(crate) fn retry_s(&self) -> Option<u64> {
        Some(self.retry_ns?.div_ceil(1_000_000_000).max(1))
    }
}

/// What a limit said, for the headers.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) name: Rc<str>,
    pub(crate) admission: Admission,
    /// Its item of `RateLimit-Policy`.
    pub(crate) policy: Rc<str>,
    /// What stands in `x-ratelimit-limit` when it is more than the limit's size.
    pub(crate) size: Option<Rc<str>>,
}

impl Told {
    /// Whether less is left of it, by share.
    fn is_lower(&self, other: &Self) -> bool {
        share(&self.admission, &other.admission) < share(&other.admission, &self.admission)
    }
}

/// The longest wait.
#[derive(Clone, Debug)]
pub(crate) struct Waits {
    pub(crate) limit: Rc<Limit>,
    pub(crate) ns: u64,
}

/// What is known of a request that no limit has refused.
#[derive(Clone, Debug, Default)]
pub(crate) struct Within {
    /// Whether there was a limit.
    pub(crate) any: bool,
    pub(crate) waits: Option<Waits>,
    /// The limit with the smallest share remaining.
    pub(crate) lowest: Option<Told>,
    /// Of all that said something.
    pub(crate) policies: Vec<Rc<str>>,
    /// Limits that are nearly used, by their place among those that are counted.
    pub(crate) near: Vec<usize>,
}

impl Within {
    pub(crate) fn hear(&mut self, told: Told) {
        self.policies.push(Rc::clone(&told.policy));
        if self.lowest.as_ref().is_none_or(|lowest| told.is_lower(lowest)) {
            self.lowest = Some(told);
        }
    }
}

pub(crate) struct Attempt<'a> {
    inputs: &'a Inputs<'a>,
    on_error: OnError,
    refusal: Option<Refusal>,
    pub(crate) taken: Vec<Held>,
    pub(crate) within: Within,
    /// What the service is to be asked.
    pub(crate) asked: Vec<Asked>,
}

impl<'a> Attempt<'a> {
    pub(crate) fn new(inputs: &'a Inputs<'a>, on_error: OnError) -> Self {
        Self {
            inputs,
            on_error,
            refusal: None,
            taken: Vec::new(),
            within: Within::default(),
            asked: Vec::new(),
        }
    }

    pub(crate) fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_ref()
    }

    /// Takes from the limit, where it is for the request.
    #[inline(never)]
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
                OnMissing::Deny => return self.refuse(counts, Refusal::new(limit, LimitText::Missing)),
            }
        }
        let Some(place) = limit.place(&key) else {
            return;
        };
        self.within.any = true;
        if let Some(global) = limit.global(place) {
            return self.ask(limit, place, global, key, counts);
        }
        let Some(bucket) = limit.bucket(place) else {
            return;
        };
        if let Some(penalty) = &limit.penalty {
            let now = self.inputs.clocks.ns(false);
            match penalty.blocked_ns(self.inputs.store, &key.bytes, now) {
                Ok(None) => {}
                Ok(blocked) => {
                    counts.add(Cause::Penalized);
                    let mut refusal = Refusal::new(limit, LimitText::Blocked);
                    refusal.retry_ns = blocked;
                    return self.refuse(counts, refusal);
                }
                Err(status) => return self.failed(limit, status, counts),
            }
        }
        let now = self.inputs.clocks.ns(bucket.of_day);
        let request = self.inputs.request;
        let ask = limit.parts.ask(request, bucket.size, limit.cost.of(request));
        let taken = match bucket.table.take_as(self.inputs.store, &key.bytes, now, ask) {
            Ok(taken) => taken,
            Err(error) => return self.failed(limit, error.status, counts),
        };
        if taken.overflowed {
            counts.add(Cause::Overflow);
        }
        let admission = taken.admission;
        let policy = Rc::clone(&bucket.policy);
        let told = Told { name: Rc::clone(&limit.name), admission, policy, size: None };
        let Some(receipt) = taken.receipt else {
            if let Some(penalty) = &limit.penalty
                && let Err(status) =
                    penalty.refused(self.inputs.store, &key.bytes, self.inputs.clocks.ns(false))
            {
                // It is refused all the same.
                counts.add(failure(status));
            }
            let mut refusal = Refusal::new(limit, LimitText::Refused);
            refusal.told = Some(told);
            refusal.retry_ns = admission.reset_ns;
            return self.refuse(counts, refusal);
        };
        self.taken.push(Held { limit: Rc::clone(limit), place, took: Took::Of(receipt) });
        if admission.wait_ns > self.within.waits.as_ref().map_or(0, |waits| waits.ns) {
            self.within.waits = Some(Waits { limit: Rc::clone(limit), ns: admission.wait_ns });
        }
        if limit.parts.is_near(&admission) {
            self.within.near.push(limit.counter);
        }
        self.within.hear(told);
    }

    /// Spends what was taken from the service in advance, or notes that it is to be asked.
    fn ask(&mut self, limit: &Rc<Limit>, place: usize, global: &Global, key: Written, counts: &mut Counts) {
        let cost = limit.cost.of(self.inputs.request);
        let descriptor = || global.descriptor(&key);
        let refill = |tokens| Asked {
            limit: Rc::clone(limit),
            place,
            key: key.bytes.clone(),
            descriptor: descriptor(),
            cost: tokens,
        };
        if let Some(leases) = &global.leases {
            let now = self.inputs.clocks.ns(false);
            match leases.spend(self.inputs.store, &key.bytes, now, cost) {
                Ok(Spend::Spent { refill: missing, expires }) => {
                    counts.add(Cause::Leased);
                    counts.refills.extend(missing.map(refill));
                    let took = Took::InAdvance { key: key.bytes, cost, expires };
                    return self.taken.push(Held { limit: Rc::clone(limit), place, took });
                }
                Ok(Spend::Denied { reset_ns }) => {
                    counts.add(Cause::LeaseRefused);
                    let mut refusal = Refusal::new(limit, LimitText::ByServiceBefore);
                    refusal.retry_ns = Some(reset_ns);
                    refusal.service = Some(Box::default());
                    return self.refuse(counts, refusal);
                }
                Ok(Spend::Ask { lease }) => counts.refills.extend(lease.map(refill)),
                // Without tokens in advance, each request asks.
                Err(status) => counts.add(failure(status)),
            }
        }
        let descriptor = descriptor();
        self.asked.push(Asked { limit: Rc::clone(limit), place, key: key.bytes, descriptor, cost });
    }

    fn failed(&mut self, limit: &Rc<Limit>, status: Status, counts: &mut Counts) {
        counts.add(failure(status));
        if self.on_error == OnError::Deny {
            self.refuse(counts, Refusal::new(limit, LimitText::Failed));
        }
    }

    fn refuse(&mut self, counts: &mut Counts, refusal: Refusal) {
        if refusal.limit.dry_run {
            counts.refused.push(refusal.limit.counter);
            return;
        }
        self.refusal = Some(refusal);
    }

    /// When the request was refused, gives back what it has taken before. What could not be given back stays in `taken`.
    pub(crate) fn give_back(&mut self) -> Option<Refusal> {
        let refusal = self.refusal.take()?;
        give_back(&mut self.taken, self.inputs.clocks, self.inputs.store);
        Some(refusal)
    }
}

fn failure(status: Status) -> Cause {
    if status == Status::CasMismatch { Cause::Contended } else { Cause::Error }
}

/// What is left of one, times the size of the other: to compare shares without rounding.
fn share(one: &Admission, other: &Admission) -> u128 {
    u128::from(one.remaining).saturating_mul(other.limit.into())
}
