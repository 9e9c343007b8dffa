//! Envoy's own configuration: which message a document is, its plugins, and the clusters that are named and not there.

use std::collections::BTreeSet;

use serde_json::Value;

use super::document::step;
use super::findings::Findings;
use super::proto::{self, Problem, Wholeness};
use super::rules::{self, Rule};

pub(super) const BOOTSTRAP: &str = "envoy.config.bootstrap.v3.Bootstrap";

/// Fields that only one message at the top of a file has.
const FORMS: &[(&str, &str)] = &[
    ("static_resources", BOOTSTRAP),
    ("staticResources", BOOTSTRAP),
    ("dynamic_resources", BOOTSTRAP),
    ("dynamicResources", BOOTSTRAP),
    ("resources", "envoy.service.discovery.v3.DiscoveryResponse"),
    ("filter_chains", "envoy.config.listener.v3.Listener"),
    ("filterChains", "envoy.config.listener.v3.Listener"),
    ("load_assignment", "envoy.config.cluster.v3.Cluster"),
    ("virtual_hosts", "envoy.config.route.v3.RouteConfiguration"),
    ("virtualHosts", "envoy.config.route.v3.RouteConfiguration"),
    ("typed_config", "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter"),
];

/// What holds a `PluginConfig` in its field `config`, and whether that is an HTTP filter.
const HOLDERS: &[(&str, bool)] = &[
    ("envoy.extensions.filters.http.wasm.v3.Wasm", true),
    ("envoy.extensions.filters.network.wasm.v3.Wasm", false),
    ("envoy.extensions.access_loggers.wasm.v3.WasmAccessLog", false),
    ("envoy.extensions.stat_sinks.wasm.v3.Wasm", false),
    ("envoy.extensions.wasm.v3.WasmService", false),
];

/// The message that a document is; nothing where it is none of Envoy's.
pub(super) fn message(value: &Value) -> Option<&'static str> {
    let fields = value.as_object()?;
    if fields.contains_key("kind") || fields.contains_key("apiVersion") {
        return None;
    }
    if fields.contains_key("@type") {
        return Some("google.protobuf.Any");
    }
    let is_list = |name: &str| name != "resources" || value.get(name).is_some_and(Value::is_array);
    FORMS.iter().find(|(field, _)| fields.contains_key(*field) && is_list(field)).map(|(_, message)| *message)
}

/// What Envoy refuses of a document.
pub(super) fn check(message: &str, value: &Value, findings: &mut Findings<'_>) {
    resource(message, value, "", findings);
    walk(value, &mut String::new(), &mut |value, pointer| chain(value, pointer, findings));
}

/// What Envoy refuses of a whole message that stands at a pointer of the document; nothing for a message that is not known.
pub(super) fn resource(message: &str, value: &Value, at: &str, findings: &mut Findings<'_>) {
    let Some(message) = proto::message(message) else { return };
    for mistake in proto::mistakes(&message, value, Wholeness::Whole) {
        let rule = match mistake.problem {
            Problem::Type => &rules::ENVOY_TYPE,
            Problem::Field => &rules::ENVOY_FIELD,
            Problem::Value | Problem::Duration => &rules::ENVOY_VALUE,
            Problem::Deprecated => &rules::ENVOY_DEPRECATED,
            Problem::Untyped => &rules::ENVOY_UNTYPED,
        };
        let pointer = format!("{at}{}", mistake.pointer);
        let finding = match mistake.problem {
            Problem::Field | Problem::Deprecated => findings.at_key(rule, &pointer, mistake.reason),
            _ => findings.add(rule, &pointer, mistake.reason),
        };
        finding.hint = mistake.hint;
    }
}

/// The order of HTTP filters: the router is the last.
fn chain(value: &Value, pointer: &str, findings: &mut Findings<'_>) {
    let Some(filters) = value.get("http_filters").and_then(Value::as_array) else { return };
    let is_router = |filter: &Value| {
        let kind = filter.pointer("/typed_config/@type").and_then(Value::as_str).unwrap_or_default();
        kind.ends_with("envoy.extensions.filters.http.router.v3.Router")
    };
    let last = filters.len().saturating_sub(1);
    if let Some(router) = filters.iter().position(is_router)
        && router < last
    {
        let reason = "no filter may stand after the router";
        findings.add(&rules::ENVOY_CHAIN, &format!("{pointer}/http_filters/{}", router + 1), reason);
    }
}

/// Where the `PluginConfig`s of a value are, and whether they are of HTTP filters.
pub(super) fn plugins(value: &Value) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    walk(value, &mut String::new(), &mut |value, pointer| {
        let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
        let is_struct = text("@type").ends_with(".TypedStruct");
        let (kind, inner) =
            if is_struct { (text("type_url"), "/value/config") } else { (text("@type"), "/config") };
        let holder = HOLDERS.iter().find(|(holder, _)| kind.rsplit('/').next() == Some(holder));
        if let Some((_, is_http)) = holder
            && value.pointer(inner).is_some()
        {
            found.push((format!("{pointer}{inner}"), *is_http));
        }
    });
    found
}

