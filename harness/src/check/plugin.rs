//! Plugins inside of manifests and configurations: which module, with which configuration, and what the module says of it. Runs none: a
//! [`Runner`] does.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::document::Document;
use super::findings::Findings;
use super::rules;
use super::schema::Schema;
use super::validate::{Answer, Question};
use crate::inspect::Metadata;

/// A plugin that a document configures.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plugin {
    /// Names it may be known by, the most telling first: `root_id` or `pluginName`, the module's name, its own name.
    pub names: Vec<String>,
    /// Envoy's `root_id`.
    pub root_id: String,
    /// Where the module is: a path or a URL, as it is written.
    pub module: String,
    /// The bytes that the module is configured with; none where there are none.
    pub configuration: Option<Vec<u8>>,
    /// Environment variables with their values.
    pub env: BTreeMap<String, String>,
    /// It is an HTTP filter, which can be tried out.
    pub is_http: bool,
    /// Where the configuration stands; the plugin itself where it has none.
    pub pointer: String,
    /// The configuration is a text that holds it, not the thing itself.
    pub is_text: bool,
}

/// What came of handing a module its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It took it.
    Accepted,
    /// It refused, and said this.
    Refused(String),
    /// It trapped, and said this.
    Trapped(String),
    /// There is no such module, or a proxy would not load it.
    NotLoaded(String),
}

/// A module that was tried out.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// The JSON Schema of its configuration, where it has one.
    pub schema: Option<Value>,
    /// What it says of itself, where it does.
    pub metadata: Option<Metadata>,
    /// What it said.
    pub verdict: Verdict,
}

/// What finds and runs modules for a check.
pub trait Runner {
    /// Tries a plugin out; nothing where no module is known for it.
    fn try_out(&mut self, plugin: &Plugin) -> Option<Trial>;

    /// Whether a real Envoy is asked, too.
    fn asks_envoy(&self) -> bool {
        false
    }

    /// The file that a real Envoy is given as the plugin's module: as it is written where it is there, else what is known for it.
    fn locate(&mut self, _: &Plugin) -> Option<String> {
        None
    }

    /// What a real Envoy says; nothing where none is asked.
    fn ask_envoy(&mut self, _: &Question) -> Option<Answer> {
        None
    }
}

/// Runs nothing: every plugin's module is unknown.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRunner;

impl Runner for NoRunner {
    fn try_out(&mut self, _: &Plugin) -> Option<Trial> {
        None
    }
}

/// The plugin of a `WasmPlugin`, a `TrafficExtension` with wasm: `at` is where its `url` stands.
pub(super) fn of_istio(value: &Value, at: &str) -> Option<Plugin> {
    let spec = value.pointer(at).filter(|spec| spec.is_object())?;
    let text = |field: &str| spec.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let module = text("url");
    let root_id = text("pluginName");
    let name = value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let config = spec.get("pluginConfig").filter(|config| config.as_object().is_some_and(|c| !c.is_empty()));
    let mut env = BTreeMap::new();
    for one in spec.pointer("/vmConfig/env").and_then(Value::as_array).into_iter().flatten() {
        let part = |field: &str| one.get(field).and_then(Value::as_str);
        if let (Some(name), Some(value)) = (part("name"), part("value")) {
            env.insert(name.to_owned(), value.to_owned());
        }
    }
    Some(Plugin {
        names: names([&root_id, last_segment(&module), name]),
        root_id,
        configuration: config.map(|config| config.to_string().into_bytes()),
        env,
        is_http: text("type") != "NETWORK",
        pointer: config.map_or_else(|| at.to_owned(), |_| format!("{at}/pluginConfig")),
        is_text: false,
        module,
    })
}

