//! `DestinationRule`: what Istio's webhook asks of hosts, subsets and traffic policies.

use serde_json::Value;

use super::object::{Part, Webhook};
use super::virtual_service::labels;
use super::{load_balancer, names, values};
use crate::check::findings::Findings;
use crate::check::rules;

/// What a traffic policy may say, of a host and of one of its ports.
const POLICIES: &[&str] = &[
    "outlierDetection",
    "connectionPool",
    "loadBalancer",
    "tls",
    "portLevelSettings",
    "tunnel",
    "proxyProtocol",
    "retryBudget",
];
const PORT_POLICIES: &[&str] = &["outlierDetection", "connectionPool", "loadBalancer", "tls"];

const CONFIG_MAP: &str = "configmap://";

pub(in crate::check) fn check(value: &Value, findings: &mut Findings<'_>) {
    let Some(spec) = Part::of(value, "/spec") else { return };
    let hook = &mut Webhook { findings, rule: &rules::DESTINATION_RULE };
    let namespace = value.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
    if let Some(host) = spec.field("host") {
        hook.refuse_for(host.at(), names::host(host.as_text()));
    }
    spec.field("trafficPolicy").iter().for_each(|policy| traffic_policy(policy, namespace, hook));
    let mut seen: Vec<&str> = Vec::new();
    for subset in spec.list("subsets") {
        if let Some(name) = subset.field("name") {
            if seen.contains(&name.as_text()) {
                hook.refuse(name.at(), format!("a subset `{}` stands before", name.as_text()));
            }
            seen.push(name.as_text());
            hook.refuse_for(name.at(), names::subset(name.as_text()));
        }
        labels(&subset, "labels", hook);
        subset.field("trafficPolicy").iter().for_each(|policy| traffic_policy(policy, namespace, hook));
    }
    let has_selector = spec.has("workloadSelector");
    super::export_to(value, has_selector, hook);
    if has_selector {
        super::selector(value, "/spec/workloadSelector", "matchLabels", hook.findings);
    }
}

fn traffic_policy(policy: &Part<'_>, namespace: &str, hook: &mut Webhook<'_, '_>) {
    if !POLICIES.iter().any(|field| policy.has(field)) {
        hook.refuse(policy.at(), format!("says nothing: `{}` are its fields", POLICIES.join("`, `")));
        return;
    }
    if policy.has("tunnel") && policy.has("proxyProtocol") {
        hook.refuse(&policy.at_field("proxyProtocol"), "`tunnel` and `proxyProtocol` exclude each other");
        return;
    }
    settings(policy, namespace, hook);
    for port in policy.list("portLevelSettings") {
        if !port.has("port") {
            hook.refuse(port.at(), "`port` is missing");
        }
        if PORT_POLICIES.iter().any(|field| port.has(field)) {
            settings(&port, namespace, hook);
        } else {
            hook.refuse(port.at(), format!("says nothing: `{}` are its fields", PORT_POLICIES.join("`, `")));
        }
    }
    policy.field("tunnel").iter().for_each(|tunnel| check_tunnel(tunnel, hook));
}

/// What a host's and a port's policy have both.
fn settings(policy: &Part<'_>, namespace: &str, hook: &mut Webhook<'_, '_>) {
    policy.field("outlierDetection").iter().for_each(|outliers| outlier_detection(outliers, hook));
    policy.field("connectionPool").iter().for_each(|pool| connection_pool(pool, hook));
    if let Some(settings) = policy.field("loadBalancer") {
        load_balancer::check(&settings, policy.has("outlierDetection"), hook);
    }
    policy.field("tls").iter().for_each(|settings| tls(settings, namespace, hook));
}

fn check_tunnel(tunnel: &Part<'_>, hook: &mut Webhook<'_, '_>) {
    let protocol = tunnel.text("protocol");
    if !matches!(protocol, "" | "CONNECT" | "POST") {
        let reason = crate::yaml::unknown("protocol", protocol, &["CONNECT", "POST"]);
        hook.refuse(&tunnel.at_field("protocol"), reason);
    }
    if let Some(host) = tunnel.field("targetHost") {
        let reason = names::domain(host.as_text()).filter(|_| !names::is_address(host.as_text()));
        hook.refuse_for(host.at(), reason);
    }
    if tunnel.has("targetPort") {
        hook.refuse_for(&tunnel.at_field("targetPort"), values::port(tunnel.number("targetPort")));
    }
}

