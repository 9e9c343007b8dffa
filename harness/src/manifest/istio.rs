//! `WasmPlugin` and `TrafficExtension`: a resource for each plugin, the order by priority; beside them the clusters that Istio's proxies lack, and routes.

use super::tree::Tree;
use super::{
    ManifestError, Placement, Plan, Plugin, Target, TargetRef, envoy_filter, metadata, refuse, routes,
};
use crate::scenario::FailurePolicy;

/// The step between the priorities of two plugins: room for others between them.
pub(super) const STEP: i32 = 10;

pub(super) fn documents(target: Target, plan: &Plan) -> Result<Vec<Tree>, ManifestError> {
    let mut documents = Vec::new();
    for (index, plugin) in plan.plugins.iter().enumerate() {
        documents.push(document(target, plan, plugin, index)?);
    }
    documents.extend(envoy_filter::clusters(plan)?);
    documents.extend(routes::istio(plan)?);
    Ok(documents)
}

fn document(target: Target, plan: &Plan, plugin: &Plugin, index: usize) -> Result<Tree, ManifestError> {
    let kind = if target == Target::WasmPlugin { "WasmPlugin" } else { "TrafficExtension" };
    let place = &plan.placement;
    let code = code(plan, plugin, kind)?;
    let wasm = code
        .with("failStrategy", strategy(plan.failure_policy))
        .with_some("vmConfig", variables(plan).map(|env| Tree::map([("env", env)])))
        .with_some("pluginConfig", plugin.config.clone());
    let order = place_in_phase(plan, index);
    let spec = selected(place)?.with_some("phase", place.phase.clone()).with_some("priority", order);
    let spec = spec.with_some("match", matches(place));
    let spec = match (target, wasm) {
        (Target::WasmPlugin, Tree::Map(fields)) => {
            fields.into_iter().fold(spec, |spec, (name, tree)| spec.with(&name, tree))
        }
        (_, wasm) => spec.with("wasm", wasm),
    };
    Ok(Tree::map([
        ("apiVersion", "extensions.istio.io/v1alpha1".into()),
        ("kind", kind.into()),
        ("metadata", metadata(plan, &plugin.name)),
        ("spec", spec),
    ]))
}

/// Where the module is from, and which it is.
fn code(plan: &Plan, plugin: &Plugin, kind: &str) -> Result<Tree, ManifestError> {
    if plugin.config.as_ref().is_some_and(|config| !matches!(config, Tree::Map(_))) {
        let reason = format!(
            "the `pluginConfig` of a {kind} is an object, and this configuration is none; the target envoyfilter-ecds takes any"
        );
        return Err(refuse("--config", reason));
    }
    let url = plugin.url.as_deref().ok_or_else(|| no_url(plugin))?;
    Ok(Tree::map([("url", url.into())])
        .with_some("sha256", plugin.sha256.clone())
        .with_some("imagePullPolicy", plan.pull_policy.clone())
        .with_some("imagePullSecret", plan.pull_secret.clone())
        .with("pluginName", plugin.filter.as_str()))
}

/// That nobody said where the image is.
pub(super) fn no_url(plugin: &Plugin) -> ManifestError {
    let reason = format!(
        "where is the image of `{}`? Give the prefix that `weir release --push` pushed to, such as registry.example/weir, or name the \
         image itself in place of the filter",
        plugin.filter
    );
    refuse("--registry", reason)
}

pub(super) fn strategy(policy: FailurePolicy) -> &'static str {
    match policy {
        FailurePolicy::FailClosed => "FAIL_CLOSE",
        FailurePolicy::FailOpen => "FAIL_OPEN",
        FailurePolicy::FailReload => "FAIL_RELOAD",
    }
}

/// The first plugin has the highest priority.
fn place_in_phase(plan: &Plan, index: usize) -> Option<i32> {
    let behind = plan.plugins.len().saturating_sub(index).saturating_sub(1);
    let above = STEP.saturating_mul(i32::try_from(behind).unwrap_or(i32::MAX));
    let base = plan.placement.priority;
    if plan.plugins.len() == 1 { base } else { Some(base.unwrap_or(STEP).saturating_add(above)) }
}

/// Environment variables of the VM.
fn variables(plan: &Plan) -> Option<Tree> {
    let inline = plan
        .env
        .iter()
        .map(|(name, value)| Tree::map([("name", name.as_str().into()), ("value", value.as_str().into())]));
    let host = plan
        .host_env
        .iter()
        .map(|name| Tree::map([("name", name.as_str().into()), ("valueFrom", "HOST".into())]));
    let all: Vec<Tree> = inline.chain(host).collect();
    (!all.is_empty()).then(|| all.into())
}

/// `selector` or `targetRefs`.
fn selected(place: &Placement) -> Result<Tree, ManifestError> {
    let labels = labels(place).map(|labels| Tree::map([("matchLabels", labels)]));
    let targets = targets(place)?;
    Ok(Tree::default().with_some("selector", labels).with_some("targetRefs", targets))
}

pub(super) fn labels(place: &Placement) -> Option<Tree> {
    let labels =
        place.selector.iter().fold(Tree::default(), |tree, (name, value)| tree.with(name, value.as_str()));
    (!labels.is_empty()).then_some(labels)
}

pub(super) fn targets(place: &Placement) -> Result<Option<Tree>, ManifestError> {
    let target = |target: &TargetRef| {
        let group = match target.kind.as_str() {
            "Gateway" | "GatewayClass" => "gateway.networking.k8s.io",
            "Service" => "",
            "ServiceEntry" => "networking.istio.io",
            other => {
                let known = ["Gateway", "GatewayClass", "Service", "ServiceEntry"];
                return Err(refuse("--target-ref", crate::yaml::unknown("kind", other, &known)));
            }
        };
        if target.section.is_some() {
            return Err(refuse("--target-ref", "Istio attaches to whole resources: KIND/NAME"));
        }
        Ok(Tree::map([
            ("group", group.into()),
            ("kind", target.kind.as_str().into()),
            ("name", target.name.as_str().into()),
        ]))
    };
    let all: Vec<Tree> = place.targets.iter().map(target).collect::<Result<_, _>>()?;
    Ok((!all.is_empty()).then(|| all.into()))
}

fn matches(place: &Placement) -> Option<Tree> {
    let ports: Vec<Tree> = place.ports.iter().map(|port| Tree::map([("number", (*port).into())])).collect();
    let ports = (!ports.is_empty()).then_some(ports);
    if place.mode.is_none() && ports.is_none() {
        return None;
    }
    let selector = Tree::default().with_some("mode", place.mode.clone()).with_some("ports", ports);
    Some(vec![selector].into())
}
