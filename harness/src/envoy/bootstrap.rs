//! The bootstrap of a real Envoy: one listener with Wasm filters and the routes of a case, one static cluster an upstream.
//! Pure: makes JSON, starts nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

mod open;

pub use open::{Ports, open};

/// How long Envoy lets a stream wait that nobody continues, where nothing is known to wait longer. Envoy's own default is five minutes; this is
/// long enough for a busy machine, and short enough to wait for.
pub const IDLE: Duration = Duration::from_secs(3);

/// What an Envoy is started with.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The HTTP filters in chain order; the router follows the last.
    pub plugins: Vec<Plugin>,
    /// Envoy's `RouteConfiguration`.
    pub route_config: Value,
    /// The clusters by name.
    pub clusters: BTreeMap<String, Cluster>,
    /// Envoy's `stream_idle_timeout`; zero: [`IDLE`].
    pub idle: Duration,
    /// Envoy's `request_timeout`; zero: none.
    pub request_timeout: Duration,
}

/// One plugin of the chain; the fields are those of Envoy's `PluginConfig`.
#[derive(Clone, Debug, Default)]
pub struct Plugin {
    /// The plugin's name.
    pub name: String,
    /// Envoy's `root_id`.
    pub root_id: String,
    /// Envoy's `vm_id`.
    pub vm_id: String,
    /// The `.wasm` file.
    pub module: PathBuf,
    /// The configuration's bytes; must be UTF-8 for Envoy's `StringValue`.
    pub configuration: Option<String>,
    /// `FAIL_CLOSED`, `FAIL_OPEN` or `FAIL_RELOAD`.
    pub failure_policy: String,
    /// Envoy's `allow_on_headers_stop_iteration`.
    pub allow_on_headers_stop_iteration: bool,
    /// Environment variables of the VM.
    pub env: BTreeMap<String, String>,
}

/// A static cluster.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// Ports on loopback; none makes Envoy answer `no healthy upstream`.
    pub ports: Vec<u16>,
    /// Envoy's cluster metadata.
    pub metadata: Option<Value>,
    /// Whether it is spoken to in HTTP/2, without TLS.
    pub http2: bool,
    /// A host of its own instead of `ports`; known to [`open()`] only.
    pub host: Option<(String, u16)>,
}

/// The name of the extension that says what is spoken to a cluster.
const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// The fields of an access log entry, as `reading` reads them back.
const ACCESS_LOG: [(&str, &str); 7] = [
    ("code", "%RESPONSE_CODE%"),
    ("details", "%RESPONSE_CODE_DETAILS%"),
    ("flags", "%RESPONSE_FLAGS%"),
    ("route", "%ROUTE_NAME%"),
    ("cluster", "%UPSTREAM_CLUSTER_RAW%"),
    ("called", "%DOWNSTREAM_LOCAL_PORT%"),
    ("duration", "%DURATION%"),
];

/// The whole bootstrap: the listener `cases`, where connections begin with a PROXY protocol line that says who
/// calls, and a listener `fence` without filters on the same workers. Connections to upstreams begin with such a line, too: it names the port
/// that the client called, so that a server knows whose request it has, and no filter sees a difference. A call of a filter has no client.
#[must_use]
pub fn bootstrap(plan: &Plan, access_log: &Path) -> Value {
    let fence = json!({"name": "fence", "virtual_hosts": [{"name": "fence", "domains": ["*"], "routes": [
        {"match": {"prefix": "/"}, "direct_response": {"status": 200}},
    ]}]});
    let log = file_log(access_log);
    let mut cases = listener("cases", &plan.route_config, plan.plugins.iter().map(wasm).collect(), Some(log));
    let idle = if plan.idle.is_zero() { IDLE } else { plan.idle };
    let timeouts =
        json!({"stream_idle_timeout": seconds(idle), "request_timeout": seconds(plan.request_timeout)});
    merge(manager(&mut cases), timeouts);
    // So that a case's source address is the one that filters see.
    let proxy =
        typed("envoy.filters.listener.proxy_protocol", "filters.listener.proxy_protocol.v3.ProxyProtocol");
    merge(&mut cases, json!({"listener_filters": [proxy]}));
    let clusters: Vec<Value> =
        plan.clusters.iter().map(|(name, cluster)| announced_cluster(name, cluster)).collect();
    json!({
        "admin": {"address": address(0)},
        "static_resources": {"listeners": [cases, listener("fence", &fence, Vec::new(), None)], "clusters": clusters},
    })
}

