//! Reading JSON with paths in errors: every field is either used, ignored by name, or an error.

use serde_json::{Map, Value};

/// What is wrong with a route configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{path}`: {reason}")]
pub struct RouteError {
    /// The field, such as `virtual_hosts[0].routes[2].match`.
    pub path: String,
    /// What is wrong, and what would be accepted.
    pub reason: String,
}

/// Fields of `RouteConfiguration` that decide nothing in a replay.
pub(super) const ROUTE_CONFIGURATION: &[&str] = &[
    "@type",
    "name",
    "validate_clusters",
    "max_direct_response_body_size_bytes",
    "ignore_path_parameters_in_path_matching",
];

/// The same of `VirtualHost`.
pub(super) const VIRTUAL_HOST: &[&str] = &[
    "cors",
    "rate_limits",
    "retry_policy",
    "hedge_policy",
    "include_request_attempt_count",
    "include_attempt_count_in_response",
    "per_request_buffer_limit_bytes",
    "request_body_buffer_limit",
    "request_mirror_policies",
    "typed_per_filter_config",
    "virtual_clusters",
    "include_is_timeout_retry_header",
];

/// The same of `Route`.
pub(super) const ROUTE: &[&str] = &[
    "decorator",
    "tracing",
    "stat_prefix",
    "per_request_buffer_limit_bytes",
    "request_body_buffer_limit",
    "typed_per_filter_config",
];

/// The same of `RouteAction`.
pub(super) const ROUTE_ACTION: &[&str] = &[
    "idle_timeout",
    "flush_timeout",
    "retry_policy",
    "request_mirror_policies",
    "priority",
    "rate_limits",
    "include_vh_rate_limits",
    "hash_policy",
    "cors",
    "max_grpc_timeout",
    "grpc_timeout_offset",
    "upgrade_configs",
    "hedge_policy",
    "max_stream_duration",
    "metadata_match",
    "early_data_policy",
];

/// An object whose fields are being read.
pub(super) struct Fields<'a> {
    path: String,
    map: &'a Map<String, Value>,
    used: Vec<String>,
}

/// An object.
pub(super) fn object<'a>(value: &'a Value, path: &str) -> Result<Fields<'a>, RouteError> {
    let map = value.as_object().ok_or_else(|| wrong(path, "an object", value))?;
    Ok(Fields { path: path.to_owned(), map, used: Vec::new() })
}

/// A string.
pub(super) fn string<'a>(value: &'a Value, path: &str) -> Result<&'a str, RouteError> {
    value.as_str().ok_or_else(|| wrong(path, "a string", value))
}

/// Something else than was expected.
pub(super) fn wrong(path: &str, expected: &str, found: &Value) -> RouteError {
    let path = if path.is_empty() { "route_config" } else { path };
    let mut found = found.to_string();
    if found.len() > 60 {
        let end = (0..=57).rev().find(|end| found.is_char_boundary(*end)).unwrap_or(0);
        found.truncate(end);
        found.push('…');
    }
    RouteError { path: path.to_owned(), reason: format!("expected {expected}, found {found}") }
}

impl<'a> Fields<'a> {
    /// The path of a field.
    pub(super) fn path(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// An error about a field, or about the object when `name` is empty.
    pub(super) fn error(&self, name: &str, reason: &str) -> RouteError {
        let path = if name.is_empty() { self.path.clone() } else { self.path(name) };
        RouteError { path, reason: reason.to_owned() }
    }

    /// A field, by its snake_case name; `null` is absent.
    pub(super) fn get(&mut self, name: &str) -> Option<&'a Value> {
        let camel = camel(name);
        let (key, value) = self.map.get_key_value(name).or_else(|| self.map.get_key_value(camel.as_str()))?;
        self.used.push(key.clone());
        Some(value).filter(|value| !value.is_null())
    }

    /// A field and its path.
    pub(super) fn child(&mut self, name: &str) -> Option<(&'a Value, String)> {
        let path = self.path(name);
        self.get(name).map(|value| (value, path))
    }

    /// The elements of a list and their paths; none when it is absent.
    pub(super) fn list(&mut self, name: &str) -> Result<Vec<(&'a Value, String)>, RouteError> {
        let Some((value, path)) = self.child(name) else { return Ok(Vec::new()) };
        let list = value.as_array().ok_or_else(|| wrong(&path, "a list", value))?;
        Ok(list.iter().enumerate().map(|(index, value)| (value, format!("{path}[{index}]"))).collect())
    }

    pub(super) fn string(&mut self, name: &str) -> Result<Option<String>, RouteError> {
        let Some((value, path)) = self.child(name) else { return Ok(None) };
        string(value, &path).map(|text| Some(text.to_owned()))
    }

    pub(super) fn required_string(&mut self, name: &str) -> Result<String, RouteError> {
        match self.string(name)? {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(self.error(name, "is missing; expected a string that is not empty")),
        }
    }

    pub(super) fn bool(&mut self, name: &str) -> Result<bool, RouteError> {
        Ok(self.optional_bool(name)?.unwrap_or_default())
    }

    pub(super) fn optional_bool(&mut self, name: &str) -> Result<Option<bool>, RouteError> {
        let Some((value, path)) = self.child(name) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| wrong(&path, "true or false", value))
    }

    /// A whole number; protobuf's JSON also writes it as a string.
    pub(super) fn integer(&mut self, name: &str) -> Result<Option<i64>, RouteError> {
        let Some((value, path)) = self.child(name) else { return Ok(None) };
        let number = value.as_i64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
        number.map(Some).ok_or_else(|| wrong(&path, "a whole number", value))
    }

    /// A number that is not negative and fits 32 bits.
    pub(super) fn unsigned(&mut self, name: &str) -> Result<Option<u32>, RouteError> {
        let Some(number) = self.integer(name)? else { return Ok(None) };
        u32::try_from(number)
            .map(Some)
            .map_err(|_| self.error(name, "expected a number from 0 to 4294967295"))
    }

    /// Accepts fields without looking at them.
    pub(super) fn ignore(&mut self, names: &[&str]) {
        for name in names {
            self.get(name);
        }
    }

    /// Every field must have been used.
    pub(super) fn finish(self) -> Result<(), RouteError> {
        match self.map.keys().find(|key| !self.used.contains(key)) {
            None => Ok(()),
            Some(key) => {
                Err(self.error(key, "not supported by the harness; remove it, or check its spelling"))
            }
        }
    }
}

/// `retry_policy` as `retryPolicy`.
fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let mut all = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        all.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        all.push_str(letters.as_str());
    }
    all
}
