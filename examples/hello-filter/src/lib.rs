//! Greets: every response gets a header.

use schemars::JsonSchema;
use weir_sdk::{ConfigError, Decision, FromConfig, HostError, HttpFilter, PluginHost, Response, register};

/// The plugin configuration: `{"greeting": "hello"}`.
#[derive(Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// The value of the header `x-greeting`.
    pub greeting: String,
}

impl HttpFilter for Hello {
    type Config = Self;
    type Stream = ();

    fn configure(config: Self, _: &PluginHost) -> Result<Self, ConfigError> {
        Ok(config)
    }

    fn on_response_headers(&self, _: &mut (), _: &Response) -> Result<Decision, HostError> {
        Ok(Decision::next().set("x-greeting", self.greeting.as_str()))
    }
}

register!(Hello: on_response_headers);
