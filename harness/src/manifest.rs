//! Manifests: a module, its configuration and where it runs, as Istio, Envoy Gateway or Envoy read it. Pure: a [`Plan`] in, YAML out. Judges no
//! configuration; [`crate::check`] does, and what is made here as well.

mod cluster;
mod envoy;
mod envoy_filter;
mod gateway;
mod gateway_beside;
mod http_route;
mod istio;
mod routes;
pub mod tree;
mod write;

use std::collections::BTreeMap;

use clap::ValueEnum;

pub use cluster::{Cluster, Service};
pub use routes::Route;
use tree::Tree;

use crate::scenario::FailurePolicy;

/// What reads the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// Istio's `WasmPlugin`
    #[value(name = "wasmplugin")]
    WasmPlugin,
    /// Istio's `TrafficExtension`, since 2026
    #[value(name = "trafficextension")]
    TrafficExtension,
    /// Istio's `EnvoyFilter`, with the module as a file of the proxy
    #[value(name = "envoyfilter")]
    EnvoyFilter,
    /// Istio's `EnvoyFilter` by ECDS, with an image that Istio's agent pulls
    #[value(name = "envoyfilter-ecds")]
    EnvoyFilterEcds,
    /// Envoy Gateway's `EnvoyExtensionPolicy`
    #[value(name = "envoyextensionpolicy")]
    EnvoyExtensionPolicy,
    /// Entries for `http_filters` and `clusters` of your own Envoy configuration, and its routes, a document each
    Envoy,
    /// A whole envoy.yaml, ready to start
    EnvoyYaml,
}

impl Target {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether Istio's agent or Envoy Gateway pulls the module; else it is a file of the proxy.
    #[must_use]
    pub fn pulls(self) -> bool {
        match self {
            Self::WasmPlugin
            | Self::TrafficExtension
            | Self::EnvoyFilterEcds
            | Self::EnvoyExtensionPolicy => true,
            Self::EnvoyFilter | Self::Envoy | Self::EnvoyYaml => false,
        }
    }

    /// Whether a proxy of Istio runs it.
    #[must_use]
    pub fn is_istio(self) -> bool {
        matches!(self, Self::WasmPlugin | Self::TrafficExtension | Self::EnvoyFilter | Self::EnvoyFilterEcds)
    }

    /// Whether Envoy runs it from its own configuration.
    #[must_use]
    pub fn is_envoy(self) -> bool {
        matches!(self, Self::Envoy | Self::EnvoyYaml)
    }
}

/// Everything that a manifest says.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The plugins in chain order.
    pub plugins: Vec<Plugin>,
    /// The namespace of resources.
    pub namespace: String,
    /// Which workloads or gateways.
    pub placement: Placement,
    /// What happens after a trap.
    pub failure_policy: FailurePolicy,
    /// The Secret with the registry's credentials.
    pub pull_secret: Option<String>,
    /// `IfNotPresent` or `Always`.
    pub pull_policy: Option<String>,
    /// Environment variables of the VM with their values.
    pub env: Vec<(String, String)>,
    /// Environment variables that the VM gets from the proxy's.
    pub host_env: Vec<String>,
    /// Envoy's `vm_id`.
    pub vm_id: Option<String>,
    /// What names of clusters mean.
    pub clusters: BTreeMap<String, Cluster>,
    /// Where requests go, in order.
    pub routes: Vec<Route>,
    /// The Gateway of Envoy Gateway whose Envoys get clusters and routes, where the policy is attached to none.
    pub gateway: Option<Gateway>,
    /// Hostnames of the routes of Envoy Gateway; none: all that its listeners have.
    pub hostnames: Vec<String>,
    /// Envoy's `RouteConfiguration`, in place of `routes`.
    pub route_config: Option<Tree>,
    /// Where a whole envoy.yaml listens: host and port.
    pub listen: (String, u16),
    /// Where its admin interface listens.
    pub admin: (String, u16),
}

