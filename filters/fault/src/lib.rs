//! Injects faults into requests and responses: delays, aborts, resets, black holes, damaged bodies; for whom, how often and how long is
//! configured, or asked for by callers.
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

pub mod config;
mod policy;

pub use config::Config;
use policy::WRITTEN;
pub use policy::{
    BlastRadius, Count, Counts, Inputs, Next, Part, Policy, Setup, Step, Stream, Totals, Watch, Why,
};

use std::cell::Cell;

use weir_sdk::config::joined;
use weir_sdk::{
    Body, ConfigError, Counter, Decision, Ended, FailurePolicy, Flow, Gauge, Headers, HostError, HttpFilter,
    PluginHost, Request, Response, ResponseTrailers, Shared, log,
};

/// The filter.
#[derive(Debug)]
pub struct Fault {
    policy: Policy,
    counters: Vec<Counter>,
    active: Gauge,
    service: Service,
    /// Begins the keys of shared data.
    state_prefix: String,
    host: PluginHost,
}

/// Decides on a part of a body by its size, whether it is the last, and its bytes.
type Decide<'a> = &'a mut dyn FnMut(usize, bool, &mut dyn FnMut() -> Vec<u8>) -> (Part, Counts);

/// What is known about the service itself.
#[derive(Debug)]
struct Service {
    responses: Counter,
    errors: Counter,
    watch: Cell<Watch>,
}

impl HttpFilter for Fault {
    type Config = Config;
    type Stream = Stream;

    fn configure(config: Config, host: &PluginHost) -> Result<Self, ConfigError> {
        let now = host.now()?;
        let policy = Policy::compile(&config, Setup { now, secret: &|secret| host.secret(secret) })?;
        let counter = |name: &str| host.counter(name).map_err(refused);
        let mut counters = Vec::new();
        for name in policy.counters() {
            counters.push(counter(&name)?);
        }
        let prefix = policy.stat_prefix();
        Ok(Self {
            counters,
            active: host.gauge(&[prefix, ".active_faults"].concat()).map_err(refused)?,
            service: Service {
                responses: counter(&[prefix, ".service_responses"].concat())?,
                errors: counter(&[prefix, ".service_errors"].concat())?,
                watch: Cell::default(),
            },
            state_prefix: ["weir.fault/1/", host.name(), "/", prefix, "/"].concat(),
            host: host.clone(),
            policy,
        })
    }

    fn on_request_headers(&self, stream: &mut Stream, request: &Request) -> Result<Decision, HostError> {
        let inputs = Inputs {
            request,
            has_body: !request.end_of_stream(),
            now: &|| request.now(),
            random: &|| request.random(),
            stopped: &|| self.is_stopped(request),
            step: &|name, part, next| self.step(name, part, next),
            enter: &|max| self.enter(max),
        };
        Ok(self.done(self.policy.on_request(stream, &inputs)))
    }

    fn on_timer(&self, stream: &mut Stream) -> Result<Decision, HostError> {
        Ok(self.done(stream.on_timer()))
    }

    fn on_response_headers(&self, stream: &mut Stream, response: &Response) -> Result<Decision, HostError> {
        if self.policy.blast_radius().is_some() && stream.is_untouched() {
            self.service.responses.increment();
            if is_error(response) {
                self.service.errors.increment();
            }
        }
        let enter = || self.enter(self.policy.max_active_faults());
        Ok(self.done(stream.on_response(response, response.end_of_stream(), &enter)))
    }

    fn on_request_body(&self, stream: &mut Stream, body: &Body) -> Result<Decision, HostError> {
        if !stream.is_changing() {
            return Ok(Decision::next());
        }
        self.part(body, &mut |size, end, bytes| stream.on_request_body(size, end, bytes))
    }

    fn on_response_body(&self, stream: &mut Stream, body: &Body) -> Result<Decision, HostError> {
        if !stream.is_damaging() {
            return Ok(Decision::next());
        }
        self.part(body, &mut |size, end, bytes| stream.on_response_body(size, end, bytes))
    }

