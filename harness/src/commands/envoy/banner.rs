//! What is said at the start: where Envoy listens, which routes and clusters there are, and how to ask. Pure.

use std::net::SocketAddr;

use serde_json::Value;

use crate::envoy::foreground::{Behind, Stand};
use crate::style::{Style, paint, printable};

pub(super) fn render(
    stand: &Stand,
    listener: SocketAddr,
    admin: SocketAddr,
    title: Option<&str>,
    color: bool,
) -> String {
    let mut text = String::new();
    let head = |name: &str| paint(color, Style::Bold, &format!("{name:<9}"));
    if let Some(title) = title {
        text.push_str(&format!("{}\n\n", printable(title.as_bytes())));
    }
    text.push_str(&format!("{} http://{listener}\n", head("listener")));
    text.push_str(&format!("{} http://{admin}\n", head("admin")));
    let filters: Vec<&str> = stand.plugins().iter().map(|plugin| plugin.name.as_str()).collect();
    let filters = if filters.is_empty() { "none".to_owned() } else { filters.join(" → ") };
    text.push_str(&format!("{} {filters}\n", head("filters")));
    let mut name = "routes";
    for host in hosts(stand.route_config()) {
        text.push_str(&format!("{} {}\n", head(name), paint(color, Style::Dim, &host.domains.join(", "))));
        name = "";
        for route in &host.routes {
            text.push_str(&format!("{:<12}{route}\n", ""));
        }
    }
    let mut name = "clusters";
    for (cluster, behind) in stand.clusters() {
        let behind = match behind {
            Behind::Script => "simulated".to_owned(),
            Behind::Nobody => "no endpoint".to_owned(),
            Behind::Refusal => "refuses connections".to_owned(),
            Behind::Host(host, port) => format!("{host}:{port}"),
        };
        let behind = paint(color, Style::Dim, &behind);
        text.push_str(&format!("{} {}  {behind}\n", head(name), paint(color, Style::Cyan, cluster)));
        name = "";
    }
    let example = example(stand.route_config(), listener);
    text.push_str(&format!("{} {}\n\n", head("try"), paint(color, Style::Green, &example)));
    text
}

/// A virtual host.
struct Host {
    domains: Vec<String>,
    routes: Vec<String>,
}

fn hosts(route_config: &Value) -> Vec<Host> {
    let hosts = list(route_config, "virtual_hosts");
    let host = |host: &Value| Host {
        domains: texts(host, "domains"),
        routes: list(host, "routes").iter().map(route).collect(),
    };
    hosts.iter().map(host).collect()
}

/// `name: prefix / and end-user: jack → v2`.
fn route(route: &Value) -> String {
    let name = text(route, "name").map(|name| format!("{name}: ")).unwrap_or_default();
    let said = format!("{name}{} → {}", matched(route.get("match").unwrap_or(&Value::Null)), action(route));
    printable(said.as_bytes())
}

fn matched(of: &Value) -> String {
    let mut parts: Vec<String> = Vec::new();
    for (field, what) in [("prefix", "prefix"), ("path", "path"), ("path_separated_prefix", "path below")] {
        parts.extend(text(of, field).map(|value| format!("{what} {value}")));
    }
    parts.extend(
        of.pointer("/safe_regex/regex").and_then(Value::as_str).map(|regex| format!("path ~ {regex}")),
    );
    for (field, what) in [("headers", ""), ("query_parameters", "?")] {
        for one in list(of, field) {
            let name = text(one, "name").unwrap_or_default();
            let exact = one.pointer("/string_match/exact").and_then(Value::as_str);
            let value = exact.map_or_else(|| " …".to_owned(), |exact| format!(": {exact}"));
            parts.push(format!("{what}{name}{value}"));
        }
    }
    if of.get("runtime_fraction").is_some() {
        parts.push("a share".to_owned());
    }
    if parts.is_empty() { "…".to_owned() } else { parts.join(", ") }
}

