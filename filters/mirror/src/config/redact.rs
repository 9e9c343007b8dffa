//! The wire form of redaction: what must not be in a copy.

use schemars::JsonSchema;
use serde::Deserialize;

/// What is taken out of a copy before it leaves.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Redact {}
