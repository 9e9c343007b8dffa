//! Envoy Gateway: an `EnvoyExtensionPolicy` with the plugins in order; the clusters are [`gateway_beside`]'s, the routes [`http_route`]'s.

use super::tree::Tree;
use super::{ManifestError, Plan, Plugin, TargetRef, gateway_beside, http_route, istio, metadata, refuse};
use crate::scenario::FailurePolicy;

/// What a policy may be attached to.
const KINDS: &[&str] =
    &["Gateway", "ListenerSet", "HTTPRoute", "GRPCRoute", "TCPRoute", "UDPRoute", "TLSRoute"];

pub(super) fn documents(plan: &Plan) -> Result<Vec<Tree>, ManifestError> {
    let first = plan.plugins.first().map(|plugin| plugin.name.clone()).unwrap_or_default();
    let mut wasm = Vec::new();
    for plugin in &plan.plugins {
        wasm.push(entry(plan, plugin)?);
    }
    let spec = Tree::map([("targetRefs", targets(plan)?), ("wasm", wasm.into())]);
    let policy = Tree::map([
        ("apiVersion", "gateway.envoyproxy.io/v1alpha1".into()),
        ("kind", "EnvoyExtensionPolicy".into()),
        ("metadata", metadata(plan, &first)),
        ("spec", spec),
    ]);
    let mut documents = vec![policy];
    documents.extend(gateway_beside::clusters(plan, &first)?);
    documents.extend(http_route::document(plan, &first)?);
    Ok(documents)
}

fn targets(plan: &Plan) -> Result<Tree, ManifestError> {
    if plan.placement.targets.is_empty() {
        let reason = "what is the policy attached to? `--target-ref Gateway/NAME`, or `HTTPRoute/NAME` of the same namespace";
        return Err(refuse("--target-ref", reason));
    }
    let target = |target: &TargetRef| {
        if !KINDS.contains(&target.kind.as_str()) {
            return Err(refuse("--target-ref", crate::yaml::unknown("kind", &target.kind, KINDS)));
        }
        Ok(Tree::map([
            ("group", "gateway.networking.k8s.io".into()),
            ("kind", target.kind.as_str().into()),
            ("name", target.name.as_str().into()),
        ])
        .with_some("sectionName", target.section.clone()))
    };
    Ok(plan.placement.targets.iter().map(target).collect::<Result<Vec<_>, _>>()?.into())
}

fn entry(plan: &Plan, plugin: &Plugin) -> Result<Tree, ManifestError> {
    let host_env =
        (!plan.host_env.is_empty()).then(|| Tree::map([("hostKeys", plan.host_env.clone().into())]));
    Ok(Tree::map([
        ("name", plugin.name.as_str().into()),
        ("rootID", plugin.filter.as_str().into()),
        ("failOpen", (plan.failure_policy == FailurePolicy::FailOpen).into()),
        ("code", code(plan, plugin)?),
    ])
    .with_some("config", plugin.config.clone())
    .with_some("env", host_env))
}

fn code(plan: &Plan, plugin: &Plugin) -> Result<Tree, ManifestError> {
    let url = plugin.url.as_deref().ok_or_else(|| istio::no_url(plugin))?;
    let (kind, source) = match url.strip_prefix("oci://") {
        Some(image) => {
            let secret = plan
                .pull_secret
                .as_deref()
                .map(|name| Tree::map([("kind", "Secret".into()), ("name", name.into())]));
            let source = Tree::map([("url", image.into())])
                .with_some("sha256", plugin.sha256.clone())
                .with_some("pullSecretRef", secret);
            ("Image", source)
        }
        None => {
            if plan.pull_secret.is_some() {
                return Err(refuse(
                    "--image-pull-secret",
                    "goes with an image, not with a file over http(s)",
                ));
            }
            let source = Tree::map([("url", url.into())]).with_some("sha256", plugin.sha256.clone());
            ("HTTP", source)
        }
    };
    let field = if kind == "Image" { "image" } else { "http" };
    Ok(Tree::map([("type", kind.into()), (field, source)]).with_some("pullPolicy", plan.pull_policy.clone()))
}
