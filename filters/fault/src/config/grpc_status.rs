//! gRPC statuses by number and by name.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};

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

impl<'de> Deserialize<'de> for GrpcStatus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StatusVisitor)
    }
}

struct StatusVisitor;

const EXPECTED: &str = "a gRPC status: 0 to 16, or a name such as \"UNAVAILABLE\"";

impl Visitor<'_> for StatusVisitor {
    type Value = GrpcStatus;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<GrpcStatus, E> {
        match u8::try_from(number) {
            Ok(number @ 0..=16) => Ok(GrpcStatus(number)),
            _ => Err(E::custom(["expected ", EXPECTED, ", found ", &number.to_string()].concat())),
        }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<GrpcStatus, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::custom(["expected ", EXPECTED, ", found ", &number.to_string()].concat())),
        }
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<GrpcStatus, E> {
        let number = NAMES.iter().position(|known| *known == name).and_then(|at| u8::try_from(at).ok());
        number
            .map(GrpcStatus)
            .ok_or_else(|| E::custom(["expected ", EXPECTED, ", found `", name, "`"].concat()))
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
