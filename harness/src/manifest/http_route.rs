//! Routes that follow a filter's decision in Envoy Gateway: an `HTTPRoute` with a rule for each header, and the last for everything else.
//!
//! Envoy chooses a rule before the filters run, has the filters run that belong to it, and chooses again when one of them has changed a header. So the
//! policy has to be there for all rules, above all for the last, which is the first choice of most requests.

use super::cluster::Cluster;
use super::tree::Tree;
use super::{Gateway, ManifestError, Plan, Route, TargetRef, gateway_beside, metadata, refuse, routes};

const GROUP: &str = "gateway.networking.k8s.io";
/// What names of Services end with.
const DOMAIN: &str = ".svc.cluster.local";
/// How many rules an `HTTPRoute` may have.
const RULES: usize = 16;

/// The `HTTPRoute`; none where no routes are asked for. It has the name that the policy says, else `name`.
pub(super) fn document(plan: &Plan, name: &str) -> Result<Option<Tree>, ManifestError> {
    if plan.routes.is_empty() {
        if !plan.hostnames.is_empty() {
            return Err(refuse("--hostname", "goes with `--route`: it is of the HTTPRoute that is written"));
        }
        return Ok(None);
    }
    routes::ordered(plan)?;
    if plan.routes.len() > RULES {
        let reason = format!("an HTTPRoute has at most {RULES} rules, and {} are given", plan.routes.len());
        return Err(refuse("--route", reason));
    }
    let name = attached(plan)?.unwrap_or(name);
    let hostnames = (!plan.hostnames.is_empty()).then(|| plan.hostnames.clone());
    let rules = plan.routes.iter().map(|route| rule(plan, route)).collect::<Result<Vec<_>, _>>()?;
    let spec = Tree::map([("parentRefs", parents(plan)?.into())])
        .with_some("hostnames", hostnames)
        .with("rules", rules);
    let route = Tree::map([
        ("apiVersion", format!("{GROUP}/v1").into()),
        ("kind", "HTTPRoute".into()),
        ("metadata", metadata(plan, name)),
        ("spec", spec),
    ]);
    Ok(Some(route.noted(notes(plan)?)))
}

/// The route that the policy is attached to, when it is to one.
fn attached(plan: &Plan) -> Result<Option<&str>, ManifestError> {
    let mut name = None;
    for TargetRef { kind, name: target, section } in &plan.placement.targets {
        match (kind.as_str(), section) {
            ("Gateway" | "ListenerSet", _) => {}
            ("HTTPRoute", Some(section)) => {
                let reason = format!(
                    "`--route` writes the HTTPRoute, and the filter decides between its rules: it has to run for all of them, not for `{section}`: \
                     expected HTTPRoute/{target}"
                );
                return Err(refuse("--target-ref", reason));
            }
            ("HTTPRoute", None) if name.is_none_or(|known| known == target) => name = Some(target.as_str()),
            ("HTTPRoute", None) => {
                return Err(refuse("--target-ref", "`--route` writes one HTTPRoute, and several are named"));
            }
            (other, _) => {
                let reason = format!(
                    "`--route` writes an HTTPRoute, and for that no policy runs that is attached to a {other}: expected Gateway/NAME, ListenerSet/NAME or \
                     HTTPRoute/NAME"
                );
                return Err(refuse("--target-ref", reason));
            }
        }
    }
    Ok(name)
}

