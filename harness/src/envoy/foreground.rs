//! A scenario in a real Envoy that people ask: behind its clusters stand servers that answer by script, or real ones that are named. Compares
//! nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::EnvoyError;
use super::bootstrap::{self, Plan, Plugin, Ports};
use super::process::{Line, Watched};
use super::proxy::{NOBODY, plugin, refusal, refuses_all};
use super::run::{modules_of, scene};
use super::server::{Answers, Arrival, Reply, Server};
use super::stage;
use crate::check::plugin::clusters_in;
use crate::exchange::Message;
use crate::inspect;
use crate::outcome::LogLine;
use crate::scenario::{Cluster, ClusterProtocol, Scenario};
use crate::time;
use crate::upstream::{Upstreams, echo_at};

/// Real servers by the cluster that they are.
pub type Hosts = BTreeMap<String, (String, u16)>;

/// Who stands behind a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behind {
    /// A server of ours that answers as its script says, and where that says nothing with what it received.
    Script,
    /// Nobody: it has no endpoint.
    Nobody,
    /// Nobody: connections are refused.
    Refusal,
    /// A real server.
    Host(String, u16),
}

/// A scenario ready to be run.
#[derive(Debug)]
pub struct Stand {
    plan: Plan,
    clusters: BTreeMap<String, Cluster>,
    hosts: Hosts,
    seed: u64,
    workers: u32,
}

/// A running Envoy, and the servers behind it.
#[derive(Debug)]
pub struct Foreground {
    // Dropped first, so that servers end without open connections.
    watched: Watched,
    _servers: Vec<Server>,
}

impl Stand {
    /// Builds modules and reads configurations. Clusters are those of the scenario; where it names none, those that routes and the plugins'
    /// configurations name; and in any case those with a host.
    ///
    /// # Errors
    /// When a module does not build or a configuration cannot be read.
    pub fn new(scenario: &Scenario, base: &Path, hosts: Hosts) -> Result<Self, EnvoyError> {
        let modules = modules_of(scenario, base)?;
        let made = scenario.filters.iter().zip(&modules).map(|(filter, module)| {
            let module = std::path::absolute(module).unwrap_or_else(|_| module.clone());
            plugin(filter, base, &module)
        });
        let plugins = made.collect::<Result<Vec<_>, _>>()?;
        let (route_config, mut clusters) = scene(scenario);
        if scenario.clusters.is_empty() {
            for name in plugins.iter().flat_map(called) {
                clusters.entry(name).or_default();
            }
        }
        for name in hosts.keys() {
            clusters.entry(name.clone()).or_default();
        }
        let duration =
            |text: &Option<String>| text.as_deref().and_then(time::parse_duration).unwrap_or_default();
        let plan = Plan {
            plugins,
            route_config,
            clusters: BTreeMap::new(),
            idle: duration(&scenario.stream_idle_timeout),
            request_timeout: duration(&scenario.request_timeout),
        };
        Ok(Self { plan, clusters, hosts, seed: scenario.seed, workers: scenario.workers.max(1) })
    }

    /// The plugins of the chain.
    #[must_use]
    pub fn plugins(&self) -> &[Plugin] {
        &self.plan.plugins
    }

    /// The routes.
    #[must_use]
    pub fn route_config(&self) -> &Value {
        &self.plan.route_config
    }

    /// The clusters, and who stands behind each.
    pub fn clusters(&self) -> impl Iterator<Item = (&str, Behind)> {
        self.clusters.iter().map(|(name, cluster)| {
            let behind = match self.hosts.get(name) {
                Some((host, port)) => Behind::Host(host.clone(), *port),
                None if cluster.endpoints == 0 => Behind::Nobody,
                None if refuses_all(cluster) => Behind::Refusal,
                None => Behind::Script,
            };
            (name.as_str(), behind)
        })
    }

    /// Hosts of clusters that no route, no plugin and no scenario names.
    #[must_use]
    pub fn unused(&self) -> BTreeSet<&str> {
        let mut named = bootstrap::named_clusters(&self.plan.route_config);
        named.extend(self.plan.plugins.iter().flat_map(called));
        self.hosts.keys().map(String::as_str).filter(|name| !named.contains(*name)).collect()
    }

    /// The bootstrap as it would be run, with nobody behind the clusters that have no host.
    #[must_use]
    pub fn bootstrap(&self, ports: Ports) -> Value {
        let nobody = |_: &str| vec![NOBODY];
        bootstrap::open(&self.planned(nobody), ports)
    }

    /// Starts the servers and Envoy; the log when a plugin refuses its configuration.
    ///
    /// # Errors
    /// When a port is taken, or Envoy does not start for any other reason than a plugin.
    pub fn start(
        &self,
        binary: &Path,
        ports: Ports,
        wasm_level: &str,
    ) -> Result<Result<Foreground, Vec<LogLine>>, EnvoyError> {
        free(ports)?;
        let upstreams = Arc::new(Mutex::new(Upstreams::new(&self.clusters, self.seed)));
        let mut servers: Vec<Server> = Vec::new();
        let mut by_cluster: BTreeMap<&str, Vec<u16>> = BTreeMap::new();
        for (name, cluster) in &self.clusters {
            for _ in 0..cluster.endpoints {
                let seat = Seat { cluster: name.clone(), upstreams: Arc::clone(&upstreams) };
                let server =
                    Server::start(Arc::new(seat)).map_err(EnvoyError::io("cannot start a server"))?;
                by_cluster.entry(name).or_default().push(server.port());
                servers.push(server);
            }
        }
        let served = |name: &str| by_cluster.get(name).cloned().unwrap_or_default();
        let config = bootstrap::open(&self.planned(served), ports);
        match Watched::start(binary, &config, self.workers, wasm_level)? {
            Ok(watched) => Ok(Ok(Foreground { watched, _servers: servers })),
            Err(log) => refusal(&log, self.plugins()).map(Err),
        }
    }

