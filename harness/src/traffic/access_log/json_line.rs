//! Access logs as JSON lines. Keys are free in Envoy, so they are read by a given `json_format`, or by the names that are usual.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::format::{Operator, Pattern};
use super::record::{Field, Record};
use crate::traffic::input::Input;
use crate::traffic::json;

/// How the keys of a JSON log are read.
#[derive(Debug)]
pub(super) struct JsonLines {
    /// By path of the key its pattern, none for a fixed text; absent: by usual names.
    format: Option<BTreeMap<String, Option<Pattern>>>,
}

/// Whether a key names a part of the request line, so that this is an access log.
pub(super) fn is_request_key(key: &str) -> bool {
    match known(key) {
        Some(Field::Request(name)) => name.starts_with(':'),
        Some(Field::RequestLine) => true,
        _ => false,
    }
}

impl JsonLines {
    /// Compiles a `json_format`.
    ///
    /// # Errors
    /// A value of it is no format string.
    pub(super) fn new(format: Option<Map<String, Value>>) -> Result<Self, String> {
        let Some(format) = format else { return Ok(Self { format: None }) };
        let mut patterns = BTreeMap::new();
        compile(&format, "", &mut patterns)?;
        Ok(Self { format: Some(patterns) })
    }

    /// Reads a line.
    ///
    /// # Errors
    /// It is no JSON object, or a value in it cannot be.
    pub(super) fn read(&self, line: &[u8], input: &mut Input) -> Result<Record, String> {
        let line: Value = serde_json::from_slice(line).map_err(|error| json::reason(&error))?;
        let Value::Object(members) = &line else {
            return Err(format!("expected an object, found {}", json::kind(&line)));
        };
        let mut record = Record::default();
        self.members(members, "", &mut record, input)?;
        Ok(record)
    }

    fn members(
        &self,
        members: &Map<String, Value>,
        under: &str,
        record: &mut Record,
        input: &mut Input,
    ) -> Result<(), String> {
        for (key, value) in members {
            let path = format!("{under}{key}");
            let text = match value {
                Value::Null | Value::Array(_) => continue,
                Value::Object(members) => {
                    self.members(members, &format!("{path}."), record, input)?;
                    continue;
                }
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let applied = match &self.format {
                Some(format) => match format.get(&path) {
                    Some(Some(pattern)) => pattern.read_into(text.as_bytes(), record),
                    Some(None) => Ok(()),
                    None => unknown(&path, input),
                },
                None => match known(key) {
                    Some(field) => field.apply(text.as_bytes(), record),
                    None => unknown(&path, input),
                },
            };
            applied.map_err(|reason| format!("`{path}`: {reason}"))?;
        }
        Ok(())
    }
}

fn unknown(path: &str, input: &mut Input) -> Result<(), String> {
    input.note(|| format!("`{path}` of the log is not read"));
    Ok(())
}

fn compile(
    format: &Map<String, Value>,
    under: &str,
    patterns: &mut BTreeMap<String, Option<Pattern>>,
) -> Result<(), String> {
    for (key, value) in format {
        let path = format!("{under}{key}");
        match value {
            Value::String(text) if text.contains('%') => {
                let pattern = Pattern::compile(text).map_err(|reason| format!("`{path}`: {reason}"))?;
                patterns.insert(path, Some(pattern));
            }
            Value::Object(members) => compile(members, &format!("{path}."), patterns)?,
            Value::String(_) | Value::Number(_) | Value::Bool(_) => {
                patterns.insert(path, None);
            }
            other => return Err(format!("`{path}`: expected a format string, found {}", json::kind(other))),
        }
    }
    Ok(())
}

/// Request headers that loggers name without `x-`.
const HEADERS: &[&str] = &[
    "accept",
    "accept-encoding",
    "accept-language",
    "authorization",
    "cache-control",
    "content-type",
    "cookie",
    "end-user",
    "forwarded",
    "if-modified-since",
    "if-none-match",
    "origin",
    "range",
    "referer",
    "traceparent",
    "tracestate",
    "true-client-ip",
    "user-agent",
    "via",
];

/// The meaning of a key by its usual names; nothing when it has none.
fn known(key: &str) -> Option<Field> {
    if let Some(operator) = Operator::alone(key) {
        return operator.field().ok();
    }
    let key = snake_case(key.trim_matches('%'));
    let request = |name: &str| Some(Field::Request(name.to_owned()));
    match key.as_str() {
        "method" | ":method" | "request_method" | "req_method" | "http_method" | "verb" => request(":method"),
        "path" | ":path" | "request_path" | "req_path" | "http_path" | "uri" | "url" | "request_uri"
        | "request_url" => request(":path"),
        "authority" | ":authority" | "host" | "request_authority" | "request_host" | "http_host"
        | "domain" => request(":authority"),
        "scheme" | ":scheme" | "request_scheme" => request(":scheme"),
        "request" | "request_line" => Some(Field::RequestLine),
        "start_time" | "timestamp" | "@timestamp" | "time" | "ts" | "request_time" => Some(Field::AnyStart),
        "protocol" | "http_version" | "request_protocol" => Some(Field::Protocol),
        "response_code" | "status" | "status_code" | "response_status" | "code" => Some(Field::Status),
        "response_flags" | "flags" => Some(Field::Flags),
        "bytes_received" | "request_bytes" => Some(Field::BytesReceived),
        "bytes_sent" | "response_bytes" => Some(Field::BytesSent),
        "duration" | "duration_ms" | "total_duration" => Some(Field::Duration),
        "downstream_remote" | "remote_address" | "client_address" | "client_ip" | "remote_addr" => {
            Some(Field::RemoteAddress)
        }
        "downstream_tls" | "tls_version" | "sni" => Some(Field::Tls),
        "request_id" => request("x-request-id"),
        "trace_id" | "span_id" | "route" | "level" | "msg" | "message" | "logger" => Some(Field::Ignored),
        "upstream_service_time" | "x_envoy_upstream_service_time" => {
            Some(Field::Response("x-envoy-upstream-service-time".to_owned()))
        }
        _ => {
            let header = key.replace('_', "-");
            if header.starts_with("x-") || HEADERS.contains(&header.as_str()) {
                return Some(Field::Request(header));
            }
            match Field::of_operator(&key.to_ascii_uppercase()) {
                Field::Ignored if !IGNORED.contains(&key.as_str()) => None,
                field => Some(field),
            }
        }
    }
}

/// A key in snake case, whether it was written so, in kebab case, in camel case or in capitals.
fn snake_case(key: &str) -> String {
    let mut snake = String::with_capacity(key.len() + 4);
    let mut after_small = false;
    for character in key.chars() {
        if after_small && character.is_ascii_uppercase() {
            snake.push('_');
        }
        after_small = character.is_ascii_lowercase();
        snake.push(if character == '-' { '_' } else { character.to_ascii_lowercase() });
    }
    snake
}

/// Operators that say nothing about an exchange, under their own names.
const IGNORED: &[&str] = &[
    "response_code_details",
    "connection_termination_details",
    "upstream_transport_failure_reason",
    "upstream_host",
    "upstream_local_address",
    "upstream_remote_address",
    "upstream_protocol",
    "upstream_request_attempt_count",
    "downstream_local_address",
    "downstream_local_address_without_port",
    "downstream_local_port",
    "route_name",
    "virtual_cluster_name",
    "filter_chain_name",
    "grpc_status",
    "request_duration",
    "response_duration",
    "response_tx_duration",
    "hostname",
];
