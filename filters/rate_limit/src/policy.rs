//! Which limits a request takes from, and what becomes of it. Pure: the request, the clocks, the dice and the store are arguments.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use weir_sdk::limit::{Receipt, Store};
use weir_sdk::{
    At, Attributes, ConfigError, Decision, Draw, Flow, FractionalPercent, Headers, Mutation, PerRoute,
    Problems, RequestMatcher, RequestView, Texts,
};

use crate::config::{Config, OnError};
use answers::Pending;
use attempt::{Attempt, Refusal, Within};
use global::Service;
use limit::{Limit, LimitText};
use reply::Replies;

pub use answers::{Asked, Later};

mod answers;
mod attempt;
mod bucket;
mod cost;
mod global;
mod key;
mod lease;
mod limit;
mod meaning;
mod names;
mod part;
mod penalty;
mod reply;
#[cfg(test)]
mod tests;
mod wire;

/// What a policy is compiled for.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// Tells this plugin's state from others'.
    pub scope: &'a str,
    /// Spreads keys; the same for all workers, and unknown to clients.
    pub seed: u64,
}

/// What a decision may ask for: each is asked at most once, and only when the decision needs it.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// The request.
    pub request: &'a dyn RequestView,
    /// The clocks.
    pub clocks: &'a Clocks<'a>,
    /// 64 random bits.
    pub random: &'a dyn Fn() -> u64,
    /// Where the states are.
    pub store: &'a dyn Store,
}

/// The clocks of one callback, each asked once.
pub struct Clocks<'a> {
    now_ns: &'a dyn Fn() -> u64,
    monotonic_ns: &'a dyn Fn() -> u64,
    read: [Cell<Option<u64>>; 2],
}

impl<'a> Clocks<'a> {
    /// The time of day in nanoseconds since 1970, and nanoseconds on a clock that nobody sets.
    pub fn new(now_ns: &'a dyn Fn() -> u64, monotonic_ns: &'a dyn Fn() -> u64) -> Self {
        Self { now_ns, monotonic_ns, read: [const { Cell::new(None) }; 2] }
    }

    fn ns(&self, of_day: bool) -> u64 {
        let [monotonic, day] = &self.read;
        let (read, clock) = if of_day { (day, self.now_ns) } else { (monotonic, self.monotonic_ns) };
        let ns = read.get().unwrap_or_else(clock);
        read.set(Some(ns));
        ns
    }
}

/// What is known when a stream is over.
#[derive(Clone, Copy)]
pub struct End<'a> {
    /// Its attributes.
    pub attributes: &'a dyn Attributes,
    /// Its response's headers.
    pub headers: &'a dyn Headers,
    /// Its response's trailers.
    pub trailers: &'a dyn Headers,
}

/// A compiled [`Config`].
#[derive(Clone, Debug)]
pub struct Policy {
    limits: Vec<Rc<Limit>>,
    policies: Vec<(String, Vec<Rc<Limit>>)>,
    service: Option<Service>,
    exempt: Option<RequestMatcher>,
    enabled: Option<FractionalPercent>,
    enforced: Option<FractionalPercent>,
    replies: Replies,
    on_error: OnError,
    per_route: Option<PerRoute>,
    dry_run: bool,
    stat_prefix: String,
    counted: Vec<String>,
    texts: Texts,
}

/// Why a request goes on, or not, that no limit decides.
#[derive(Clone, Copy)]
enum Text {
    Disabled,
    Exempt,
    NotEnabled,
    None,
    Within,
    ServiceFailed,
    ServiceDenied,
}

/// In the order of [`Text`].
const TEXTS: [&str; 7] = [
    "disabled by the route",
    "exempt",
    "not among the enabled",
    "no limit is for it",
    "within all limits",
    "the service did not say, let through",
    "the service did not say, refused",
];

