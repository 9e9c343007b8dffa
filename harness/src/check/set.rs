//! All documents of a check together: what one defines and another names, and every plugin in its surroundings.

use serde_json::Value;

use super::document::Document;
use super::envoy::{self, Clusters};
use super::findings::Findings;
use super::gateway::Sections;
use super::istio::{self, Subsets};
use super::plugin::{self, Plugin, Runner};
use super::{Kind, Source, envoy_filter, image, patch_policy, rules, strategy};
use crate::inspect::Metadata;

/// Clusters that every proxy of Istio has.
const ISTIO_CLUSTERS: &[&str] = &[
    "BlackHoleCluster",
    "PassthroughCluster",
    "InboundPassthroughCluster",
    "agent",
    "prometheus_stats",
    "sds-grpc",
    "xds-grpc",
    "zipkin",
];
const REFERENCED: &str = "/metadata/annotations/envoyfilter.istio.io~1referenced-services";

/// What the documents define.
#[derive(Debug, Default)]
pub(super) struct Set {
    clusters: Clusters,
    subsets: Subsets,
    sections: Sections,
    /// Plugins whose place in the chain nobody chose, by document, and why.
    unordered: Vec<(usize, String)>,
}

impl Set {
    pub(super) fn of<'a>(values: impl Iterator<Item = &'a Value>) -> Self {
        let mut set = Self::default();
        let mut plugins: Vec<(&Value, usize)> = Vec::new();
        for (index, value) in values.enumerate() {
            match Kind::of(value) {
                Kind::Envoy(_) => set.clusters.add(value),
                Kind::Custom { kind, .. } => match kind.as_str() {
                    "DestinationRule" => istio::add_subsets(value, &mut set.subsets),
                    "EnvoyFilter" => set.add_patched(value),
                    "EnvoyPatchPolicy" => {
                        patch_policy::clusters(value).for_each(|name| set.clusters.insert(name));
                    }
                    "HTTPRoute" | "Gateway" => set.sections.add(&kind, value),
                    "WasmPlugin" | "TrafficExtension" => plugins.push((value, index)),
                    _ => {}
                },
                Kind::Other(_) => {}
            }
        }
        strategy::order(&plugins, |at, reason| set.unordered.push((at, reason)));
        set
    }

    /// The clusters that a patch adds.
    fn add_patched(&mut self, value: &Value) {
        let patches = value.pointer("/spec/configPatches").and_then(Value::as_array);
        for patch in patches.into_iter().flatten().filter(|patch| patch["applyTo"] == "CLUSTER") {
            if let Some(name) = patch.pointer("/patch/value/name").and_then(Value::as_str) {
                self.clusters.insert(name);
            }
        }
    }

    /// What is to be said of a custom resource beside its schema.
    pub(super) fn check(
        &self,
        index: usize,
        kind: &str,
        source: &Source,
        document: &Document,
        runner: &mut dyn Runner,
        findings: &mut Findings<'_>,
    ) {
        let value = &document.value;
        let mut plugins: Vec<Plugin> = Vec::new();
        match kind {
            "WasmPlugin" | "TrafficExtension" => {
                let at = if kind == "WasmPlugin" { "/spec" } else { "/spec/wasm" };
                istio::check(value, findings);
                strategy::istio(value, at, findings);
                plugins.extend(plugin::of_istio(value, at));
                for (_, reason) in self.unordered.iter().filter(|(at, _)| *at == index) {
                    findings.at_key(&rules::ORDER, "/spec/priority", reason.clone());
                }
            }
            "EnvoyExtensionPolicy" => {
                strategy::gateway(value, findings);
                self.sections.check_targets(value, findings);
                plugins.extend(plugin::of_gateway(value));
            }
            "EnvoyFilter" => {
                envoy_filter::check(value, findings);
                envoy_filter::check_discovery(value, findings);
                plugins = of_envoy(value, findings);
            }
            "EnvoyPatchPolicy" => patch_policy::check(value, findings),
            "HTTPRoute" => self.sections.check_parents(value, findings),
            "VirtualService" => {
                istio::virtual_service::check(value, findings);
                istio::check_subsets(value, &self.subsets, findings);
            }
            "DestinationRule" => istio::destination_rule::check(value, findings),
            _ => {}
        }
        if !kind.starts_with("Envoy") || kind == "EnvoyFilter" {
            istio::check_annotations(value, findings);
        }
        for plugin in &plugins {
            let metadata = plugin::check(plugin, document, &source.text, runner, findings);
            let named = Named { plugin, metadata: metadata.as_ref(), document, source };
            if kind == "EnvoyExtensionPolicy" {
                self.gateway_clusters(named, findings);
            } else {
                self.istio_clusters(named, findings);
            }
        }
    }

    /// What is to be said of an Envoy configuration beside its messages.
    pub(super) fn check_envoy(
        &self,
        source: &Source,
        document: &Document,
        runner: &mut dyn Runner,
        findings: &mut Findings<'_>,
    ) {
        self.clusters.check(&document.value, findings);
        for plugin in of_envoy(&document.value, findings) {
            if let Some(at) = plugin.pointer.split("/configuration").next() {
                image::check_remote(&document.value, at, false, findings);
            }
            let metadata = plugin::check(&plugin, document, &source.text, runner, findings);
            if !self.clusters.is_complete() {
                continue;
            }
            let named = Named { plugin: &plugin, metadata: metadata.as_ref(), document, source };
            named.clusters(findings, |name, pointer, findings| {
                if !self.clusters.has(name) {
                    findings.add(&rules::PLUGIN_CLUSTER, pointer, self.clusters.missing(name));
                }
            });
        }
    }

    /// Envoy Gateway names the clusters that it makes by what they are made for, with `/`.
    fn gateway_clusters(&self, named: Named<'_>, findings: &mut Findings<'_>) {
        named.clusters(findings, |name, pointer, findings| {
            let lacks_rule = self.sections.lacks_rule(name);
            if (lacks_rule || !name.contains('/')) && !self.clusters.has(name) {
                let why = if lacks_rule { ": the HTTPRoute has no such rule; the first is 0" } else { "" };
                let reason = format!("Envoy Gateway makes no cluster `{name}`{why}");
                let finding = findings.add(&rules::GATEWAY_PLUGIN_CLUSTER, pointer, reason);
                finding.hint("an EnvoyPatchPolicy that adds it, or the cluster of a route's backend: `httproute/NAMESPACE/NAME/rule/0`");
            }
        });
    }

    fn istio_clusters(&self, named: Named<'_>, findings: &mut Findings<'_>) {
        let value = &named.document.value;
        let is_gateway = is_for_gateway(value) && value.pointer(REFERENCED).is_none();
        named.clusters(findings, |name, pointer, findings| {
            let is_istios =
                name.split('|').count() == 4 && name.starts_with("outbound|") || name.starts_with("inbound|");
            if !is_istios && !self.clusters.has(name) && !ISTIO_CLUSTERS.contains(&name) {
                let reason = format!("Istio's proxies have no cluster `{name}`");
                let finding = findings.add(&rules::ISTIO_CLUSTER, pointer, reason);
                finding.hint("clusters of services are named `outbound|PORT|SUBSET|HOST`, such as `outbound|8081||rls.demo.svc.cluster.local`");
            } else if is_istios && is_gateway {
                let reason =
                    format!("a gateway has the cluster `{name}` only when something routes to that service");
                let finding = findings.add(&rules::GATEWAY_CLUSTER, pointer, reason);
                finding.hint("an EnvoyFilter's annotation `envoyfilter.istio.io/referenced-services: NAMESPACE/HOST`, or a CLUSTER of your own");
            }
        });
    }
}

