//! `EnvoyFilter`: a plugin as a patch, from a file or by ECDS, and the clusters that Istio's proxies lack. The order of plugins is that of the
//! priorities: a patch that comes later inserts nearer to the router.

use super::envoy::{local, plugin_config};
use super::tree::Tree;
use super::{
    ManifestError, Placement, Plan, Plugin, Target, any, definitions, envoy, istio, metadata, routes,
};

/// What Istio's agent takes the timeout of a download from; istiod's own for a `WasmPlugin`.
const FETCH: &str = "30s";

pub(super) fn documents(target: Target, plan: &Plan) -> Result<Vec<Tree>, ManifestError> {
    let mut documents = Vec::new();
    for (index, plugin) in plan.plugins.iter().enumerate() {
        let patches = match target {
            Target::EnvoyFilterEcds => discovered(plan, plugin)?,
            _ => from_file(plan, plugin)?,
        };
        // Lower comes first: the first plugin stays the farthest from the router.
        let step = istio::STEP.saturating_mul(i32::try_from(index).unwrap_or(i32::MAX));
        let base = plan.placement.priority;
        let priority = if plan.plugins.len() == 1 {
            base
        } else {
            Some(base.unwrap_or(istio::STEP).saturating_add(step))
        };
        documents.push(resource(plan, &plugin.name, priority, patches)?);
    }
    documents.extend(clusters(plan)?);
    documents.extend(routes::istio(plan)?);
    Ok(documents)
}

/// The clusters that a proxy of Istio has not, as patches that add them; nothing where there are none.
pub(super) fn clusters(plan: &Plan) -> Result<Option<Tree>, ManifestError> {
    let own = definitions(plan, |cluster| cluster.istio_name().is_none());
    let Some(plugin) = plan.plugins.first().filter(|_| !own.is_empty()) else { return Ok(None) };
    // A cluster belongs to no direction; one patch adds it once.
    let context = match contexts(&plan.placement).as_slice() {
        [only] if *only != "ANY" => *only,
        _ => "SIDECAR_OUTBOUND",
    };
    let patch = |cluster: Tree| {
        Tree::map([
            ("applyTo", "CLUSTER".into()),
            ("match", Tree::map([("context", context.into())])),
            ("patch", Tree::map([("operation", "ADD".into()), ("value", cluster)])),
        ])
    };
    let patches = own.into_iter().map(patch).collect();
    let document = resource(plan, &format!("{}-clusters", plugin.name), None, patches)?;
    Ok(Some(document.noted("Clusters that Istio does not make by itself: no services of the mesh.")))
}

fn resource(
    plan: &Plan,
    name: &str,
    priority: Option<i32>,
    patches: Vec<Tree>,
) -> Result<Tree, ManifestError> {
    let labels = istio::labels(&plan.placement).map(|labels| Tree::map([("labels", labels)]));
    let spec = Tree::default()
        .with_some("workloadSelector", labels)
        .with_some("targetRefs", istio::targets(&plan.placement)?)
        .with_some("priority", priority)
        .with("configPatches", patches);
    Ok(Tree::map([
        ("apiVersion", "networking.istio.io/v1alpha3".into()),
        ("kind", "EnvoyFilter".into()),
        ("metadata", metadata(plan, name)),
        ("spec", spec),
    ]))
}

/// A plugin whose module is a file of the proxy.
fn from_file(plan: &Plan, plugin: &Plugin) -> Result<Vec<Tree>, ManifestError> {
    let code = local(plugin)?;
    let config = plugin_config(plan, plugin, &qualified(plan, plugin), code);
    let file = plugin.file.as_deref().unwrap_or_default();
    let filter = Tree::map([
        ("name", qualified(plan, plugin).into()),
        ("typed_config", any(envoy::WASM).with("config", config)),
    ]);
    let note = format!(
        "Every proxy must have {file}, or its listeners are refused: mount it before you apply this."
    );
    let mut patches = insertions(&plan.placement, &filter);
    if let Some(first) = patches.first_mut() {
        *first = std::mem::take(first).noted(note);
    }
    Ok(patches)
}

