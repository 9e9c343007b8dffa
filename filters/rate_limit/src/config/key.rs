//! Whom a limit tells apart.

use schemars::JsonSchema;
use weir_sdk::{FromConfig, key::AddressKey};

use super::Algorithm;

/// A part of a key.
#[derive(Clone, Debug, Hash, FromConfig, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyPart {
    /// The value of a request header; several lines are joined with `,`. An empty value is missing.
    Header(String),
    /// The value of a cookie. An empty value is missing.
    Cookie(String),
    /// The value of a query parameter, as written. An empty value is missing.
    QueryParameter(String),
    /// The client's address, or the network it is in.
    SourceAddress(AddressKey),
    /// Any attribute that Envoy gives as text, a segment each: `[connection, subject_peer_certificate]`. An empty value is missing.
    Attribute(Vec<String>),
    /// The name of the request's route: `{route: {}}`. A route without a name is missing.
    Route(RouteKey),
    /// A text that is the same for all: for `share`, to tell limits of several plugins apart.
    Constant(String),
}

/// The name of the route.
#[derive(Clone, Copy, Debug, Hash, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteKey {}

/// What happens to a request without one of the parts of the key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromConfig, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OnMissing {
    /// The limit is not for it.
    #[default]
    Skip,
    /// All without the part share one limit.
    Shared,
    /// It is refused.
    Deny,
}

/// What happens to a key for which there is no room.
#[derive(Clone, Copy, Debug, Hash, Default, PartialEq, Eq, FromConfig, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OnFull {
    /// It shares one limit, of the same size, with others for which there is none.
    #[default]
    Shared,
    /// It is refused until a key that is remembered has been idle for long enough to have its whole limit again.
    Deny,
}

/// Another limit for some keys.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// What each part of the key must be: the whole text, or `*` for any. As many as `key` has.
    pub key: Vec<String>,
    /// How much, for each key that matches. Default: no limit.
    #[serde(default)]
    pub algorithm: Option<Algorithm>,
}
