//! A cookie that the filter sets (RFC 6265).

use schemars::JsonSchema;
use weir_sdk::{ConfigDuration, FromConfig};

/// A cookie's name and attributes.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cookie {
    /// The name: an RFC 6265 token. `__Host-` needs `secure`, path `/` and no domain; `__Secure-` needs `secure`.
    pub name: String,
    /// `Domain`. Default: none, the cookie goes back to this host alone.
    #[serde(default)]
    pub domain: Option<String>,
    /// `Path`. Default `/`.
    #[serde(default = "root")]
    pub path: String,
    /// `Max-Age`, whole seconds. Default: none, the cookie ends with the browser session.
    #[serde(default)]
    pub max_age: Option<ConfigDuration>,
    /// `Secure`. Default false.
    #[serde(default)]
    pub secure: bool,
    /// `HttpOnly`. Default false.
    #[serde(default)]
    pub http_only: bool,
    /// `SameSite`; `NONE` needs `secure`. Default: not written, which browsers take as `LAX`.
    #[serde(default)]
    pub same_site: Option<SameSite>,
}

/// `SameSite`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromConfig, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SameSite {
    /// Only requests from the same site.
    Strict,
    /// Those, and links from elsewhere.
    Lax,
    /// All requests.
    None,
}

fn root() -> String {
    "/".to_owned()
}