/// Which workloads or gateways, and where in their chains.
#[derive(Clone, Debug, Default)]
pub struct Placement {
    /// Labels of the workloads.
    pub selector: Vec<(String, String)>,
    /// Resources that it is attached to.
    pub targets: Vec<TargetRef>,
    /// `AUTHN`, `AUTHZ` or `STATS`.
    pub phase: Option<String>,
    /// The priority of the last plugin; each before it has 10 more.
    pub priority: Option<i32>,
    /// `CLIENT`, `SERVER` or `CLIENT_AND_SERVER`.
    pub mode: Option<String>,
    /// Ports; none: all.
    pub ports: Vec<u16>,
}

/// A resource that plugins are attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetRef {
    /// `Gateway`, `Service`, …
    pub kind: String,
    /// Its name.
    pub name: String,
    /// A listener of a Gateway or a rule of a route.
    pub section: Option<String>,
}

/// A Gateway, as `--gateway` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Its namespace; none: that of the other resources.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

/// One plugin of the chain.
#[derive(Clone, Debug, Default)]
pub struct Plugin {
    /// The filter's name: `root_id`, and the plugin's name in Envoy.
    pub filter: String,
    /// The resource's name.
    pub name: String,
    /// Its configuration; a scalar is handed over as it is.
    pub config: Option<Tree>,
    /// Where its configuration names clusters: JSON pointer and name.
    pub clusters: Vec<(String, String)>,
    /// Where the module is pulled from, with its scheme: `oci://…` or `https://…`.
    pub url: Option<String>,
    /// SHA-256 in hexadecimal digits: of the image's manifest, or of what is downloaded.
    pub sha256: Option<String>,
    /// The module's file at the proxy.
    pub file: Option<String>,
}

/// What a target cannot say, or what is missing.
#[derive(Debug, thiserror::Error)]
#[error("`{flag}`: {reason}")]
pub struct ManifestError {
    /// The flag that is wrong or missing.
    pub flag: &'static str,
    /// What is wrong, and what would be accepted.
    pub reason: String,
}

pub(crate) fn refuse(flag: &'static str, reason: impl Into<String>) -> ManifestError {
    ManifestError { flag, reason: reason.into() }
}

/// The manifest as YAML.
///
/// # Errors
/// When the target cannot say what is asked for, or something that it needs is missing.
pub fn render(target: Target, plan: &Plan) -> Result<String, ManifestError> {
    sound(target, plan)?;
    let plan = &named(target, plan)?;
    let documents = match target {
        Target::WasmPlugin | Target::TrafficExtension => istio::documents(target, plan)?,
        Target::EnvoyFilter | Target::EnvoyFilterEcds => envoy_filter::documents(target, plan)?,
        Target::EnvoyExtensionPolicy => gateway::documents(plan)?,
        Target::Envoy => envoy::snippets(plan)?,
        Target::EnvoyYaml => vec![envoy::bootstrap(plan)?],
    };
    Ok(write::documents(&documents))
}

