//! Custom resources against the schemas of their API: fields, rules in CEL, entries that stand twice. The schemas are those of
//! `crds/ORIGIN.md`. Knows nothing of what a resource means.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use serde_json::{Map, Value, json};

use super::cel::Programs;
use super::document::step;
use super::findings::Findings;
use super::rules;
use super::schema::{Schema, describe};
use crate::yaml;

/// The schemas, as published.
const FILES: &[&str] = &[
    include_str!("crds/wasmplugins.json"),
    include_str!("crds/trafficextensions.json"),
    include_str!("crds/envoyfilters.json"),
    include_str!("crds/virtualservices.json"),
    include_str!("crds/destinationrules.json"),
    include_str!("crds/envoyextensionpolicies.json"),
    include_str!("crds/envoypatchpolicies.json"),
    include_str!("crds/gateways.json"),
    include_str!("crds/httproutes.json"),
];

/// A custom resource's API.
pub(super) struct Crd {
    /// The group, such as `extensions.istio.io`.
    pub(super) group: String,
    /// The kind, such as `WasmPlugin`.
    pub(super) kind: String,
    versions: Vec<String>,
    /// As published, with what Kubernetes adds and without openness.
    closed: Value,
    schema: Schema,
}

static CRDS: LazyLock<Vec<Arc<Crd>>> =
    LazyLock::new(|| FILES.iter().filter_map(|file| Crd::parse(file)).map(Arc::new).collect());

/// Compiled rules are shared: compiling them is most of the work.
static PROGRAMS: LazyLock<Mutex<Programs>> = LazyLock::new(Mutex::default);

/// The API of a kind; the version is looked at by [`Crd::check`].
#[must_use]
pub(super) fn find(api_version: &str, kind: &str) -> Option<Arc<Crd>> {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    CRDS.iter().find(|crd| crd.group == group && crd.kind == kind).cloned()
}

/// The kinds that are known, with their groups.
pub(super) fn kinds() -> impl Iterator<Item = (&'static str, &'static str)> {
    CRDS.iter().map(|crd| (crd.group.as_str(), crd.kind.as_str()))
}

impl Crd {
    fn parse(file: &str) -> Option<Self> {
        let mut crd: BTreeMap<String, Value> = serde_json::from_str(file).ok()?;
        let mut closed = crd.remove("openAPIV3Schema")?;
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let fields = closed.get_mut("properties")?.as_object_mut()?;
        fields.insert("apiVersion".into(), json!({"type": "string"}));
        fields.insert("kind".into(), json!({"type": "string"}));
        fields.insert("metadata".into(), metadata());
        fields.insert("status".into(), json!({"x-kubernetes-preserve-unknown-fields": true}));
        close(&mut closed);
        let versions = crd.get("versions")?.as_array()?.iter().filter_map(|version| text(Some(version)));
        Some(Self {
            group: text(crd.get("group"))?,
            kind: text(crd.get("kind"))?,
            versions: versions.collect(),
            schema: Schema::new(closed.clone()).ok()?,
            closed,
        })
    }

    /// What Kubernetes would refuse of a resource.
    pub(super) fn check(&self, value: &Value, findings: &mut Findings<'_>) {
        let api_version = value.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
        let version = api_version.split_once('/').map_or("", |(_, version)| version);
        if !self.versions.iter().any(|known| known == version) {
            let known: Vec<&str> = self.versions.iter().map(String::as_str).collect();
            findings.add(&rules::VERSION, "/apiVersion", yaml::unknown("version", version, &known));
        }
        let mut value = value.clone();
        set_defaults(&self.closed, &mut value);
        let mistakes = self.schema.mistakes(&value);
        for mistake in &mistakes {
            let rule = match mistake {
                mistake if mistake.pointer.starts_with("/metadata") => &rules::METADATA,
                mistake if mistake.is_unknown => &rules::UNKNOWN_FIELD,
                _ => &rules::SCHEMA,
            };
            let finding = if mistake.is_unknown {
                findings.at_key(rule, &mistake.pointer, mistake.reason.clone())
            } else {
                findings.add(rule, &mistake.pointer, mistake.reason.clone())
            };
            finding.hint.clone_from(&mistake.hint);
        }
        check_metadata(&value, findings);
        let mut programs = PROGRAMS.lock().unwrap_or_else(PoisonError::into_inner);
        let mut walk = Walk { programs: &mut programs, findings, is_sound: mistakes.is_empty() };
        walk.value(&self.closed, &value, &mut String::new());
    }
}

