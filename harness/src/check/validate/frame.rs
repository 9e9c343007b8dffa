//! Parts of a configuration, each in the smallest bootstrap that Envoy can be asked about. Asks nobody.

use std::collections::BTreeSet;

use prost_reflect::{Kind as FieldKind, MessageDescriptor};
use serde_json::{Value, json};

use crate::check::envoy::{self, BOOTSTRAP};
use crate::check::proto;

/// What a part is, and so where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bootstrap,
    Listener,
    FilterChain,
    ListenerFilter,
    NetworkFilter,
    HttpFilter,
    Routes,
    VirtualHost,
    Route,
    Cluster,
    Endpoints,
    Secret,
}

const HTTP_FILTER: &str = "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter";
const HCM: &str = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const TCP_PROXY: &str = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";
const ROUTER: &str = "envoy.extensions.filters.http.router.v3.Router";

/// Each kind's message, and where it stands in the bootstrap.
const KINDS: &[(Kind, &str, &str)] = &[
    (Kind::Bootstrap, BOOTSTRAP, ""),
    (Kind::Listener, "envoy.config.listener.v3.Listener", "/static_resources/listeners/0"),
    (
        Kind::FilterChain,
        "envoy.config.listener.v3.FilterChain",
        "/static_resources/listeners/0/filter_chains/0",
    ),
    (
        Kind::ListenerFilter,
        "envoy.config.listener.v3.ListenerFilter",
        "/static_resources/listeners/0/listener_filters/0",
    ),
    (
        Kind::NetworkFilter,
        "envoy.config.listener.v3.Filter",
        "/static_resources/listeners/0/filter_chains/0/filters/0",
    ),
    (
        Kind::HttpFilter,
        HTTP_FILTER,
        "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/0",
    ),
    (
        Kind::Routes,
        "envoy.config.route.v3.RouteConfiguration",
        "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config",
    ),
    (
        Kind::VirtualHost,
        "envoy.config.route.v3.VirtualHost",
        "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0",
    ),
    (
        Kind::Route,
        "envoy.config.route.v3.Route",
        "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0/routes/0",
    ),
    (Kind::Cluster, "envoy.config.cluster.v3.Cluster", "/static_resources/clusters/0"),
    (
        Kind::Endpoints,
        "envoy.config.endpoint.v3.ClusterLoadAssignment",
        "/static_resources/clusters/0/load_assignment",
    ),
    (Kind::Secret, "envoy.extensions.transport_sockets.tls.v3.Secret", "/static_resources/secrets/0"),
];

/// A part in a bootstrap.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Framed {
    pub(super) whole: Value,
    /// Where the part stands in it.
    pub(super) inside: &'static str,
}

impl Kind {
    /// The kind whose message is named so. Of extensions those of HTTP filters and network filters can be asked about.
    pub(super) fn of(message: &str, value: &Value) -> Option<Self> {
        if message == "envoy.config.core.v3.TypedExtensionConfig" {
            return Self::of_extension(value);
        }
        KINDS.iter().find(|(_, known, _)| *known == message).map(|(kind, ..)| *kind)
    }

    fn of_extension(value: &Value) -> Option<Self> {
        let text = |field: &str| value.pointer(&format!("/typed_config/{field}")).and_then(Value::as_str);
        let own = text("@type").unwrap_or_default();
        let kind = if own.ends_with(".TypedStruct") { text("type_url").unwrap_or_default() } else { own };
        if kind.contains(".filters.http.") {
            Some(Self::HttpFilter)
        } else {
            kind.contains(".filters.network.").then_some(Self::NetworkFilter)
        }
    }

