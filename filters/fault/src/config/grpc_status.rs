//! gRPC statuses by number and by name.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use weir_sdk::FromConfig;
use weir_sdk::config::{Node, Reader};

/// A gRPC status, 0 to 16: a number, or its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrpcStatus(pub u8);

/// By number: <https://grpc.io/docs/guides/status-codes/>.
const NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

const EXPECTED: &str = "a gRPC status: 0 to 16, or a name such as \"UNAVAILABLE\"";

impl FromConfig for GrpcStatus {
    fn from_config(node: &Node, reader: &mut Reader) -> Option<Self> {
        let (number, found) = match node {
            Node::Unsigned(number) => (u8::try_from(*number).ok(), number.to_string()),
            Node::Negative(number) => (None, number.to_string()),
            Node::Text(name) => {
                let number = NAMES
                    .iter()
                    .position(|known| *known == name.as_str())
                    .and_then(|at| u8::try_from(at).ok());
                (number, ["`", name, "`"].concat())
            }
            _ => return reader.expected(EXPECTED, node),
        };
        match number {
            Some(number @ 0..=16) => Some(Self(number)),
            _ => reader.refuse(["expected ", EXPECTED, ", found ", &found].concat()),
        }
    }

    fn blank() -> Self {
        Self(0)
    }
}

impl JsonSchema for GrpcStatus {
    fn schema_name() -> Cow<'static, str> {
        "GrpcStatus".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A gRPC status: 0 to 16, or its name.",
            "oneOf": [{ "type": "integer", "minimum": 0, "maximum": 16 }, { "type": "string", "enum": NAMES }],
        })
    }
}
