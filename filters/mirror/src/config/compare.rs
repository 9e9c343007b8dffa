//! What of two answers is compared, as it is written under `compare`. Shape only.

use schemars::JsonSchema;
use weir_sdk::FromConfig;

/// How the answer to a copy is compared with the primary's.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Compare {
    /// How the status is compared. Default `EXACT`.
    #[serde(default)]
    pub status: CompareStatus,
    /// Headers that are compared, in any case; several lines of a name count in their order, and a header that is missing on one side
    /// differs. Default: `content-type`.
    #[serde(default = "headers")]
    pub headers: Vec<String>,
    /// How the body is compared. Default `AUTO`.
    #[serde(default)]
    pub body: CompareBody,
    /// Places in JSON bodies that are not compared, with all that is within: `meta.request_id`, `items[*].updated`, `**.etag`.
    #[serde(default)]
    pub ignore: Vec<String>,
    /// Places of arrays in JSON bodies whose elements may stand in any order, such as `tags` or `**.members`; `$` is the document. Default: none.
    #[serde(default)]
    pub unordered: Vec<String>,
    /// By how much numbers in JSON bodies may differ, as a part of the larger one: 0 to 1. Default 0; numbers are equal by value, so that
    /// `1.0` is `1`.
    #[serde(default)]
    pub number_tolerance: f64,
    /// Whether a key that is missing is as one whose value is `null`. Default false.
    #[serde(default)]
    pub missing_is_null: bool,
    /// What is learned of differences that mean nothing, because two answers of the primary's own cluster have them too. Default: nothing.
    #[serde(default)]
    pub noise: Option<Noise>,
    /// What a record of a difference says of the values. Default `TYPES`.
    #[serde(default)]
    pub record_values: RecordValues,
    /// Most bytes of a record; what does not fit is counted in it. 256 to 65536, default 4096.
    #[serde(default = "record_bytes")]
    pub record_bytes: usize,
}

impl Default for Compare {
    fn default() -> Self {
        Self::blank()
    }
}

/// How two statuses are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromConfig, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CompareStatus {
    /// They are the same.
    #[default]
    Exact,
    /// Their hundreds are the same: 200 is as 204.
    Class,
    /// Not at all.
    Ignore,
}

/// How two bodies are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromConfig, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CompareBody {
    /// As documents when both are JSON by their `content-type` and can be read, else byte by byte.
    #[default]
    Auto,
    /// As documents, whatever their `content-type`; byte by byte when one of them cannot be read.
    Json,
    /// Byte by byte.
    Bytes,
    /// By length.
    Length,
    /// Not at all.
    Ignore,
}

/// A running estimate of noise: how often a place differs between two answers of the primary's own cluster, against how often it differs between
/// primary and copy.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Noise {
    /// Comparisons with a control answer that are needed before a place can be noisy: 1 to 1000. Default 20.
    #[serde(default = "min_samples")]
    pub min_samples: u32,
    /// A place is noisy when the share of control answers that differ there is at least this part of the share of copies that do: more than 0,
    /// to 1. Default 0.8: up to a fifth more often than noise is still noise.
    #[serde(default = "relative")]
    pub relative: f64,
    /// How many comparisons are remembered: counts are halved when there are more, so that noise is forgotten. 16 to 1000000, default 1000.
    #[serde(default = "window")]
    pub window: u32,
    /// Most places of which something is known; the rarest make room for new ones. 1 to 4096, default 512.
    #[serde(default = "max_places")]
    pub max_places: usize,
}

impl Default for Noise {
    fn default() -> Self {
        Self::blank()
    }
}

/// What a record says of values that differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromConfig, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RecordValues {
    /// Only their places.
    None,
    /// Their types and lengths.
    #[default]
    Types,
    /// The values, shortened, after redaction by the target's own rules; where these cannot look through a value it is left out.
    Redacted,
}

fn headers() -> Vec<String> {
    vec!["content-type".to_owned()]
}

fn record_bytes() -> usize {
    4096
}

fn min_samples() -> u32 {
    20
}

fn relative() -> f64 {
    0.8
}

fn window() -> u32 {
    1000
}

fn max_places() -> usize {
    512
}
