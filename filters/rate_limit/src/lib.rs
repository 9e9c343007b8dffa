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
pub use policy::{Clocks, Counts, End, Held, Inputs, Policy, Setup, Stream};

use std::cell::{Cell, RefCell};

use weir_sdk::{
    ConfigError, Counter, Decision, Ended, FailurePolicy, HostError, HttpFilter, PluginHost, Request,
    Response,
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
}

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
        let counters = policy
            .counters()
            .iter()
            .map(|name| host.counter(name))
            .collect::<Result<_, _>>()
            .map_err(|error| ConfigError::invalid("stat_prefix", error.to_string()))?;
        Ok(Self { policy, counters, host: host.clone(), fails_open, late: RefCell::default() })
    }

    fn on_request_headers(&self, stream: &mut Stream, request: &Request) -> Result<Decision, HostError> {
        let failed = Cell::new(None);
        let monotonic_ns = || self.monotonic_ns(&failed);
        let now = || request.now();
        let clocks = Clocks::new(&now, &monotonic_ns);
        if !self.late.borrow().is_empty() {
            self.late.borrow_mut().retain(|held| !self.policy.give_back(held, &clocks, &self.host));
        }
        let random = || request.random();
        let inputs = Inputs { request, clocks: &clocks, random: &random, store: &self.host };
        let (decision, counts) = self.policy.on_request(stream, &inputs);
        if let Some(error) = failed.get() {
            return Err(error);
        }
        for place in self.policy.places(&counts) {
            if let Some(counter) = self.counters.get(place) {
                counter.increment();
            }
        }
        Ok(decision)
    }

    fn on_timer(&self, stream: &mut Stream) -> Result<Decision, HostError> {
        Ok(self.policy.on_timer(stream))
    }

    fn on_response_headers(&self, stream: &mut Stream, _response: &Response) -> Result<Decision, HostError> {
        Ok(self.policy.on_response(stream))
    }

    fn on_log(&self, stream: &mut Stream, ended: &Ended) {
        let failed = Cell::new(None);
        let monotonic_ns = || self.monotonic_ns(&failed);
        let now = || ended.request().now();
        let clocks = Clocks::new(&now, &monotonic_ns);
        let end = End { attributes: ended, headers: ended.response(), trailers: ended.response_trailers() };
        let left = self.policy.on_end(stream, &end, &clocks, &self.host);
        if !left.is_empty() {
            self.late.borrow_mut().extend(left);
        }
    }

    fn failure_policy(&self) -> FailurePolicy {
        if self.fails_open { FailurePolicy::FailOpen } else { FailurePolicy::FailClosed }
    }
}

impl RateLimit {
    fn monotonic_ns(&self, failed: &Cell<Option<HostError>>) -> u64 {
        self.host.monotonic_ns().unwrap_or_else(|error| {
            failed.set(Some(error));
            0
        })
    }
}

weir_sdk::register!(RateLimit: on_request_headers, on_timer, on_response_headers, on_log);
