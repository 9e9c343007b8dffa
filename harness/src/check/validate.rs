//! What a real Envoy says of a configuration: made whole, handed over by a [`Runner`], and the place found that its words mean. Pure.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::document::{Document, step};
use super::envoy::{self, BOOTSTRAP};
use super::findings::Findings;
use super::plugin::{self, Plugin, Runner};
use super::{Source, rules};

mod words;

/// A bootstrap for a real Envoy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The bootstrap.
    pub text: String,
    /// How a file of it is named: `yaml` or `json`.
    pub extension: &'static str,
}

/// What a real Envoy said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It would start.
    Accepts,
    /// It would not, and said this.
    Refuses(String),
}

/// Messages that can be put into a bootstrap, and where they stand there.
const PARTS: &[(&str, &str)] = &[
    ("envoy.config.listener.v3.Listener", "/static_resources/listeners/0"),
    ("envoy.config.cluster.v3.Cluster", "/static_resources/clusters/0"),
    (
        "envoy.config.route.v3.RouteConfiguration",
        "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config",
    ),
    (
        "envoy.config.core.v3.TypedExtensionConfig",
        "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/0",
    ),
];

/// Something that is asked about.
struct Part {
    /// The bootstrap.
    whole: Value,
    /// Where it stands in the document.
    pointer: String,
    /// Where it stands in the bootstrap.
    inside: &'static str,
}

/// Says what Envoy says of a document, and where that differs from what was found in it so far.
pub(super) fn check(
    message: &str,
    source: &Source,
    document: &Document,
    errors: &[String],
    runner: &mut dyn Runner,
    findings: &mut Findings<'_>,
) {
    let mut value = document.value.clone();
    let Some(as_written) = locate(&mut value, document, runner, findings) else { return };
    let parts = parts(message, &value);
    let mut accepts = !parts.is_empty();
    for part in &parts {
        // As it is written where that can be: Envoy's YAML is not everybody's.
        let question = if part.inside.is_empty() && as_written && source.is_one(document) {
            let extension = if source.text.trim_start().starts_with('{') { "json" } else { "yaml" };
            Question { text: source.text.clone(), extension }
        } else {
            Question { text: part.whole.to_string(), extension: "json" }
        };
        match runner.ask_envoy(&question) {
            Some(Answer::Accepts) => {}
            Some(Answer::Refuses(said)) => {
                accepts = false;
                say(part, &said, document, errors, findings);
            }
            None => accepts = false,
        }
    }
    if accepts && let Some(first) = errors.first() {
        let reason = "Envoy itself accepts this configuration, in which other rules found errors";
        findings.at_key(&rules::ENVOY_ACCEPTS, first, reason);
    }
}

fn say(part: &Part, said: &str, document: &Document, errors: &[String], findings: &mut Findings<'_>) {
    let said = words::said(said);
    let place = words::place(&said, &part.whole);
    let place = place.as_deref().and_then(|place| place.strip_prefix(part.inside));
    let place = place.map(|place| format!("{}{place}", part.pointer));
    // The value that its words quote, anywhere.
    let place =
        place.or_else(|| words::quoted(&said, &document.value)).unwrap_or_else(|| part.pointer.clone());
    if words::is_about_a_file(&said) {
        let reason = format!("Envoy needs a file that is not there, so it did not look further: {said}");
        findings.at_key(&rules::ENVOY_UNASKED, &place, reason);
        return;
    }
    let alone = if errors.is_empty() { "; nothing else was found wrong with it" } else { "" };
    let reason = format!("Envoy refuses this: {said}{alone}");
    if said.contains("no such field: ") {
        findings.at_key(&rules::ENVOY_REFUSED, &place, reason);
    } else {
        findings.add(&rules::ENVOY_REFUSED, &place, reason);
    }
}

