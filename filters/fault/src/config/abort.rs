//! How a request or response ends.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use weir_sdk::config::{Node, Reader};
use weir_sdk::{ConfigDuration, FromConfig, Percentage};

use super::{Empty, GrpcStatus};

/// An answer: an HTTP status such as `503`, or an object.
#[derive(Clone, Debug)]
pub enum Abort {
    /// The status alone.
    Status(u16),
    /// Everything else.
    Spec(Box<AbortSpec>),
}

/// An answer in full: `http_status`, `grpc_status`, both, or `header_abort` alone. Other filters and access logs see it as Envoy's own fault
/// filter makes it, but for what is given here.
#[derive(Clone, Debug, Default, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AbortSpec {
    /// HTTP status, 200 to 599. A gRPC request gets a gRPC status that Envoy makes of it. Default 200 when `grpc_status` is given.
    #[serde(default)]
    pub http_status: Option<u16>,
    /// The gRPC status of gRPC requests, a number from 0 to 16 or a name such as `UNAVAILABLE`. Other requests get the HTTP status.
    #[serde(default)]
    pub grpc_status: Option<GrpcStatus>,
    /// The caller's `x-envoy-fault-abort-request` (200 to 599), else `x-envoy-fault-abort-grpc-request`; no abort without one. The caller's
    /// `x-envoy-fault-abort-request-percentage` lowers the numerator of `percentage`. Requests only.
    #[serde(default)]
    pub header_abort: Option<Empty>,
    /// The share of the fault's requests that are aborted, drawn on its own. Default: all.
    #[serde(default)]
    pub percentage: Option<Percentage>,
    /// The body, of gRPC answers the message. Default `fault filter abort`.
    #[serde(default)]
    pub body: Option<String>,
    /// Further headers, such as `retry-after`, or `grpc-status-details-bin`. Default: none.
    #[serde(default)]
    pub headers: Vec<HeaderLine>,
    /// What access logs print as `%RESPONSE_CODE_DETAILS%`. Default `fault_filter_abort`.
    #[serde(default)]
    pub details: Option<String>,
}

/// A header to set.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeaderLine {
    /// The name, any case; no pseudo header.
    pub name: String,
    /// The value; no CR, LF or NUL.
    pub value: String,
}

/// The stream is reset: HTTP/1 connections are closed, HTTP/2 streams end with `INTERNAL_ERROR`.
#[derive(Clone, Debug, Default, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reset {
    /// The share of the fault's requests that are reset, drawn on its own. Default: all.
    #[serde(default)]
    pub percentage: Option<Percentage>,
}

/// Held and going nowhere, for a time.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BlackHole {
    /// For how long: more than 0, and with a delay before it at most a second less than `stream_idle_timeout`.
    pub duration: ConfigDuration,
    /// What happens then. Default `RESET`.
    #[serde(default)]
    pub then: Then,
    /// The share of the fault's requests that are held, drawn on its own. Default: all.
    #[serde(default)]
    pub percentage: Option<Percentage>,
}

/// What happens after a black hole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromConfig, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Then {
    /// The stream is reset.
    #[default]
    Reset,
    /// 504 with Envoy's body `upstream request timeout` and the details `fault_filter_black_hole`.
    GatewayTimeout,
    /// It goes on as if nothing had been.
    Continue,
}

impl FromConfig for Abort {
    fn from_config(node: &Node, reader: &mut Reader) -> Option<Self> {
        match node {
            // What is no status at all is refused with the others, when the policy is made.
            Node::Unsigned(status) => Some(Self::Status(u16::try_from(*status).unwrap_or(u16::MAX))),
            Node::Negative(_) => Some(Self::Status(u16::MAX)),
            Node::Object(_) => FromConfig::from_config(node, reader).map(Self::Spec),
            _ => reader.expected(EXPECTED, node),
        }
    }

    fn blank() -> Self {
        Self::Status(0)
    }
}

const EXPECTED: &str = "an HTTP status such as 503, or an object such as {\"grpc_status\": \"UNAVAILABLE\"}";

impl JsonSchema for Abort {
    fn schema_name() -> Cow<'static, str> {
        "Abort".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An answer: an HTTP status such as `503`, or an object.",
            "oneOf": [
                { "type": "integer", "minimum": 200, "maximum": 599 },
                generator.subschema_for::<AbortSpec>(),
            ],
        })
    }
}
