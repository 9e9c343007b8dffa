//! Reads manifests, indexes and their like: what is none says why, and where.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// A text as an object of JSON; a page for browsers says that something else answers in a registry's place.
pub(super) fn object(bytes: &[u8]) -> Result<Value, String> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| {
        if bytes.trim_ascii_start().starts_with(b"<") {
            return "it is a page for browsers; expected JSON".to_owned();
        }
        format!("{error}; expected JSON")
    })?;
    if value.is_object() { Ok(value) } else { Err("it is no object; expected an object of JSON".to_owned()) }
}

/// A value as what it should be; the error names the field.
pub(super) fn read<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let reason = error.into_inner();
        if path == "." { reason.to_string() } else { format!("`{path}`: {reason}") }
    })
}
