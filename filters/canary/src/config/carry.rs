//! How a decision travels: to the route, to the next service, and what belongs to each arm.

use std::time::Duration;

use schemars::JsonSchema;
use weir_sdk::signed::Secret;
use weir_sdk::{ConfigDuration, FromConfig, RequestMatches};

/// What belongs to an arm.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
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
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeaderLine {
    /// The name, any case; no pseudo header.
    pub name: String,
    /// The value; no CR, LF or NUL.
    pub value: String,
}

/// One way to carry a decision to Envoy's route.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
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
#[derive(Clone, Debug, FromConfig, JsonSchema)]
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
    /// Whether the arm must be signed as well (`signature`), so that who can call cannot choose. Default false.
    #[serde(default)]
    pub signed: bool,
}

/// How the arm is signed on its way to the next services: `expires=<unix seconds>,sha256=<64 hexadecimal digits>` in a header, HMAC-SHA-256 over
/// the lines `weir-canary-1`, the seconds, and the arm's name, each with a line feed behind it.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// The first of them signs; any may have signed what is followed: two while one takes the other's place. At least one.
    pub secrets: Vec<Secret>,
    /// The header of the signature. What clients send in it goes no further. Default `x-canary-signature`.
    #[serde(default = "signature_header")]
    pub header: String,
    /// How long a signature holds, and so how long it can be used again: at least `1s`. Default `1m`.
    #[serde(default = "validity")]
    pub validity: ConfigDuration,
}

/// Overrides by route metadata: `filter_metadata.<namespace>` with the keys `disabled` and `dry_run` (booleans), `arm` (all requests of the
/// route go to it) and `policy` (a name in `policies`).
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PerRoute {
    /// The namespace in `filter_metadata`. Default `weir.canary`.
    #[serde(default = "namespace")]
    pub namespace: String,
}

fn signature_header() -> String {
    "x-canary-signature".to_owned()
}

fn validity() -> ConfigDuration {
    ConfigDuration(Duration::from_secs(60))
}

fn namespace() -> String {
    "weir.canary".to_owned()
}
