//! The bytes that a proxy hands over as a configuration: JSON, or what people send instead of it, recognised and explained.
//!
//! Knows no configuration type.

use std::str;

use super::node::Node;
use super::words::{joined, list, quoted};
use super::{ConfigError, json};

/// Reads JSON.
///
/// # Errors
/// Not JSON: says what it is instead, or where it stops being JSON.
pub(super) fn parse(bytes: &[u8]) -> Result<Node, ConfigError> {
    let refused = |reason: String| Err(ConfigError::invalid("", reason));
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = match str::from_utf8(bytes) {
        Ok(text) => text,
        Err(_) if let Some(reason) = protobuf(bytes) => return refused(reason),
        Err(error) => {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let byte = bytes.get(error.valid_up_to()).copied().unwrap_or_default();
            let (line, column) = json::position(before);
            let place = at(line, column.saturating_add(1));
            let place = joined(&place, ": byte ", &u32::from(byte).to_string());
            return refused(joined(&place, " is not UTF-8; write JSON text", ""));
        }
    };
    match json::parse(text) {
        Ok(node) => Ok(node),
        Err(_) if let Some(reason) = protobuf(bytes).or_else(|| yaml(text)) => refused(reason),
        Err(error) => refused(joined(&at(error.line, error.column), ": ", error.reason)),
    }
}

/// What to say when a filter that needs a configuration got none.
pub(super) fn none_given(error: ConfigError) -> ConfigError {
    let required = list(error.problems().iter().map(|problem| problem.path.as_str()), '`');
    ConfigError::invalid("", joined("a configuration is missing; required: ", &required, ""))
}

fn at(line: usize, column: usize) -> String {
    joined(&joined("not JSON: line ", &line.to_string(), ", column "), &column.to_string(), "")
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
        let found = String::from(
            "the configuration is a protobuf `google.protobuf.Struct`, not JSON text (it begins with the field ",
        );
        return Some(joined(&joined(&found, &quoted(key), ")"), WRAP, ""));
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
fn yaml(text: &str) -> Option<String> {
    let mut lines = text.split('\n').map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let line = lines.next()?;
    let plain =
        |key: &str| !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    let field =
        line.split_once(':').filter(|(key, value)| plain(key.trim_end()) && !value.starts_with(|c| c != ' '));
    if line != "---" && !line.starts_with("- ") && field.is_none() {
        return None;
    }
    let example = match field {
        Some((key, _)) => joined("{\"", key.trim_end(), "\": …}"),
        None => String::from("{…} or […]"),
    };
    Some(joined("the configuration looks like YAML; write it as JSON: ", &example, ""))
}