/// What a stream remembers.
#[derive(Debug, Default)]
pub struct Stream {
    held: Vec<Held>,
    waits: bool,
    /// What the response gets.
    headers: Vec<Mutation>,
    pending: Option<Box<Pending>>,
}

/// What was taken and is not settled yet.
#[derive(Clone, Debug)]
pub struct Held {
    limit: Rc<Limit>,
    place: usize,
    took: Took,
}

#[derive(Clone, Debug)]
enum Took {
    /// Of the limit's own states.
    Of(Receipt),
    /// Of what the service has given in advance.
    InAdvance { key: Vec<u8>, cost: u64, expires: u64 },
}

/// What is counted, beside each limit's refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Enabled,
    Ok,
    RateLimited,
    Enforced,
    Exempt,
    Queued,
    KeyMissing,
    Overflow,
    Contended,
    Error,
    RouteInvalid,
    ServiceRequests,
    ServiceLeaseRequests,
    ServiceOk,
    ServiceOverLimit,
    ServiceError,
    FailureModeAllowed,
    Leased,
    LeaseRefused,
    Penalized,
}

/// In the order of [`Cause`].
const CAUSES: [&str; 20] = [
    "enabled",
    "ok",
    "rate_limited",
    "enforced",
    "exempt",
    "queued",
    "key_missing",
    "overflow",
    "contended",
    "error",
    "route_invalid",
    "service.requests",
    "service.lease_requests",
    "service.ok",
    "service.over_limit",
    "service.error",
    "service.failure_mode_allowed",
    "lease.spent",
    "lease.refused",
    "penalized",
];

/// What is to be counted, and what is to be asked beside.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    dry_run: bool,
    causes: u32,
    /// Tokens that are to be taken from the service in the background.
    pub refills: Vec<Asked>,
    /// Places of limits in the counters.
    refused: Vec<usize>,
    /// The same of those that are nearly used.
    near: Vec<usize>,
}

impl Counts {
    /// Nothing yet, in a dry run or not.
    #[must_use]
    pub fn of(dry_run: bool) -> Self {
        Self { dry_run, ..Self::default() }
    }

    /// Whether it is counted as in a dry run.
    #[must_use]
    pub fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    pub(crate) fn add(&mut self, cause: Cause) {
        self.causes |= 1_u32.wrapping_shl(cause as u32);
    }
}

impl Policy {
    /// Checks and compiles a configuration.
    ///
    /// # Errors
    /// What means nothing, all of it, each by its path.
    pub fn compile(config: &Config, setup: &Setup<'_>) -> Result<Self, ConfigError> {
        let mut problems = Problems::new();
        let mut counted = Vec::new();
        let service = config.service.as_ref().map(|service| Service::compile(service, &mut problems));
        let setup = (setup, service.as_ref());
        let limits = Limit::compile_list(&At::ROOT, &config.limits, setup, &mut counted, &mut problems);
        let mut policies: Vec<(String, Vec<Rc<Limit>>)> = Vec::new();
        for (index, named) in config.policies.iter().enumerate() {
            let at = At::ROOT.item("policies", index);
            if policies.iter().any(|(name, _)| *name == named.name) {
                let reason = ["`", &named.name, "` is there already; expected another name"].concat();
                wrong(&at, "name", &reason, &mut problems);
            }
            let list = Limit::compile_list(&at, &named.limits, setup, &mut counted, &mut problems);
            policies.push((named.name.clone(), list));
        }
        if config.limits.is_empty() && config.policies.is_empty() {
            problems.add("limits", "expected at least one limit; otherwise this filter does nothing");
        }
        if !config.policies.is_empty() && config.per_route.is_none() {
            problems.add("per_route", "is missing: without it no route can choose one of `policies`");
        }
        if let Err(reason) = names::stat_prefix(&config.stat_prefix) {
            problems.add("stat_prefix", reason);
        }
        let exempt = config
            .exempt
            .as_ref()
            .and_then(|exempt| problems.take("exempt", RequestMatcher::try_from(exempt)));
        let per_route = config
            .per_route
            .as_ref()
            .map(|per_route| PerRoute::compile(&per_route.namespace, "weir.rate_limit", &mut problems));
        let replies = Replies::compile(config, service.as_ref(), &mut problems);
        let policy = Self {
            limits,
            policies,
            service,
            exempt,
            enabled: config.enabled.map(|share| share.0),
            enforced: config.enforced.map(|share| share.0),
            replies,
            on_error: config.on_error,
            per_route,
            dry_run: config.dry_run,
            stat_prefix: config.stat_prefix.clone(),
            counted,
            texts: Texts::new("", &TEXTS),
        };
        problems.finish().map(|()| policy)
    }

