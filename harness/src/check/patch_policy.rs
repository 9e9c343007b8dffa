//! `EnvoyPatchPolicy`: what Envoy Gateway asks of its patches, and the resources that they add as Envoy's API.

use serde_json::Value;

use super::findings::Findings;
use super::{envoy, rules};

const CLUSTER: &str = "envoy.config.cluster.v3.Cluster";

pub(super) fn check(value: &Value, findings: &mut Findings<'_>) {
    let target = |field: &str| {
        let field = value.pointer("/spec/targetRef")?.get(field)?;
        field.as_str()
    };
    if target("group").is_some_and(|group| group != "gateway.networking.k8s.io") {
        let reason = "patches are for a Gateway, of the group `gateway.networking.k8s.io`";
        findings.add(&rules::PATCH, "/spec/targetRef/group", reason);
    } else if target("kind").is_some_and(|kind| !matches!(kind, "Gateway" | "GatewayClass")) {
        let reason = "patches are for a Gateway, or with `mergeGateways` for a GatewayClass";
        findings.add(&rules::PATCH, "/spec/targetRef/kind", reason);
    }
    for (index, patch) in patches(value).enumerate() {
        let at = format!("/spec/jsonPatches/{index}");
        operation(patch, &at, findings);
        if let Some((message, added)) = added(patch) {
            envoy::resource(message, added, &format!("{at}/operation/value"), findings);
            let own = added.get("name").or_else(|| added.get("cluster_name")).and_then(Value::as_str);
            let said = patch.get("name").and_then(Value::as_str);
            if let (Some(own), Some(said)) = (own, said)
                && own != said
            {
                let reason = format!("what is added is named `{own}`: `{said}` names nothing");
                findings.add(&rules::PATCH_NAME, &format!("{at}/name"), reason);
            }
        }
    }
}

/// The names of the clusters that are added.
pub(super) fn clusters(value: &Value) -> impl Iterator<Item = &str> {
    let added = patches(value).filter_map(added).filter(|(message, _)| *message == CLUSTER);
    added.filter_map(|(_, cluster)| cluster.get("name")?.as_str())
}

fn patches(value: &Value) -> impl Iterator<Item = &Value> {
    value.pointer("/spec/jsonPatches").and_then(Value::as_array).into_iter().flatten()
}

/// A whole resource that is added: its message, and it. Everything else changes one that is there.
fn added(patch: &Value) -> Option<(&str, &Value)> {
    let operation = patch.get("operation")?;
    let is_empty = |field: &str| operation.get(field).and_then(Value::as_str).unwrap_or_default().is_empty();
    let is_whole = operation["op"] == "add" && is_empty("path") && is_empty("jsonPath");
    let message = patch.get("type")?.as_str()?.rsplit('/').next()?;
    operation.get("value").filter(|_| is_whole).map(|value| (message, value))
}

/// What stands beside `op`.
fn operation(patch: &Value, at: &str, findings: &mut Findings<'_>) {
    let Some(operation) = patch.get("operation").filter(|operation| operation.is_object()) else { return };
    let at = format!("{at}/operation");
    let has = |field: &str| operation.get(field).is_some_and(|value| !value.is_null());
    let op = operation.get("op").and_then(Value::as_str).unwrap_or_default();
    let at = |field: &str| format!("{at}{field}");
    if !has("path") && !has("jsonPath") {
        let reason =
            "`path` or `jsonPath` is missing; `path: \"\"` with `op: add` adds the value as a resource";
        findings.at_key(&rules::PATCH, &at(""), reason);
    }
    let path = operation.get("path").and_then(Value::as_str).unwrap_or_default();
    if !path.is_empty() && !path.starts_with('/') {
        let reason = format!("`{path}` is no JSON pointer: it begins with `/`");
        findings.at_key(&rules::PATCH, &at("/path"), reason);
    }
    let (needs, refuses): (&str, &[&str]) = match op {
        "add" | "replace" | "test" => ("value", &["from"]),
        "remove" => ("", &["from", "value"]),
        "move" | "copy" => ("from", &["value"]),
        _ => return,
    };
    if !needs.is_empty() && !has(needs) {
        findings.at_key(&rules::PATCH, &at(""), format!("`op: {op}` needs `{needs}`"));
    }
    for field in refuses.iter().filter(|field| has(field)) {
        findings.at_key(&rules::PATCH, &at(&format!("/{field}")), format!("`op: {op}` takes no `{field}`"));
    }
}
