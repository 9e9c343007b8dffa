//! A failed answer made good: which requests are kept, how often they may be sent again, and what becomes of the stable arm's answer.

use std::rc::Rc;
use std::time::Duration;

use weir_sdk::outcome::Judge;
use weir_sdk::{
    At, Bytes, Callout, CalloutReply, Explanation, HeaderMap, LocalReply, Mutation, Problems, RequestView,
    hop,
};

use super::rules::nanoseconds;
use crate::config;
use crate::policy::{arms, names};

/// What a call costs, of a balance.
const CALL: u64 = 1_000_000;

/// A compiled [`config::ZeroError`].
#[derive(Clone, Debug)]
pub(crate) struct ZeroError {
    cluster: Rc<str>,
    methods: Vec<String>,
    /// Of a request's body.
    pub(crate) max_request_bytes: usize,
    /// Of an answer's body.
    pub(crate) max_answer_bytes: usize,
    timeout: Duration,
    /// How many requests are sent again.
    pub(crate) budget: Budget,
    mark: Vec<(Rc<str>, Bytes)>,
    why: Rc<str>,
}

/// How many requests are sent again: a balance that each request of the rule adds to, and each that is sent again takes one call from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    first: u64,
    add: u64,
    most: u64,
}

impl Budget {
    /// With this share of the requests, in parts of a million, and so many at first.
    #[must_use]
    pub(crate) fn new(share_ppm: u32, burst: u32) -> Self {
        let first = u64::from(burst).saturating_mul(CALL);
        // Less than one call could never be taken.
        Self { first, add: share_ppm.into(), most: first.max(if share_ppm > 0 { CALL } else { 0 }) }
    }

    /// The balance at first.
    #[must_use]
    pub(crate) fn begin(&self) -> u64 {
        self.first
    }

    /// After a request of the rule.
    #[must_use]
    pub(crate) fn earn(&self, balance: u64) -> u64 {
        balance.saturating_add(self.add).min(self.most)
    }

    /// After a call, where there is enough for one.
    #[must_use]
    pub(crate) fn take(&self, balance: u64) -> Option<u64> {
        balance.checked_sub(CALL)
    }
}

/// A request that may have to be sent again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    headers: HeaderMap,
    body: Vec<u8>,
    trailers: HeaderMap,
    /// Nothing more will come.
    pub(crate) complete: bool,
}

impl Kept {
    /// A part of the body; `false` where it is too long to be kept.
    #[must_use]
    pub(crate) fn add(&mut self, part: &[u8], limit: usize) -> bool {
        let fits = self.room(part.len(), limit);
        if fits {
            self.body.extend_from_slice(part);
        }
        fits
    }

    /// Whether a part of this size can be kept.
    #[must_use]
    pub(crate) fn room(&self, size: usize, limit: usize) -> bool {
        self.body.len().saturating_add(size) <= limit
    }

    /// The end.
    pub(crate) fn end(&mut self, trailers: HeaderMap) {
        self.trailers = trailers;
        self.complete = true;
    }
}

impl ZeroError {
    pub(super) fn compile(
        at: &At<'_>,
        written: &config::ZeroError,
        stable_cluster: &str,
        problems: &mut Problems,
    ) -> Self {
        let cluster = written.cluster.as_deref().unwrap_or(stable_cluster);
        if cluster.is_empty() {
            problems.add(at.field("cluster"), "expected a cluster of Envoy's, found nothing");
        }
        if written.methods.is_empty() {
            problems.add(at.field("methods"), "expected at least one method, such as `GET`");
        }
        for (index, method) in written.methods.iter().enumerate() {
            let is_method = names::is_token(method) && !method.bytes().any(|byte| byte.is_ascii_lowercase());
            if !is_method || method == "CONNECT" {
                problems.add(at.item("methods", index), "expected a method in upper case, not CONNECT");
            }
        }
        // A second less than Envoy's own limit for a stream on which nothing moves, 5 minutes, would do (`FLOW-30`); a minute is easier to remember.
        if !(1_000_000..=240_000_000_000).contains(&nanoseconds(written.timeout)) {
            problems.add(at.field("timeout"), "expected 1ms to 4m, such as `5s`");
        }
        let budget = written.budget.unwrap_or_default();
        if budget.burst > 1_000_000 {
            problems.add(at.field("budget.burst"), "expected 0 to 1000000");
        }
        let mark = written.response_header.as_slice();
        Self {
            cluster: cluster.into(),
            methods: written.methods.clone(),
            max_request_bytes: usize::try_from(written.max_request_bytes).unwrap_or(usize::MAX),
            max_answer_bytes: usize::try_from(written.max_answer_bytes).unwrap_or(usize::MAX),
            timeout: written.timeout.0,
            budget: Budget::new(budget.percent.0.ppm(), budget.burst),
            mark: arms::lines(&at.field("response_header"), mark, problems),
            why: "failed, asking the stable arm".into(),
        }
    }