/// A plugin that comes by ECDS: Istio's agent pulls the image and hands Envoy a file.
fn discovered(plan: &Plan, plugin: &Plugin) -> Result<Vec<Tree>, ManifestError> {
    let name = qualified(plan, plugin);
    let url = plugin.url.as_deref().ok_or_else(|| istio::no_url(plugin))?;
    let uri = Tree::map([
        // The agent needs no cluster; Envoy's API wants one named.
        ("uri", url.into()),
        ("timeout", FETCH.into()),
        ("cluster", "_".into()),
    ]);
    let remote = Tree::map([("http_uri", uri)]).with_some("sha256", plugin.sha256.clone());
    let mut with_policy = plan.clone();
    if let Some(policy) = &plan.pull_policy {
        with_policy.env.push(("ISTIO_META_WASM_IMAGE_PULL_POLICY".to_owned(), policy.clone()));
    }
    let config = plugin_config(&with_policy, plugin, &name, Tree::map([("remote", remote)]));
    let extension = Tree::map([
        ("name", name.as_str().into()),
        ("typed_config", any(envoy::WASM).with("config", config)),
    ]);
    let source = Tree::map([
        ("ads", Tree::default()),
        ("resource_api_version", "V3".into()),
        (
            "initial_fetch_timeout",
            Tree::from("0s").noted("As for a WasmPlugin: no request passes before the module is there."),
        ),
    ]);
    // When the module cannot be had, the agent sends a filter that denies, or with FAIL_OPEN allows, everything: RBAC.
    let types = [envoy::WASM, "envoy.extensions.filters.http.rbac.v3.RBAC"];
    let types: Vec<String> = types.iter().map(|message| format!("type.googleapis.com/{message}")).collect();
    let discovery = Tree::map([("config_source", source), ("type_urls", types.into())]);
    let filter = Tree::map([("name", name.as_str().into()), ("config_discovery", discovery)]);
    let mut patches: Vec<Tree> = contexts(&plan.placement)
        .into_iter()
        .map(|context| {
            Tree::map([
                ("applyTo", "EXTENSION_CONFIG".into()),
                ("match", Tree::map([("context", context.into())])),
                ("patch", Tree::map([("operation", "ADD".into()), ("value", extension.clone())])),
            ])
        })
        .collect();
    patches.extend(insertions(&plan.placement, &filter));
    Ok(patches)
}

/// Patches that insert an HTTP filter before the router: one for each port.
fn insertions(place: &Placement, filter: &Tree) -> Vec<Tree> {
    let ports: Vec<Option<u16>> =
        if place.ports.is_empty() { vec![None] } else { place.ports.iter().copied().map(Some).collect() };
    let mut patches = Vec::new();
    for context in contexts(place) {
        for port in &ports {
            let router = Tree::map([("name", "envoy.filters.http.router".into())]);
            let manager = Tree::map([
                ("name", "envoy.filters.network.http_connection_manager".into()),
                ("subFilter", router),
            ]);
            let listener = Tree::default()
                .with_some("portNumber", *port)
                .with("filterChain", Tree::map([("filter", manager)]));
            patches.push(Tree::map([
                ("applyTo", "HTTP_FILTER".into()),
                ("match", Tree::map([("context", context.into()), ("listener", listener)])),
                ("patch", Tree::map([("operation", "INSERT_BEFORE".into()), ("value", filter.clone())])),
            ]));
        }
    }
    patches
}

/// Where the mode is: on the way in, on the way out, both; at gateways there is one.
fn contexts(place: &Placement) -> Vec<&'static str> {
    if place.targets.iter().any(|target| matches!(target.kind.as_str(), "Gateway" | "GatewayClass")) {
        return vec!["GATEWAY"];
    }
    match place.mode.as_deref() {
        Some("CLIENT") => vec!["SIDECAR_OUTBOUND"],
        Some("SERVER") => vec!["SIDECAR_INBOUND"],
        _ => vec!["ANY"],
    }
}

/// The name of the filter in the chain, as Istio names those of WasmPlugins.
fn qualified(plan: &Plan, plugin: &Plugin) -> String {
    format!("{}.{}", plan.namespace, plugin.name)
}
