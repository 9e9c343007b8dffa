//! Stops sending requests where they fail: one circuit for all workers of an Envoy, which opens, tries with a few probes, and closes again.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

mod circuits;
pub mod config;
mod metrics;
mod policy;

pub use config::Config;
pub use policy::{Outcome, Policy, Reason, State, Tally, Transition};

use std::cell::Cell;

use weir_sdk::config::joined;
use weir_sdk::{
    Bytes, ConfigError, Decision, Ended, FailurePolicy, HostError, HttpFilter, PluginHost, Request, Response,
    Status, log,
};

use circuits::{Circuits, Place};
use config::Force;
use metrics::{Count, Metrics};
use policy::{Admission, Call, End, Recorded, Refusal, Rules, Steps, Subject, Ticket, Unasked, Why};

/// How often a call that holds something tells its circuit of its end, where other workers are always faster.
const TELLS: u32 = 4;

/// The filter.
#[derive(Debug)]
pub struct CircuitBreaker {
    policy: Policy,
    circuits: Circuits,
    metrics: Metrics,
    host: PluginHost,
    /// How many requests of this worker wait for room.
    waiting: Cell<u32>,
}

/// What a stream remembers. As new for a stream that never came here, of which nothing is counted (`LIFE-03`).
#[derive(Debug, Default)]
pub struct Stream {
    call: Option<Tracked>,
    /// What the response tells the caller.
    told: Option<Bytes>,
    waiting: Option<Waiting>,
}

/// A request that asks.
#[derive(Clone, Debug)]
struct Asking {
    set: usize,
    key: Vec<u8>,
    dry_run: bool,
    is_safe: bool,
    is_grpc: bool,
    share_ppm: u32,
    now_ns: u64,
}

/// One that waits for room.
#[derive(Debug)]
struct Waiting {
    asking: Asking,
    until_ns: u64,
}

/// A call whose end is of interest.
#[derive(Debug)]
struct Tracked {
    set: usize,
    /// Absent where circuits are held and only counted.
    circuit: Option<(Place, Ticket)>,
    began_ns: u64,
    is_grpc: bool,
}

impl HttpFilter for CircuitBreaker {
    type Config = Config;
    type Stream = Stream;

    fn configure(config: Config, host: &PluginHost) -> Result<Self, ConfigError> {
        let (places, prefix) = (config.max_keys, config.stat_prefix.clone());
        let refresh_ns = weir_sdk::nanos(config.refresh.0);
        let policy = Policy::try_from(config)?;
        let metrics = Metrics::define(host, &prefix)?;
        let name = joined(host.name(), ".", &prefix);
        let circuits = Circuits::new(host, &name, places, refresh_ns, policy.idle_ns());
        Ok(Self { policy, circuits, metrics, host: host.clone(), waiting: Cell::new(0) })
    }

    fn on_request_headers(&self, stream: &mut Stream, request: &Request) -> Result<Decision, HostError> {
        if let Some(decision) = self.policy.asks_for_fallback(request) {
            self.metrics.add(Count::FallbackAsked, 1);
            return Ok(decision);
        }
        match self.policy.subject(request) {
            Subject::None(why) => {
                self.metrics.add(Count::NoKey, (why == Unasked::NoKey).into());
                Ok(self.policy.unasked(why, request))
            }
            Subject::Forced { set, force, dry_run, wrong_policy } => {
                self.metrics.add(Count::RouteInvalid, wrong_policy.into());
                if force == Force::Open {
                    let cleaned = self.policy.cleaned(request);
                    return Ok(self.refuse(stream, set, None, dry_run, cleaned));
                }
                let is_grpc = self.policy.is_grpc(set, request);
                let began_ns = request.now_ns();
                stream.call = Some(Tracked { set, circuit: None, began_ns, is_grpc });
                Ok(self.policy.held_closed(request))
            }
            Subject::Circuit { set, key, dry_run, wrong_policy } => {
                self.metrics.add(Count::RouteInvalid, wrong_policy.into());
                let asking = Asking {
                    set,
                    key,
                    dry_run,
                    is_safe: self.policy.is_safe(set, request),
                    is_grpc: self.policy.is_grpc(set, request),
                    share_ppm: self.policy.share_ppm(request),
                    now_ns: request.now_ns(),
                };
                Ok(self.ask(stream, asking, None, self.policy.cleaned(request)))
            }
        }
    }

    fn on_response_headers(&self, stream: &mut Stream, _response: &Response) -> Result<Decision, HostError> {
        Ok(self.policy.on_response(stream.told.take()))
    }

    /// Looks for room once more.
    fn on_timer(&self, stream: &mut Stream) -> Result<Decision, HostError> {
        let Some(Waiting { mut asking, until_ns }) = stream.waiting.take() else {
            return Ok(Decision::next());
        };
        self.waiting.set(self.waiting.get().saturating_sub(1));
        asking.now_ns = self.host.now_ns()?;
        Ok(self.ask(stream, asking, Some(until_ns), Decision::next()))
    }