    /// The plan, with servers at these ports.
    fn planned(&self, ports: impl Fn(&str) -> Vec<u16>) -> Plan {
        let mut plan = self.plan.clone();
        for (name, behind) in self.clusters() {
            let Some(cluster) = self.clusters.get(name) else { continue };
            let (ports, host) = match behind {
                Behind::Script => (ports(name), None),
                Behind::Nobody => (Vec::new(), None),
                Behind::Refusal => (vec![NOBODY], None),
                Behind::Host(host, port) => (Vec::new(), Some((host, port))),
            };
            let http2 = cluster.protocol() == ClusterProtocol::Http2;
            let metadata = cluster.metadata.clone();
            plan.clusters.insert(name.to_owned(), bootstrap::Cluster { ports, metadata, http2, host });
        }
        plan
    }
}

impl Foreground {
    /// Where it listens.
    ///
    /// # Errors
    /// When it does not.
    pub fn listener(&self) -> Result<SocketAddr, EnvoyError> {
        self.watched.envoy.listener("main")
    }

    /// Where its admin interface is.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.watched.envoy.admin()
    }

    /// The next line that it writes, waited for; nothing when it has ended.
    #[must_use]
    pub fn next_line(&self) -> Option<Line> {
        self.watched.lines.recv().ok()
    }

    /// How it ended, in words.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn ended(&self) -> Result<String, EnvoyError> {
        self.watched.ended().map(|status| status.to_string())
    }
}

/// Whether ports can be had. Envoy itself shares a listener's port with another Envoy, and each would get a part of the connections.
fn free(ports: Ports) -> Result<(), EnvoyError> {
    for (what, port) in [("--port", ports.listener), ("--admin-port", ports.admin)] {
        let taken =
            EnvoyError::io(format!("port {port} cannot be had ({what} takes another, 0 any free one)"));
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(taken)?;
    }
    Ok(())
}

/// The clusters that a plugin's configuration names.
fn called(plugin: &Plugin) -> Vec<String> {
    let config: Option<Value> =
        plugin.configuration.as_ref().and_then(|text| serde_json::from_str(text).ok());
    let Some(config) = config else { return Vec::new() };
    let metadata = metadata(&plugin.module);
    clusters_in(metadata.as_ref(), &config).into_iter().map(|(_, name)| name).collect()
}

fn metadata(module: &PathBuf) -> Option<inspect::Metadata> {
    inspect::inspect(&std::fs::read(module).ok()?).ok()?.metadata
}

/// One cluster's side of the servers.
struct Seat {
    cluster: String,
    upstreams: Arc<Mutex<Upstreams>>,
}

impl Seat {
    fn upstreams(&self) -> MutexGuard<'_, Upstreams> {
        self.upstreams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answers for Seat {
    fn reply(&self, arrival: Arrival) -> Reply {
        let request = &arrival.request;
        // Nobody can read an echo as gRPC: such a call is answered as a replay does.
        let is_grpc =
            request.headers.get(b"content-type").is_some_and(|kind| kind.starts_with(b"application/grpc"));
        let echo = (!is_grpc).then(|| echo_at(&self.cluster, request));
        stage::reply(self.upstreams().turn(&self.cluster, request, echo.as_ref()))
    }

    fn opened(&self, head: &Message) -> (usize, Option<Reply>) {
        let mut upstreams = self.upstreams();
        let fails = upstreams.fails(&self.cluster, head);
        (0, fails.then(|| stage::reply(upstreams.turn(&self.cluster, head, None))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    fn stand(scenario: &str, hosts: &[&str]) -> Stand {
        let scenario: Scenario = yaml::parse(scenario).unwrap();
        let hosts = hosts.iter().map(|name| ((*name).to_owned(), ("127.0.0.1".to_owned(), 80))).collect();
        Stand::new(&scenario, Path::new("."), hosts).unwrap()
    }

    #[test]
    fn clusters_are_those_that_are_named() {
        let text = "clusters: {a: {}, b: {endpoints: 0}, c: {failure: CONNECT_FAILURE}, d: {}}\n\
                    route_config: {virtual_hosts: [{name: x, domains: ['*'], routes: [{match: {prefix: /}, route: {cluster: d}}]}]}\n";
        let stand = stand(text, &["d", "e"]);
        let host = || Behind::Host("127.0.0.1".to_owned(), 80);
        let want = [
            ("a", Behind::Script),
            ("b", Behind::Nobody),
            ("c", Behind::Refusal),
            ("d", host()),
            ("e", host()),
        ];
        assert_eq!(stand.clusters().collect::<Vec<_>>(), want);
        assert_eq!(stand.unused(), BTreeSet::from(["e"]));
    }

    #[test]
    fn without_a_scenario_everything_goes_to_one_cluster() {
        assert_eq!(stand("{}", &[]).clusters().collect::<Vec<_>>(), [("upstream", Behind::Script)]);
    }

    #[test]
    fn a_port_that_is_taken_is_named() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = free(Ports { listener: 0, admin: port }).unwrap_err().to_string();
        assert!(error.contains(&format!("port {port} cannot be had (--admin-port")), "{error}");
    }
}
