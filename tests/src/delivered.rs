//! Manifests as the Envoy behind them sees them: what Istio's control plane and agent, and Envoy Gateway, make of a plugin, without either. Written from
//! what they are known to do (pluginConfig as JSON in a `StringValue`, an image as a local file, order by priority).

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// What a manifest brings into an Envoy.
#[derive(Clone, Debug, Default)]
pub struct Delivered {
    /// HTTP filters in chain order, without the router.
    pub filters: Vec<Value>,
    /// Clusters that it defines.
    pub clusters: Vec<Value>,
    /// Extension configurations, which ECDS delivers.
    pub extensions: Vec<Value>,
}

/// What the documents of a manifest bring; `modules` is the folder of what images hold, as `<pluginName>.wasm`.
///
/// # Errors
/// When a document is none of those that are known.
pub fn delivered(documents: &[Value], modules: &Path) -> Result<Delivered> {
    let mut out = Delivered::default();
    let number = |document: &Value| document["spec"]["priority"].as_i64().unwrap_or(0);
    let mut sorted: Vec<&Value> = documents.iter().collect();
    // Istio: WasmPlugins by priority, the highest first; EnvoyFilters the lowest first. Both sorts are stable.
    sorted.sort_by_key(|document| match document["kind"].as_str() {
        Some("EnvoyFilter") => number(document),
        _ => -number(document),
    });
    for document in sorted {
        match document["kind"].as_str() {
            Some("WasmPlugin") => out.filters.push(istio(document, &document["spec"], modules)?),
            Some("TrafficExtension") => {
                out.filters.push(istio(document, &document["spec"]["wasm"], modules)?)
            }
            Some("EnvoyExtensionPolicy") => {
                for wasm in list(&document["spec"]["wasm"]) {
                    out.filters.push(gateway(wasm, modules)?);
                }
            }
            Some("EnvoyFilter") => out.patched(document, modules)?,
            Some("EnvoyPatchPolicy") => {
                let patches = list(&document["spec"]["jsonPatches"]).iter();
                out.clusters.extend(patches.map(|patch| patch["operation"]["value"].clone()));
            }
            Some("VirtualService" | "DestinationRule" | "HTTPRoute") => {}
            Some(other) => bail!("what comes of a {other} is not known"),
            None if document.get("load_assignment").is_some() => out.clusters.push(document.clone()),
            None => out.filters.push(document.clone()),
        }
    }
    Ok(out)
}

impl Delivered {
    fn patched(&mut self, document: &Value, modules: &Path) -> Result<()> {
        for patch in list(&document["spec"]["configPatches"]) {
            let mut value = patch["patch"]["value"].clone();
            match patch["applyTo"].as_str() {
                // INSERT_BEFORE the router: behind what is there.
                Some("HTTP_FILTER") => {
                    if self.filters.iter().all(|known| known["name"] != value["name"]) {
                        self.filters.push(value);
                    }
                }
                Some("CLUSTER") => self.clusters.push(value),
                Some("EXTENSION_CONFIG") => {
                    let config = value.pointer_mut("/typed_config/config").context("a plugin")?;
                    let file = modules.join(format!("{}.wasm", text(&config["root_id"])));
                    let uri = text(&config["vm_config"]["code"]["remote"]["http_uri"]["uri"]).to_owned();
                    if !uri.starts_with("oci://") {
                        bail!("the agent fetches no `{uri}`");
                    }
                    config["vm_config"]["code"] = json!({"local": {"filename": file}});
                    self.extensions.push(value);
                }
                other => bail!("what comes of a patch of {other:?} is not known"),
            }
        }
        Ok(())
    }
}

/// A plugin of Istio's: `spec` is where its `url` stands.
fn istio(document: &Value, spec: &Value, modules: &Path) -> Result<Value> {
    let policy = match spec["failStrategy"].as_str() {
        Some("FAIL_OPEN") => "FAIL_OPEN",
        Some("FAIL_RELOAD") => "FAIL_RELOAD",
        Some("FAIL_CLOSE") | None => "FAIL_CLOSED",
        Some(other) => bail!("no such strategy: {other}"),
    };
    let metadata = &document["metadata"];
    let name = format!("{}.{}", text(&metadata["namespace"]), text(&metadata["name"]));
    let mut env = json!({"ISTIO_META_WASM_PLUGIN_RESOURCE_VERSION": "1"});
    for one in list(&spec["vmConfig"]["env"]).iter().filter(|one| one["valueFrom"] != "HOST") {
        env[text(&one["name"])] = one["value"].clone();
    }
    Ok(wasm(&name, text(&spec["pluginName"]), Some(policy), &spec["pluginConfig"], &env, modules))
}

/// A plugin of Envoy Gateway's; its `vm_id` is unique.
fn gateway(wasm_spec: &Value, modules: &Path) -> Result<Value> {
    let name = format!("envoy.filters.http.wasm/{}", text(&wasm_spec["name"]));
    let mut filter = wasm(&name, text(&wasm_spec["rootID"]), None, &wasm_spec["config"], &json!({}), modules);
    let config = filter.pointer_mut("/typed_config/config").context("a plugin")?;
    config["fail_open"] = wasm_spec["failOpen"].clone();
    config["vm_config"]["vm_id"] = name.into();
    Ok(filter)
}

fn wasm(
    name: &str,
    root_id: &str,
    policy: Option<&str>,
    config: &Value,
    env: &Value,
    modules: &Path,
) -> Value {
    let file = modules.join(format!("{root_id}.wasm"));
    let mut plugin = json!({
        "name": name, "root_id": root_id,
        "vm_config": {
            "runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": file}},
            "environment_variables": {"key_values": env},
        },
    });
    if !config.is_null() {
        plugin["configuration"] =
            json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": config.to_string()});
    }
    if let Some(policy) = policy {
        plugin["failure_policy"] = policy.into();
    }
    let kind = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
    json!({"name": name, "typed_config": {"@type": kind, "config": plugin}})
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