/// `ObjectMeta`, as a schema.
fn metadata() -> Value {
    let texts = json!({"type": "object", "additionalProperties": {"type": "string"}});
    json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 253, "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"},
            "generateName": {"type": "string", "maxLength": 253},
            "namespace": {"type": "string", "maxLength": 63, "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"},
            "labels": texts, "annotations": texts,
            "finalizers": {"type": "array", "items": {"type": "string"}},
            "ownerReferences": {"type": "array"}, "managedFields": {"type": "array"},
            "resourceVersion": {"type": "string"}, "uid": {"type": "string"}, "selfLink": {"type": "string"},
            "generation": {"type": "integer"}, "deletionGracePeriodSeconds": {"type": "integer"},
            "creationTimestamp": {"type": "string", "nullable": true}, "deletionTimestamp": {"type": "string", "nullable": true},
        },
    })
}

/// Says in JSON Schema what OpenAPI says otherwise, and forbids unknown fields where Kubernetes drops them.
fn close(schema: &mut Value) {
    let Value::Object(fields) = schema else { return };
    let is_open = fields.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
    if fields.contains_key("properties") && !is_open && !fields.contains_key("additionalProperties") {
        fields.insert("additionalProperties".into(), Value::Bool(false));
    }
    if fields.get("nullable") == Some(&Value::Bool(true))
        && let Some(Value::String(kind)) = fields.get("type")
    {
        let kinds = json!([kind, "null"]);
        fields.insert("type".into(), kinds);
    }
    if fields.get("format").and_then(Value::as_str) == Some("int32") {
        fields.entry("minimum").or_insert(json!(i32::MIN));
        fields.entry("maximum").or_insert(json!(i32::MAX));
    }
    if let Some(Value::Object(properties)) = fields.get_mut("properties") {
        properties.values_mut().for_each(close);
    }
    for part in ["items", "additionalProperties"] {
        if let Some(part) = fields.get_mut(part) {
            close(part);
        }
    }
    // `oneOf` and its like only restrict what the rest of the schema describes: they close nothing.
}

/// Sets defaults as Kubernetes does before it validates.
fn set_defaults(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(map) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            for (name, property) in properties.into_iter().flatten() {
                if let Some(default) = property.get("default")
                    && map.get(name).is_none_or(Value::is_null)
                {
                    map.insert(name.clone(), default.clone());
                }
            }
            for (name, value) in map {
                if let Some(schema) = part(schema, name) {
                    set_defaults(schema, value);
                }
            }
        }
        Value::Array(values) => {
            if let Some(items) = schema.get("items") {
                values.iter_mut().for_each(|value| set_defaults(items, value));
            }
        }
        _ => {}
    }
}

/// The schema of a field.
fn part<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    let property = schema.get("properties").and_then(|properties| properties.get(name));
    property.or_else(|| schema.get("additionalProperties"))
}

fn check_metadata(value: &Value, findings: &mut Findings<'_>) {
    let empty = Map::new();
    let metadata = value.get("metadata").and_then(Value::as_object).unwrap_or(&empty);
    if !metadata.contains_key("name") && !metadata.contains_key("generateName") {
        let finding = findings.add(&rules::METADATA, "/metadata", "the resource has no name".to_owned());
        finding.hint = Some("`metadata: {name: …}`".to_owned());
    }
}

/// What a schema says in Kubernetes' own words: rules and lists.
struct Walk<'a, 'b> {
    programs: &'a mut Programs,
    findings: &'a mut Findings<'b>,
    /// The value is as the schema says: a rule that ends in an error is one, and not a consequence.
    is_sound: bool,
}

