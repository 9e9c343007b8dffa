//! Another request than the one that came.

use schemars::JsonSchema;
use weir_sdk::Percentage;

use super::HeaderLine;

/// The request goes on as another one: what is named here is changed before any filter behind this one and the upstream see it. Envoy chooses
/// its route by the changed request. At least one of `method`, `path`, `query` and `headers`.
#[derive(Clone, Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The share of the fault's requests that are changed, drawn on its own. Default: all.
    #[serde(default)]
    pub percentage: Option<Percentage>,
    /// Another method, such as `PUT`; not `CONNECT`.
    #[serde(default)]
    pub method: Option<String>,
    /// Another path; begins with `/`, and has no `?` and no `#`. The query stays.
    #[serde(default)]
    pub path: Option<String>,
    /// Another query, without the `?`; empty: none.
    #[serde(default)]
    pub query: Option<String>,
    /// Changes of headers.
    #[serde(default)]
    pub headers: ChangeHeaders,
}

/// Changes of headers, in this order: `remove`, `set`, `append`.
#[derive(Clone, Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeHeaders {
    /// Headers that the request does not have any more.
    #[serde(default)]
    pub remove: Vec<String>,
    /// Headers that have exactly this value.
    #[serde(default)]
    pub set: Vec<HeaderLine>,
    /// Lines that are added.
    #[serde(default)]
    pub append: Vec<HeaderLine>,
}
