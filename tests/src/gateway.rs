//! What Envoy Gateway makes of `HTTPRoute`s and `EnvoyExtensionPolicy`s, without it: plugins that no route has until one switches them on, and routes in the
//! order of the Gateway API. Written from what it is known to do (its translation of Wasm and of routes, at d32f282).

use std::path::Path;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::delivered::{delivered, list, text};

/// What an Envoy of the Gateway gets.
#[derive(Clone, Debug)]
pub struct Translated {
    /// HTTP filters in chain order, without the router; all of them disabled.
    pub filters: Vec<Value>,
    /// Envoy's `RouteConfiguration`.
    pub route_config: Value,
    /// Clusters that routes name, with the Service that each is of.
    pub backends: Vec<(String, String)>,
}

/// What the documents of a manifest become; `modules` is the folder of what images hold, as `<rootID>.wasm`.
///
/// # Errors
/// When a document is none of those that are known, or a route has a match that is not.
pub fn translated(documents: &[Value], modules: &Path) -> Result<Translated> {
    let of = |kind: &'static str| documents.iter().filter(move |document| document["kind"] == kind);
    let mut filters = Vec::new();
    for policy in of("EnvoyExtensionPolicy") {
        let plugins = delivered(std::slice::from_ref(policy), modules)?.filters;
        for (mut plugin, name) in plugins.into_iter().zip(names(policy)) {
            plugin["typed_config"]["config"]["vm_config"]["vm_id"] = name.as_str().into();
            plugin["name"] = filter(&name).into();
            plugin["disabled"] = true.into();
            filters.push(plugin);
        }
    }
    let (mut hosts, mut backends) = (Vec::new(), Vec::new());
    for route in of("HTTPRoute") {
        let policies: Vec<&Value> = of("EnvoyExtensionPolicy").collect();
        hosts.push(host(route, &policies, &mut backends)?);
    }
    let route_config = json!({"name": "http", "ignore_port_in_host_matching": true, "virtual_hosts": hosts});
    Ok(Translated { filters, route_config, backends })
}

/// The plugins of a policy by the names that Envoy Gateway has for them.
fn names(policy: &Value) -> impl Iterator<Item = String> {
    let count = list(&policy["spec"]["wasm"]).len();
    let policy = format!("envoyextensionpolicy/{}", place(policy));
    (0..count).map(move |index| format!("{policy}/wasm/{index}"))
}

fn filter(name: &str) -> String {
    format!("envoy.filters.http.wasm/{name}")
}

/// `NAMESPACE/NAME`.
fn place(resource: &Value) -> String {
    let metadata = &resource["metadata"];
    format!("{}/{}", text(&metadata["namespace"]), text(&metadata["name"]))
}

/// The virtual host of a route.
fn host(route: &Value, policies: &[&Value], backends: &mut Vec<(String, String)>) -> Result<Value> {
    let mut routes: Vec<(usize, Value)> = Vec::new();
    for (index, rule) in list(&route["spec"]["rules"]).iter().enumerate() {
        let cluster = format!("httproute/{}/rule/{index}", place(route));
        let [backend] = list(&rule["backendRefs"]) else { bail!("one backend is known, not {rule}") };
        backends.push((cluster.clone(), text(&backend["name"]).to_owned()));
        let default = [json!({})];
        let matches = if rule["matches"].is_null() { &default } else { list(&rule["matches"]) };
        for (number, one) in matches.iter().enumerate() {
            if !one["path"].is_null() || !one["queryParams"].is_null() || !one["method"].is_null() {
                bail!("what comes of the match {one} is not known");
            }
            let headers: Vec<Value> = list(&one["headers"])
                .iter()
                .map(|header| json!({"name": header["name"], "string_match": {"exact": header["value"]}}))
                .collect();
            let switched: serde_json::Map<String, Value> = policies
                .iter()
                .filter(|policy| is_for(policy, route, rule))
                .flat_map(|policy| names(policy))
                .map(|name| (filter(&name), json!({"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": {}})))
                .collect();
            routes.push((
                headers.len(),
                json!({
                    "name": format!("{cluster}/match/{number}"),
                    "match": {"prefix": "/", "headers": headers},
                    "route": {"cluster": cluster, "upgrade_configs": [{"upgrade_type": "websocket"}]},
                    "typed_per_filter_config": switched,
                }),
            ));
        }
    }
    // Of routes with the same path, those with more headers come first.
    routes.sort_by_key(|(headers, _)| std::cmp::Reverse(*headers));
    let routes: Vec<Value> = routes.into_iter().map(|(_, route)| route).collect();
    let hostnames = list(&route["spec"]["hostnames"]);
    let domains = if hostnames.is_empty() { json!(["*"]) } else { json!(hostnames) };
    Ok(json!({"name": place(route), "domains": domains, "routes": routes}))
}

/// Whether a policy is for a rule: by the route, or by the Gateway that the route is of.
fn is_for(policy: &Value, route: &Value, rule: &Value) -> bool {
    list(&policy["spec"]["targetRefs"]).iter().any(|target| match target["kind"].as_str() {
        Some("HTTPRoute") => {
            let is_its = target["sectionName"].is_null() || target["sectionName"] == rule["name"];
            target["name"] == route["metadata"]["name"] && is_its
        }
        _ => list(&route["spec"]["parentRefs"]).iter().any(|parent| parent["name"] == target["name"]),
    })
}