/// The plugins of an `EnvoyExtensionPolicy`.
pub(super) fn of_gateway(value: &Value) -> Vec<Plugin> {
    let wasm = value.pointer("/spec/wasm").and_then(Value::as_array).into_iter().flatten().enumerate();
    wasm.map(|(index, spec)| {
        let text =
            |pointer: &str| spec.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let module = [text("/code/image/url"), text("/code/http/url")].concat();
        let root_id = text("/rootID");
        let config = spec.get("config").filter(|config| !config.is_null());
        let at = format!("/spec/wasm/{index}");
        Plugin {
            names: names([&root_id, last_segment(&module), &text("/name")]),
            root_id,
            configuration: config.map(|config| config.to_string().into_bytes()),
            env: BTreeMap::new(),
            is_http: true,
            pointer: config.map_or_else(|| at.clone(), |_| format!("{at}/config")),
            is_text: false,
            module,
        }
    })
    .collect()
}

/// The plugin of an Envoy `PluginConfig` at `at`, and what is wrong with the form of its configuration.
pub(super) fn of_envoy(
    value: &Value,
    at: &str,
    is_http: bool,
    findings: &mut Findings<'_>,
) -> Option<Plugin> {
    let config = value.pointer(at)?;
    let text = |pointer: &str| config.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let code = "/vm_config/code";
    let module =
        [text(&format!("{code}/local/filename")), text(&format!("{code}/remote/http_uri/uri"))].concat();
    let (root_id, name) = (text("/root_id"), text("/name"));
    let mut plugin = Plugin {
        names: names([&root_id, last_segment(&module), &name]),
        root_id,
        module,
        is_http,
        pointer: at.to_owned(),
        ..Plugin::default()
    };
    let values = config.pointer("/vm_config/environment_variables/key_values").and_then(Value::as_object);
    for (name, value) in values.into_iter().flatten() {
        plugin.env.insert(name.clone(), value.as_str().unwrap_or_default().to_owned());
    }
    let Some(configuration) = config.get("configuration").filter(|configuration| !configuration.is_null())
    else {
        return Some(plugin);
    };
    let kind = configuration.get("@type").and_then(Value::as_str).unwrap_or_default();
    let inner = configuration.get("value");
    match kind.rsplit('/').next().unwrap_or_default() {
        "google.protobuf.StringValue" => {
            let text = inner.and_then(Value::as_str).filter(|text| !text.is_empty());
            plugin.configuration = text.map(|text| text.as_bytes().to_vec());
            plugin.pointer = format!("{at}/configuration/value");
            plugin.is_text = true;
        }
        "google.protobuf.BytesValue" => {
            let bytes = inner.and_then(Value::as_str).and_then(|text| STANDARD.decode(text).ok());
            plugin.configuration = bytes.filter(|bytes| !bytes.is_empty());
            plugin.pointer = format!("{at}/configuration/value");
        }
        "google.protobuf.Struct" => {
            let reason = "a `Struct` reaches the plugin as protobuf's bytes, not as JSON";
            let pointer = format!("{at}/configuration/@type");
            findings.add(&rules::STRUCT, &pointer, reason).hint(
                "`\"@type\": type.googleapis.com/google.protobuf.StringValue` with the JSON as the text `value`",
            );
            return None;
        }
        // Anything else is bytes of a message that only the plugin knows.
        _ => return None,
    }
    Some(plugin)
}

fn names<const N: usize>(names: [&str; N]) -> Vec<String> {
    let mut known: Vec<String> = Vec::new();
    for name in names {
        if !name.is_empty() && !known.iter().any(|known| known == name) {
            known.push(name.to_owned());
        }
    }
    known
}

/// The name of a module in a path or a URL: `canary` in `oci://host/weir/canary:0.1.0` and in `/x/canary.wasm`.
#[must_use]
pub fn last_segment(module: &str) -> &str {
    let last = module.rsplit('/').next().unwrap_or_default();
    let last = last.split(['@', '?']).next().unwrap_or_default();
    let last = last.split(':').next().unwrap_or_default();
    last.strip_suffix(".wasm").unwrap_or(last)
}

