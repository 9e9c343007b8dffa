//! The wire form of what goes with answers: a control copy, records of differences and of whole exchanges.

use std::time::Duration;

use schemars::JsonSchema;
use weir_sdk::{ConfigDuration, FromConfig, Percentage};

/// A second copy that goes to the version that answers the primary: what differs between its answer and the primary's is noise. It has what the
/// request has (no redaction, no rewriting: it goes where the request went), the mark, and the suffix of idempotency keys.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// The cluster of the primary's version.
    pub cluster: String,
    /// Share of the compared copies that have a control copy: it is load for the primary's version. Default 100.
    #[serde(default = "all")]
    pub percentage: Percentage,
}

/// Where records of differences go. They are collected by each worker and sent together, as lines of JSON (`application/x-ndjson`).
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Report {
    /// Share of the differences of which there is a record. Default 100.
    pub percentage: Percentage,
    /// The cluster of the collector. Default: none, each record is a line `difference: …` of Envoy's log at level info.
    pub cluster: Option<String>,
    /// The authority of the collector. Default: the cluster's name.
    pub authority: Option<String>,
    /// The path that is posted to. Default `/mirror`.
    pub path: String,
    /// How long records are collected, 100ms to an hour. Default `1s`.
    pub interval: ConfigDuration,
    /// Bytes that are collected at most, 1024 to 16777216; what does not fit is dropped and counted. Default 65536.
    pub max_bytes: u32,
    /// How long the collector may take to answer, 1ms to a day. Default `5s`.
    pub timeout: ConfigDuration,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            percentage: all(),
            cluster: None,
            authority: None,
            path: "/mirror".to_owned(),
            interval: ConfigDuration(Duration::from_secs(1)),
            max_bytes: 64 << 10,
            timeout: ConfigDuration(Duration::from_secs(5)),
        }
    }
}

/// Records of whole exchanges: request and response, redacted by the same rules, as lines of Weir's recordings, which `weir replay` and
/// `weir convert` read. Each worker collects them and posts them together (`application/x-ndjson`), to `/record` at the cluster's name
/// unless `path` and `authority` say otherwise.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Record {
    /// How long they are collected, 100ms to an hour. Default `1s`.
    pub interval: ConfigDuration,
    /// Bytes of them that are sent at once without waiting any longer, 1024 to 16777216. Default 262144.
    pub max_bytes: u32,
    /// Whether they have the client's address and port. Default false.
    pub client_address: bool,
}

impl Default for Record {
    fn default() -> Self {
        Self { interval: ConfigDuration(Duration::from_secs(1)), max_bytes: 256 << 10, client_address: false }
    }
}

fn all() -> Percentage {
    Percentage::from_ppm(1_000_000)
}
