//! The Gateway API: rules of routes and listeners of Gateways that other resources name. What is not among the documents is elsewhere, and no mistake.

use std::collections::BTreeMap;

use serde_json::Value;

use super::findings::Findings;
use super::rules;
use crate::yaml;

/// Parts with names: the rules of each HTTPRoute, the listeners of each Gateway; nothing for a part without a name.
#[derive(Debug, Default)]
pub(super) struct Sections(BTreeMap<Object, Vec<Option<String>>>);

/// Kind, namespace and name.
type Object = (String, String, String);

impl Sections {
    /// Takes in an HTTPRoute or a Gateway.
    pub(super) fn add(&mut self, kind: &str, value: &Value) {
        let parts = if kind == "Gateway" { "/spec/listeners" } else { "/spec/rules" };
        let parts = value.pointer(parts).and_then(Value::as_array);
        let names = parts.into_iter().flatten().map(|part| text(part, "name").map(str::to_owned));
        if let Some(name) = value.get("metadata").and_then(|metadata| text(metadata, "name")) {
            self.0.insert((kind.to_owned(), namespace(value), name.to_owned()), names.collect());
        }
    }

    /// What a policy is attached to.
    pub(super) fn check_targets(&self, policy: &Value, findings: &mut Findings<'_>) {
        if let Some(target) = policy.pointer("/spec/targetRef") {
            self.check(policy, target, "HTTPRoute", "/spec/targetRef", findings);
        }
        let targets = policy.pointer("/spec/targetRefs").and_then(Value::as_array);
        for (index, target) in targets.into_iter().flatten().enumerate() {
            self.check(policy, target, "HTTPRoute", &format!("/spec/targetRefs/{index}"), findings);
        }
    }

    /// What a route is of.
    pub(super) fn check_parents(&self, route: &Value, findings: &mut Findings<'_>) {
        let parents = route.pointer("/spec/parentRefs").and_then(Value::as_array);
        for (index, parent) in parents.into_iter().flatten().enumerate() {
            self.check(route, parent, "Gateway", &format!("/spec/parentRefs/{index}"), findings);
        }
    }

    /// Whether a cluster would be that of a rule (`httproute/NAMESPACE/NAME/rule/N`) which the HTTPRoute does not have.
    pub(super) fn lacks_rule(&self, cluster: &str) -> bool {
        let steps: Vec<&str> = cluster.split('/').collect();
        let ["httproute", namespace, name, "rule", rule] = steps.as_slice() else { return false };
        let object = ("HTTPRoute".to_owned(), (*namespace).to_owned(), (*name).to_owned());
        let (Some(rules), Ok(rule)) = (self.0.get(&object), rule.parse::<usize>()) else { return false };
        // Without any it has the default one.
        rule >= rules.len().max(1)
    }

    fn check(&self, from: &Value, to: &Value, default_kind: &str, at: &str, findings: &mut Findings<'_>) {
        let (Some(name), Some(section)) = (text(to, "name"), text(to, "sectionName")) else { return };
        let kind = text(to, "kind").unwrap_or(default_kind);
        let namespace = text(to, "namespace").map_or_else(|| namespace(from), str::to_owned);
        let Some(parts) = self.0.get(&(kind.to_owned(), namespace, name.to_owned())) else { return };
        let known: Vec<&str> = parts.iter().flatten().map(String::as_str).collect();
        if known.contains(&section) {
            return;
        }
        let part = if kind == "Gateway" { "listener" } else { "rule" };
        let reason = if known.is_empty() {
            format!("the {kind} `{name}` has no {part} with a name")
        } else {
            yaml::unknown(part, section, &known)
        };
        findings.add(&rules::GATEWAY_SECTION, &format!("{at}/sectionName"), reason);
    }
}

fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field).and_then(Value::as_str)
}

fn namespace(value: &Value) -> String {
    let namespace = value.get("metadata").and_then(|metadata| text(metadata, "namespace"));
    namespace.unwrap_or("default").to_owned()
}