    fn on_log(&self, stream: &mut Stream, ended: &Ended) {
        if stream.waiting.take().is_some() {
            self.waiting.set(self.waiting.get().saturating_sub(1));
        }
        let Some(Tracked { set, circuit, began_ns, is_grpc }) = stream.call.take() else {
            return;
        };
        let now_ns = ended.request().now_ns();
        let whole_ns = now_ns.saturating_sub(began_ns);
        let outcome = self.policy.outcome(set, ended, is_grpc, whole_ns);
        let (Some((place, ticket)), Some(rules)) = (circuit, self.policy.rules(set)) else {
            self.metrics.ended(outcome, Recorded::Nothing, None);
            return;
        };
        let time_ns = self.policy.time_ns(set, ended, whole_ns);
        let tells = if ticket.holds_something() { TELLS } else { 1 };
        for _ in 0..tells {
            let random = ended.plugin().random();
            let end = End { outcome, began_ns, time_ns, now_ns, random };
            match self.circuits.record(&place, rules, &ticket, &end) {
                Ok((recorded, steps)) => {
                    self.metrics.ended(outcome, recorded, Some(&ticket));
                    self.note(&place, &steps);
                    return;
                }
                Err(_) => self.metrics.add(Count::Contended, 1),
            }
        }
    }

    /// A breaker that cannot tell lets pass.
    fn failure_policy(&self) -> FailurePolicy {
        FailurePolicy::FailOpen
    }
}

impl CircuitBreaker {
    /// Asks a circuit, for the first time or again until a time; `cleaned`: what is decided for the request already.
    fn ask(&self, stream: &mut Stream, asking: Asking, until_ns: Option<u64>, cleaned: Decision) -> Decision {
        let Asking { set, dry_run, is_safe, is_grpc, share_ppm, now_ns, .. } = asking;
        let Some(rules) = self.policy.rules(set) else {
            return cleaned;
        };
        let call = Call { now_ns, random: self.host.random(), is_safe, share_ppm };
        let (place, admission, steps) = match self.circuits.admit(&asking.key, rules, &call) {
            Ok(Some(asked)) => asked,
            Ok(None) => {
                self.metrics.add(Count::NoRoom, 1);
                return self.policy.untracked(cleaned);
            }
            Err(error) => {
                self.metrics.add(Count::Contended, 1);
                if error.status != Status::CasMismatch {
                    return self.policy.untracked(cleaned);
                }
                // What cannot be counted is not let through: only probes and limited calls come to this.
                let why = if rules.counts_calls() { Why::Concurrency } else { Why::HalfOpen };
                return self.refuse(stream, set, Some(&Refusal { why, retry_ns: 0 }), dry_run, cleaned);
            }
        };
        self.note(&place, &steps);
        match admission {
            Admission::Passed(ticket) => {
                self.metrics.add(Count::Probes, ticket.is_probe().into());
                stream.told = self.policy.told(Ok(ticket.state));
                let decision = self.policy.passed(&ticket, cleaned);
                let circuit = Some((place, ticket));
                stream.call = Some(Tracked { set, circuit, began_ns: now_ns, is_grpc });
                decision
            }
            Admission::Refused(Refusal { why: Why::Concurrency, .. })
                if self.may_wait(&asking, rules, until_ns) =>
            {
                let first = until_ns.is_none();
                let wait_ns = rules.queue().map_or(0, |queue| queue.wait_ns);
                let until_ns = until_ns.unwrap_or_else(|| now_ns.saturating_add(wait_ns));
                self.waiting.set(self.waiting.get().saturating_add(1));
                stream.waiting = Some(Waiting { asking, until_ns });
                self.metrics.add(Count::Waited, first.into());
                if first { self.policy.waits(cleaned) } else { self.policy.waits_on() }
            }
            Admission::Refused(refusal) => self.refuse(stream, set, Some(&refusal), dry_run, cleaned),
        }
    }

    fn may_wait(&self, asking: &Asking, rules: &Rules, until_ns: Option<u64>) -> bool {
        rules.queue().is_some_and(|queue| {
            !asking.dry_run
                && self.waiting.get() < queue.most
                && until_ns.is_none_or(|until_ns| {
                    // Further away than any wait: the clock was set back.
                    asking.now_ns < until_ns && until_ns <= asking.now_ns.saturating_add(queue.wait_ns)
                })
        })
    }

    /// Refuses a request, sends it elsewhere, or, in a dry run, only counts.
    fn refuse(
        &self,
        stream: &mut Stream,
        set: usize,
        refusal: Option<&Refusal>,
        dry_run: bool,
        cleaned: Decision,
    ) -> Decision {
        if self.policy.has_fallback(set) {
            self.metrics.refused(Count::Fallback, dry_run);
            if let (Some(refusal), false) = (refusal, dry_run) {
                stream.told = self.policy.told(Err(refusal));
            }
        }
        let count = match refusal {
            Some(Refusal { why: Why::Concurrency, .. }) => Count::ConcurrencyLimited,
            Some(Refusal { why: Why::Shed, .. }) => Count::Shed,
            _ => Count::NotPermitted,
        };
        self.metrics.refused(count, dry_run);
        self.policy.refused(set, refusal, dry_run, cleaned)
    }

    /// Counts and logs what a step has changed: one line for each transition, from the worker that wrote it.
    fn note(&self, place: &Place, steps: &Steps) {
        self.metrics.steps(steps);
        for transition in steps.transitions.iter().flatten() {
            let text = policy::describe(place.key(), transition);
            let level = if transition.to == State::Open { log::Level::Warn } else { log::Level::Info };
            weir_sdk::say(level, || text);
        }
    }
}

weir_sdk::register!(CircuitBreaker: on_request_headers, on_response_headers, on_timer, on_log);