/// The names of the clusters that routes speak of: `cluster`, and the `name` of each of the `weighted_clusters`.
#[must_use]
pub fn named_clusters(route_config: &Value) -> BTreeSet<String> {
    fn walk(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| walk(item, found)),
            Value::Object(fields) => {
                for (key, value) in fields {
                    let weighted = value.get("clusters").and_then(Value::as_array);
                    match (key.as_str(), value) {
                        ("cluster", Value::String(name)) => found.extend([name.clone()]),
                        ("weighted_clusters", _) => found.extend(
                            weighted
                                .into_iter()
                                .flatten()
                                .filter_map(|one| Some(one.get("name")?.as_str()?.to_owned())),
                        ),
                        ("metadata" | "typed_per_filter_config", _) => {}
                        _ => walk(value, found),
                    }
                }
            }
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    walk(route_config, &mut found);
    found
}

/// The routes when a case has none: everything to one cluster.
#[must_use]
pub fn everything_to(cluster: &str) -> Value {
    json!({"name": "default", "virtual_hosts": [{"name": "default", "domains": ["*"], "routes": [
        {"match": {"prefix": "/"}, "route": {"cluster": cluster}},
    ]}]})
}

/// The connection manager's configuration in a listener of [`listener`].
fn manager(listener: &mut Value) -> &mut Value {
    &mut listener["filter_chains"][0]["filters"][0]["typed_config"]
}

fn seconds(time: Duration) -> String {
    format!("{}s", time.as_secs_f64())
}

/// An access log in a file, as `reading` reads it back.
fn file_log(path: &Path) -> Value {
    let mut log = typed("envoy.access_loggers.file", "access_loggers.file.v3.FileAccessLog");
    let format: BTreeMap<&str, &str> = ACCESS_LOG.into_iter().collect();
    if let Some(config) = log.get_mut("typed_config") {
        merge(config, json!({"path": path, "log_format": {"json_format": format}}));
    }
    log
}

fn listener(name: &str, route_config: &Value, mut filters: Vec<Value>, access_log: Option<Value>) -> Value {
    filters.push(typed("envoy.filters.http.router", "filters.http.router.v3.Router"));
    let mut manager = typed(
        "envoy.filters.network.http_connection_manager",
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
    );
    let mut fields = json!({
        "stat_prefix": name, "route_config": route_config, "http_filters": filters,
        "http_protocol_options": {"enable_trailers": true},
    });
    if let Some(log) = access_log {
        merge(&mut fields, json!({"access_log": [log]}));
    }
    if let Some(config) = manager.get_mut("typed_config") {
        merge(config, fields);
    }
    json!({"name": name, "address": address(0), "filter_chains": [{"filters": [manager]}]})
}

fn wasm(plugin: &Plugin) -> Value {
    let mut config = json!({
        "name": plugin.name,
        "root_id": plugin.root_id,
        "vm_config": {
            "vm_id": plugin.vm_id,
            "runtime": "envoy.wasm.runtime.v8",
            "code": {"local": {"filename": plugin.module}},
        },
        "allow_on_headers_stop_iteration": plugin.allow_on_headers_stop_iteration,
    });
    if let Some(text) = &plugin.configuration {
        let value = json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": text});
        merge(&mut config, json!({"configuration": value}));
    }
    if !plugin.failure_policy.is_empty() {
        merge(&mut config, json!({"failure_policy": plugin.failure_policy}));
    }
    if let Some(vm) = config.get_mut("vm_config").filter(|_| !plugin.env.is_empty()) {
        merge(vm, json!({"environment_variables": {"key_values": plugin.env}}));
    }
    let mut filter = typed("envoy.filters.http.wasm", "filters.http.wasm.v3.Wasm");
    if let Some(outer) = filter.get_mut("typed_config") {
        merge(outer, json!({"config": config}));
    }
    filter
}

