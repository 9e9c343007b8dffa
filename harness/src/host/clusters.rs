//! The clusters of a replay and how they answer. Knows no routes and no filters.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::scenario::{Cluster, ClusterProtocol};
use crate::upstream::Upstreams;

/// The clusters that exist; when none is named, every one does.
#[derive(Clone, Debug)]
pub(crate) struct Clusters {
    named: BTreeMap<String, Cluster>,
    /// Those that speak HTTP/2.
    http2: BTreeSet<String>,
    default: Arc<str>,
}

impl Default for Clusters {
    fn default() -> Self {
        Self::new(BTreeMap::new())
    }
}

impl Clusters {
    pub(crate) fn new(named: BTreeMap<String, Cluster>) -> Self {
        let default = match named.len() {
            1 => named.keys().next().map_or("upstream", String::as_str),
            _ => "upstream",
        };
        let http2 = named.iter().filter(|(_, cluster)| cluster.protocol() == ClusterProtocol::Http2);
        let http2 = http2.map(|(name, _)| name.clone()).collect();
        Self { default: default.into(), http2, named }
    }

    /// The scripts of the clusters, from their beginning.
    pub(crate) fn upstreams(&self, seed: u64) -> Upstreams {
        Upstreams::new(&self.named, seed)
    }

    /// Whether a request can be sent there.
    pub(crate) fn state(&self, name: &str) -> State {
        match self.named.get(name) {
            _ if name.is_empty() => State::Unknown,
            None if self.named.is_empty() => State::Healthy,
            None => State::Unknown,
            Some(cluster) if cluster.endpoints == 0 => State::Unhealthy,
            Some(_) => State::Healthy,
        }
    }

    /// Whether HTTP/2 is spoken to it.
    pub(crate) fn is_http2(&self, name: &str) -> bool {
        !self.http2.is_empty() && self.http2.contains(name)
    }

    /// The only cluster, or `upstream`: where requests go without routes.
    pub(crate) fn default_name(&self) -> &Arc<str> {
        &self.default
    }

    /// A cluster's metadata.
    pub(crate) fn metadata(&self, name: &str) -> Option<&serde_json::Value> {
        self.named.get(name)?.metadata.as_ref()
    }

    /// How many endpoints a cluster has.
    pub(crate) fn endpoints(&self, name: &str) -> u32 {
        self.named.get(name).map_or(1, |cluster| cluster.endpoints)
    }
}

/// Whether a cluster can be used.
#[derive(Clone, Copy, Debug)]
pub(crate) enum State {
    /// There is no such cluster.
    Unknown,
    /// It has no endpoint.
    Unhealthy,
    /// It can.
    Healthy,
}
