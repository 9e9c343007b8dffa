//! What happens to a response.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use weir_sdk::config::{Node, Reader};
use weir_sdk::matcher::HeaderMatch;
use weir_sdk::names::digits;
use weir_sdk::{FromConfig, Percentage};

use super::{Abort, BlackHole, Delay, Json, Reset, ResponseChange};

/// What happens to the response of a request that the fault has taken and let pass. First `delay`, then at most one of `abort`, `reset`,
/// `black_hole`, `truncate`, `corrupt` and `change`. Never to answers that this filter made.
#[derive(Clone, Debug, Default, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResponseFault {
    /// Only responses such as these. Default: all, also those that Envoy makes when the upstream fails.
    #[serde(default, rename = "match")]
    pub matches: ResponseMatch,
    /// The response waits before its headers go on: a duration or an object.
    #[serde(default)]
    pub delay: Option<Delay>,
    /// Another answer takes the place of the upstream's, which has done its work: an HTTP status or an object.
    #[serde(default)]
    pub abort: Option<Abort>,
    /// The stream is reset when the response's headers come.
    #[serde(default)]
    pub reset: Option<Reset>,
    /// The response is held and goes nowhere, for a time.
    #[serde(default)]
    pub black_hole: Option<BlackHole>,
    /// The body ends early.
    #[serde(default)]
    pub truncate: Option<Truncate>,
    /// The body is damaged.
    #[serde(default)]
    pub corrupt: Option<Corrupt>,
    /// Status, headers or body become others.
    #[serde(default)]
    pub change: Option<ResponseChange>,
}

/// Which responses are meant: all conditions must hold.
#[derive(Clone, Debug, Default, FromConfig, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ResponseMatch {
    /// The status is one of these. Default: any.
    pub status: Vec<StatusMatch>,
    /// Headers, all of which must match.
    pub headers: Vec<HeaderMatch>,
}

/// A status such as `200`, or a class such as `"5xx"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusMatch {
    /// The first status that is meant.
    pub first: u16,
    /// The last.
    pub last: u16,
}

/// The body ends after some bytes.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Truncate {
    /// How many bytes go through.
    pub after_bytes: u64,
    /// Whether the stream is then reset, so that the client can see that something is missing; else the body ends as if it were whole, with
    /// a fitting `content-length`. A reset comes behind the bytes; a body that Envoy has in one piece to its end is reset without them.
    /// Default false.
    #[serde(default)]
    pub reset: bool,
    /// The share of the fault's requests, drawn on its own. Default: all.
    #[serde(default)]
    pub percentage: Option<Percentage>,
}

/// A damaged body: how, and for how many. A compressed body is damaged as it is.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Corrupt {
    /// How.
    pub with: CorruptSpec,
    /// The share of the fault's requests, drawn on its own. Default: all.
    #[serde(default)]
    pub percentage: Option<Percentage>,
}

/// How a body is damaged.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CorruptSpec {
    /// One byte of every block of bytes gets another value.
    FlipBytes(FlipBytes),
    /// A value within a JSON body becomes another; the rest stays as it is, byte by byte.
    JsonField(JsonField),
    /// A byte becomes one that no UTF-8 text has (0xff).
    InvalidUtf8(InvalidUtf8),
    /// `content-length` is wrong. The stream is reset when the body is over, so that no client waits for ever.
    ContentLength(WrongLength),
}

/// One byte of every block is flipped, at a place that is drawn for each block.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlipBytes {
    /// The length of a block in bytes; at least 1. Default 1000.
    #[serde(default = "block")]
    pub every: u32,
}

/// A value of a JSON body is replaced. The whole body is held for it.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JsonField {
    /// Names of fields and numbers of list items (from 0), outermost first: `[ratings, "0", stars]`. At least one.
    pub path: Vec<String>,
    /// The value that takes its place: any JSON.
    pub value: Json,
    /// A longer body passes unchanged. At most 1048576, and at most what the listener buffers (`per_connection_buffer_limit_bytes`), or the
    /// stream is lost. Default 262144.
    #[serde(default = "quarter_mebibyte")]
    pub max_body_bytes: u32,
}

/// A byte that no UTF-8 text has.
#[derive(Clone, Debug, Default, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InvalidUtf8 {
    /// Which byte, from 0. A shorter body passes unchanged. Default 0.
    #[serde(default)]
    pub at_byte: u64,
}

/// A wrong `content-length`; responses without one pass unchanged.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WrongLength {
    /// By how much, up or down; not 0.
    pub add: i32,
}

fn block() -> u32 {
    1000
}

pub(super) fn quarter_mebibyte() -> u32 {
    262_144
}

const EXPECTED: &str = "a status from 100 to 599, or a class such as \"5xx\"";

impl FromConfig for StatusMatch {
    fn from_config(node: &Node, reader: &mut Reader) -> Option<Self> {
        let found = match node {
            Node::Unsigned(status) => match u16::try_from(*status) {
                Ok(status @ 100..=599) => return Some(Self { first: status, last: status }),
                _ => status.to_string(),
            },
            Node::Text(text) => {
                let class = text.strip_suffix("xx").unwrap_or_default();
                let class = digits(class.strip_prefix('+').unwrap_or(class).as_bytes());
                if let Some(class @ 1..=5) = class {
                    let first = u16::try_from(class).unwrap_or(0).saturating_mul(100);
                    return Some(Self { first, last: first.saturating_add(99) });
                }
                ["`", text, "`"].concat()
            }
            _ => return reader.expected(EXPECTED, node),
        };
        reader.refuse(["expected ", EXPECTED, ", found ", &found].concat())
    }

    fn blank() -> Self {
        Self { first: 0, last: 0 }
    }
}

impl JsonSchema for StatusMatch {
    fn schema_name() -> Cow<'static, str> {
        "StatusMatch".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A status such as `200`, or a class such as `\"5xx\"`.",
            "oneOf": [
                { "type": "integer", "minimum": 100, "maximum": 599 },
                { "type": "string", "enum": ["1xx", "2xx", "3xx", "4xx", "5xx"] },
            ],
        })
    }
}