    /// The message that it is.
    pub(super) fn message(self) -> &'static str {
        KINDS.iter().find(|(kind, ..)| *kind == self).map_or("", |(_, message, _)| message)
    }

    /// Puts a value of this kind into a bootstrap, in which clusters that are only named exist. A filter that `ends` its chain is the last there.
    pub(super) fn frame(self, value: &Value, ends: bool) -> Option<Framed> {
        let (.., inside) = KINDS.iter().find(|(kind, ..)| *kind == self)?;
        let mut value = value.clone();
        value.as_object_mut()?.remove("@type");
        if self == Self::Bootstrap {
            return Some(Framed { whole: value, inside });
        }
        let named = envoy::named(&value);
        let own = value.get("name").and_then(Value::as_str).filter(|_| self == Self::Cluster);
        let mut missing: BTreeSet<String> =
            named.into_iter().filter(|name| Some(name.as_str()) != own).collect();
        let mut resources = json!({});
        let mut clusters = Vec::new();
        match self {
            Self::Cluster => clusters.push(value),
            Self::Endpoints => {
                clusters.push(json!({"name": PART, "connect_timeout": "1s", "load_assignment": value}))
            }
            Self::Secret => resources["secrets"] = json!([value]),
            Self::Listener => resources["listeners"] = json!([value]),
            other => {
                missing.insert(PART.to_owned());
                resources["listeners"] = json!([other.listener(value, ends)]);
            }
        }
        clusters.extend(missing.into_iter().map(
            |name| json!({"name": name, "connect_timeout": "1s", "load_assignment": {"cluster_name": name}}),
        ));
        resources["clusters"] = Value::Array(clusters);
        Some(Framed { whole: json!({"node": node(), "static_resources": resources}), inside })
    }

    /// The smallest listener around a value that stands in one.
    fn listener(self, value: Value, ends: bool) -> Value {
        let chain = |filters: Value| json!({"filters": filters});
        let http = |routes: Value| chain(json!([connection_manager(&routes, json!([router()]))]));
        let mut listener_filters = json!([]);
        let chain = match self {
            Self::FilterChain => value,
            Self::ListenerFilter => {
                listener_filters = json!([value]);
                http(json!({}))
            }
            Self::NetworkFilter if ends => chain(json!([value])),
            Self::NetworkFilter => chain(json!([value, tcp_proxy()])),
            Self::HttpFilter if ends => chain(json!([connection_manager(&json!({}), json!([value]))])),
            Self::HttpFilter => chain(json!([connection_manager(&json!({}), json!([value, router()]))])),
            Self::VirtualHost => http(json!({"virtual_hosts": [value]})),
            Self::Route => {
                http(json!({"virtual_hosts": [{"name": PART, "domains": ["*"], "routes": [value]}]}))
            }
            _ => http(value),
        };
        let address = json!({"socket_address": {"address": "127.0.0.1", "port_value": 0}});
        json!({"name": PART, "address": address, "listener_filters": listener_filters, "filter_chains": [chain]})
    }

    /// The smallest value of this kind, which one that is merged is merged into.
    pub(super) fn smallest(self, merged: &Value) -> Value {
        match self {
            Self::Bootstrap => json!({"node": node()}),
            Self::Routes | Self::Endpoints => json!({}),
            Self::ListenerFilter | Self::HttpFilter | Self::Secret => json!({"name": PART}),
            Self::Listener => Self::FilterChain.listener(Self::FilterChain.smallest(merged), true),
            Self::FilterChain => json!({"filters": [connection_manager(&json!({}), json!([router()]))]}),
            Self::NetworkFilter => {
                let kind = merged.pointer("/typed_config/@type").and_then(Value::as_str).unwrap_or_default();
                match kind.rsplit('/').next().unwrap_or_default() {
                    HCM => connection_manager(&json!({}), json!([router()])),
                    TCP_PROXY => tcp_proxy(),
                    _ => json!({"name": PART}),
                }
            }
            Self::VirtualHost => json!({"name": PART, "domains": ["*"]}),
            Self::Route => json!({"match": {"prefix": "/"}, "route": {"cluster": PART}}),
            Self::Cluster => json!({"name": PART, "connect_timeout": "1s"}),
        }
    }
}

/// The name of what is made up.
const PART: &str = "part";

/// Who asks for what is discovered.
fn node() -> Value {
    json!({"id": PART, "cluster": PART})
}

