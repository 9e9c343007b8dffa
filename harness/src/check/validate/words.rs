//! The words in which Envoy refuses a configuration, and the place that they mean.

use serde_json::Value;

use super::steps;
use crate::check::document::step;

/// What stands before Envoy's reason.
const BEGIN: &str = "error initializing configuration ";

/// Envoy's reason, on one line: without the file, and without the message that it prints before what is wrong with it.
pub(super) fn said(log: &str) -> String {
    let from = log.rfind(BEGIN).map_or(log, |at| &log[at + BEGIN.len()..]);
    let from = match from.strip_prefix('\'').and_then(|from| from.split_once("': ")) {
        Some((_, reason)) => reason,
        None => from,
    };
    let reason = match from.find("Proto constraint validation failed") {
        Some(at) => &from[at..],
        None => from,
    };
    let words: Vec<&str> = reason.split_whitespace().collect();
    words.join(" ")
}

/// Whether the reason is only that a file is not on this machine.
pub(super) fn is_about_a_file(said: &str) -> bool {
    [
        "Invalid path: ",
        "unable to read file: ",
        "Unable to load ",
        "Failed to load certificate chain from ",
        "does not exist",
    ]
    .iter()
    .any(|words| said.contains(words))
}

/// The place in the bootstrap that the reason names.
pub(super) fn place(said: &str, bootstrap: &Value) -> Option<String> {
    parsed(said).or_else(|| constrained(said, bootstrap))
}

/// `… @ static_resources.listeners[0]: … no such field: 'adress'`.
fn parsed(said: &str) -> Option<String> {
    let (_, rest) = said.split_once(" @ ")?;
    let path = rest.split(": ").next()?;
    let mut pointer = steps(path);
    if let Some((_, field)) = rest.split_once("no such field: '") {
        pointer.push_str(&step(field.split('\'').next()?));
    }
    Some(pointer)
}

/// `… (BootstrapValidationError.StaticResources: … | caused by ListenerValidationError.Address: …`.
fn constrained(said: &str, bootstrap: &Value) -> Option<String> {
    const ERROR: &str = "ValidationError.";
    let mut pointer: Option<String> = None;
    for part in said.split([' ', '(']).filter(|part| part.contains(ERROR)) {
        let (message, field) = part.split_once(ERROR)?;
        let mut at = match pointer {
            Some(at) => at,
            None if message == "Bootstrap" => String::new(),
            // A message of its own inside an `Any`: the first of its type.
            None => find(bootstrap, &mut String::new(), &|value| {
                let kind = value.get("@type").and_then(Value::as_str);
                kind.is_some_and(|kind| kind.rsplit('.').next() == Some(message))
            })?,
        };
        at.push_str(&steps(&snake_case(field.trim_end_matches([':', ')']))));
        pointer = Some(at);
    }
    pointer
}

/// The place of the last text that the reason quotes, or that stands behind a colon, and that the document has.
pub(super) fn quoted(said: &str, document: &Value) -> Option<String> {
    let quoted = ["'", "\"", "`"].iter().flat_map(|quote| said.split(*quote).skip(1).step_by(2));
    let behind = said.split(": ").skip(1).filter_map(|rest| rest.split(' ').next());
    let behind = behind.map(|word| word.trim_end_matches(['.', ',']));
    let place = |text: &str| {
        find(document, &mut String::new(), &|value| !text.is_empty() && value.as_str() == Some(text))
    };
    let last = |texts: Vec<&str>| texts.into_iter().filter_map(place).next_back();
    last(quoted.collect()).or_else(|| last(behind.collect()))
}

/// The first value that is one, in order.
fn find(value: &Value, pointer: &mut String, is: &impl Fn(&Value) -> bool) -> Option<String> {
    if is(value) {
        return Some(pointer.clone());
    }
    let parts: Vec<(String, &Value)> = match value {
        Value::Array(values) => {
            values.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect()
        }
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), value)).collect(),
        _ => Vec::new(),
    };
    let length = pointer.len();
    for (name, value) in parts {
        pointer.push_str(&step(&name));
        let found = find(value, pointer, is);
        pointer.truncate(length);
        if found.is_some() {
            return found;
        }
    }
    None
}

/// `SocketAddress` as `socket_address`.
fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LINE: &str = "[2026-05-04 09:00:00.000][1][critical][main] [source/server/config_validation/server.cc:76] error initializing configuration 'a.yaml': ";

    #[track_caller]
    fn check(words: &str, shown: &str, want: Option<&str>) {
        let bootstrap = json!({
            "node": {"typed_config": {"@type": "type.googleapis.com/a.v3.HttpConnectionManager"}},
            "static_resources": {},
        });
        let said = said(&format!("{LINE}{words}"));
        assert_eq!(said, shown);
        assert_eq!(place(&said, &bootstrap).as_deref(), want);
    }

    #[test]
    fn places_are_those_that_envoy_means() {
        let text = "Protobuf message (type envoy.config.bootstrap.v3.Bootstrap reason INVALID_ARGUMENT: invalid JSON in envoy.config.bootstrap.v3.Bootstrap @ \
                    static_resources.listeners[0].filters[1].typed_config.<any>.route_config: message X, near 1:56 (offset 55): no such field: 'adress') has unknown fields";
        check(
            &text.replace(" @ ", " @   "),
            text,
            Some("/static_resources/listeners/0/filters/1/typed_config/route_config/adress"),
        );
        let text = "Proto constraint validation failed (BootstrapValidationError.StaticResources: embedded message failed validation | caused by \
                    StaticResourcesValidationError.Clusters[2]: embedded message failed validation | caused by ClusterValidationError.ConnectTimeout: value must be greater than 0s)";
        check(
            &format!("goo.gle/debugonly\nstatic_resources {{\n}}\n: {text}"),
            text,
            Some("/static_resources/clusters/2/connect_timeout"),
        );
        let text = "Proto constraint validation failed (HttpConnectionManagerValidationError.StatPrefix: value length must be at least 1 characters)";
        check(text, text, Some("/node/typed_config/stat_prefix"));
        check("route: unknown cluster 'review'", "route: unknown cluster 'review'", None);
    }

    #[test]
    fn quoted_values_have_a_place() {
        let document = json!({"a": [{"cluster": "reviews"}, {"cluster": "review"}]});
        assert_eq!(quoted("route: unknown cluster 'review'", &document).as_deref(), Some("/a/1/cluster"));
        let said = "malformed IP address: review. Consider another";
        assert_eq!(quoted(said, &document).as_deref(), Some("/a/1/cluster"));
        assert_eq!(quoted("something else, it's so", &document), None);
    }
}