impl Walk<'_, '_> {
    fn value(&mut self, schema: &Value, value: &Value, pointer: &mut String) {
        if !value.is_null() {
            self.rules(schema, value, pointer);
        }
        let length = pointer.len();
        match value {
            Value::Object(map) => {
                for (name, value) in map {
                    let Some(schema) = part(schema, name) else { continue };
                    pointer.push_str(&step(name));
                    self.value(schema, value, pointer);
                    pointer.truncate(length);
                }
            }
            Value::Array(values) => {
                self.list(schema, values, pointer);
                let Some(items) = schema.get("items") else { return };
                for (index, value) in values.iter().enumerate() {
                    pointer.push_str(&format!("/{index}"));
                    self.value(items, value, pointer);
                    pointer.truncate(length);
                }
            }
            _ => {}
        }
    }

    fn rules(&mut self, schema: &Value, value: &Value, pointer: &str) {
        let rules = schema.get("x-kubernetes-validations").and_then(Value::as_array);
        for rule in rules.into_iter().flatten() {
            let text = rule.get("rule").and_then(Value::as_str).unwrap_or_default();
            // A rule about a change has nothing to compare with.
            if text.contains("oldSelf") {
                continue;
            }
            let reason = match self.programs.holds(text, schema, value) {
                Ok(true) => continue,
                Ok(false) => match rule.get("message").and_then(Value::as_str) {
                    Some(message) => message.trim().to_owned(),
                    None => format!("{} does not satisfy `{text}`", describe(value)),
                },
                Err(_) if !self.is_sound => continue,
                Err(error) => format!("{} does not satisfy `{text}`: {error}", describe(value)),
            };
            self.findings.add(&rules::CEL, pointer, reason);
        }
    }

    /// Entries of a map-like list, or of a set, that stand twice.
    fn list(&mut self, schema: &Value, values: &[Value], pointer: &str) {
        let keys: Vec<&str> = match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
            Some("map") => {
                let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
                keys.into_iter().flatten().filter_map(Value::as_str).collect()
            }
            Some("set") => Vec::new(),
            _ => return,
        };
        let identity = |value: &Value| -> Vec<Value> {
            if keys.is_empty() {
                return vec![value.clone()];
            }
            keys.iter().map(|key| value.get(key).cloned().unwrap_or_default()).collect()
        };
        for (index, value) in values.iter().enumerate() {
            let id = identity(value);
            if id.iter().all(Value::is_null)
                || !values.iter().take(index).any(|before| identity(before) == id)
            {
                continue;
            }
            let named: Vec<String> = match keys.as_slice() {
                [] => vec![describe(value)],
                keys => {
                    keys.iter().zip(&id).map(|(key, value)| format!("`{key}` {}", describe(value))).collect()
                }
            };
            let reason = format!("an entry with {} stands before; each may stand once", named.join(" and "));
            self.findings.add(&rules::LIST, &format!("{pointer}/{index}"), reason);
        }
    }
}

/// Each rule in CEL of the schemas of groups that end so, and what it says when it does not hold.
#[cfg(test)]
pub(super) fn cel_rules(groups: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    fn walk(schema: &'static Value, found: &mut Vec<(&'static str, &'static str)>) {
        match schema {
            Value::Object(map) => {
                let own = map.get("x-kubernetes-validations").and_then(Value::as_array);
                for rule in own.into_iter().flatten() {
                    let text = |field: &str| rule.get(field).and_then(Value::as_str).unwrap_or_default();
                    found.push((text("rule"), text("message")));
                }
                map.values().for_each(|schema| walk(schema, found));
            }
            Value::Array(values) => values.iter().for_each(|schema| walk(schema, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    let crds = CRDS.iter().filter(|crd| crd.group.ends_with(groups));
    crds.for_each(|crd| walk(&crd.closed, &mut found));
    found.into_iter()
}

#[cfg(test)]
mod tests;