/// The plugins in Envoy's own configuration anywhere in a value.
fn of_envoy(value: &Value, findings: &mut Findings<'_>) -> Vec<Plugin> {
    let mut plugins = Vec::new();
    for (at, is_http) in envoy::plugins(value) {
        strategy::envoy(value, &at, findings);
        plugins.extend(plugin::of_envoy(value, &at, is_http, findings));
    }
    plugins
}

/// Whether a resource is for a gateway or a waypoint.
fn is_for_gateway(value: &Value) -> bool {
    let target = |target: &Value| matches!(target["kind"].as_str(), Some("Gateway" | "GatewayClass"));
    let single = value.pointer("/spec/targetRef").is_some_and(target);
    let several = value.pointer("/spec/targetRefs").and_then(Value::as_array);
    let patches = value.pointer("/spec/configPatches").and_then(Value::as_array);
    let context = |patch: &Value| {
        matches!(patch.pointer("/match/context").and_then(Value::as_str), Some("GATEWAY" | "WAYPOINT"))
    };
    single
        || several.into_iter().flatten().any(target)
        || patches.into_iter().flatten().any(context)
        || value.pointer("/spec/selector/matchLabels/istio").and_then(Value::as_str) == Some("ingressgateway")
}

/// A plugin whose configuration names clusters.
#[derive(Clone, Copy)]
struct Named<'a> {
    plugin: &'a Plugin,
    /// What its module says of itself.
    metadata: Option<&'a Metadata>,
    document: &'a Document,
    source: &'a Source,
}

impl Named<'_> {
    /// Calls `say` for each cluster, with findings in that configuration.
    fn clusters(self, findings: &mut Findings<'_>, mut say: impl FnMut(&str, &str, &mut Findings<'_>)) {
        let Self { plugin, metadata, document, source } = self;
        if plugin.configuration.is_none() {
            return;
        }
        if plugin.is_text {
            for inner in document.inner(&plugin.pointer, &source.text).unwrap_or_default() {
                let mut within = findings.inside(&plugin.pointer, &inner);
                for (pointer, name) in plugin::clusters_in(metadata, &inner.value) {
                    say(&name, &pointer, &mut within);
                }
                let found = within.into_found();
                findings.extend(found);
            }
        } else if let Some(config) = document.value.pointer(&plugin.pointer) {
            for (pointer, name) in plugin::clusters_in(metadata, config) {
                say(&name, &format!("{}{pointer}", plugin.pointer), findings);
            }
        }
    }
}