fn action(route: &Value) -> String {
    let to = route.get("route").unwrap_or(&Value::Null);
    if let Some(cluster) = text(to, "cluster") {
        return cluster.to_owned();
    }
    if let Some(header) = text(to, "cluster_header") {
        return format!("the cluster that {header} names");
    }
    let weighted = to.pointer("/weighted_clusters/clusters").and_then(Value::as_array);
    if let Some(clusters) = weighted {
        let weight = |one: &Value| one.get("weight").and_then(Value::as_u64).unwrap_or_default();
        let one = |one: &Value| format!("{} ({})", text(one, "name").unwrap_or("…"), weight(one));
        return clusters.iter().map(one).collect::<Vec<_>>().join(", ");
    }
    if let Some(status) = route.pointer("/direct_response/status") {
        return format!("answered {status}");
    }
    if route.get("redirect").is_some() { "redirected".to_owned() } else { "…".to_owned() }
}

/// A command that asks the first route that can be asked so.
fn example(route_config: &Value, listener: SocketAddr) -> String {
    let hosts = list(route_config, "virtual_hosts");
    let domain = hosts.iter().flat_map(|host| texts(host, "domains")).next().unwrap_or_default();
    let domain = domain.replacen('*', if domain.starts_with('*') { "x" } else { "" }, 1);
    let is_any = hosts.iter().any(|host| texts(host, "domains").iter().any(|domain| domain == "*"));
    let first = hosts.first().and_then(|host| list(host, "routes").first());
    let of = first.and_then(|route| route.get("match"));
    let path =
        of.and_then(|of| ["path", "prefix", "path_separated_prefix"].iter().find_map(|key| text(of, key)));
    let path = path.filter(|path| path.starts_with('/')).unwrap_or("/");
    let host = if is_any && domain == "x" || domain.is_empty() {
        String::new()
    } else {
        format!("-H {} ", quoted(&format!("host: {domain}")))
    };
    format!("curl {host}{}", quoted(&format!("http://{listener}{path}")))
}

/// A text as one word of a shell.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/:._-".contains(&byte);
    if text.bytes().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field)?.as_str()
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn texts(value: &Value, field: &str) -> Vec<String> {
    list(value, field).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(yaml: &str) -> Value {
        crate::yaml::parse(yaml).unwrap()
    }

    #[test]
    fn routes_are_told_in_a_line() {
        for (yaml, want) in [
            ("{match: {prefix: /}, route: {cluster: v1}}", "prefix / → v1"),
            (
                "{name: jack, match: {path: /a, headers: [{name: end-user, string_match: {exact: jack}}, {name: x, present_match: true}]}, \
                 route: {cluster_header: x-to}}",
                "jack: path /a, end-user: jack, x … → the cluster that x-to names",
            ),
            (
                "{match: {safe_regex: {regex: '/a.*'}, query_parameters: [{name: q}]}, \
                 route: {weighted_clusters: {clusters: [{name: a, weight: 90}, {name: b, weight: 10}]}}}",
                "path ~ /a.*, ?q … → a (90), b (10)",
            ),
            ("{match: {prefix: /}, direct_response: {status: 204}}", "prefix / → answered 204"),
            ("{match: {prefix: /}, redirect: {}}", "prefix / → redirected"),
        ] {
            assert_eq!(route(&value(yaml)), want);
        }
    }

    #[test]
    fn the_example_reaches_a_route() {
        let listener: SocketAddr = ([127, 0, 0, 1], 10_000).into();
        for (hosts, want) in [
            ("[{domains: ['*'], routes: [{match: {prefix: /}}]}]", "curl http://127.0.0.1:10000/"),
            (
                "[{domains: [shop.example, 'shop:80'], routes: [{match: {path: \"/it's\"}}]}]",
                r"curl -H 'host: shop.example' 'http://127.0.0.1:10000/it'\''s'",
            ),
            (
                "[{domains: ['*.example'], routes: [{match: {safe_regex: {regex: '.*'}}}]}]",
                "curl -H 'host: x.example' http://127.0.0.1:10000/",
            ),
            ("[]", "curl http://127.0.0.1:10000/"),
        ] {
            assert_eq!(example(&value(&format!("virtual_hosts: {hosts}")), listener), want);
        }
    }
}