    /// Says the names of all counters, in the order of [`Policy::places`]: causes, then limits, twice; then the same for dry runs.
    pub fn counters(&self, define: &mut dyn FnMut(&str)) {
        for dry in ["", ".dry_run"] {
            let mut name = |parts: [&str; 3]| {
                define(&[self.stat_prefix.as_str(), dry, parts[0], parts[1], parts[2]].concat());
            };
            for cause in CAUSES {
                name([".", cause, ""]);
            }
            for what in [".rate_limited", ".near_limit"] {
                for limit in &self.counted {
                    name([".limit.", limit, what]);
                }
            }
        }
    }

    /// Says which of [`Policy::counters`] are to grow.
    pub fn places(&self, counts: &Counts, grows: &dyn Fn(usize)) {
        let near = CAUSES.len().saturating_add(self.counted.len());
        let half = near.saturating_add(self.counted.len());
        let base = if counts.dry_run { half } else { 0 };
        for cause in 0..CAUSES.len() {
            if (counts.causes >> cause) & 1 == 1 {
                grows(base.saturating_add(cause));
            }
        }
        for (first, limits) in [(CAUSES.len(), &counts.refused), (near, &counts.near)] {
            for limit in limits {
                grows(base.saturating_add(first).saturating_add(*limit));
            }
        }
    }

    /// Decides a request, and says what is to be counted.
    pub fn on_request(&self, stream: &mut Stream, inputs: &Inputs<'_>, counts: &mut Counts) -> Decision {
        let route =
            self.per_route.as_ref().map(|per_route| per_route.read(inputs.request)).unwrap_or_default();
        let dry_run = route.dry_run.unwrap_or(self.dry_run);
        counts.dry_run = dry_run;
        if route.disabled {
            return self.pass(Text::Disabled);
        }
        let named = route
            .policy
            .as_deref()
            .map(|policy| self.policies.iter().find(|(name, _)| name.as_bytes() == policy));
        if matches!(named, Some(None)) {
            counts.add(Cause::RouteInvalid);
        }
        let limits = named.flatten().map_or(&self.limits, |(_, limits)| limits);
        if self.exempt.as_ref().is_some_and(|exempt| exempt.is_match(inputs.request)) {
            counts.add(Cause::Exempt);
            return self.pass(Text::Exempt);
        }
        if !drawn(self.enabled, inputs.random) {
            return self.pass(Text::NotEnabled);
        }
        counts.add(Cause::Enabled);
        let mut attempt = Attempt::new(inputs, self.on_error);
        for limit in limits.iter() {
            if attempt.refusal().is_none() {
                attempt.take(limit, counts);
            }
        }
        if let Some(refusal) = attempt.give_back() {
            // What is still there is tried again at the end.
            stream.held = attempt.taken;
            stream.waits = !stream.held.is_empty();
            return self.refuse(stream, inputs.random, &refusal, counts);
        }
        stream.held = attempt.taken;
        if let (Some(service), false) = (&self.service, attempt.asked.is_empty()) {
            counts.add(Cause::ServiceRequests);
            // A stream that ends meanwhile gives back what it has taken.
            stream.waits = true;
            let asked = attempt.asked;
            let call = service.call(&asked);
            stream.pending = Some(Box::new(Pending { asked, within: attempt.within, dry_run }));
            return Decision::call_grpc(call);
        }
        self.admit(stream, attempt.within, counts)
    }

