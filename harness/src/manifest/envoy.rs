//! Plain Envoy: the HTTP filter of a plugin, alone and in a bootstrap that starts.

use super::tree::Tree;
use super::{Cluster, ManifestError, Plan, Plugin, any, definitions, refuse, routes, text};
use crate::scenario::FailurePolicy;

/// The message of a Wasm HTTP filter.
pub(super) const WASM: &str = "envoy.extensions.filters.http.wasm.v3.Wasm";
const ROUTER: &str = "envoy.extensions.filters.http.router.v3.Router";
const MANAGER: &str = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

/// Entries of `http_filters`, in order, of `clusters`, and the routes where any are asked for.
pub(super) fn snippets(plan: &Plan) -> Result<Vec<Tree>, ManifestError> {
    let mut documents = Vec::new();
    for (index, plugin) in plan.plugins.iter().enumerate() {
        let filter = filter(plan, plugin)?;
        documents.push(if index == 0 {
            filter.noted("An entry of `http_filters` of the connection manager, before the router.")
        } else {
            filter.noted("The next entry of `http_filters`.")
        });
    }
    for cluster in definitions(plan, |_| true) {
        documents.push(cluster.noted("An entry of `clusters` of the static resources."));
    }
    if !plan.routes.is_empty() {
        documents.push(routes::envoy(plan)?.noted(
            "The `route_config` of the connection manager; or its routes, in a virtual host of yours.",
        ));
    }
    Ok(documents)
}

/// A whole envoy.yaml.
pub(super) fn bootstrap(plan: &Plan) -> Result<Tree, ManifestError> {
    if plan.routes.is_empty() && plan.route_config.is_none() {
        return Err(refuse(
            "--route",
            "where do requests go? `--route CLUSTER`, and `--cluster CLUSTER=HOST:PORT`",
        ));
    }
    let route_config = routes::envoy(plan)?;
    for name in crate::envoy::bootstrap::named_clusters(&route_config.value()) {
        if !matches!(plan.clusters.get(&name), Some(Cluster::Address { .. })) {
            let reason = format!(
                "routes name the cluster `{name}`: say where that is with `--cluster {name}=HOST:PORT`"
            );
            return Err(refuse("--cluster", reason));
        }
    }
    let mut filters: Vec<Tree> =
        plan.plugins.iter().map(|plugin| filter(plan, plugin)).collect::<Result<_, _>>()?;
    filters.push(Tree::map([("name", "envoy.filters.http.router".into()), ("typed_config", any(ROUTER))]));
    let manager = any(MANAGER)
        .with("stat_prefix", "ingress_http")
        .with("http_filters", filters)
        .with("route_config", route_config);
    let manager = Tree::map([
        ("name", "envoy.filters.network.http_connection_manager".into()),
        ("typed_config", manager),
    ]);
    let chain = Tree::map([("filters", vec![manager].into())]);
    let listener = Tree::map([
        ("name", "main".into()),
        ("address", address(&plan.listen)),
        ("filter_chains", vec![chain].into()),
    ]);
    let resources =
        Tree::map([("listeners", vec![listener].into()), ("clusters", definitions(plan, |_| true).into())]);
    let admin = Tree::map([("address", address(&plan.admin))]);
    Ok(Tree::map([("admin", admin), ("static_resources", resources)]))
}

/// The HTTP filter of a plugin whose module is a file of the proxy.
fn filter(plan: &Plan, plugin: &Plugin) -> Result<Tree, ManifestError> {
    let config = plugin_config(plan, plugin, &plugin.filter, local(plugin)?);
    Ok(Tree::map([("name", plugin.name.as_str().into()), ("typed_config", any(WASM).with("config", config))]))
}

/// The code of a module that is a file.
pub(super) fn local(plugin: &Plugin) -> Result<Tree, ManifestError> {
    let file = plugin.file.as_deref().ok_or_else(|| {
        let reason = format!(
            "in which folder will the proxy find {}.wasm? An image is no file: `weir pull` writes one",
            plugin.filter
        );
        refuse("--modules", reason)
    })?;
    Ok(Tree::map([("local", Tree::map([("filename", file.into())]))]))
}

/// Envoy's `PluginConfig`.
pub(super) fn plugin_config(plan: &Plan, plugin: &Plugin, name: &str, code: Tree) -> Tree {
    let string = "google.protobuf.StringValue";
    let configuration = plugin.config.as_ref().map(|config| any(string).with("value", text(config)));
    let vm = Tree::default()
        .with_some("vm_id", plan.vm_id.clone())
        .with("runtime", "envoy.wasm.runtime.v8")
        .with("code", code)
        .with_some("environment_variables", variables(plan));
    Tree::map([
        ("name", name.into()),
        ("root_id", plugin.filter.as_str().into()),
        ("failure_policy", policy(plan.failure_policy).into()),
        ("vm_config", vm),
    ])
    .with_some("configuration", configuration)
}

fn policy(policy: FailurePolicy) -> &'static str {
    match policy {
        FailurePolicy::FailClosed => "FAIL_CLOSED",
        FailurePolicy::FailOpen => "FAIL_OPEN",
        FailurePolicy::FailReload => "FAIL_RELOAD",
    }
}

fn variables(plan: &Plan) -> Option<Tree> {
    let values = plan.env.iter().fold(Tree::default(), |tree, (name, value)| tree.with(name, value.as_str()));
    let names = (!plan.host_env.is_empty()).then(|| plan.host_env.clone());
    let values = (!values.is_empty()).then_some(values);
    let all = Tree::default().with_some("host_env_keys", names).with_some("key_values", values);
    (!all.is_empty()).then_some(all)
}

fn address((host, port): &(String, u16)) -> Tree {
    let socket = Tree::map([("address", host.as_str().into()), ("port_value", (*port).into())]);
    Tree::map([("socket_address", socket)])
}