fn outlier_detection(outliers: &Part<'_>, hook: &mut Webhook<'_, '_>) {
    if outliers.number("consecutiveErrors") != 0.0 {
        let reason = "is the old form of `consecutiveGatewayErrors` and `consecutive5xxErrors`";
        hook.warn(&outliers.at_field("consecutiveErrors"), reason);
    }
    let field = "consecutiveLocalOriginFailures";
    if !outliers.is("splitExternalLocalOriginErrors") && outliers.number(field) > 0.0 {
        let reason = "counts only with `splitExternalLocalOriginErrors: true`";
        hook.refuse(&outliers.at_field(field), reason);
    }
    for field in ["baseEjectionTime", "interval"] {
        precision(outliers, field, hook);
    }
    for field in ["maxEjectionPercent", "minHealthPercent"] {
        hook.refuse_for(&outliers.at_field(field), values::percent(outliers.number(field)));
    }
}

fn connection_pool(pool: &Part<'_>, hook: &mut Webhook<'_, '_>) {
    let (http, tcp) = (pool.field("http"), pool.field("tcp"));
    if http.is_none() && tcp.is_none() {
        hook.refuse(pool.at(), "says nothing: `http`, `tcp` or both");
    }
    if let Some(http) = http {
        for field in [
            "http1MaxPendingRequests",
            "http2MaxRequests",
            "maxRequestsPerConnection",
            "maxRetries",
            "maxConcurrentStreams",
        ] {
            not_negative(&http, field, hook);
        }
        precision(&http, "idleTimeout", hook);
        if http.text("h2UpgradePolicy") == "UPGRADE" && http.is("useClientProtocol") {
            let reason = "what is upgraded to HTTP/2 is not the client's protocol";
            hook.refuse(&http.at_field("useClientProtocol"), reason);
        }
        if let Some(keep_alive) = http.field("http2KeepAlive") {
            for field in ["interval", "timeout"] {
                if !keep_alive.has(field) {
                    hook.refuse(keep_alive.at(), format!("`{field}` is missing"));
                }
                precision(&keep_alive, field, hook);
            }
        }
    }
    if let Some(tcp) = tcp {
        not_negative(&tcp, "maxConnections", hook);
        for field in ["connectTimeout", "maxConnectionDuration"] {
            precision(&tcp, field, hook);
        }
        let field = "idleTimeout";
        hook.refuse_for(&tcp.at_field(field), values::duration_or_none(tcp.text(field)));
        if let Some(keep_alive) = tcp.field("tcpKeepalive") {
            for field in ["time", "interval"] {
                precision(&keep_alive, field, hook);
            }
        }
    }
}

fn not_negative(part: &Part<'_>, field: &str, hook: &mut Webhook<'_, '_>) {
    if part.number(field) < 0.0 {
        hook.refuse(&part.at_field(field), "must not be below 0");
    }
}

/// A duration in a field, where there is one.
pub(super) fn precision(part: &Part<'_>, field: &str, hook: &mut Webhook<'_, '_>) {
    hook.refuse_for(&part.at_field(field), values::precision(part.text(field)));
}

fn tls(settings: &Part<'_>, namespace: &str, hook: &mut Webhook<'_, '_>) {
    let has = |field: &str| !settings.text(field).is_empty();
    let credential = settings.text("credentialName");
    if let Some(name) = credential.strip_prefix(CONFIG_MAP) {
        let is_own = name
            .split_once('/')
            .is_some_and(|(of, name)| of == namespace && !of.is_empty() && !name.is_empty());
        if !is_own {
            let reason =
                format!("`{CONFIG_MAP}NAMESPACE/NAME` names a ConfigMap of the object's own namespace");
            hook.refuse(&settings.at_field("credentialName"), reason);
        }
    }
    let mode = settings.text("mode");
    let is_checked = matches!(mode, "SIMPLE" | "MUTUAL");
    if settings.is("insecureSkipVerify") && is_checked {
        let names: &[&str] =
            if mode == "SIMPLE" { &["caCertificates", "credentialName"] } else { &["caCertificates"] };
        let mut found = names.iter().copied().filter(|field| has(field)).collect::<Vec<_>>();
        found.extend(settings.has("subjectAltNames").then_some("subjectAltNames"));
        for field in found {
            hook.refuse(&settings.at_field(field), "with `insecureSkipVerify` nothing is verified by it");
        }
    }
    if is_checked && !credential.is_empty() {
        for field in
            ["clientCertificate", "caCertificates", "privateKey", "caCrl"].into_iter().filter(|f| has(f))
        {
            hook.refuse(
                &settings.at_field(field),
                format!("`{field}` and `credentialName` exclude each other"),
            );
        }
    } else if mode == "MUTUAL" {
        for field in ["clientCertificate", "privateKey"].into_iter().filter(|field| !has(field)) {
            hook.refuse(settings.at(), format!("`mode: MUTUAL` needs `{field}`, or a `credentialName`"));
        }
    }
}