/// The clusters that a plugin's configuration names, each with its JSON pointer: where the module says so, else texts under `cluster` and names
/// that end so.
#[must_use]
pub fn clusters_in(metadata: Option<&Metadata>, config: &Value) -> Vec<(String, String)> {
    match metadata.filter(|metadata| !metadata.clusters.is_empty()) {
        Some(metadata) => {
            let named = metadata.clusters_in(config).into_iter();
            named.map(|(pointer, name)| (pointer, name.to_owned())).collect()
        }
        None => super::envoy::clusters_by_name(config),
    }
}

/// What the plugin's module says of its configuration; and what it says of itself.
pub(super) fn check(
    plugin: &Plugin,
    document: &Document,
    source: &str,
    runner: &mut dyn Runner,
    findings: &mut Findings<'_>,
) -> Option<Metadata> {
    if !plugin.is_http {
        return None;
    }
    let Some(trial) = runner.try_out(plugin) else {
        let shown = plugin.names.first().map_or("the plugin", String::as_str);
        let finding = findings.at_key(
            &rules::UNTRIED,
            &plugin.pointer,
            format!("no module is at hand for `{shown}`: its configuration is not checked"),
        );
        finding.hint(format!("`--module {shown}=FILE` names one"));
        return None;
    };
    if let Some(schema) = trial.schema.and_then(|schema| Schema::new(schema).ok()) {
        check_schema(plugin, &schema, document, source, findings);
    }
    let (rule, reason) = match trial.verdict {
        Verdict::Accepted => return trial.metadata,
        Verdict::Refused(said) => (&rules::REFUSED, format!("the plugin refuses this configuration{said}")),
        Verdict::Trapped(said) => {
            (&rules::TRAPPED, format!("the plugin traps on this configuration: {said}"))
        }
        Verdict::NotLoaded(said) => (&rules::MODULE, said),
    };
    let at = if plugin.is_text { plugin.pointer.trim_end_matches("/value") } else { &plugin.pointer };
    findings.at_key(rule, at, reason);
    trial.metadata
}

fn check_schema(
    plugin: &Plugin,
    schema: &Schema,
    document: &Document,
    source: &str,
    findings: &mut Findings<'_>,
) {
    let Some(configuration) = &plugin.configuration else { return };
    if plugin.is_text {
        match document.inner(&plugin.pointer, source) {
            Ok(inner) => {
                for one in &inner {
                    let mut within = findings.inside(&plugin.pointer, one);
                    say(schema, &one.value, "", &mut within);
                    let found = within.into_found();
                    findings.extend(found);
                }
            }
            Err(error) => {
                let place = error.location;
                findings.push(&rules::CONFIGURATION, &plugin.pointer, place, error.reason);
            }
        }
    } else if let Some(value) = document.value.pointer(&plugin.pointer).filter(|value| value.is_object()) {
        say(schema, value, &plugin.pointer, findings);
    } else if let Ok(value) = serde_json::from_slice::<Value>(configuration) {
        // Bytes have no places inside.
        for mistake in schema.mistakes(&value) {
            let path = super::document::readable(&mistake.pointer);
            let finding =
                findings.add(&rules::CONFIGURATION, &plugin.pointer, format!("`{path}`: {}", mistake.reason));
            finding.hint = mistake.hint;
        }
    }
}

fn say(schema: &Schema, value: &Value, prefix: &str, findings: &mut Findings<'_>) {
    for mistake in schema.mistakes(value) {
        let finding =
            findings.at_key(&rules::CONFIGURATION, &format!("{prefix}{}", mistake.pointer), mistake.reason);
        finding.hint = mistake.hint;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_have_names() {
        for (module, want) in [
            ("oci://registry.example.com:5000/weir/canary:0.1.0", "canary"),
            ("registry.example.com/weir/canary@sha256:abc", "canary"),
            ("https://example.com/x/fault.wasm?y=1", "fault"),
            ("/var/lib/weir/rate_limit.wasm", "rate_limit"),
            ("", ""),
        ] {
            assert_eq!(last_segment(module), want);
        }
    }
}
