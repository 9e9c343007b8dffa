//! The bootstrap of an Envoy that people ask: one listener as an Envoy in front of a mesh has it, and an access log on standard output.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::{Cluster, Plan, address, listener, manager, merge, seconds, speaks, static_cluster, typed, wasm};

/// Where an Envoy listens, on loopback; 0 is any free port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// The listener's.
    pub listener: u16,
    /// The admin interface's.
    pub admin: u16,
}

/// The fields of an access log entry.
const ACCESS_LOG: [(&str, &str); 10] = [
    ("time", "%START_TIME_LOCAL(%H:%M:%S.%3f)%"),
    ("method", "%REQ(:METHOD)%"),
    ("authority", "%REQ(:AUTHORITY)%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("code", "%RESPONSE_CODE%"),
    ("details", "%RESPONSE_CODE_DETAILS%"),
    ("flags", "%RESPONSE_FLAGS%"),
    ("route", "%ROUTE_NAME%"),
    ("cluster", "%UPSTREAM_CLUSTER_RAW%"),
    ("duration", "%DURATION%"),
];

/// A bootstrap as [`super::bootstrap`] makes one, without what only comparisons need: the listener `main` is asked as any other, clusters are
/// called as any other, waits are Envoy's own where the plan names none, and the access log is JSON lines on standard output.
#[must_use]
pub fn open(plan: &Plan, ports: Ports) -> Value {
    let filters = plan.plugins.iter().map(wasm).collect();
    let mut main = listener("main", &plan.route_config, filters, Some(stdout_log()));
    merge(&mut main, json!({"address": address(ports.listener)}));
    for (name, time) in [("stream_idle_timeout", plan.idle), ("request_timeout", plan.request_timeout)] {
        if !time.is_zero() {
            merge(manager(&mut main), json!({name: seconds(time)}));
        }
    }
    let clusters: Vec<Value> = plan.clusters.iter().map(|(name, one)| cluster(name, one)).collect();
    json!({
        "admin": {"address": address(ports.admin)},
        "static_resources": {"listeners": [main], "clusters": clusters},
    })
}

fn stdout_log() -> Value {
    let mut log = typed("envoy.access_loggers.stdout", "access_loggers.stream.v3.StdoutAccessLog");
    let format: BTreeMap<&str, &str> = ACCESS_LOG.into_iter().collect();
    if let Some(config) = log.get_mut("typed_config") {
        merge(config, json!({"log_format": {"json_format": format}}));
    }
    log
}

fn cluster(name: &str, cluster: &Cluster) -> Value {
    let Some((host, port)) = &cluster.host else { return static_cluster(name, cluster) };
    let kind = if host.parse::<IpAddr>().is_ok() { "STATIC" } else { "LOGICAL_DNS" };
    let endpoint =
        json!({"endpoint": {"address": {"socket_address": {"address": host, "port_value": port}}}});
    let mut value = json!({
        "name": name, "type": kind, "connect_timeout": "5s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    });
    if kind == "LOGICAL_DNS" {
        // A name of both families, as `localhost` may be, is tried in both.
        merge(&mut value, json!({"dns_lookup_family": "ALL"}));
    }
    if let Some(metadata) = &cluster.metadata {
        merge(&mut value, json!({"metadata": metadata}));
    }
    if cluster.http2 {
        speaks(&mut value, json!({"http2_protocol_options": {}}));
    }
    value
}
