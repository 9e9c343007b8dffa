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

use std::time::{SystemTime, UNIX_EPOCH};

use weir_sdk::{
    Bytes, ConfigError, Decision, Ended, FailurePolicy, HostError, HttpFilter, PluginHost, Request, Response,
    Status, log,
};

use circuits::{Circuits, Place};
use config::Force;
use metrics::Metrics;
use policy::{Admission, Call, Recorded, Refusal, Steps, Subject, Ticket, Unasked, Why};

/// How often a call that holds something tells its circuit of its end, where other workers are always faster.
const TELLS: u32 = 4;

/// The filter.
#[derive(Debug)]
pub struct CircuitBreaker {
    policy: Policy,
    circuits: Circuits,
    metrics: Metrics,
}

/// What a stream remembers. As new for a stream that never came here, of which nothing is counted (`LIFE-03`).
#[derive(Debug, Default)]
pub struct Stream {
    call: Option<Tracked>,
    /// What the response tells the caller.
    told: Option<Bytes>,
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
        let refresh_ns = u64::try_from(config.refresh.0.as_nanos()).unwrap_or(u64::MAX);
        let policy = Policy::try_from(config)?;
        let metrics = Metrics::define(host, &prefix)?;
        let name = format!("{}.{prefix}", host.name());
        let circuits = Circuits::new(host, &name, places, refresh_ns, policy.idle_ns());
        Ok(Self { policy, circuits, metrics })
    }

    fn on_request_headers(&self, stream: &mut Stream, request: &Request) -> Result<Decision, HostError> {
        if let Some(decision) = self.policy.asks_for_fallback(request) {
            self.metrics.fallback_asked.increment();
            return Ok(decision);
        }
        match self.policy.subject(request) {
            Subject::None(why) => {
                self.metrics.no_key.add((why == Unasked::NoKey).into());
                Ok(self.policy.unasked(why, request))
            }
            Subject::Forced { set, force, dry_run, wrong_policy } => {
                self.metrics.route_invalid.add(wrong_policy.into());
                if force == Force::Open {
                    return Ok(self.refuse(stream, request, set, None, dry_run));
                }
                stream.call = Some(self.track(request, set, None));
                Ok(self.policy.held_closed(request))
            }
            Subject::Circuit { set, key, dry_run, wrong_policy } => {
                self.metrics.route_invalid.add(wrong_policy.into());
                Ok(self.ask(stream, request, set, &key, dry_run))
            }
        }
    }

    fn on_response_headers(&self, stream: &mut Stream, _response: &Response) -> Result<Decision, HostError> {
        Ok(self.policy.on_response(stream.told.take()))
    }

    fn on_log(&self, stream: &mut Stream, ended: &Ended) {
        let Some(Tracked { set, circuit, began_ns, is_grpc }) = stream.call.take() else {
            return;
        };
        let now_ns = nanoseconds(ended.request().now());
        let whole_ns = now_ns.saturating_sub(began_ns);
        let outcome = self.policy.outcome(set, ended, is_grpc, whole_ns);
        let (Some((place, ticket)), Some(rules)) = (circuit, self.policy.rules(set)) else {
            self.metrics.ended(outcome, Recorded::Nothing, None);
            return;
        };
        let tells = if ticket.holds_something() { TELLS } else { 1 };
        for _ in 0..tells {
            let random = ended.plugin().random();
            match self.circuits.record(&place, rules, &ticket, outcome, now_ns, random) {
                Ok((recorded, steps)) => {
                    self.metrics.ended(outcome, recorded, Some(&ticket));
                    self.note(&place, &steps);
                    return;
                }
                Err(_) => self.metrics.contended.increment(),
            }
        }
    }

    /// A breaker that cannot tell lets pass.
    fn failure_policy(&self) -> FailurePolicy {
        FailurePolicy::FailOpen
    }
}

impl CircuitBreaker {
    /// Asks the circuit of `key`.
    fn ask(&self, stream: &mut Stream, request: &Request, set: usize, key: &[u8], dry_run: bool) -> Decision {
        let Some(rules) = self.policy.rules(set) else {
            return Decision::next();
        };
        let call = Call {
            now_ns: nanoseconds(request.now()),
            random: request.random(),
            is_safe: self.policy.is_safe(set, request),
        };
        let (place, admission, steps) = match self.circuits.admit(key, rules, &call) {
            Ok(Some(asked)) => asked,
            Ok(None) => {
                self.metrics.no_room.increment();
                return self.policy.untracked(request);
            }
            Err(error) => {
                self.metrics.contended.increment();
                if error.status != Status::CasMismatch {
                    return self.policy.untracked(request);
                }
                // What cannot be counted is not let through: only probes and limited calls come to this.
                let why = if rules.counts_calls() { Why::Concurrency } else { Why::HalfOpen };
                return self.refuse(stream, request, set, Some(&Refusal { why, retry_ns: 0 }), dry_run);
            }
        };
        self.note(&place, &steps);
        match admission {
            Admission::Passed(ticket) => {
                self.metrics.probes.add(ticket.is_probe().into());
                let decision = self.policy.passed(&ticket, request);
                stream.told = self.policy.told(Ok(ticket.state));
                stream.call = Some(self.track(request, set, Some((place, ticket))));
                decision
            }
            Admission::Refused(refusal) => self.refuse(stream, request, set, Some(&refusal), dry_run),
        }
    }

    fn track(&self, request: &Request, set: usize, circuit: Option<(Place, Ticket)>) -> Tracked {
        let is_grpc = self.policy.is_grpc(set, request);
        Tracked { set, circuit, began_ns: nanoseconds(request.now()), is_grpc }
    }

    /// Refuses a request, sends it elsewhere, or, in a dry run, only counts.
    fn refuse(
        &self,
        stream: &mut Stream,
        request: &Request,
        set: usize,
        refusal: Option<&Refusal>,
        dry_run: bool,
    ) -> Decision {
        let counters = if dry_run { &self.metrics.dry_run } else { &self.metrics.refusals };
        if self.policy.has_fallback(set) {
            counters.fallback.increment();
            if let (Some(refusal), false) = (refusal, dry_run) {
                stream.told = self.policy.told(Err(refusal));
            }
        }
        match refusal {
            Some(Refusal { why: Why::Concurrency, .. }) => counters.concurrency_limited.increment(),
            _ => counters.not_permitted.increment(),
        }
        self.policy.refused(set, refusal, dry_run, request)
    }

    /// Counts and logs what a step has changed: one line for each transition, from the worker that wrote it.
    fn note(&self, place: &Place, steps: &Steps) {
        self.metrics.steps(steps);
        for transition in steps.transitions.iter().flatten() {
            let text = policy::describe(place.key(), transition);
            match transition.to {
                State::Open => log::warn!("{text}"),
                State::HalfOpen | State::Recovering | State::Closed => log::info!("{text}"),
            }
        }
    }
}

/// Since 1970; 0 before.
fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

weir_sdk::register!(CircuitBreaker: on_request_headers, on_response_headers, on_log);
