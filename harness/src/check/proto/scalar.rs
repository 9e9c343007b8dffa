//! Scalars and the well-known types of protobuf in their JSON form.

use base64::Engine as _;
use prost_reflect::Kind;
use serde_json::Value;

use super::super::schema::describe;
use crate::{time, yaml};

/// Whether a type has a JSON form of its own.
pub(super) fn is_well_known(name: &str) -> bool {
    well_known(name, &Value::Null).is_some() && name != "google.protobuf.Any"
}

/// Whether a value is the JSON form of a well-known type, and what is expected; nothing for any other type.
pub(super) fn well_known(name: &str, value: &Value) -> Option<Result<(), &'static str>> {
    let is = |holds: bool, expected: &'static str| Some(if holds { Ok(()) } else { Err(expected) });
    match name.strip_prefix("google.protobuf.")? {
        "Struct" | "Empty" => is(value.is_object(), "an object"),
        "ListValue" => is(value.is_array(), "a list"),
        "Value" => Some(Ok(())),
        "Duration" => is(value.as_str().is_some_and(is_duration), "a duration such as `1.5s`"),
        "Timestamp" => is(
            value.as_str().is_some_and(|text| time::parse_timestamp(text).is_some()),
            "a time such as `2026-05-04T09:00:00Z`",
        ),
        "FieldMask" => is(value.is_string(), "a text"),
        "StringValue" => is(value.is_string(), "a text"),
        "BoolValue" => is(value.is_boolean(), "`true` or `false`"),
        "BytesValue" => is(is_base64(value), "base64"),
        "UInt32Value" => is(whole(value, 0, u32::MAX.into()), "a whole number from 0 to 4294967295"),
        "UInt64Value" => is(whole(value, 0, u64::MAX.into()), "a whole number from 0 on"),
        "Int32Value" => is(whole(value, i32::MIN.into(), i32::MAX.into()), "a whole number of 32 bits"),
        "Int64Value" => is(whole(value, i64::MIN.into(), i64::MAX.into()), "a whole number"),
        "FloatValue" | "DoubleValue" => is(is_float(value), "a number"),
        _ => None,
    }
}

/// Whether a value can be a scalar of this kind.
pub(super) fn check(kind: &Kind, value: &Value) -> Result<(), String> {
    let expected = match kind {
        Kind::Bool if value.is_boolean() => return Ok(()),
        Kind::Bool => "`true` or `false`",
        Kind::String if value.is_string() => return Ok(()),
        Kind::String => "a text",
        Kind::Bytes if is_base64(value) => return Ok(()),
        Kind::Bytes => "base64",
        Kind::Double | Kind::Float if is_float(value) => return Ok(()),
        Kind::Double | Kind::Float => "a number",
        Kind::Uint32 | Kind::Fixed32 if whole(value, 0, u32::MAX.into()) => return Ok(()),
        Kind::Uint32 | Kind::Fixed32 => "a whole number from 0 to 4294967295",
        Kind::Uint64 | Kind::Fixed64 if whole(value, 0, u64::MAX.into()) => return Ok(()),
        Kind::Uint64 | Kind::Fixed64 => "a whole number from 0 on",
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 if whole(value, i32::MIN.into(), i32::MAX.into()) => {
            return Ok(());
        }
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 if whole(value, i64::MIN.into(), i64::MAX.into()) => {
            return Ok(());
        }
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 | Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            "a whole number"
        }
        Kind::Enum(names) => {
            let known: Vec<String> = names.values().map(|value| value.name().to_owned()).collect();
            return match value {
                Value::String(name) if known.iter().any(|known| known == name) => Ok(()),
                Value::String(name) => {
                    Err(yaml::unknown("value", name, &known.iter().map(String::as_str).collect::<Vec<_>>()))
                }
                Value::Number(_) if whole(value, i32::MIN.into(), i32::MAX.into()) => Ok(()),
                other => Err(format!("expected one of `{}`, found {}", known.join("`, `"), describe(other))),
            };
        }
        Kind::Message(_) => return Ok(()),
    };
    Err(format!("expected {expected}, found {}", describe(value)))
}

/// Whether a value is a whole number, also as a text, as protobuf's JSON allows.
fn whole(value: &Value, least: i128, most: i128) -> bool {
    let number = match value {
        Value::Number(number) => number.as_i128().or_else(|| {
            let float = number.as_f64()?;
            (float.fract() == 0.0 && float.abs() < 9e15).then_some(float as i128)
        }),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    number.is_some_and(|number| (least..=most).contains(&number))
}

fn is_float(value: &Value) -> bool {
    let is_number =
        |text: &str| text.parse::<f64>().is_ok() || matches!(text, "NaN" | "Infinity" | "-Infinity");
    value.is_number() || value.as_str().is_some_and(is_number)
}

fn is_base64(value: &Value) -> bool {
    let Some(text) = value.as_str() else { return false };
    let text = text.trim_end_matches('=').replace('-', "+").replace('_', "/");
    base64::engine::general_purpose::STANDARD_NO_PAD.decode(text).is_ok()
}

/// A duration of protobuf's JSON: seconds with `s`.
pub(super) fn is_duration(text: &str) -> bool {
    seconds(text).is_some()
}

/// The seconds of such a duration.
pub(super) fn seconds(text: &str) -> Option<f64> {
    let number = text.strip_suffix('s')?;
    let digits = number.strip_prefix('-').unwrap_or(number);
    let is_plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    is_plain.then(|| number.parse().ok())?
}
