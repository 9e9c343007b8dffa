//! The patches of an `EnvoyFilter` and an `EnvoyPatchPolicy` whose values a real Envoy can be asked about. Asks nobody.

use serde_json::Value;

use super::frame::{self, Kind};
use crate::check::envoy_filter;
use crate::check::proto::{self, Problem, Wholeness};

/// A value that is patched in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Patch {
    pub(super) kind: Kind,
    /// As Envoy would get it, made whole where it is a part only.
    pub(super) value: Value,
    /// Where it stands in the document.
    pub(super) pointer: String,
    /// It is merged into something else: what it lacks may stand there.
    pub(super) is_part: bool,
    /// Istio's agent fetches its module.
    pub(super) by_agent: bool,
}

/// Those of a document, which is of that kind of resource.
pub(super) fn of(resource: &str, document: &Value) -> Vec<Patch> {
    let list = |at: &str| document.pointer(at).and_then(Value::as_array).into_iter().flatten().enumerate();
    match resource {
        "EnvoyFilter" => {
            list("/spec/configPatches").filter_map(|(index, patch)| of_filter(patch, index)).collect()
        }
        "EnvoyPatchPolicy" => {
            list("/spec/jsonPatches").filter_map(|(index, patch)| of_policy(patch, index)).collect()
        }
        _ => Vec::new(),
    }
}

fn of_filter(patch: &Value, index: usize) -> Option<Patch> {
    let text = |pointer: &str| patch.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let value = patch.pointer("/patch/value").filter(|value| value.is_object())?;
    let apply_to = text("/applyTo");
    let kind = match apply_to {
        "LISTENER" => Kind::Listener,
        "FILTER_CHAIN" => Kind::FilterChain,
        "LISTENER_FILTER" => Kind::ListenerFilter,
        "NETWORK_FILTER" => Kind::NetworkFilter,
        "HTTP_FILTER" => Kind::HttpFilter,
        "ROUTE_CONFIGURATION" => Kind::Routes,
        "VIRTUAL_HOST" => Kind::VirtualHost,
        "HTTP_ROUTE" => Kind::Route,
        "CLUSTER" => Kind::Cluster,
        "EXTENSION_CONFIG" => Kind::of("envoy.config.core.v3.TypedExtensionConfig", value)?,
        "BOOTSTRAP" => Kind::Bootstrap,
        _ => return None,
    };
    let is_part = match text("/patch/operation") {
        "MERGE" | "MERGE_AND_REPLACE_LIST" => true,
        "ADD" | "REPLACE" | "INSERT_BEFORE" | "INSERT_AFTER" | "INSERT_FIRST" => false,
        _ => return None,
    };
    let mut value = value.clone();
    read_as_istio(kind, &mut value);
    if is_part {
        value = frame::merged(kind, &value);
    }
    Some(Patch {
        kind,
        value,
        pointer: format!("/spec/configPatches/{index}/patch/value"),
        is_part,
        by_agent: apply_to == "EXTENSION_CONFIG",
    })
}

/// Istio drops fields that the message does not have, and warns of them; and it reads durations as Go does.
fn read_as_istio(kind: Kind, value: &mut Value) {
    let Some(message) = proto::message(kind.message()) else { return };
    for mistake in proto::mistakes(&message, value, Wholeness::Part) {
        if mistake.problem == Problem::Field
            && let Some((parent, field)) = mistake.pointer.rsplit_once('/')
            && let Some(fields) = value.pointer_mut(parent).and_then(Value::as_object_mut)
        {
            fields.remove(&field.replace("~1", "/").replace("~0", "~"));
        } else if mistake.problem == Problem::Duration
            && let Some(duration) = envoy_filter::duration(value, &mistake.pointer)
            && let Some(place) = value.pointer_mut(&mistake.pointer)
        {
            *place = Value::String(duration);
        }
    }
}

fn of_policy(patch: &Value, index: usize) -> Option<Patch> {
    let text = |pointer: &str| patch.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let value = patch.pointer("/operation/value").filter(|value| value.is_object())?;
    let (path, json_path) = (text("/operation/path"), text("/operation/jsonPath"));
    let kind = match text("/operation/op") {
        "add" if path.is_empty() && json_path.is_empty() => {
            Kind::of(text("/type").rsplit('/').next().unwrap_or_default(), value)?
        }
        "add" | "replace" => element(path)?,
        _ => return None,
    };
    let pointer = format!("/spec/jsonPatches/{index}/operation/value");
    Some(Patch { kind, value: value.clone(), pointer, is_part: false, by_agent: false })
}

/// What an element is that a path ends with: `…/http_filters/0` an HTTP filter.
fn element(path: &str) -> Option<Kind> {
    let (list, last) = path.rsplit_once('/')?;
    if last != "-" && !last.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    match list.rsplit('/').next()? {
        "filter_chains" => Some(Kind::FilterChain),
        "listener_filters" => Some(Kind::ListenerFilter),
        "filters" => Some(Kind::NetworkFilter),
        "http_filters" => Some(Kind::HttpFilter),
        "virtual_hosts" => Some(Kind::VirtualHost),
        "routes" => Some(Kind::Route),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn elements_are_known_by_their_lists() {
        for (path, want) in [
            ("/filter_chains/0/filters/0/typed_config/http_filters/-", Some(Kind::HttpFilter)),
            ("/virtual_hosts/0/routes/12", Some(Kind::Route)),
            ("/virtual_hosts/0/domains/0", None),
            ("/virtual_hosts/0/routes/name", None),
            ("/name", None),
            ("", None),
        ] {
            assert_eq!(element(path), want, "{path}");
        }
    }

    #[test]
    fn values_are_read_as_istio_reads_them() {
        let mut value = json!({"name": "a", "a/b": 1, "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer", "x": 1, "max_request_bytes": 2}});
        read_as_istio(Kind::HttpFilter, &mut value);
        let want = json!({"name": "a", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer", "max_request_bytes": 2}});
        assert_eq!(value, want);
        let mut value = json!({"connect_timeout": "1m500ms", "typed_extension_protocol_options": {"a": {"@type": "type.googleapis.com/udpa.type.v1.TypedStruct",
            "type_url": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "value": {"connect_timeout": "500ms"}}}});
        read_as_istio(Kind::Cluster, &mut value);
        assert_eq!(value.pointer("/connect_timeout"), Some(&json!("60.500000000s")));
        // Of that it knows nothing, and Envoy refuses it.
        let inner = "/typed_extension_protocol_options/a/value/connect_timeout";
        assert_eq!(value.pointer(inner), Some(&json!("500ms")));
    }
}
