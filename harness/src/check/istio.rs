//! `WasmPlugin` and `TrafficExtension`: what Istio's webhook asks of them beside their schema, and `VirtualService` beside its
//! `DestinationRule`s.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::findings::Findings;
use super::rules;

/// What a plugin may be attached to: group and kind. Istio refuses other targets.
const TARGETS: &[(&str, &str)] = &[
    ("", "Service"),
    ("core", "Service"),
    ("gateway.networking.k8s.io", "Gateway"),
    ("gateway.networking.k8s.io", "GatewayClass"),
    ("networking.istio.io", "ServiceEntry"),
];

/// What Istio's webhook says of a plugin or an extension.
pub(super) fn check(value: &Value, findings: &mut Findings<'_>) {
    let Some(spec) = value.get("spec") else { return };
    if let Some(selector) = spec.get("selector")
        && selector.get("matchLabels").and_then(Value::as_object).is_none_or(|labels| labels.is_empty())
    {
        let reason = "a selector without labels: applied to all workloads of the namespace";
        findings.add(&rules::SELECTOR, "/spec/selector", reason);
    }
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
