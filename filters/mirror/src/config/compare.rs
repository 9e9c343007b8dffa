//! The wire form of the comparison of a copy's answer with the primary's.

use schemars::JsonSchema;
use serde::Deserialize;

/// What of two answers is compared.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Compare {}
