//! What Istio's webhook asks of objects beside their schema: of all of them and of `WasmPlugin` and `TrafficExtension` here, of the other kinds in
//! files of their own; and `VirtualService` beside its `DestinationRule`s.

pub(super) mod destination_rule;
mod http_route;
mod load_balancer;
mod names;
mod object;
mod unreachable;
mod values;
pub(super) mod virtual_service;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use self::object::Webhook;
use super::document::step;
use super::findings::Findings;
use super::rules;

/// Annotations that Istio keeps for itself, and what of them is refused.
const ANNOTATIONS: &[(&str, &str)] = &[
    ("istio.io/dry-run", "is for AuthorizationPolicy only"),
    ("internal.istio.io/webhook-always-reject", "has Istio refuse the object, whatever it says"),
    ("internal.istio.io/parents", "is Istio's own"),
    ("internal.istio.io/parent-namespace", "is Istio's own"),
];

/// What a plugin may be attached to: group and kind. Istio refuses other targets.
const TARGETS: &[(&str, &str)] = &[
    ("", "Service"),
    ("core", "Service"),
    ("gateway.networking.k8s.io", "Gateway"),
    ("gateway.networking.k8s.io", "GatewayClass"),
    ("networking.istio.io", "ServiceEntry"),
];

/// What Istio's webhook refuses of an object of any kind.
pub(super) fn check_annotations(value: &Value, findings: &mut Findings<'_>) {
    let annotations = value.pointer("/metadata/annotations").and_then(Value::as_object);
    for (name, _) in annotations.into_iter().flatten() {
        if let Some((_, reason)) = ANNOTATIONS.iter().find(|(known, _)| known == name) {
            let at = format!("/metadata/annotations{}", step(name));
            findings.at_key(&rules::ANNOTATION, &at, format!("`{name}` {reason}"));
        }
    }
}

/// Says that a selector at `at`, which is there, has nothing in its labels.
pub(super) fn selector(value: &Value, at: &str, field: &str, findings: &mut Findings<'_>) {
    let labels = value.pointer(&format!("{at}/{field}")).and_then(Value::as_object);
    if value.pointer(at).is_some() && labels.is_none_or(serde_json::Map::is_empty) {
        let reason = "a selector without labels: applied to all workloads of the namespace";
        findings.add(&rules::SELECTOR, at, reason);
    }
}

/// Whom an object is shown to.
fn export_to(value: &Value, has_selector: bool, hook: &mut Webhook<'_, '_>) {
    let namespace = value.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or(".");
    let Some(spec) = object::Part::of(value, "/spec") else { return };
    let shown_to = spec.list("exportTo");
    let mut seen: Vec<&str> = Vec::new();
    for one in &shown_to {
        let text = one.as_text();
        let key = if text == "." { namespace } else { text };
        if seen.contains(&key) {
            hook.refuse(one.at(), format!("`{text}` is there already, by name or as `.`"));
        } else if text == "~" {
            hook.refuse(one.at(), "`~`, nobody, is for ServiceEntries only");
        } else if !matches!(text, "." | "*") && !names::is_label(text) {
            hook.refuse(one.at(), format!("`{text}` is neither `.`, `*` nor the name of a namespace"));
        } else {
            seen.push(key);
        }
    }
    let at = spec.at_field("exportTo");
    if seen.contains(&"*") && shown_to.len() > 1 {
        hook.refuse(&at, "`*` is everybody: it stands alone");
    }
    if has_selector && !seen.is_empty() && seen != [namespace] {
        hook.refuse(&at, "with a `workloadSelector` it is for its own namespace only: `.`");
    }
}

/// What Istio's webhook says of a plugin or an extension.
pub(super) fn check(value: &Value, findings: &mut Findings<'_>) {
    selector(value, "/spec/selector", "matchLabels", findings);
    let Some(spec) = value.get("spec") else { return };
    let several = spec.get("targetRefs").and_then(Value::as_array);
    let several = several.into_iter().flatten().enumerate();
    let targets = several.map(|(index, target)| (format!("/spec/targetRefs/{index}"), target));
    let single = spec.get("targetRef").map(|target| ("/spec/targetRef".to_owned(), target));
    for (pointer, target) in single.into_iter().chain(targets) {
        let text = |field: &str| target.get(field).and_then(Value::as_str).unwrap_or_default();
        let (group, kind) = (text("group"), text("kind"));
        if kind.is_empty() || TARGETS.contains(&(group, kind)) {
            continue;
        }
        let reason = format!("`{group}/{kind}` is nothing that Istio attaches plugins to");
        let finding = findings.add(&rules::TARGET, &pointer, reason);
        finding.hint(
            "accepted: Gateway and GatewayClass of `gateway.networking.k8s.io`, Service of the group ``, ServiceEntry of \
             `networking.istio.io`",
        );
    }
}

/// The subsets that destination rules define, by host, with namespace.
pub(super) type Subsets = BTreeMap<String, BTreeSet<String>>;

/// Adds the subsets of a `DestinationRule`.
pub(super) fn add_subsets(value: &Value, subsets: &mut Subsets) {
    let Some(host) = value.pointer("/spec/host").and_then(Value::as_str) else { return };
    let known = subsets.entry(full_host(host, value)).or_default();
    let named = value.pointer("/spec/subsets").and_then(Value::as_array).into_iter().flatten();
    known.extend(named.filter_map(|subset| Some(subset.get("name")?.as_str()?.to_owned())));
}

/// Says which subsets of a `VirtualService` no `DestinationRule` defines, for hosts that have one.
pub(super) fn check_subsets(value: &Value, subsets: &Subsets, findings: &mut Findings<'_>) {
    for protocol in ["http", "tcp", "tls"] {
        let routes = value.pointer(&format!("/spec/{protocol}")).and_then(Value::as_array);
        for (index, route) in routes.into_iter().flatten().enumerate() {
            let pointer = format!("/spec/{protocol}/{index}");
            let list =
                |field: &str| route.get(field).and_then(Value::as_array).into_iter().flatten().enumerate();
            for (at, one) in list("route") {
                destination(one, &format!("{pointer}/route/{at}/destination"), value, subsets, findings);
            }
            for (at, one) in list("mirrors") {
                destination(one, &format!("{pointer}/mirrors/{at}/destination"), value, subsets, findings);
            }
        }
    }
}

fn destination(route: &Value, pointer: &str, object: &Value, subsets: &Subsets, findings: &mut Findings<'_>) {
    let text = |field: &str| route.pointer(&format!("/destination/{field}")).and_then(Value::as_str);
    let (Some(host), Some(subset)) = (text("host"), text("subset")) else { return };
    let Some(known) = subsets.get(&full_host(host, object)).filter(|known| !known.contains(subset)) else {
        return;
    };
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let reason = format!("{}; Envoy answers 503", crate::yaml::unknown("subset", subset, &known));
    findings.add(&rules::SUBSET, &format!("{pointer}/subset"), reason);
}

/// A host as Istio completes it: a short name is in the object's namespace.
fn full_host(host: &str, object: &Value) -> String {
    let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or("default");
    match host.matches('.').count() {
        0 => format!("{host}.{namespace}.svc.cluster.local"),
        1 => format!("{host}.svc.cluster.local"),
        _ => host.to_owned(),
    }
}
