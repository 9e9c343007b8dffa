//! Sends copies of requests to other clusters, without the primary ever waiting for one.
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
pub mod policy;

pub use config::Config;
pub use policy::Policy;

use weir_sdk::{ConfigError, Decision, HostError, HttpFilter, PluginHost, Request};

/// The filter.
#[derive(Debug)]
pub struct Mirror {
    policy: Policy,
}

impl HttpFilter for Mirror {
    type Config = Config;
    type Stream = ();

    fn configure(config: Config, _host: &PluginHost) -> Result<Self, ConfigError> {
        Ok(Self { policy: Policy::try_from(config)? })
    }

    fn on_request_headers(&self, _stream: &mut (), request: &Request) -> Result<Decision, HostError> {
        for callout in self.policy.copies(request, request.random()) {
            if let Err(error) = request.plugin().callout(&callout) {
                weir_sdk::log::debug!("{error}");
            }
        }
        Ok(Decision::next())
    }
}

weir_sdk::register!(Mirror: on_request_headers);
