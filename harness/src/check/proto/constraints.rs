//! The constraints of Envoy's API (`validate.rules`, `validate.required`) that configurations break: what must be there, lengths, ranges.

use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage as _, Value as Reflected,
};
use serde_json::Value;

use super::{POOL, scalar};

/// What a message must have and has not.
pub(super) fn missing(message: &MessageDescriptor, set: &[FieldDescriptor]) -> Vec<String> {
    let mut reasons = Vec::new();
    for field in message.fields().filter(|field| !set.contains(field) && field.containing_oneof().is_none()) {
        let Some(rules) = rules(&field) else { continue };
        let is_required = match field.kind() {
            _ if field.is_list() => number(&rules, "repeated", "min_items").is_some_and(|least| least > 0.0),
            Kind::Message(_) => {
                flag(&rules, "message", "required")
                    || flag(&rules, "any", "required")
                    || flag(&rules, "duration", "required")
            }
            Kind::String => ["min_len", "min_bytes"]
                .into_iter()
                .any(|rule| number(&rules, "string", rule).is_some_and(|least| least > 0.0)),
            _ => false,
        };
        if is_required {
            reasons.push(format!("the field `{}` is missing", field.name()));
        }
    }
    for oneof in message.oneofs() {
        let extension = POOL.get_extension_by_name("validate.required");
        let is_required = extension
            .is_some_and(|extension| oneof.options().get_extension(&extension).as_bool().unwrap_or(false));
        if is_required && !oneof.fields().any(|field| set.contains(&field)) {
            let names: Vec<String> = oneof.fields().map(|field| field.name().to_owned()).collect();
            reasons.push(format!("one of `{}` is missing", names.join("`, `")));
        }
    }
    reasons
}

/// Why a value of a field is refused.
pub(super) fn broken(field: &FieldDescriptor, value: &Value) -> Option<String> {
    let rules = rules(field)?;
    if let Some(values) = value.as_array() {
        let count = values.len() as f64;
        if number(&rules, "repeated", "min_items").is_some_and(|least| count < least) {
            return Some("must not be empty".to_owned());
        }
        let most = number(&rules, "repeated", "max_items").filter(|most| count > *most)?;
        return Some(format!("has more than {most} entries"));
    }
    match field.kind() {
        Kind::String => {
            let text = value.as_str()?;
            if ["min_len", "min_bytes"]
                .into_iter()
                .any(|rule| number(&rules, "string", rule).is_some_and(|least| (text.len() as f64) < least))
            {
                return Some("must not be empty".to_owned());
            }
            None
        }
        Kind::Message(message) if message.full_name() == "google.protobuf.Duration" => {
            let seconds = scalar::seconds(value.as_str()?)?;
            limits(&rules, "duration", seconds, "s")
        }
        Kind::Message(message) => {
            let kind = match message.full_name() {
                "google.protobuf.UInt32Value" => "uint32",
                "google.protobuf.UInt64Value" => "uint64",
                "google.protobuf.DoubleValue" => "double",
                "google.protobuf.FloatValue" => "float",
                _ => return None,
            };
            limits(&rules, kind, value.as_f64()?, "")
        }
        Kind::Uint32 => limits(&rules, "uint32", value.as_f64()?, ""),
        Kind::Uint64 => limits(&rules, "uint64", value.as_f64()?, ""),
        Kind::Int32 => limits(&rules, "int32", value.as_f64()?, ""),
        Kind::Double => limits(&rules, "double", value.as_f64()?, ""),
        Kind::Float => limits(&rules, "float", value.as_f64()?, ""),
        _ => None,
    }
}

fn limits(rules: &DynamicMessage, kind: &str, value: f64, unit: &str) -> Option<String> {
    let limit = |name: &str| number(rules, kind, name);
    let is_outside = limit("gt").is_some_and(|limit| value <= limit)
        || limit("gte").is_some_and(|limit| value < limit)
        || limit("lt").is_some_and(|limit| value >= limit)
        || limit("lte").is_some_and(|limit| value > limit);
    if !is_outside {
        return None;
    }
    let mut accepted = Vec::new();
    for (name, word) in [("gt", "above"), ("gte", "at least"), ("lt", "below"), ("lte", "at most")] {
        if let Some(limit) = limit(name) {
            accepted.push(format!("{word} {limit}{unit}"));
        }
    }
    Some(format!("`{value}{unit}` must be {}", accepted.join(" and ")))
}

/// The `validate.rules` of a field.
fn rules(field: &FieldDescriptor) -> Option<DynamicMessage> {
    let extension = POOL.get_extension_by_name("validate.rules")?;
    let options = field.options();
    options.has_extension(&extension).then(|| options.get_extension(&extension).as_message().cloned())?
}

fn rule(rules: &DynamicMessage, kind: &str, name: &str) -> Option<Reflected> {
    let field = rules.descriptor().get_field_by_name(kind)?;
    if !rules.has_field(&field) {
        return None;
    }
    let rules = rules.get_field(&field);
    let rules = rules.as_message()?;
    let field = rules.descriptor().get_field_by_name(name)?;
    rules.has_field(&field).then(|| rules.get_field(&field).into_owned())
}

fn flag(rules: &DynamicMessage, kind: &str, name: &str) -> bool {
    rule(rules, kind, name).and_then(|value| value.as_bool()).unwrap_or(false)
}

fn number(rules: &DynamicMessage, kind: &str, name: &str) -> Option<f64> {
    match rule(rules, kind, name)? {
        Reflected::U32(value) => Some(f64::from(value)),
        Reflected::I32(value) => Some(f64::from(value)),
        Reflected::U64(value) => Some(value as f64),
        Reflected::I64(value) => Some(value as f64),
        Reflected::F32(value) => Some(f64::from(value)),
        Reflected::F64(value) => Some(value),
        // A duration.
        Reflected::Message(duration) => {
            let part = |name: &str| {
                let value = duration.get_field_by_name(name)?;
                value.as_i64().or_else(|| value.as_i32().map(i64::from))
            };
            Some(part("seconds")? as f64 + part("nanos")? as f64 / 1e9)
        }
        _ => None,
    }
}
