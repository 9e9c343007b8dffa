//! What the service was asked and what its answer does: of a request that waits for it, and of tokens in advance.

use std::rc::Rc;

use weir_sdk::limit::{Admission, Store};
use weir_sdk::{Decision, GrpcCall, Mutation};

use super::attempt::{Refusal, Told, Within};
use super::limit::{Limit, LimitText};
use super::wire::{Answer, CurrentLimit, Status};
use super::{Cause, Clocks, Counts, Policy, Stream, Text, give_back, reply};

/// What a decision may ask for when an answer is there: the request is not readable any more.
#[derive(Clone, Copy)]
pub struct Later<'a> {
    /// The clocks.
    pub clocks: &'a Clocks<'a>,
    /// 64 random bits.
    pub random: &'a dyn Fn() -> u64,
    /// Where the states are.
    pub store: &'a dyn Store,
}

/// What the service is asked of one key: for a request, or for tokens in advance.
#[derive(Clone, Debug)]
pub struct Asked {
    pub(crate) limit: Rc<Limit>,
    pub(crate) place: usize,
    pub(crate) key: Vec<u8>,
    pub(crate) descriptor: Vec<u8>,
    /// How much.
    pub(crate) cost: u64,
}

/// A request that waits for the service.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) asked: Vec<Asked>,
    pub(crate) within: Within,
    pub(crate) dry_run: bool,
}

impl Policy {
    /// The call that takes tokens in advance, and what is counted for it.
    #[must_use]
    pub fn refill_call(&self, refill: &Asked, counts: &mut Counts) -> Option<GrpcCall> {
        let service = self.service.as_ref()?;
        counts.add(Cause::ServiceRequests);
        counts.add(Cause::ServiceLeaseRequests);
        Some(service.call(std::slice::from_ref(refill)))
    }

    /// The answer to a call for tokens, or none.
    pub fn on_refill(&self, refill: &Asked, message: Option<&[u8]>, later: &Later<'_>, counts: &mut Counts) {
        let leases = refill.limit.global(refill.place).and_then(|global| global.leases.as_ref());
        let Some(leases) = leases else {
            return;
        };
        let now = later.clocks.ns(false);
        let answer = message.and_then(Answer::read);
        let reset_ns = answer.as_ref().and_then(|answer| answer.statuses.first()?.reset_ns);
        let cause = match answer {
            Some(answer) if answer.over_limit => Cause::ServiceOverLimit,
            Some(_) => Cause::ServiceOk,
            None => Cause::ServiceError,
        };
        counts.add(cause);
        // What cannot be written down is lost, as tokens that nobody spends are.
        let _ = leases.change(later.store, &refill.key, &|lease, state| match cause {
            Cause::ServiceOk => lease.granted(state, now, refill.cost, reset_ns),
            _ => lease.not_granted(state, now, reset_ns),
        });
    }

    /// The answer that a request waits for, or none.
    pub fn on_answer(
        &self,
        stream: &mut Stream,
        message: Option<&[u8]>,
        later: &Later<'_>,
        counts: &mut Counts,
    ) -> Decision {
        let Some(pending) = stream.pending.take() else {
            return Decision::next();
        };
        stream.waits = false;
        let Pending { asked, mut within, dry_run } = *pending;
        counts.dry_run = dry_run;
        let Some(answer) = message.and_then(Answer::read) else {
            counts.add(Cause::ServiceError);
            return self.unanswered(stream, within, later, counts);
        };
        counts.add(if answer.over_limit { Cause::ServiceOverLimit } else { Cause::ServiceOk });
        // Which is whose can be told only when there is one for each.
        let statuses = if answer.statuses.len() == asked.len() { &answer.statuses[..] } else { &[] };
        for (asked, status) in asked.iter().zip(statuses).filter(|(_, status)| status.over_limit) {
            let leases = asked.limit.global(asked.place).and_then(|global| global.leases.as_ref());
            if let Some(leases) = leases {
                let now = later.clocks.ns(false);
                let _ = leases.change(later.store, &asked.key, &|lease, state| {
                    lease.denied(state, now, status.reset_ns)
                });
            }
        }
        let told = told(&answer, &asked);
        let Some(refusing) = refusing(&answer, &asked, statuses, counts) else {
            if let Some(told) = told {
                within.hear(told);
            }
            let mut decision = self.admit(stream, within, counts);
            if !dry_run {
                // Lines beside others.
                reply::change(&mut stream.headers, answer.response_headers, Mutation::Append);
                reply::change(&mut decision.mutations, answer.request_headers, Mutation::Append);
            }
            return decision;
        };
        let mut refusal = Refusal::new(&refusing, LimitText::ByService);
        refusal.told = told;
        for status in answer.statuses.iter().filter(|status| status.over_limit) {
            // All that are over must have come back.
            refusal.retry_ns = refusal.retry_ns.max(status.reset_ns);
        }
        refusal.service = Some(Box::new(answer));
        self.take_back(stream, later);
        self.refuse(stream, later.random, &refusal, counts)
    }