    fn pass(&self, text: Text) -> Decision {
        Decision::next().because(self.texts.at(text as usize))
    }

    fn refuse(
        &self,
        stream: &mut Stream,
        random: &dyn Fn() -> u64,
        refusal: &Refusal,
        counts: &mut Counts,
    ) -> Decision {
        counts.add(Cause::RateLimited);
        counts.refused.push(refusal.limit.counter);
        let mut text = Rc::clone(&refusal.text);
        let mut decision = Decision::next();
        if counts.dry_run {
            stream.headers = self.replies.dry_run("refused", &refusal.limit, refusal.retry_s());
        } else if !drawn(self.enforced, random) {
            text = refusal.limit.text(LimitText::NotEnforced);
            decision.mutations = self.replies.not_enforced();
        } else {
            counts.add(Cause::Enforced);
            decision.flow = Flow::Reply(self.replies.refusal(refusal));
        }
        decision.because(text)
    }

    fn admit(&self, stream: &mut Stream, mut within: Within, counts: &mut Counts) -> Decision {
        counts.add(Cause::Ok);
        counts.near.append(&mut within.near);
        let mut text = self.texts.at(if within.any { Text::Within } else { Text::None } as usize);
        let mut decision = Decision::next();
        if let Some(waits) = &within.waits {
            counts.add(Cause::Queued);
            text = waits.limit.text(LimitText::Queued);
            if counts.dry_run {
                stream.headers = self.replies.dry_run("delayed", &waits.limit, None);
            } else {
                decision.flow = Flow::Wait(Duration::from_nanos(waits.ns));
                stream.waits = true;
            }
        }
        if !counts.dry_run {
            stream.headers = self.replies.admitted(&within);
        }
        let waits = stream.waits;
        stream.held.retain(|held| waits || held.limit.is_settled_late(held.place));
        decision.because(text)
    }

    /// What a stream that has waited does.
    pub fn on_timer(&self, stream: &mut Stream) -> Decision {
        stream.waits = false;
        Decision::next()
    }

    /// What the response to a request gets.
    pub fn on_response(&self, stream: &mut Stream) -> Decision {
        Decision { mutations: std::mem::take(&mut stream.headers), ..Decision::next() }
    }

    /// Settles what the stream has taken. What could not be settled is returned, to be tried again.
    pub fn on_end(
        &self,
        stream: &mut Stream,
        end: &End<'_>,
        clocks: &Clocks<'_>,
        store: &dyn Store,
    ) -> Vec<Held> {
        let waits = std::mem::take(&mut stream.waits);
        let mut left = std::mem::take(&mut stream.held);
        left.retain(|held| {
            let settled = held.limit.settle(held, waits, end, clocks, store);
            // What comes back by time alone does so anyway.
            settled.is_err() && !held.limit.is_refilled_by_time(held.place)
        });
        left
    }

    /// Tries again what could not be given back. What cannot be given back now stays.
    pub fn give_back(&self, held: &mut Vec<Held>, clocks: &Clocks<'_>, store: &dyn Store) {
        give_back(held, clocks, store);
    }
}

/// Gives back what was taken. What could not be given back stays.
fn give_back(held: &mut Vec<Held>, clocks: &Clocks<'_>, store: &dyn Store) {
    held.retain(|held| held.limit.give_back(held, clocks, store).is_err());
}

/// Notes what is wrong with a field of what stands at a place.
#[cold]
#[inline(never)]
fn wrong(at: &At<'_>, field: &str, reason: &str, problems: &mut Problems) {
    problems.add(at.field(field), reason);
}

fn drawn(share: Option<FractionalPercent>, random: &dyn Fn() -> u64) -> bool {
    share.is_none_or(|share| share.includes(Draw::from_random(random())))
}