    /// Keeps a request that may be sent again; `stable` changes it to one of the stable arm.
    pub(crate) fn keep(
        &self,
        request: &dyn RequestView,
        stable: &[Mutation],
        complete: bool,
    ) -> Option<Kept> {
        let method = request.method()?;
        let may = self.methods.iter().any(|other| other.as_bytes() == method)
            && !request.is_grpc()
            && request.get("upgrade").is_none();
        may.then(|| {
            let mut headers = hop::forwardable(request.map());
            apply(&mut headers, stable);
            Kept { headers, complete, ..Kept::default() }
        })
    }

    /// The call that sends it again.
    #[must_use]
    pub(crate) fn call(&self, kept: Kept) -> Callout {
        Callout {
            cluster: self.cluster.clone(),
            headers: lines(&kept.headers),
            body: kept.body.into(),
            trailers: lines(&kept.trailers),
            timeout: self.timeout,
        }
    }

    /// Why a response is held.
    pub(crate) fn why(&self) -> Explanation {
        Explanation::of(&self.why)
    }

    /// What the client gets; nothing where the stable arm has failed, too. `response` is what this filter does to the stable arm's responses.
    pub(crate) fn answer(
        &self,
        judge: &Judge,
        reply: CalloutReply,
        response: &[Mutation],
    ) -> Option<LocalReply> {
        if !reply.is_from_upstream() || reply.body.len() > self.max_answer_bytes {
            return None;
        }
        let status =
            reply.status.filter(|status| (200..600).contains(status) && !judge.is_error_status(*status))?;
        let mut headers = hop::forwardable(&reply.headers);
        apply(&mut headers, response);
        let mut headers = lines(&headers);
        for (name, value) in &self.mark {
            headers.push((name.clone(), value.clone()));
        }
        Some(LocalReply {
            status,
            headers,
            body: reply.body.into(),
            details: "canary_answered_by_stable".into(),
            grpc_status: None,
        })
    }
}

fn lines(headers: &HeaderMap) -> Vec<(Rc<str>, Bytes)> {
    let mut lines = Vec::with_capacity(headers.len());
    for (name, value) in headers.iter() {
        lines.push((String::from_utf8_lossy(name).into(), value.into()));
    }
    lines
}

/// Changes headers as Envoy would.
fn apply(headers: &mut HeaderMap, mutations: &[Mutation]) {
    for mutation in mutations {
        match mutation {
            Mutation::Set(name, value) => headers.set(name, value),
            Mutation::Append(name, value) => headers.push(name.as_bytes(), value),
            Mutation::AddIfAbsent(name, value) if headers.first(name).is_none() => {
                headers.push(name.as_bytes(), value)
            }
            Mutation::Remove(name) => headers.remove(name),
            // Of the stream that has failed.
            Mutation::AddIfAbsent(..)
            | Mutation::FilterState(..)
            | Mutation::Property(..)
            | Mutation::ClearRouteCache => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever comes in which order: never more calls than `burst` and the share of the requests.
    #[test]
    fn a_budget_is_never_exceeded() {
        for (share_ppm, burst) in [(200_000, 10), (0, 3), (0, 0), (1_000_000, 0), (333_333, 1)] {
            let budget = Budget::new(share_ppm, burst);
            let mut balance = budget.begin();
            let (mut requests, mut calls) = (0_u64, 0_u64);
            // A seed of our own (Knuth's multiplier) instead of dice.
            let mut seed = 1_u64;
            for _ in 0..20_000 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                requests += 1;
                balance = budget.earn(balance);
                if seed >> 62 != 0
                    && let Some(left) = budget.take(balance)
                {
                    balance = left;
                    calls += 1;
                }
                assert!(calls * CALL <= u64::from(burst) * CALL + requests * u64::from(share_ppm));
            }
            // What is earned while nothing is kept for later is lost.
            let least = (requests * u64::from(share_ppm) / CALL).min(requests) / 2;
            assert!(calls >= least, "{share_ppm} {burst}: {calls} of {requests}");
        }
    }
}