/// Has plugins' modules be those that are here; whether nothing had to be changed for that. Nothing when one is not here.
fn locate(
    value: &mut Value,
    document: &Document,
    runner: &mut dyn Runner,
    findings: &mut Findings<'_>,
) -> Option<bool> {
    let mut as_written = true;
    let mut is_whole = true;
    for (at, is_http) in envoy::plugins(&document.value) {
        let file = format!("{at}/vm_config/code/local/filename");
        let Some(written) = document.value.pointer(&file).and_then(Value::as_str) else { continue };
        let nothing = Document::default();
        let mut unheard = Findings::new("", String::new(), &nothing);
        let plugin = plugin::of_envoy(&document.value, &at, is_http, &mut unheard);
        // One whose configuration has no form that reaches it has a module all the same.
        let plugin = plugin.unwrap_or_else(|| Plugin {
            names: vec![plugin::last_segment(written).to_owned()],
            module: written.to_owned(),
            ..Plugin::default()
        });
        let Some(found) = runner.locate(&plugin) else {
            let reason = format!("Envoy was not asked: there is no `{written}`");
            let finding = findings.add(&rules::ENVOY_UNASKED, &file, reason);
            finding.hint("relative paths are of the folder in which Envoy is started; `--module NAME=FILE` names another file for this");
            is_whole = false;
            continue;
        };
        if found != written
            && let Some(place) = value.pointer_mut(&file)
        {
            *place = Value::String(found);
            as_written = false;
        }
    }
    is_whole.then_some(as_written)
}

/// The parts of a document that Envoy can be asked about, each in a bootstrap.
fn parts(message: &str, value: &Value) -> Vec<Part> {
    if message == BOOTSTRAP {
        return vec![Part { whole: value.clone(), pointer: String::new(), inside: "" }];
    }
    let listed =
        value.get("resources").and_then(Value::as_array).filter(|_| message.ends_with("DiscoveryResponse"));
    if let Some(resources) = listed {
        let resources = resources.iter().enumerate();
        return resources
            .filter_map(|(index, one)| part(typed(one)?, one, format!("/resources/{index}")))
            .collect();
    }
    let message = if message == "google.protobuf.Any" { typed(value) } else { Some(message) };
    message.and_then(|message| part(message, value, String::new())).into_iter().collect()
}

fn typed(value: &Value) -> Option<&str> {
    value.get("@type")?.as_str()?.rsplit('/').next()
}

fn part(message: &str, value: &Value, pointer: String) -> Option<Part> {
    let (_, inside) = PARTS.iter().find(|(part, _)| *part == message)?;
    let mut value = value.clone();
    value.as_object_mut()?.remove("@type");
    let (route_config, filters) = match message.rsplit('.').next()? {
        "RouteConfiguration" => (value.clone(), Vec::new()),
        "TypedExtensionConfig" => (json!({}), vec![value.clone()]),
        _ => (json!({}), Vec::new()),
    };
    let is_listener = message.ends_with(".Listener");
    let is_cluster = message.ends_with(".Cluster");
    let listeners = match (is_listener, is_cluster) {
        (true, _) => vec![value.clone()],
        (_, true) => Vec::new(),
        _ => vec![listener(&route_config, filters)],
    };
    let mut clusters = if is_cluster { vec![value.clone()] } else { Vec::new() };
    let own = value.get("name").and_then(Value::as_str).filter(|_| is_cluster);
    let named: BTreeSet<String> = envoy::named(&value).into_iter().filter(|name| own != Some(name)).collect();
    clusters.extend(named.into_iter().map(
        |name| json!({"name": name, "connect_timeout": "1s", "load_assignment": {"cluster_name": name}}),
    ));
    let whole = json!({"static_resources": {"listeners": listeners, "clusters": clusters}});
    Some(Part { whole, pointer, inside })
}

/// The smallest listener around routes and filters.
fn listener(route_config: &Value, mut filters: Vec<Value>) -> Value {
    let kind = |name: &str| format!("type.googleapis.com/envoy.extensions.filters.{name}");
    filters.push(json!({"name": "router", "typed_config": {"@type": kind("http.router.v3.Router")}}));
    json!({
        "name": "part",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": {
            "@type": kind("network.http_connection_manager.v3.HttpConnectionManager"),
            "stat_prefix": "part", "route_config": route_config, "http_filters": filters,
        }}]}],
    })
}

impl Source {
    /// Whether the file is this document and nothing else.
    fn is_one(&self, document: &Document) -> bool {
        super::document::read(&self.text)
            .is_ok_and(|documents| matches!(documents.as_slice(), [only] if only.value == document.value))
    }
}

/// One step of a pointer of a field or an element.
fn steps(path: &str) -> String {
    let mut pointer = String::new();
    for part in path.split(['.', '[', ']']).filter(|part| !part.is_empty() && *part != "<any>") {
        pointer.push_str(&step(part));
    }
    pointer
}