/// Refuses what a target has no place for: silence would be taken for consent.
fn sound(target: Target, plan: &Plan) -> Result<(), ManifestError> {
    let name = target.name();
    let place = &plan.placement;
    let is_gateway = target == Target::EnvoyExtensionPolicy;
    let says: [(&'static str, bool, bool); 15] = [
        ("--selector", !place.selector.is_empty(), target.is_istio()),
        ("--target-ref", !place.targets.is_empty(), target.is_istio() || is_gateway),
        ("--phase", place.phase.is_some(), matches!(target, Target::WasmPlugin | Target::TrafficExtension)),
        ("--priority", place.priority.is_some(), target.is_istio()),
        ("--mode", place.mode.is_some(), target.is_istio()),
        ("--port", !place.ports.is_empty(), target.is_istio()),
        (
            "--image-pull-secret",
            plan.pull_secret.is_some(),
            target.pulls() && target != Target::EnvoyFilterEcds,
        ),
        ("--image-pull-policy", plan.pull_policy.is_some(), target.pulls()),
        ("--env", !plan.env.is_empty(), !is_gateway),
        ("--vm-id", plan.vm_id.is_some(), !target.pulls() || target == Target::EnvoyFilterEcds),
        ("--failure-policy", plan.failure_policy == FailurePolicy::FailReload, !is_gateway),
        ("--routes", plan.route_config.is_some(), target == Target::EnvoyYaml),
        ("--gateway", plan.gateway.is_some(), is_gateway),
        ("--hostname", !plan.hostnames.is_empty(), is_gateway),
        ("--url", plan.plugins.iter().any(|plugin| plugin.url.is_some()), target.pulls()),
    ];
    if let Some((flag, ..)) = says.iter().find(|(_, is_said, has_place)| *is_said && !has_place) {
        return Err(refuse(
            flag,
            format!("the target `{name}` has no place for it{}", instead(flag, target)),
        ));
    }
    if !place.selector.is_empty() && !place.targets.is_empty() {
        return Err(refuse("--selector", "stands beside `--target-ref`; Istio accepts one of the two"));
    }
    Ok(())
}

/// What can be done instead.
fn instead(flag: &str, target: Target) -> &'static str {
    match (flag, target) {
        ("--failure-policy", _) => ": Envoy Gateway knows FAIL_CLOSED and FAIL_OPEN",
        ("--env", _) => ": Envoy Gateway takes variables of the proxy only, `--host-env NAME`",
        ("--image-pull-secret", Target::EnvoyFilterEcds) => {
            ": istiod reads Secrets for WasmPlugin and TrafficExtension only; here the agent needs docker's configuration"
        }
        ("--phase" | "--priority" | "--mode" | "--port", Target::EnvoyExtensionPolicy) => {
            ": the order is that of the filters, the place that of `--target-ref`"
        }
        ("--phase", Target::EnvoyFilter | Target::EnvoyFilterEcds) => {
            ": an EnvoyFilter stands directly before the router; `wasmplugin` has phases"
        }
        _ => "",
    }
}

/// The plan with the clusters of configurations under the names that the proxies have for them.
fn named(target: Target, plan: &Plan) -> Result<Plan, ManifestError> {
    let mut plan = plan.clone();
    for plugin in &mut plan.plugins {
        for (pointer, name) in &plugin.clusters {
            let Some(cluster) = plan.clusters.get(name) else {
                // Istio's own names need no explanation.
                if target.is_istio() && name.starts_with("outbound|") {
                    continue;
                }
                let example = match target {
                    Target::Envoy | Target::EnvoyYaml => "HOST:PORT",
                    _ => "NAME.NAMESPACE.svc.cluster.local:PORT",
                };
                return Err(refuse(
                    "--cluster",
                    format!(
                        "the configuration of `{}` names the cluster `{name}` at `{pointer}`: say where that is with `--cluster {name}={example}`, \
                         or `--cluster {name}={name}` when the proxies have a cluster of that name",
                        plugin.filter
                    ),
                ));
            };
            let new = if target.is_istio() { cluster.istio_name() } else { known(cluster) };
            if let (Some(new), Some(config)) = (new, &mut plugin.config)
                && !config.set(pointer, &new)
            {
                return Err(refuse("--cluster", format!("`{pointer}` of the configuration is no text")));
            }
        }
    }
    Ok(plan)
}

fn known(cluster: &Cluster) -> Option<String> {
    match cluster {
        Cluster::Known(name) => Some(name.clone()),
        Cluster::Address { .. } => None,
    }
}

/// The clusters that configurations and routes name and the proxies lack, defined, in the order of their names.
fn definitions(plan: &Plan, is_defined: impl Fn(&Cluster) -> bool) -> Vec<Tree> {
    let defined = plan.clusters.iter().filter(|(_, cluster)| is_defined(cluster));
    defined.filter_map(|(name, cluster)| cluster.definition(name)).collect()
}

/// An `Any` of Envoy's API.
fn any(message: &str) -> Tree {
    Tree::map([("@type", format!("type.googleapis.com/{message}").into())])
}

/// `metadata` of a resource.
fn metadata(plan: &Plan, name: &str) -> Tree {
    Tree::map([("name", name.into()), ("namespace", plan.namespace.as_str().into())])
}

/// A configuration as the text of a `StringValue`.
fn text(config: &Tree) -> Tree {
    match config {
        Tree::Scalar(serde_json::Value::String(text)) => text.as_str().into(),
        config => {
            let json = write::json(config);
            if json.contains('\n') { Tree::Block(json) } else { json.into() }
        }
    }
}
