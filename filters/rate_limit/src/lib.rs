//! Limits how much is let through: by rate, window or number at a time, for any key, exactly over all workers.
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
pub use policy::{Asked, Clocks, Counts, End, Held, Inputs, Later, Policy, Setup, Stream};

use std::cell::{Cell, RefCell};

use weir_sdk::{
    CalloutId, Calls, ConfigError, Counter, Decision, Ended, FailurePolicy, GrpcReply, HostError, HttpFilter,
    PluginHost, Request, Response,
};

/// The filter.
#[derive(Debug)]
pub struct RateLimit {
    policy: Policy,
    counters: Vec<Counter>,
    host: PluginHost,
    fails_open: bool,
    /// What could not be given back when its stream ended: tried again with the next request.
    late: RefCell<Vec<Held>>,
    /// Tokens that the service was asked for in the background, and whether in a dry run.
    refills: RefCell<Calls<(Asked, bool)>>,
}

/// The longest answer of a rate limit service that is read, in bytes.
const LONGEST_ANSWER: usize = 64 << 10;

/// Where the seed of all plugins' tables is.
const SEED: &str = "weir.rate_limit/1/seed";

impl HttpFilter for RateLimit {
    type Config = Config;
    type Stream = Stream;

    fn configure(config: Config, host: &PluginHost) -> Result<Self, ConfigError> {
        let fails_open = config.on_error == config::OnError::Allow;
        let own = host.random();
        let seed = host.shared::<u64>(SEED).update(|seed| {
            let seed = seed.unwrap_or(own);
            (seed, seed)
        });
        // Without shared data every request fails anyway, as `on_error` says.
        let seed = seed.unwrap_or(own);
        let scope = [host.name(), "/", &host.root_id()].concat();
        let policy = Policy::compile(&config, &Setup { scope: &scope, seed })?;
        let (mut counters, mut refused) = (Vec::new(), None);
        policy.counters(&mut |name| match host.counter(name) {
            Ok(counter) => counters.push(counter),
            Err(error) => refused = refused.or(Some(error)),
        });
        if let Some(error) = refused {
            return Err(ConfigError::invalid("stat_prefix", error.text()));
        }
        let (late, refills) = (RefCell::default(), RefCell::default());
        Ok(Self { policy, counters, host: host.clone(), fails_open, late, refills })
    }

    fn on_request_headers(&self, stream: &mut Stream, request: &Request) -> Result<Decision, HostError> {
        let failed = Cell::new(None);
        let monotonic_ns = || known(self.host.monotonic_ns(), &failed);
        let now_ns = || request.now_ns();
        let clocks = Clocks::new(&now_ns, &monotonic_ns);
        if !self.late.borrow().is_empty() {
            self.policy.give_back(&mut self.late.borrow_mut(), &clocks, &self.host);
        }
        let random = || request.random();
        let inputs = Inputs { request, clocks: &clocks, random: &random, store: &self.host };
        let mut counts = Counts::default();
        let decision = self.policy.on_request(stream, &inputs, &mut counts);
        if let Some(error) = failed.get() {
            return Err(error);
        }
        self.count(&counts);
        while !counts.refills.is_empty() {
            self.refill(counts.refills.remove(0), counts.is_dry_run());
        }
        Ok(decision)
    }

    fn on_grpc_reply(&self, stream: &mut Stream, reply: GrpcReply) -> Result<Decision, HostError> {
        let mut decided = Decision::next();
        self.later(&mut |later| {
            let mut counts = Counts::default();
            decided = self.policy.on_answer(stream, reply.ok(), later, &mut counts);
            self.count(&counts);
        })?;
        Ok(decided)
    }

    fn on_plugin_grpc_reply(&self, _host: &PluginHost, id: CalloutId, reply: GrpcReply) {
        // Others are of streams that are gone, or of a configuration that is.
        if let Some((refill, dry_run)) = self.refills.borrow_mut().remove(id) {
            self.refilled(&refill, dry_run, reply.ok());
        }
    }

    fn callout_body_limit(&self, _id: CalloutId) -> usize {
        LONGEST_ANSWER
    }

    fn on_timer(&self, stream: &mut Stream) -> Result<Decision, HostError> {
        Ok(self.policy.on_timer(stream))
    }

    fn on_response_headers(&self, stream: &mut Stream, _response: &Response) -> Result<Decision, HostError> {
        Ok(self.policy.on_response(stream))
    }

    fn on_log(&self, stream: &mut Stream, ended: &Ended) {
        let failed = Cell::new(None);
        let monotonic_ns = || known(self.host.monotonic_ns(), &failed);
        let now_ns = || ended.request().now_ns();
        let clocks = Clocks::new(&now_ns, &monotonic_ns);
        let end = End { attributes: ended, headers: ended.response(), trailers: ended.response_trailers() };
        let mut left = self.policy.on_end(stream, &end, &clocks, &self.host);
        if !left.is_empty() {
            self.late.borrow_mut().append(&mut left);
        }
    }

    fn failure_policy(&self) -> FailurePolicy {
        if self.fails_open { FailurePolicy::FailOpen } else { FailurePolicy::FailClosed }
    }
}

impl RateLimit {
    fn count(&self, counts: &Counts) {
        self.policy.places(counts, &|place| {
            if let Some(counter) = self.counters.get(place) {
                counter.increment();
            }
        });
    }

    /// Decides when no request is readable any more.
    fn later(&self, decide: &mut dyn FnMut(&Later<'_>)) -> Result<(), HostError> {
        let failed = Cell::new(None);
        let monotonic_ns = || known(self.host.monotonic_ns(), &failed);
        let now_ns = || known(self.host.now_ns(), &failed);
        let clocks = Clocks::new(&now_ns, &monotonic_ns);
        let random = || self.host.random();
        decide(&Later { clocks: &clocks, random: &random, store: &self.host });
        failed.get().map_or(Ok(()), Err)
    }

    /// Takes tokens from the service in the background.
    fn refill(&self, refill: Asked, dry_run: bool) {
        let mut counts = Counts::of(dry_run);
        let Some(call) = self.policy.refill_call(&refill, &mut counts) else {
            return;
        };
        self.count(&counts);
        match self.host.grpc_callout(&call) {
            Ok(id) => {
                self.refills.borrow_mut().insert(id, (refill, dry_run));
            }
            Err(_) => self.refilled(&refill, dry_run, None),
        }
    }

    fn refilled(&self, refill: &Asked, dry_run: bool, message: Option<&[u8]>) {
        // Without a clock nothing is known of when the tokens expire, so there are none.
        let mut counts = Counts::of(dry_run);
        let known = self.later(&mut |later| self.policy.on_refill(refill, message, later, &mut counts));
        if known.is_ok() {
            self.count(&counts);
        }
    }
}

/// What a clock says; 0 after noting that it does not.
fn known(ns: Result<u64, HostError>, failed: &Cell<Option<HostError>>) -> u64 {
    ns.unwrap_or_else(|error| {
        failed.set(Some(error));
        0
    })
}

weir_sdk::register!(
    RateLimit: on_request_headers, on_grpc_reply, on_plugin_grpc_reply, on_timer, on_response_headers, on_log
);