/// A cluster whose connections begin with a PROXY protocol line.
fn announced_cluster(name: &str, cluster: &Cluster) -> Value {
    let mut socket = typed(
        "envoy.transport_sockets.upstream_proxy_protocol",
        "transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport",
    );
    let inner = typed("envoy.transport_sockets.raw_buffer", "transport_sockets.raw_buffer.v3.RawBuffer");
    if let Some(config) = socket.get_mut("typed_config") {
        merge(config, json!({"config": {"version": "V1"}, "transport_socket": inner}));
    }
    let mut value = static_cluster(name, cluster);
    merge(&mut value, json!({"transport_socket": socket}));
    value
}

/// A cluster of servers on this machine.
fn static_cluster(name: &str, cluster: &Cluster) -> Value {
    let endpoints: Vec<Value> =
        cluster.ports.iter().map(|port| json!({"endpoint": {"address": address(*port)}})).collect();
    let mut value = json!({
        "name": name, "type": "STATIC", "connect_timeout": "5s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
    });
    if let Some(metadata) = &cluster.metadata {
        merge(&mut value, json!({"metadata": metadata}));
    }
    // One request at a time on a connection, as in HTTP/1, so that a server that closes a connection fails one request.
    let explicit = if cluster.http2 {
        json!({"http2_protocol_options": {"max_concurrent_streams": 1}})
    } else {
        json!({"http_protocol_options": {"enable_trailers": true}})
    };
    speaks(&mut value, explicit);
    value
}

/// Says which HTTP is spoken to a cluster.
fn speaks(cluster: &mut Value, explicit: Value) {
    let mut options = typed(HTTP_OPTIONS, "upstreams.http.v3.HttpProtocolOptions");
    if let Some(config) = options.get_mut("typed_config") {
        merge(config, json!({"explicit_http_config": explicit}));
        merge(cluster, json!({"typed_extension_protocol_options": {HTTP_OPTIONS: config}}));
    }
}

fn address(port: u16) -> Value {
    json!({"socket_address": {"address": "127.0.0.1", "port_value": port}})
}

fn typed(name: &str, kind: &str) -> Value {
    json!({"name": name, "typed_config": {"@type": format!("type.googleapis.com/envoy.extensions.{kind}")}})
}

/// Adds the fields of `more`, which are not there yet.
fn merge(value: &mut Value, more: Value) {
    if let (Value::Object(fields), Value::Object(more)) = (value, more) {
        fields.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(route_config: &str, want: &[&str]) {
        let found = named_clusters(&serde_json::from_str(route_config).unwrap());
        assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), want);
    }

    #[test]
    fn clusters_are_found_wherever_routes_name_them() {
        check("{}", &[]);
        check(
            r#"{"virtual_hosts": [{"routes": [{"route": {"cluster": "b"}}, {"route": {"cluster": "a"}}]}]}"#,
            &["a", "b"],
        );
        check(
            r#"{"route": {"weighted_clusters": {"clusters": [{"name": "x", "weight": 1}, {"cluster_header": "h"}]}}}"#,
            &["x"],
        );
        check(
            r#"{"route": {"cluster_header": "h"}, "metadata": {"filter_metadata": {"a": {"cluster": "no"}}}}"#,
            &[],
        );
        check(r#"{"request_mirror_policies": [{"cluster": "m"}]}"#, &["m"]);
    }
}
