//! Another request or response than the one that came.

use schemars::JsonSchema;
use weir_sdk::{FromConfig, Percentage};

use super::{HeaderLine, Patch};

/// The request goes on as another one: what is named here is changed before any filter behind this one and the upstream see it. Envoy chooses
/// its route by the changed request. At least one of `method`, `path`, `query`, `headers` and `body`.
#[derive(Clone, Debug, Default, FromConfig, JsonSchema)]
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
    /// Another body. A request without one stays without.
    #[serde(default)]
    pub body: Option<ChangeBody>,
}

/// The response goes on as another one: what is named here is changed before the client sees it. At least one of `status`, `headers` and
/// `body`.
#[derive(Clone, Debug, Default, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResponseChange {
    /// The share of the fault's requests whose response is changed, drawn on its own. Default: all.
    #[serde(default)]
    pub percentage: Option<Percentage>,
    /// Another status, 200 to 599; the body stays.
    #[serde(default)]
    pub status: Option<u16>,
    /// Changes of headers.
    #[serde(default)]
    pub headers: ChangeHeaders,
    /// Another body. A response without one stays without.
    #[serde(default)]
    pub body: Option<ChangeBody>,
}

/// What becomes of a body. A compressed body is compressed still when it is replaced: remove `content-encoding` as well.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeBody {
    /// This text takes its place.
    Replace(String),
    /// A JSON object gets other members.
    MergePatch(MergePatch),
}

/// A JSON merge patch (RFC 7396) on a body that is a JSON object; the rest of it stays as it is, byte by byte. The whole body is held for it.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MergePatch {
    /// An object: its members take the place of the body's, within objects member by member, `null` takes one away.
    pub patch: Patch,
    /// A longer body passes unchanged. At most 1048576, and at most what the listener buffers (`per_connection_buffer_limit_bytes`), or the
    /// stream is lost. Default 262144.
    #[serde(default = "super::response::quarter_mebibyte")]
    pub max_body_bytes: u32,
}

/// Changes of headers, in this order: `remove`, `set`, `append`.
#[derive(Clone, Debug, Default, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeHeaders {
    /// Headers that are there no more.
    #[serde(default)]
    pub remove: Vec<String>,
    /// Headers that have exactly this value.
    #[serde(default)]
    pub set: Vec<HeaderLine>,
    /// Lines that are added.
    #[serde(default)]
    pub append: Vec<HeaderLine>,
}