/// The Gateways that the route is of.
fn parents(plan: &Plan) -> Result<Vec<Tree>, ManifestError> {
    let targets = plan.placement.targets.iter().filter(|target| target.kind != "HTTPRoute");
    let mut parents: Vec<Tree> = targets
        .clone()
        .map(|target| {
            let parent = match target.kind.as_str() {
                "Gateway" => Tree::default(),
                kind => Tree::map([("group", GROUP.into()), ("kind", kind.into())]),
            };
            parent.with("name", target.name.as_str()).with_some("sectionName", target.section.clone())
        })
        .collect();
    let is_attached = |gateway: &Gateway| {
        let mut gateways = targets.clone().filter(|target| target.kind == "Gateway");
        gateways.any(|target| {
            gateway_beside::is_same(plan, &Gateway { namespace: None, name: target.name.clone() }, gateway)
        })
    };
    if let Some(gateway) = plan.gateway.as_ref().filter(|gateway| !is_attached(gateway)) {
        let parent = Tree::map([("name", gateway.name.as_str().into())]);
        parents.push(parent.with_some("namespace", gateway.namespace.clone()));
    }
    if parents.is_empty() {
        let reason = "the policy is attached to no Gateway: of which is the HTTPRoute? `--gateway NAME`";
        return Err(refuse("--gateway", reason));
    }
    Ok(parents)
}

fn rule(plan: &Plan, route: &Route) -> Result<Tree, ManifestError> {
    let matches = match &route.header {
        Some((name, value)) => {
            if !name.bytes().all(is_token) {
                let reason = format!(
                    "`{name}` is no name of a header: expected letters, digits and any of !#$%&'*+-.^_`|~"
                );
                return Err(refuse("--route", reason));
            }
            let header = Tree::map([("name", name.as_str().into()), ("value", value.as_str().into())]);
            Some(vec![Tree::map([("headers", vec![header].into())])])
        }
        None => None,
    };
    let Backend { name, namespace, port } = backend(plan, &route.cluster)?;
    let other = (namespace != plan.namespace).then_some(namespace);
    let backend =
        Tree::map([("name", name.into())]).with_some("namespace", other).with("port", Tree::from(port));
    Ok(Tree::default().with_some("matches", matches).with("backendRefs", vec![backend]))
}

/// Whether a byte may stand in the name of a header.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A Service's port.
struct Backend {
    name: String,
    namespace: String,
    port: u16,
}

fn backend(plan: &Plan, cluster: &str) -> Result<Backend, ManifestError> {
    let service = known(plan, cluster).and_then(|known| known.service());
    let found = service.filter(|service| service.subset.is_empty()).and_then(|service| {
        let host = service.host.to_ascii_lowercase();
        let (name, namespace) = host.strip_suffix(DOMAIN)?.split_once('.')?;
        Some(Backend { name: name.to_owned(), namespace: namespace.to_owned(), port: service.port })
    });
    found.ok_or_else(|| {
        let reason = format!(
            "`{cluster}` is no Service: give `--cluster {cluster}=NAME.NAMESPACE.svc.cluster.local:PORT`. The Gateway API has no subsets: each version is a \
             Service of its own"
        );
        refuse("--route", reason)
    })
}

/// What a route's cluster is.
fn known(plan: &Plan, cluster: &str) -> Option<Cluster> {
    plan.clusters.get(cluster).cloned().or_else(|| cluster.parse().ok())
}

/// What is to be known of the route.
fn notes(plan: &Plan) -> Result<String, ManifestError> {
    let mut notes = vec![
        "Routes by what the filter decided, for all paths: Envoy chooses a rule, runs the filter, and chooses again by the header that it set.".to_owned(),
    ];
    let mut namespaces = Vec::new();
    for route in &plan.routes {
        let namespace = backend(plan, &route.cluster)?.namespace;
        if namespace != plan.namespace && !namespaces.contains(&namespace) {
            namespaces.push(namespace);
        }
    }
    for namespace in namespaces {
        notes.push(format!(
            "A ReferenceGrant in the namespace `{namespace}` has to let HTTPRoutes of `{}` name its Services.",
            plan.namespace
        ));
    }
    let is_http2 =
        |route: &Route| matches!(known(plan, &route.cluster), Some(Cluster::Address { http2: true, .. }));
    if plan.routes.iter().any(is_http2) {
        notes.push("HTTP/2 to a Service is its port's `appProtocol: kubernetes.io/h2c`.".to_owned());
    }
    Ok(notes.join("\n"))
}
