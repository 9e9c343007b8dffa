//! What keeps a client on one side.

use schemars::JsonSchema;
use weir_sdk::FromConfig;

use super::Cookie;
pub use weir_sdk::AddressKey as SourceAddress;

/// What keeps a client on one side: the first of `by` that the request has is hashed (XXH64, frozen; see the SDK's `Draw::sticky`).
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sticky {
    /// Keys in order of preference; at least one.
    pub by: Vec<Key>,
    /// Makes this experiment's draw independent of others'. Default: the rule's name, else empty.
    #[serde(default)]
    pub salt: Option<String>,
    /// What happens to a request that has none of the keys. Default `RANDOM`.
    #[serde(default)]
    pub missing: Fallback,
    /// The arm of `missing: STABLE`. Default: `from` of a ramp, the last arm of a split.
    #[serde(default)]
    pub stable: Option<String>,
}

/// Where a key comes from.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// The value of a request header; several lines are joined with `,`. An empty value is no key.
    Header(String),
    /// The value of a cookie. An empty value is no key.
    Cookie(String),
    /// The value of a query parameter, as written. An empty value is no key.
    QueryParameter(String),
    /// The client's address.
    SourceAddress(SourceAddress),
    /// A cookie that the filter sets itself on the first response; then every request has a key.
    OwnCookie(OwnCookie),
}

/// The filter's own cookie.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OwnCookie {
    /// Name and attributes.
    pub cookie: Cookie,
    /// What it holds. Default `KEY`.
    #[serde(default)]
    pub value: CookieValue,
}

/// What the filter's own cookie holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromConfig, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CookieValue {
    /// A random key: shrinking an arm sends its last comers back at once.
    #[default]
    Key,
    /// The arm: a client stays on it as long as the arm has any share; a client can choose its arm by writing the cookie.
    Arm,
}

/// What happens to a request without a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromConfig, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Fallback {
    /// It is drawn anew.
    #[default]
    Random,
    /// It goes to the `stable` arm.
    Stable,
    /// Its client's address is the key, whole.
    SourceAddress,
}