fn typed(name: &str, message: &str, mut fields: Value) -> Value {
    fields["@type"] = format!("type.googleapis.com/{message}").into();
    json!({"name": name, "typed_config": fields})
}

fn connection_manager(routes: &Value, filters: Value) -> Value {
    typed("http", HCM, json!({"stat_prefix": PART, "route_config": routes, "http_filters": filters}))
}

fn router() -> Value {
    typed("router", ROUTER, json!({}))
}

fn tcp_proxy() -> Value {
    typed("tcp", TCP_PROXY, json!({"stat_prefix": PART, "cluster": PART}))
}

/// Merges a value into the smallest of its kind: what it says stands, in the places where it stood.
pub(super) fn merged(kind: Kind, value: &Value) -> Value {
    let mut whole = value.clone();
    if let Some(message) = proto::message(kind.message()) {
        complete(&message, &kind.smallest(value), &mut whole);
    }
    whole
}

fn complete(message: &MessageDescriptor, smallest: &Value, whole: &mut Value) {
    let (Some(smallest), Some(fields)) = (smallest.as_object(), whole.as_object_mut()) else { return };
    for (name, value) in smallest {
        let Some(field) = message.get_field_by_name(name) else { continue };
        let key = [name.as_str(), field.json_name()].into_iter().find(|key| fields.contains_key(*key));
        let key = key.map(str::to_owned);
        if let Some(own) = key.and_then(|key| fields.get_mut(&key)) {
            match (own, field.kind()) {
                (Value::Array(own), _) if name == "http_filters" => {
                    own.extend(value.as_array().cloned().unwrap_or_default());
                }
                (own, FieldKind::Message(inner)) if inner.full_name() == "google.protobuf.Any" => {
                    let kind = value.get("@type").and_then(Value::as_str).unwrap_or_default();
                    if let Some(inner) = proto::message(kind.rsplit('/').next().unwrap_or_default())
                        && own.get("@type") == value.get("@type")
                    {
                        complete(&inner, value, own);
                    }
                }
                (own, FieldKind::Message(inner)) => complete(&inner, value, own),
                _ => {}
            }
            continue;
        }
        let is_chosen = field.containing_oneof().is_some_and(|oneof| {
            oneof
                .fields()
                .any(|other| fields.contains_key(other.name()) || fields.contains_key(other.json_name()))
        });
        if !is_chosen {
            fields.insert(name.clone(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: Kind, value: Value, want: Value) {
        assert_eq!(merged(kind, &value), want);
    }

    #[test]
    fn what_is_merged_stands_where_it_stood() {
        check(
            Kind::Cluster,
            json!({"connectTimeout": "2s"}),
            json!({"name": "part", "connectTimeout": "2s"}),
        );
        check(
            Kind::Route,
            json!({"match": {"safe_regex": {"regex": "a"}}, "route": {"timeout": "1s"}}),
            json!({"match": {"safe_regex": {"regex": "a"}}, "route": {"timeout": "1s", "cluster": "part"}}),
        );
        check(Kind::Route, json!({"redirect": {}}), json!({"match": {"prefix": "/"}, "redirect": {}}));
        let whole = merged(
            Kind::NetworkFilter,
            &json!({"typed_config": {"@type": format!("type.googleapis.com/{HCM}"), "http_filters": [{"name": "a"}], "rds": {}}}),
        );
        assert_eq!(whole.pointer("/typed_config/stat_prefix"), Some(&json!("part")));
        assert_eq!(whole.pointer("/typed_config/http_filters/0"), Some(&json!({"name": "a"})));
        assert_eq!(whole.pointer("/typed_config/http_filters/1"), Some(&router()));
        assert_eq!(whole.pointer("/typed_config/route_config"), None);
    }

    #[test]
    fn every_kind_stands_where_it_says() {
        for (kind, message, inside) in KINDS {
            let value = json!({"name": "x", "mark": true});
            let framed = kind.frame(&value, false).unwrap();
            assert_eq!(framed.whole.pointer(inside), Some(&value), "{message}");
            assert!(proto::message(message).is_some(), "{message}");
        }
    }
}