    fn on_response_trailers(
        &self,
        stream: &mut Stream,
        trailers: &ResponseTrailers,
    ) -> Result<Decision, HostError> {
        // What this filter answers has none.
        if self.policy.blast_radius().is_some() && is_grpc_error(trailers) {
            self.service.errors.increment();
        }
        Ok(stream.on_response_trailers())
    }

    fn on_log(&self, stream: &mut Stream, _: &Ended) {
        if stream.end() {
            self.active.add(-1);
        }
    }

    /// A fault that cannot be injected is none.
    fn failure_policy(&self) -> FailurePolicy {
        FailurePolicy::FailOpen
    }
}

weir_sdk::register!(
    Fault: on_request_headers, on_request_body, on_response_headers, on_response_body, on_response_trailers, on_timer, on_log
);

impl Fault {
    /// Counts and explains a step; what is left is what happens.
    #[inline(never)]
    fn done(&self, step: Step) -> Decision {
        self.count(step.counts);
        if let Some(why) = &step.why {
            weir_sdk::say(log::Level::Debug, || joined("decision: ", &why.text(), ""));
        }
        step.decision
    }

    /// Has a stream decide on a part of a body, and does it.
    fn part(&self, body: &Body, decide: Decide<'_>) -> Result<Decision, HostError> {
        let mut failure = None;
        let mut bytes = || body.bytes().map_err(|error| failure = Some(error)).unwrap_or_default();
        let (part, counts) = decide(body.len(), body.end_of_stream(), &mut bytes);
        if let Some(error) = failure {
            return Err(error);
        }
        self.count(counts);
        let flow = match part {
            Part::Pass => Flow::Continue,
            Part::Become(bytes) => {
                body.replace(&bytes)?;
                Flow::Continue
            }
            Part::Hold => Flow::Buffer,
            Part::Reset => return Ok(Decision::wait(WRITTEN)),
        };
        Ok(Decision { flow, ..Decision::next() })
    }

    fn count(&self, counts: Counts) {
        for place in counts.places() {
            if let Some(counter) = self.counters.get(place) {
                counter.increment();
            }
        }
    }

    /// Takes a place among the active faults. Every worker adds before it reads, so no two can both take the last one.
    fn enter(&self, max: Option<u64>) -> bool {
        self.active.add(1);
        let fits = max.is_none_or(|max| self.active.value().is_ok_and(|active| active <= max));
        if !fits {
            self.active.add(-1);
        }
        fits
    }

    fn is_stopped(&self, request: &Request) -> bool {
        let Some(blast_radius) = self.policy.blast_radius() else {
            return false;
        };
        let (Ok(responses), Ok(errors)) = (self.service.responses.value(), self.service.errors.value())
        else {
            return false;
        };
        let now = request.now();
        let watch = blast_radius.step(self.service.watch.get(), now, Totals { responses, errors });
        self.service.watch.set(watch);
        watch.is_stopped(now)
    }

    fn step(&self, name: &str, part: u32, next: Next<'_>) -> Option<bool> {
        let key = [&self.state_prefix, name, "/", &u64::from(part).to_string()].concat();
        let shared: Shared<Vec<u8>> = self.host.shared(&key);
        match shared.update(|state| next(state.as_deref())) {
            Ok(takes) => Some(takes),
            Err(error) => {
                weir_sdk::say(log::Level::Warn, || {
                    let what = joined("the state of `", name, "` cannot be changed: ");
                    joined(&what, &error.text(), "")
                });
                None
            }
        }
    }
}

/// HTTP 5xx, or a gRPC answer without a message whose status is the server's fault.
fn is_error(response: &Response) -> bool {
    response.get(":status").is_some_and(|status| status.first() == Some(&b'5')) || is_grpc_error(response)
}

/// UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE or DATA_LOSS.
fn is_grpc_error(headers: &dyn Headers) -> bool {
    headers.get("grpc-status").is_some_and(|status| matches!(status, b"2" | b"4" | b"13" | b"14" | b"15"))
}

fn refused(error: HostError) -> ConfigError {
    ConfigError::invalid("stat_prefix", error.text())
}