/// The clusters of all documents together.
#[derive(Debug, Default)]
pub(super) struct Clusters {
    names: BTreeSet<String>,
    /// A bootstrap was seen whose clusters are all in it.
    is_complete: bool,
}

impl Clusters {
    pub(super) fn add(&mut self, value: &Value) {
        let is_named =
            |value: &Value| value.get("load_assignment").is_some() || value.get("connect_timeout").is_some();
        let lists = ["/static_resources/clusters", "/resources"];
        let listed = lists.iter().filter_map(|list| value.pointer(list)?.as_array()).flatten();
        let own = Some(value).filter(|value| is_named(value));
        let names = listed.chain(own).filter_map(|cluster| cluster.get("name")?.as_str());
        self.names.extend(names.map(str::to_owned));
        if value.get("static_resources").is_some() {
            let is_dynamic = ["/dynamic_resources/cds_config", "/dynamic_resources/ads_config"];
            self.is_complete |= is_dynamic.iter().all(|pointer| value.pointer(pointer).is_none());
        }
    }

    pub(super) fn insert(&mut self, name: &str) {
        self.names.insert(name.to_owned());
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    pub(super) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// That there is no such cluster, and which is probably meant.
    pub(super) fn missing(&self, name: &str) -> String {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        crate::yaml::unknown("cluster", name, &names)
    }

    /// Says which clusters a configuration of Envoy names that are not there.
    pub(super) fn check(&self, value: &Value, findings: &mut Findings<'_>) {
        if !self.is_complete {
            return;
        }
        let mut named = Vec::new();
        references(value, &mut String::new(), &mut named);
        for (name, pointer, rule) in named {
            if !self.has(&name) {
                findings.add(rule, &pointer, self.missing(&name));
            }
        }
    }
}

/// The clusters that a configuration names.
pub(super) fn named(value: &Value) -> BTreeSet<String> {
    let mut named = Vec::new();
    references(value, &mut String::new(), &mut named);
    named.into_iter().map(|(name, ..)| name).collect()
}

/// The clusters that a configuration names, and the rule that each breaks when it is not there.
fn references(value: &Value, pointer: &mut String, named: &mut Vec<(String, String, &'static Rule)>) {
    let length = pointer.len();
    match value {
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                pointer.push_str(&format!("/{index}"));
                references(value, pointer, named);
                pointer.truncate(length);
            }
        }
        Value::Object(fields) => {
            for (key, value) in fields {
                let parent = pointer.rsplit('/').next().unwrap_or_default().to_owned();
                pointer.push_str(&step(key));
                match (key.as_str(), value) {
                    // Names of their own, and what belongs to others.
                    (
                        "metadata" | "filter_metadata" | "configuration" | "load_assignment" | "node"
                        | "admin",
                        _,
                    ) => {}
                    ("cluster", Value::String(name)) => {
                        let is_of_route = parent == "route" || pointer.contains("/request_mirror_policies/");
                        let is_route = is_of_route && pointer.contains("/route_config/");
                        let rule = if is_route { &rules::CLUSTER } else { &rules::CLUSTER_LATER };
                        named.push((name.clone(), pointer.clone(), rule));
                    }
                    ("cluster_name", Value::String(name)) if parent == "envoy_grpc" => {
                        named.push((name.clone(), pointer.clone(), &rules::CLUSTER_LATER));
                    }
                    ("name", Value::String(name)) if pointer.contains("/weighted_clusters/clusters/") => {
                        let is_own = pointer.rsplit('/').nth(2) == Some("clusters");
                        if is_own {
                            named.push((name.clone(), pointer.clone(), &rules::CLUSTER));
                        }
                    }
                    _ => references(value, pointer, named),
                }
                pointer.truncate(length);
            }
        }
        _ => {}
    }
}

/// The clusters that a plugin's configuration names, by the names of its fields: texts under `cluster` and names that end so, each with its
/// JSON pointer.
pub(super) fn clusters_by_name(config: &Value) -> Vec<(String, String)> {
    let mut named = Vec::new();
    walk(config, &mut String::new(), &mut |value, pointer| {
        for (key, value) in value.as_object().into_iter().flatten() {
            if let (true, Some(name)) = (key == "cluster" || key.ends_with("_cluster"), value.as_str()) {
                named.push((format!("{pointer}{}", step(key)), name.to_owned()));
            }
        }
    });
    named
}

/// Every object of a value.
fn walk<'a>(value: &'a Value, pointer: &mut String, visit: &mut impl FnMut(&'a Value, &str)) {
    let length = pointer.len();
    match value {
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                pointer.push_str(&format!("/{index}"));
                walk(value, pointer, visit);
                pointer.truncate(length);
            }
        }
        Value::Object(fields) => {
            visit(value, pointer);
            for (key, value) in fields {
                pointer.push_str(&step(key));
                walk(value, pointer, visit);
                pointer.truncate(length);
            }
        }
        _ => {}
    }
}
