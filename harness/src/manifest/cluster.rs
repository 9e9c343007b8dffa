//! Clusters that a configuration or a route names: what they are for a proxy, and the definition where the proxy has none of that name.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use super::tree::Tree;

/// What names in Kubernetes end with, as Istio has them by default.
const DOMAIN: &str = ".svc.cluster.local";
/// The authorities that a TLS connection trusts: where Debian, Alpine and Envoy's images have them.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// Where requests for a cluster go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cluster {
    /// A name that the proxy knows already, such as Istio's `outbound|9080|v1|reviews.default.svc.cluster.local`.
    Known(String),
    /// Somewhere in the network.
    Address {
        /// A DNS name or an address.
        host: String,
        /// The port.
        port: u16,
        /// HTTP/2, as gRPC needs it; else HTTP/1.1.
        http2: bool,
        /// TLS.
        tls: bool,
    },
}

impl FromStr for Cluster {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let place = parts.next().unwrap_or_default();
        let expected = || {
            format!(
                "expected HOST:PORT, with `,http2` or `,tls` behind it, or the name of a cluster that the proxy has, found `{text}`"
            )
        };
        if place.is_empty() {
            return Err(expected());
        }
        let address = place.rsplit_once(':').filter(|_| !place.contains(['|', '/']));
        let Some((host, port)) = address else {
            return if text.contains(',') { Err(expected()) } else { Ok(Self::Known(place.to_owned())) };
        };
        let port = port
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(|| format!("`{port}` is no port: expected 1 to 65535"))?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bare.unwrap_or(host);
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let is_host = match bare {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => (1..=253).contains(&host.len()) && host.chars().all(is_name),
        };
        if !is_host {
            return Err(expected());
        }
        let (mut http2, mut tls) = (false, false);
        for option in parts {
            match option {
                "http2" => http2 = true,
                "tls" => tls = true,
                other => return Err(crate::yaml::unknown("option", other, &["http2", "tls"])),
            }
        }
        Ok(Self::Address { host: host.to_owned(), port, http2, tls })
    }
}

/// A service of Kubernetes, or a subset of one, as Istio sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The whole name.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The subset of its `DestinationRule`; empty for all.
    pub subset: String,
}

impl Cluster {
    /// The service of Kubernetes that this is: `NAME.NAMESPACE.svc…`, or a name of Istio's. What is outside of the mesh is none, nor what is
    /// to be spoken to in another way than Istio would by itself.
    #[must_use]
    pub fn service(&self) -> Option<Service> {
        match self {
            Self::Known(name) => {
                let mut parts = name.strip_prefix("outbound|")?.split('|');
                let port = parts.next()?.parse().ok()?;
                let (subset, host) = (parts.next()?.to_owned(), parts.next()?.to_owned());
                parts.next().is_none().then_some(Service { host, port, subset })
            }
            Self::Address { host, port, tls: false, .. } => {
                let host = match host.strip_suffix(".svc") {
                    Some(name) => format!("{name}{DOMAIN}"),
                    None => host.clone(),
                };
                let is_service = host.strip_suffix(DOMAIN).is_some_and(|name| name.matches('.').count() == 1);
                is_service.then_some(Service { host, port: *port, subset: String::new() })
            }
            Self::Address { .. } => None,
        }
    }

    /// The name that a proxy of Istio has for it; nothing where it needs a definition.
    #[must_use]
    pub fn istio_name(&self) -> Option<String> {
        match self {
            Self::Known(name) => Some(name.clone()),
            Self::Address { .. } => self.service().map(|service| service.cluster()),
        }
    }

    /// Envoy's definition of a cluster of that name; nothing for one that is known already.
    #[must_use]
    pub fn definition(&self, name: &str) -> Option<Tree> {
        let Self::Address { host, port, http2, tls } = self else { return None };
        let kind = if host.parse::<IpAddr>().is_ok() { "STATIC" } else { "STRICT_DNS" };
        let socket = Tree::map([("address", host.as_str().into()), ("port_value", (*port).into())]);
        let endpoint =
            Tree::map([("endpoint", Tree::map([("address", Tree::map([("socket_address", socket)]))]))]);
        let endpoints = Tree::map([("lb_endpoints", vec![endpoint].into())]);
        let assignment = Tree::map([("cluster_name", name.into()), ("endpoints", vec![endpoints].into())]);
        let cluster =
            Tree::map([("name", name.into()), ("type", kind.into()), ("connect_timeout", "1s".into())])
                .with_some("transport_socket", tls.then(|| tls_socket(host)))
                .with_some("typed_extension_protocol_options", http2.then(http2_options));
        Some(cluster.with("load_assignment", assignment))
    }
}

impl Service {
    /// The name of its cluster in Istio's proxies.
    #[must_use]
    pub fn cluster(&self) -> String {
        format!("outbound|{}|{}|{}", self.port, self.subset, self.host)
    }
}

fn http2_options() -> Tree {
    let explicit = Tree::map([("http2_protocol_options", Tree::default())]);
    let options = super::any(HTTP_OPTIONS).with("explicit_http_config", explicit);
    Tree::map([(HTTP_OPTIONS, options)])
}

fn tls_socket(host: &str) -> Tree {
    let names = Tree::map([("san_type", "DNS".into()), ("matcher", Tree::map([("exact", host.into())]))]);
    let validation = Tree::map([
        ("trusted_ca", Tree::map([("filename", AUTHORITIES.into())])),
        ("match_typed_subject_alt_names", vec![names].into()),
    ]);
    let context = super::any("envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext")
        .with("sni", host)
        .with("common_tls_context", Tree::map([("validation_context", validation)]));
    Tree::map([("name", "envoy.transport_sockets.tls".into()), ("typed_config", context)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, istio: Option<&str>, is_defined: bool) {
        let cluster: Cluster = text.parse().unwrap();
        assert_eq!(cluster.istio_name().as_deref(), istio, "{text}");
        assert_eq!(cluster.definition("x").is_some(), is_defined, "{text}");
    }

    #[test]
    fn clusters_are_services_addresses_or_known() {
        let shadow = Some("outbound|8080||shadow.default.svc.cluster.local");
        check("shadow.default.svc.cluster.local:8080", shadow, true);
        check("shadow.default.svc:8080,http2", shadow, true);
        check("hooks.example.com:443,tls", None, true);
        check("shadow.default.svc:8080,tls", None, true);
        check("127.0.0.1:80", None, true);
        check("[::1]:80", None, true);
        check("outbound|80|v1|a.b.svc.cluster.local", Some("outbound|80|v1|a.b.svc.cluster.local"), false);
        check("httproute/default/shadow/rule/0", Some("httproute/default/shadow/rule/0"), false);
        check("agent", Some("agent"), false);
    }

    #[test]
    fn what_is_none_says_what_would_be() {
        for (text, want) in [
            ("a b:80", "expected HOST:PORT"),
            ("h:80:80", "expected HOST:PORT"),
            ("[::1:80", "expected HOST:PORT"),
            ("[h]:80", "expected HOST:PORT"),
            ("", "expected HOST:PORT, with `,http2` or `,tls` behind it"),
            ("a:0", "`0` is no port: expected 1 to 65535"),
            ("a:http", "`http` is no port"),
            ("a:80,htp2", "unknown option `htp2`; did you mean `http2`?"),
            (":80", "expected HOST:PORT"),
            ("a,tls", "expected HOST:PORT"),
        ] {
            let error = text.parse::<Cluster>().unwrap_err();
            assert!(error.starts_with(want), "{text}: {error}");
        }
    }
}
