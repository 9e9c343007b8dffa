//! A scenario: which filters, with which configuration, on which routes, and which recordings. The YAML form, and nothing that runs it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What to replay and how: `scenario.yaml`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What the scenario shows; printed above the report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The HTTP filters in chain order; Envoy's router follows the last.
    #[serde(default)]
    pub filters: Vec<Filter>,
    /// Envoy's `RouteConfiguration` as JSON or YAML. Absent: every request goes to the only cluster, or to `upstream`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_config: Option<Value>,
    /// The clusters that exist, by name. Empty: every cluster that a route names exists.
    #[serde(default)]
    pub clusters: BTreeMap<String, Cluster>,
    /// Recordings, relative to this file; replayed in this order. May be empty when the command line gives some.
    #[serde(default)]
    pub recordings: Vec<PathBuf>,
    /// How recordings that carry no marker are to be read, such as an access log's format string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_log_format: Option<String>,
    /// Seed of everything random that filters ask the host for. Default 0.
    #[serde(default)]
    pub seed: u64,
    /// The time of the first exchange, RFC 3339, overriding the recording's. Default: the recording's own, else 2026-01-01T00:00:00Z.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
}

/// One plugin: a configured instance of a module in the filter chain. Names and defaults are Envoy's `PluginConfig`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// The plugin's name, also the default for `module`.
    pub name: String,
    /// A crate's folder or a `.wasm` file, relative to this file; or the name of a filter of this workspace. Default: `name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// The plugin's configuration: an object is given to the module as JSON, a string as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Value>,
    /// A file with the configuration (YAML or JSON become JSON, anything else is given as it is), instead of `config`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_file: Option<PathBuf>,
    /// Envoy's `root_id`. Default empty.
    #[serde(default)]
    pub root_id: String,
    /// Envoy's `vm_id`: plugins of one module with the same id share shared data. Default empty.
    #[serde(default)]
    pub vm_id: String,
    /// What happens after a trap. Default `FAIL_CLOSED`.
    #[serde(default)]
    pub failure_policy: FailurePolicy,
    /// Envoy's `allow_on_headers_stop_iteration`. Default false.
    #[serde(default)]
    pub allow_on_headers_stop_iteration: bool,
    /// Environment variables of the VM.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

/// Envoy's `failure_policy`.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FailurePolicy {
    /// Streams of a failed VM get 503.
    #[default]
    FailClosed,
    /// Streams after the failing one bypass the plugin.
    FailOpen,
    /// As closed, and a fresh VM is made after a back-off.
    FailReload,
}

/// A cluster of the scenario. Answers come from the recording unless `response` is given.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// The answer of this cluster to every request, instead of the recorded one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<ClusterResponse>,
    /// How many endpoints it has: 0 makes Envoy answer 503 `UH`. Default 1.
    #[serde(default = "one")]
    pub endpoints: u32,
    /// Envoy's cluster metadata: `{filter_metadata: {namespace: {key: value}}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Value>,
}

/// A fixed answer.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterResponse {
    /// HTTP status. Default 200.
    #[serde(default = "ok")]
    pub status: u16,
    /// Headers, in order.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The body.
    #[serde(default)]
    pub body: String,
}

fn one() -> u32 {
    1
}

fn ok() -> u16 {
    200
}