    fn unanswered(
        &self,
        stream: &mut Stream,
        within: Within,
        later: &Later<'_>,
        counts: &mut Counts,
    ) -> Decision {
        let refusal = self.service.as_ref().and_then(|service| service.refusal(later.random));
        let Some(reply) = refusal else {
            counts.add(Cause::FailureModeAllowed);
            let decision = self.admit(stream, within, counts);
            return decision.because(self.texts.at(Text::ServiceFailed as usize));
        };
        self.take_back(stream, later);
        let decision = if counts.dry_run { Decision::next() } else { Decision::reply(reply) };
        decision.because(self.texts.at(Text::ServiceDenied as usize))
    }

    /// Gives back what a refused request has taken. What could not be given back is tried again at the end.
    fn take_back(&self, stream: &mut Stream, later: &Later<'_>) {
        give_back(&mut stream.held, later.clocks, later.store);
        stream.waits = !stream.held.is_empty();
    }
}

/// The limit that refuses the request, if one does; those that would in a dry run of their own are only counted.
fn refusing(answer: &Answer, asked: &[Asked], statuses: &[Status], counts: &mut Counts) -> Option<Rc<Limit>> {
    if !answer.over_limit {
        return None;
    }
    let is_over = |status: Option<&Status>| status.is_some_and(|status| status.over_limit);
    // A service may say that the request is over the limit, and not of which descriptor.
    let unknown = !statuses.iter().any(|status| status.over_limit);
    let mut refusing: Option<Rc<Limit>> = None;
    for (index, Asked { limit, .. }) in asked.iter().enumerate() {
        if !unknown && !is_over(statuses.get(index)) {
            continue;
        }
        if limit.dry_run {
            counts.refused.push(limit.counter);
        } else if refusing.is_none() {
            refusing = Some(Rc::clone(limit));
        } else if !unknown {
            // The first one is counted with the refusal.
            counts.refused.push(limit.counter);
        }
    }
    refusing
}

/// What the headers say: of all that the service says, as Envoy's filter does, the limit with the least remaining, and the windows of all.
#[inline(never)]
fn told(answer: &Answer, asked: &[Asked]) -> Option<Told> {
    let mut lowest: Option<(&Status, &CurrentLimit, &Rc<str>)> = None;
    let (mut windows, mut policy) = (String::new(), String::new());
    for (index, status) in answer.statuses.iter().enumerate() {
        let (Some(limit), Some(asked)) = (&status.limit, asked.get(index).or(asked.first())) else {
            continue;
        };
        let name = &asked.limit.name;
        if lowest.is_none_or(|(lowest, ..)| status.remaining < lowest.remaining) {
            lowest = Some((status, limit, name));
        }
        let (requests, window) = (limit.requests.to_string(), limit.window_s.to_string());
        let add = |text: &mut String, parts: &[&str]| {
            for part in parts {
                text.push_str(part);
            }
        };
        let separator = if policy.is_empty() { "" } else { ", " };
        add(&mut policy, &[separator, "\"", name, "\";q=", &requests]);
        if limit.window_s > 0 {
            add(&mut policy, &[";w=", &window]);
            add(&mut windows, &[", ", &requests, ";w=", &window]);
            if !limit.name.is_empty() {
                add(&mut windows, &[";name=\"", &limit.name, "\""]);
            }
        }
    }
    let (status, limit, name) = lowest?;
    let admission = Admission {
        admitted: !status.over_limit,
        limit: limit.requests.into(),
        remaining: status.remaining.into(),
        wait_ns: 0,
        // Envoy leaves the part of a second out.
        reset_ns: Some(whole_seconds(status.reset_ns.unwrap_or(0))),
        full_ns: status.reset_ns,
    };
    let size = [limit.requests.to_string().as_str(), &windows].concat();
    Some(Told { name: Rc::clone(name), admission, policy: policy.into(), size: Some(size.into()) })
}

fn whole_seconds(ns: u64) -> u64 {
    const SECOND: u64 = 1_000_000_000;
    ns.checked_div(SECOND).unwrap_or(0).saturating_mul(SECOND)
}
