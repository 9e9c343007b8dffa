//! What is written under `pluginConfig`. Shape only: [`Policy`](crate::Policy) says what it means and refuses what means nothing.

use schemars::JsonSchema;
use serde::Deserialize;
use weir_sdk::Percentage;

mod compare;
mod redact;

pub use compare::{Compare, CompareBody, CompareStatus, Noise, RecordValues};
pub use redact::{
    Action, Find, Place, Redact, RedactCookie, RedactHeader, RedactJson, RedactParameter, RedactPattern,
    RedactSegment, UnreadableBody,
};

/// The configuration of the mirror filter.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where copies go. Each target decides for itself, whatever the others do. At least one.
    pub targets: Vec<Target>,
}

/// One place that copies go to.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The cluster; in Istio `outbound|80||shadow.default.svc.cluster.local`.
    pub cluster: String,
    /// Share of the requests that are copied. Default 100.
    #[serde(default = "all")]
    pub percentage: Percentage,
}

fn all() -> Percentage {
    Percentage::from_ppm(1_000_000)
}
