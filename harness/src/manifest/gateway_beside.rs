//! What an `EnvoyExtensionPolicy` needs beside it: the clusters that plugins call, which Envoy Gateway makes for backends of routes only, as an
//! `EnvoyPatchPolicy`.

use super::tree::Tree;
use super::{Gateway, ManifestError, Plan, refuse};

const GROUP: &str = "gateway.networking.k8s.io";
const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";

/// An `EnvoyPatchPolicy` for each Gateway, which adds the clusters that plugins name; none where there are none.
pub(super) fn clusters(plan: &Plan, name: &str) -> Result<Vec<Tree>, ManifestError> {
    let is_called = |cluster: &str| {
        plan.plugins.iter().flat_map(|plugin| &plugin.clusters).any(|(_, called)| called == cluster)
    };
    let called = plan.clusters.iter().filter(|(name, _)| is_called(name));
    let patches: Vec<Tree> = called
        .filter_map(|(name, cluster)| {
            // With an empty path the value is a resource that is added.
            let operation =
                Tree::map([("op", "add".into()), ("path", "".into()), ("value", cluster.definition(name)?)]);
            Some(Tree::map([
                ("type", CLUSTER.into()),
                ("name", name.as_str().into()),
                ("operation", operation),
            ]))
        })
        .collect();
    if patches.is_empty() {
        return Ok(Vec::new());
    }
    let gateways = gateways(plan, "the cluster that a plugin calls")?;
    let is_only = gateways.len() == 1;
    let policy = |gateway: &Gateway| {
        let Gateway { namespace, name: gateway } = gateway;
        let name = if is_only { format!("{name}-clusters") } else { format!("{name}-clusters-{gateway}") };
        // It stands where the Gateway does.
        let namespace = namespace.as_ref().unwrap_or(&plan.namespace).as_str();
        let target = Tree::map([
            ("group", GROUP.into()),
            ("kind", "Gateway".into()),
            ("name", gateway.as_str().into()),
        ]);
        let spec = Tree::map([
            ("targetRef", target),
            ("type", "JSONPatch".into()),
            ("jsonPatches", patches.clone().into()),
        ]);
        Tree::map([
            ("apiVersion", "gateway.envoyproxy.io/v1alpha1".into()),
            ("kind", "EnvoyPatchPolicy".into()),
            ("metadata", Tree::map([("name", name.into()), ("namespace", namespace.into())])),
            ("spec", spec),
        ])
        .noted(
            "Clusters that plugins call. Envoy Gateway takes it with `extensionApis: {enableEnvoyPatchPolicy: true}` in its configuration only.",
        )
    };
    Ok(gateways.iter().map(policy).collect())
}

/// The Gateways whose Envoys are meant, each once.
fn gateways(plan: &Plan, what: &str) -> Result<Vec<Gateway>, ManifestError> {
    let attached = plan.placement.targets.iter().filter(|target| target.kind == "Gateway");
    let attached = attached.map(|target| Gateway { namespace: None, name: target.name.clone() });
    let mut all: Vec<Gateway> = Vec::new();
    for gateway in attached.chain(plan.gateway.clone()) {
        if !all.iter().any(|known| is_same(plan, known, &gateway)) {
            all.push(gateway);
        }
    }
    if all.is_empty() {
        let reason = format!("the policy is attached to no Gateway: of which is {what}? `--gateway NAME`");
        return Err(refuse("--gateway", reason));
    }
    Ok(all)
}

/// Whether both are one Gateway.
pub(super) fn is_same(plan: &Plan, a: &Gateway, b: &Gateway) -> bool {
    let namespace = |gateway: &Gateway| gateway.namespace.clone().unwrap_or_else(|| plan.namespace.clone());
    a.name == b.name && namespace(a) == namespace(b)
}
