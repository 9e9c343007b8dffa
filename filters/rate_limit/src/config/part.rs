//! Which part of a limit is whose: of several Envoys, of classes of requests; and what becomes of who does not heed it.

use schemars::JsonSchema;
use weir_sdk::{ConfigDuration, FromConfig, Percentage, RequestMatches};

/// One limit for several Envoys without a service: each admits its part of it.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Instances {
    /// How many there are: 1 to 1000000, and not more than the limit admits at once. With `attribute`: what counts where that says no such number.
    pub count: u32,
    /// The attribute that says how many, a segment each, such as `[xds, node, metadata, REPLICAS]`: a number, or digits. More than the limit
    /// admits at once count as so many. Default: none, `count` counts.
    #[serde(default)]
    pub attribute: Vec<String>,
}

/// A class of requests that may not use all of a limit, so that something is left for others.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// The requests, such as `{headers: [{name: x-priority, exact: batch}]}`.
    #[serde(rename = "match")]
    pub matches: RequestMatches,
    /// The share of the limit up to which they are admitted, what others have taken counted: more than 0, and enough for one request.
    pub share: Percentage,
}

/// Keys that are refused too often are refused for a while, whatever the limit says.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Penalty {
    /// So many refusals are forgiven, and come back evenly in `within`: 1 to 1000000. The next one is punished.
    pub after: u32,
    /// In which time, 1ms to 1d.
    pub within: ConfigDuration,
    /// For how long, 1ms to 1d; a part of `within` longer at most, which is `within` divided by `after`. When it is over, no refusal is forgiven at first.
    pub block: ConfigDuration,
}
