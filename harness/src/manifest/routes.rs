//! Routes that follow a filter's decision: a header with a value goes to a cluster, everything else to the last. For Envoy and for Istio.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::cluster::{Cluster, Service};
use super::tree::Tree;
use super::{ManifestError, Plan, metadata, refuse};

/// One route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The header and the value that it must have; none: all requests.
    pub header: Option<(String, String)>,
    /// The cluster's name.
    pub cluster: String,
}

impl FromStr for Route {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            format!(
                "expected CLUSTER or HEADER:VALUE=CLUSTER, such as `x-canary-arm:v2=reviews-v2`, found `{text}`"
            )
        };
        let (header, cluster) = match text.split_once('=') {
            None => (None, text),
            Some((header, cluster)) => {
                let parts =
                    header.split_once(':').filter(|(name, value)| !name.is_empty() && !value.is_empty());
                let (name, value) = parts.ok_or_else(expected)?;
                (Some((name.to_ascii_lowercase(), value.trim_start().to_owned())), cluster)
            }
        };
        if cluster.is_empty() {
            return Err(expected());
        }
        Ok(Self { header, cluster: cluster.to_owned() })
    }
}

/// The last route is for everything, and no other is.
pub(super) fn ordered(plan: &Plan) -> Result<(), ManifestError> {
    let all: Vec<usize> = plan
        .routes
        .iter()
        .enumerate()
        .filter(|(_, route)| route.header.is_none())
        .map(|(at, _)| at)
        .collect();
    if all != [plan.routes.len().saturating_sub(1)] {
        let reason =
            "expected one route without a header, the last: `--route CLUSTER` is where all other requests go";
        return Err(refuse("--route", reason));
    }
    Ok(())
}

/// Envoy's `RouteConfiguration`.
pub(super) fn envoy(plan: &Plan) -> Result<Tree, ManifestError> {
    if let Some(routes) = &plan.route_config {
        return Ok(routes.clone());
    }
    ordered(plan)?;
    let route = |route: &Route| {
        let matches = Tree::map([("prefix", "/".into())]);
        let header = route.header.as_ref().map(|(name, value)| {
            let exact = Tree::map([("exact", value.as_str().into())]);
            vec![Tree::map([("name", name.as_str().into()), ("string_match", exact)])]
        });
        let target = Tree::map([("cluster", known(plan, &route.cluster).into())]);
        Tree::map([("match", matches.with_some("headers", header)), ("route", target)])
    };
    let routes: Vec<Tree> = plan.routes.iter().map(route).collect();
    let host = Tree::map([("name", "all".into()), ("domains", vec!["*"].into()), ("routes", routes.into())]);
    Ok(Tree::map([("name", "all".into()), ("virtual_hosts", vec![host].into())]))
}

/// The name of a cluster in Envoy.
fn known(plan: &Plan, name: &str) -> String {
    match plan.clusters.get(name) {
        Some(Cluster::Known(name)) => name.clone(),
        _ => name.to_owned(),
    }
}

/// Istio's `VirtualService`, and the `DestinationRule`s of the subsets that it names.
pub(super) fn istio(plan: &Plan) -> Result<Vec<Tree>, ManifestError> {
    if plan.routes.is_empty() {
        return Ok(Vec::new());
    }
    ordered(plan)?;
    let mut subsets: BTreeMap<String, Vec<Tree>> = BTreeMap::new();
    let mut hosts: Vec<String> = Vec::new();
    let mut http = Vec::new();
    for route in &plan.routes {
        let service = service(plan, &route.cluster)?;
        let port = Tree::map([("number", service.port.into())]);
        let mut destination = Tree::map([("host", service.host.as_str().into()), ("port", port)]);
        if !service.subset.is_empty() {
            destination = destination.with("subset", service.subset.as_str());
            let labels = Tree::map([("version", service.subset.as_str().into())]);
            let subset = Tree::map([("name", service.subset.as_str().into()), ("labels", labels)]);
            let known = subsets.entry(service.host.clone()).or_default();
            if !known.contains(&subset) {
                known.push(subset);
            }
        }
        if !hosts.contains(&service.host) {
            hosts.push(service.host.clone());
        }
        let matches = route.header.as_ref().map(|(name, value)| {
            let exact = Tree::map([("exact", value.as_str().into())]);
            vec![Tree::map([("headers", Tree::map([(name, exact)]))])]
        });
        http.push(
            Tree::default()
                .with_some("match", matches)
                .with("route", vec![Tree::map([("destination", destination)])]),
        );
    }
    // Who is called: where everything else goes.
    let host = hosts.last().cloned().unwrap_or_default();
    let name = host.split('.').next().unwrap_or_default().to_owned();
    let spec = Tree::map([("hosts", vec![host.as_str()].into()), ("http", http.into())]);
    let mut documents = vec![resource("VirtualService", plan, &name, spec).noted(
        "Routes by what the filter decided. One VirtualService for a host: merge it with the one that is there.",
    )];
    for (host, subsets) in subsets {
        let name = host.split('.').next().unwrap_or_default().to_owned();
        let spec = Tree::map([("host", host.as_str().into()), ("subsets", subsets.into())]);
        documents.push(resource("DestinationRule", plan, &name, spec).noted(
            "The subsets by the label `version`. Leave it out where the host has one with these subsets.",
        ));
    }
    Ok(documents)
}

fn resource(kind: &str, plan: &Plan, name: &str, spec: Tree) -> Tree {
    Tree::map([
        ("apiVersion", "networking.istio.io/v1".into()),
        ("kind", kind.into()),
        ("metadata", metadata(plan, name)),
        ("spec", spec),
    ])
}

fn service(plan: &Plan, name: &str) -> Result<Service, ManifestError> {
    let own: Option<Cluster> = plan.clusters.get(name).cloned().or_else(|| name.parse().ok());
    own.and_then(|cluster| cluster.service()).ok_or_else(|| {
        refuse(
            "--route",
            format!(
                "`{name}` is no service of the mesh: give `--cluster {name}=NAME.NAMESPACE.svc.cluster.local:PORT`, or with a subset \
                 `--cluster {name}='outbound|PORT|SUBSET|NAME.NAMESPACE.svc.cluster.local'`"
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_have_a_header_or_none() {
        let header = |name: &str, value: &str| Some((name.to_owned(), value.to_owned()));
        for (text, want) in [
            ("v1", Route { header: None, cluster: "v1".into() }),
            ("X-Arm:v2=b", Route { header: header("x-arm", "v2"), cluster: "b".into() }),
            ("x-arm: a:b=c", Route { header: header("x-arm", "a:b"), cluster: "c".into() }),
        ] {
            assert_eq!(text.parse::<Route>().unwrap(), want);
        }
        for text in ["", "x-arm=b", ":v=b", "x-arm:=b", "x-arm:v="] {
            assert!(text.parse::<Route>().unwrap_err().starts_with("expected CLUSTER or"), "{text}");
        }
    }
}
