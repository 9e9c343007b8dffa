//! How a decision travels: to the route, to the next service, and what belongs to each arm.

use schemars::JsonSchema;
use serde::Deserialize;
use weir_sdk::RequestMatches;

/// What belongs to an arm.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    /// The arm's name: 1 to 64 letters, digits, `_`, `-` and `.`.
    pub name: String,
    /// Value of carried request headers. Default: the name.
    #[serde(default)]
    pub header_value: Option<String>,
    /// Value of a carried `cluster_header`. Default: the name.
    #[serde(default)]
    pub cluster: Option<String>,
    /// Value of a carried `authority`; needed when `carry` has it.
    #[serde(default)]
    pub authority: Option<String>,
    /// Request headers that this arm's requests have and no others, whatever the client sends.
    #[serde(default)]
    pub request_headers: Vec<HeaderLine>,
    /// Response headers that this arm's responses have.
    #[serde(default)]
    pub response_headers: Vec<HeaderLine>,
}

/// A header to set.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeaderLine {
    /// The name, any case; no pseudo header.
    pub name: String,
    /// The value; no CR, LF or NUL.
    pub value: String,
}

/// One way to carry a decision to Envoy's route.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Carry {
    /// A request header with the arm's `header_value`: routes match on it. What a client sends in it is removed.
    RequestHeader(String),
    /// `:authority` becomes the arm's `authority`: another virtual host.
    Authority {},
    /// A request header with the arm's `cluster`, for routes with `cluster_header`. What a client sends in it is removed.
    ClusterHeader(String),
    /// A request header with a number, for routes with `weighted_clusters.header_name`: Envoy takes the cluster at `number % total_weight`, so
    /// the route's clusters must stand in the order of the `split`, with its weights. What a client sends in it is removed.
    WeightedClustersHeader(String),
    /// The filter state object of this key (one with an object factory, such as `envoy.string`): routes match on `filter_state`.
    FilterState(String),
    /// The filter state `wasm.<name>`: routes match on `filter_state`, access logs print `%FILTER_STATE(wasm.<name>:PLAIN)%`.
    Property(String),
}

/// When an arm that an earlier hop decided is followed.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Follow {
    /// Request header that names the arm. Exactly one of `header` and `baggage`.
    #[serde(default)]
    pub header: Option<String>,
    /// Key of the W3C `baggage` header whose value names the arm.
    #[serde(default)]
    pub baggage: Option<String>,
    /// The requests that are trusted, such as `{source_address: {ranges: [10.0.0.0/8]}}`. There is no default: write `{}` where all are.
    pub when: RequestMatches,
}

/// Overrides by route metadata: `filter_metadata.<namespace>` with the keys `disabled` and `dry_run` (booleans), `arm` (all requests of the
/// route go to it) and `policy` (a name in `policies`).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PerRoute {
    /// The namespace in `filter_metadata`. Default `weir.canary`.
    #[serde(default = "namespace")]
    pub namespace: String,
}

fn namespace() -> String {
    "weir.canary".to_owned()
}
