//! The bytes that a proxy hands over as a configuration: JSON, or what people send instead of it, recognised and explained.
//!
//! Knows no configuration type.

use std::str;

use super::node::{Node, push_number};
use super::words::{joined, list, number, quoted};
use super::{ConfigError, json};
use crate::names::cut;

/// Reads JSON.
///
/// # Errors
/// Not JSON: says what it is instead, or where it stops being JSON.
pub(super) fn parse(bytes: &[u8]) -> Result<Node, ConfigError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = str::from_utf8(bytes);
    let reason = match text {
        Ok(text) => match json::parse(text) {
            Ok(node) => return Ok(node),
            Err(error) => not_json(error.line, error.column, error.reason),
        },
        Err(error) => {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let byte = bytes.get(error.valid_up_to()).copied().unwrap_or_default();
            let (line, column) = json::position(before);
            let reason = joined("byte ", &number(byte.into()), " is not UTF-8; write JSON text");
            not_json(line, column.saturating_add(1), &reason)
        }
    };
    let known = protobuf(bytes).or_else(|| if text.is_ok() { yaml(bytes) } else { None });
    Err(ConfigError::invalid("", known.unwrap_or(reason)))
}

/// What to say when a filter that needs a configuration got none.
pub(super) fn none_given(error: ConfigError) -> ConfigError {
    let required = list(error.problems().iter().map(|problem| problem.path.as_str()), '`');
    ConfigError::invalid("", joined("a configuration is missing; required: ", &required, ""))
}

fn not_json(line: usize, column: usize, reason: &str) -> String {
    let mut text = String::from("not JSON: line ");
    push_number(&mut text, line);
    text.push_str(", column ");
    push_number(&mut text, column);
    joined(&text, ": ", reason)
}

/// Says so when the bytes are a protobuf message: Envoy hands over everything but a `StringValue` or `BytesValue` in that form
/// (`LOAD-20`).
fn protobuf(bytes: &[u8]) -> Option<String> {
    const WRAP: &str = "; Envoy hands over only a `google.protobuf.StringValue` as text: write \
                        `configuration: {\"@type\": type.googleapis.com/google.protobuf.StringValue, value: '<JSON text>'}`";
    let (name, rest) = field(bytes)?;
    // A Struct is a list of map entries: field 1, which holds the key as field 1 and the value as field 2.
    if let Some((key, value)) = field(name)
        && let Ok(key) = str::from_utf8(key)
        && (value.is_empty() || value.first() == Some(&0x12))
        && (rest.is_empty() || rest.first() == Some(&0x0a))
    {
        let found = "the configuration is a protobuf `google.protobuf.Struct`, not JSON text (it begins with the field ";
        return Some(joined(found, &quoted(key), &joined(")", WRAP, "")));
    }
    let control = |byte: &u8| byte.is_ascii_control() && !byte.is_ascii_whitespace();
    let binary = bytes.iter().any(control) || str::from_utf8(bytes).is_err();
    (binary && str::from_utf8(name).is_ok())
        .then(|| joined("the configuration is a serialised protobuf message, not JSON text", WRAP, ""))
}

/// The content of a protobuf field with number 1 and length-delimited type, and what follows it.
fn field(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = bytes.strip_prefix(&[0x0a])?;
    let mut length = 0_usize;
    let mut shift = 0_u32;
    loop {
        let (byte, after) = rest.split_first()?;
        rest = after;
        length |= usize::from(byte & 0x7f).checked_shl(shift)?;
        shift = shift.checked_add(7)?;
        if byte & 0x80 == 0 {
            break;
        }
        // Longer than any configuration.
        if shift > 28 {
            return None;
        }
    }
    rest.split_at_checked(length)
}

/// Says so when the text is YAML: its first line is `key: value`, `key:`, `- item` or `---`.
fn yaml(text: &[u8]) -> Option<String> {
    let mut rest = Some(text);
    let mut line: &[u8] = b"";
    while line.is_empty() || line.starts_with(b"#") {
        let (first, others) = cut(rest?, b'\n');
        line = first.trim_ascii();
        rest = others;
    }
    let (key, value) = cut(line, b':');
    let key = key.trim_ascii_end();
    let is_key = value.is_some_and(|value| matches!(value, [] | [b' ', ..]))
        && !key.is_empty()
        && key.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(byte));
    let example = match str::from_utf8(key) {
        Ok(key) if is_key => joined("{\"", key, "\": …}"),
        _ if line == b"---" || line.starts_with(b"- ") => String::from("{…} or […]"),
        _ => return None,
    };
    Some(joined("the configuration looks like YAML; write it as JSON: ", &example, ""))
}
