//! Greets: every response gets a header.

use schemars::JsonSchema;
use serde::Deserialize;
use weir_sdk::{ConfigError, Decision, HostError, HttpFilter, PluginHost, Response, register};

/// The plugin configuration: `{"greeting": "hello"}`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Hello {
    /// The value of the header `x-greeting`.
    greeting: String,
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

#[cfg(test)]
mod tests {
    use serde_json::json;
    use weir_sdk::testing::Host;

    use super::Hello;

    #[test]
    fn greets() {
        let plugin = Host::new().plugin::<Hello>(json!({"greeting": "hello"})).unwrap();
        assert_eq!(plugin.stream().response(&[(":status", "200")]).header("x-greeting"), Some("hello"));
    }
}
