//! Sends each request to an arm: by what it carries, by a share that keeps every client on one side, by the clock, or by a switch.
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
pub use policy::{Chosen, Inputs, Policy};

use weir_sdk::{ConfigError, Counter, Decision, HostError, HttpFilter, PluginHost, Request, Response};

/// The filter.
#[derive(Debug)]
pub struct Canary {
    policy: Policy,
    counters: Vec<Counter>,
}

impl HttpFilter for Canary {
    type Config = Config;
    type Stream = Chosen;

    fn configure(config: Config, host: &PluginHost) -> Result<Self, ConfigError> {
        let policy = Policy::try_from(config)?;
        let counters = policy
            .counters()
            .iter()
            .map(|name| host.counter(name))
            .collect::<Result<_, _>>()
            .map_err(|error| ConfigError::invalid("stat_prefix", error.to_string()))?;
        Ok(Self { policy, counters })
    }

    fn on_request_headers(&self, stream: &mut Chosen, request: &Request) -> Result<Decision, HostError> {
        let inputs = Inputs { request, now: &|| request.now(), random: &|| request.random() };
        let (decision, chosen) = self.policy.on_request(&inputs);
        for index in chosen.counts.iter().flatten() {
            if let Some(counter) = self.counters.get(*index) {
                counter.add(1);
            }
        }
        *stream = chosen;
        Ok(decision)
    }

    fn on_response_headers(&self, stream: &mut Chosen, _response: &Response) -> Result<Decision, HostError> {
        Ok(self.policy.on_response(stream))
    }
}

weir_sdk::register!(Canary: on_request_headers, on_response_headers);
