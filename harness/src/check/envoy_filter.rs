//! `EnvoyFilter`: what Istio's webhook asks of its patches, and the values as Envoy's API.

use serde_json::Value;

use super::document::step;
use super::findings::Findings;
use super::pattern::{self, LONGEST};
use super::proto::{self, Problem, Wholeness};
use super::{cel, image, istio, rules};

const HCM: &str = "envoy.filters.network.http_connection_manager";
const SELECTOR: &str = "/spec/workloadSelector";

/// What a patch of a kind is applied to: the match that fits, and the message that its value is.
const KINDS: &[(&str, &str, &str)] = &[
    ("LISTENER", "listener", "envoy.config.listener.v3.Listener"),
    ("FILTER_CHAIN", "listener", "envoy.config.listener.v3.FilterChain"),
    ("LISTENER_FILTER", "listener", "envoy.config.listener.v3.ListenerFilter"),
    ("NETWORK_FILTER", "listener", "envoy.config.listener.v3.Filter"),
    ("HTTP_FILTER", "listener", "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter"),
    ("ROUTE_CONFIGURATION", "routeConfiguration", "envoy.config.route.v3.RouteConfiguration"),
    ("VIRTUAL_HOST", "routeConfiguration", "envoy.config.route.v3.VirtualHost"),
    ("HTTP_ROUTE", "routeConfiguration", "envoy.config.route.v3.Route"),
    ("CLUSTER", "cluster", "envoy.config.cluster.v3.Cluster"),
    ("EXTENSION_CONFIG", "", "envoy.config.core.v3.TypedExtensionConfig"),
    ("BOOTSTRAP", "", "envoy.config.bootstrap.v3.Bootstrap"),
];

/// Names of filters that Envoy no longer knows, and their names today.
const OLD_NAMES: &[(&str, &str)] = &[
    ("envoy.http_connection_manager", HCM),
    ("envoy.tcp_proxy", "envoy.filters.network.tcp_proxy"),
    ("envoy.router", "envoy.filters.http.router"),
    ("envoy.cors", "envoy.filters.http.cors"),
    ("envoy.fault", "envoy.filters.http.fault"),
    ("envoy.lua", "envoy.filters.http.lua"),
    ("envoy.rate_limit", "envoy.filters.http.ratelimit"),
    ("envoy.ext_authz", "envoy.filters.http.ext_authz"),
    ("envoy.grpc_web", "envoy.filters.http.grpc_web"),
    ("envoy.health_check", "envoy.filters.http.health_check"),
    ("envoy.buffer", "envoy.filters.http.buffer"),
    ("envoy.gzip", "envoy.filters.http.gzip"),
    ("envoy.redis_proxy", "envoy.filters.network.redis_proxy"),
    ("envoy.mongo_proxy", "envoy.filters.network.mongo_proxy"),
    ("envoy.listener.tls_inspector", "envoy.filters.listener.tls_inspector"),
    ("envoy.listener.original_dst", "envoy.filters.listener.original_dst"),
];

pub(super) fn check(value: &Value, findings: &mut Findings<'_>) {
    let patches = value.pointer("/spec/configPatches").and_then(Value::as_array);
    for (index, patch) in patches.into_iter().flatten().enumerate() {
        Patch { patch, pointer: format!("/spec/configPatches/{index}") }.check(findings);
    }
    istio::selector(value, SELECTOR, "labels", findings);
    let labels = value.pointer(&format!("{SELECTOR}/labels")).and_then(Value::as_object);
    for (key, _) in labels.into_iter().flatten().filter(|(key, _)| key.is_empty() || key.contains('*')) {
        let reason = format!("`{key}` is no key of a label");
        findings.at_key(&rules::ENVOY_FILTER, &format!("{SELECTOR}/labels{}", step(key)), reason);
    }
}

struct Patch<'a> {
    patch: &'a Value,
    pointer: String,
}

impl Patch<'_> {
    fn text(&self, pointer: &str) -> &str {
        self.patch.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    #[track_caller]
    fn refuse(&self, at: &str, reason: String, findings: &mut Findings<'_>) {
        findings.add(&rules::ENVOY_FILTER, &format!("{}{at}", self.pointer), reason);
    }

    fn check(&self, findings: &mut Findings<'_>) {
        let (apply_to, operation) = (self.text("/applyTo"), self.text("/patch/operation"));
        let value = self.patch.pointer("/patch/value").filter(|value| !value.is_null());
        // Istio looks at no more of a patch for waypoints.
        let is_waypoint = self.text("/match/context") == "WAYPOINT";
        if !is_waypoint {
            for (field, is_there) in [
                ("applyTo", !matches!(apply_to, "" | "INVALID")),
                ("patch", self.patch.get("patch").is_some()),
                (
                    "patch.operation",
                    self.patch.get("patch").is_none() || !matches!(operation, "" | "INVALID"),
                ),
                (
                    "patch.value",
                    operation == "REMOVE" || value.is_some() || matches!(operation, "" | "INVALID"),
                ),
            ] {
                if !is_there {
                    self.refuse("", format!("`{field}` is missing"), findings);
                }
            }
            self.version(findings);
            self.matched(apply_to, findings);
        }
        let kind = KINDS.iter().find(|(kind, ..)| *kind == apply_to);
        if let (Some(value), Some((.., message))) = (value, kind) {
            self.value(message, operation, value, findings);
        }
        self.effect(apply_to, operation, findings);
    }

    fn version(&self, findings: &mut Findings<'_>) {
        let at = "/match/proxy/proxyVersion";
        let version = self.text(at);
        if version.len() > LONGEST {
            let reason = format!("longer than {LONGEST} bytes: Istio ignores it");
            findings.add(&rules::ENVOY_FILTER_EFFECT, &format!("{}{at}", self.pointer), reason);
        } else if let Some(reason) = pattern::problem(version) {
            self.refuse(at, reason, findings);
        }
    }

    /// Whether the match fits what the patch is applied to.
    fn matched(&self, apply_to: &str, findings: &mut Findings<'_>) {
        let Some((_, want, _)) = KINDS.iter().find(|(kind, ..)| *kind == apply_to) else { return };
        for found in ["listener", "routeConfiguration", "cluster"] {
            let at = format!("/match/{found}");
            if !want.is_empty() && found != *want && self.patch.pointer(&at).is_some() {
                let reason = format!("`applyTo: {apply_to}` is matched by `{want}`, not by `{found}`");
                // Istio asks that of the older kinds only.
                if apply_to == "LISTENER_FILTER" {
                    findings.add(&rules::ENVOY_FILTER_EFFECT, &format!("{}{at}", self.pointer), reason);
                } else {
                    self.refuse(&at, reason, findings);
                }
            }
        }
        let Some(filter) = self.patch.pointer("/match/listener/filterChain/filter") else { return };
        let at = "/match/listener/filterChain/filter";
        let name = filter.get("name").and_then(Value::as_str).unwrap_or_default();
        if matches!(apply_to, "LISTENER" | "FILTER_CHAIN") {
            let reason = format!("a match of a filter has no effect on `applyTo: {apply_to}`");
            findings.add(&rules::ENVOY_FILTER_EFFECT, &format!("{}{at}", self.pointer), reason);
        }
        if name.is_empty() {
            self.refuse(at, "a match of a filter needs its `name`".to_owned(), findings);
            return;
        }
        let sub_at = format!("{at}/subFilter");
        if let Some(sub) = filter.get("subFilter") {
            if apply_to != "HTTP_FILTER" {
                let reason =
                    format!("`subFilter` goes with `applyTo: HTTP_FILTER` only, not with {apply_to}");
                self.refuse(&sub_at, reason, findings);
            } else if name != HCM && name != "envoy.http_connection_manager" {
                self.refuse(
                    &sub_at,
                    format!("`subFilter` needs the filter `{HCM}` around it, not `{name}`"),
                    findings,
                );
            } else if sub.get("name").and_then(Value::as_str).unwrap_or_default().is_empty() {
                self.refuse(&sub_at, "a match of a filter needs its `name`".to_owned(), findings);
            }
            self.old_name(&format!("{sub_at}/name"), findings);
        }
        self.old_name(&format!("{at}/name"), findings);
    }

    fn old_name(&self, at: &str, findings: &mut Findings<'_>) {
        let name = self.text(at);
        if let Some((_, now)) = OLD_NAMES.iter().find(|(old, _)| *old == name) {
            let reason = format!("`{name}` is a name of the past");
            let finding = findings.add(&rules::ENVOY_FILTER_NAME, &format!("{}{at}", self.pointer), reason);
            finding.hint(format!("`{now}`"));
        }
    }

    fn value(&self, message: &str, operation: &str, value: &Value, findings: &mut Findings<'_>) {
        let Some(message) = proto::message(message) else { return };
        let is_part = matches!(operation, "MERGE" | "MERGE_AND_REPLACE_LIST" | "REMOVE");
        let wholeness = if is_part { Wholeness::Part } else { Wholeness::Whole };
        for mistake in proto::mistakes(&message, value, wholeness) {
            let rule = match mistake.problem {
                Problem::Type => &rules::ENVOY_TYPE,
                Problem::Field => &rules::ISTIO_ENVOY_FIELD,
                Problem::Duration if duration(value, &mistake.pointer).is_some() => continue,
                Problem::Value | Problem::Duration => &rules::ENVOY_VALUE,
                Problem::Deprecated => &rules::ENVOY_DEPRECATED,
                Problem::Untyped if is_part => continue,
                Problem::Untyped => &rules::ISTIO_UNTYPED,
            };
            let pointer = format!("{}/patch/value{}", self.pointer, mistake.pointer);
            let finding = match mistake.problem {
                Problem::Field | Problem::Deprecated => findings.at_key(rule, &pointer, mistake.reason),
                _ => findings.add(rule, &pointer, mistake.reason),
            };
            finding.hint = mistake.hint;
        }
    }

    /// What is accepted and does not do what it says.
    fn effect(&self, apply_to: &str, operation: &str, findings: &mut Findings<'_>) {
        let is_list = matches!(apply_to, "NETWORK_FILTER" | "HTTP_FILTER" | "HTTP_ROUTE" | "LISTENER_FILTER");
        if operation.starts_with("INSERT_") && !is_list && !apply_to.is_empty() {
            let reason =
                format!("`{operation}` on {apply_to} does the same as `ADD`: it is no list with an order");
            findings.add(&rules::ENVOY_FILTER_EFFECT, &format!("{}/patch/operation", self.pointer), reason);
        }
        let filter = "/match/listener/filterChain/filter";
        let is_relative = matches!(operation, "INSERT_BEFORE" | "INSERT_AFTER");
        let is_waypoint = self.text("/match/context") == "WAYPOINT";
        let has_anchor = self.patch.pointer(&format!("{filter}/subFilter")).is_some();
        if apply_to == "HTTP_FILTER" && is_relative && !has_anchor && !is_waypoint {
            let end = if operation == "INSERT_BEFORE" {
                "first"
            } else {
                "last, after the router: it is never reached"
            };
            let reason = format!("`{operation}` without `subFilter` inserts the filter {end}");
            let finding = findings.add(
                &rules::ENVOY_FILTER_EFFECT,
                &format!("{}/patch/operation", self.pointer),
                reason,
            );
            finding.hint(
                "`subFilter: {name: envoy.filters.http.router}` with `INSERT_BEFORE` is before the router",
            );
        }
    }
}

/// The duration at a place as Envoy gets it, where Istio reads it as Go does: `500ms`. It does not look into a `TypedStruct`.
pub(super) fn duration(value: &Value, pointer: &str) -> Option<String> {
    let nanoseconds = cel::nanoseconds(value.pointer(pointer)?.as_str()?)?;
    let is_opaque = pointer.match_indices('/').any(|(end, _)| {
        let kind = value.pointer(&pointer[..end]).and_then(|parent| parent.get("@type")?.as_str());
        kind.is_some_and(|kind| kind.ends_with(".TypedStruct"))
    });
    let (sign, whole) = (if nanoseconds < 0 { "-" } else { "" }, nanoseconds.unsigned_abs());
    let (seconds, rest) = (whole / 1_000_000_000, whole % 1_000_000_000);
    (!is_opaque).then(|| format!("{sign}{seconds}.{rest:09}s"))
}

/// Plugins by ECDS: what is discovered must be there, and what Istio's agent is to fetch must be typed so that it sees it.
pub(super) fn check_discovery(value: &Value, findings: &mut Findings<'_>) {
    let patches = value.pointer("/spec/configPatches").and_then(Value::as_array);
    let patches: Vec<&Value> = patches.into_iter().flatten().collect();
    let text = |patch: &Value, pointer: &str| {
        patch.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let extensions: Vec<String> = patches
        .iter()
        .filter(|patch| patch["applyTo"] == "EXTENSION_CONFIG")
        .map(|patch| text(patch, "/patch/value/name"))
        .collect();
    for (index, patch) in patches.iter().enumerate() {
        let at = format!("/spec/configPatches/{index}/patch/value");
        if patch["applyTo"] == "EXTENSION_CONFIG" {
            let kind = text(patch, "/patch/value/typed_config/@type");
            let is_wasm = text(patch, "/patch/value/typed_config/type_url").ends_with(".wasm.v3.Wasm");
            if is_wasm && kind.ends_with("xds.type.v3.TypedStruct") {
                let reason = "Istio's agent takes this for something else than Wasm and fetches no module";
                findings
                    .add(&rules::AGENT, &format!("{at}/typed_config/@type"), reason)
                    .hint("`type.googleapis.com/udpa.type.v1.TypedStruct`");
            }
            for (plugin, _) in super::envoy::plugins(patch) {
                image::check_remote(value, &format!("/spec/configPatches/{index}{plugin}"), true, findings);
            }
            continue;
        }
        if patch.pointer("/patch/value/config_discovery").is_none() {
            for (plugin, _) in super::envoy::plugins(patch) {
                image::check_remote(value, &format!("/spec/configPatches/{index}{plugin}"), false, findings);
            }
            continue;
        }
        let name = text(patch, "/patch/value/name");
        if !extensions.contains(&name) {
            let reason = format!("no EXTENSION_CONFIG of this object is named `{name}`");
            findings.add(&rules::ECDS, &format!("{at}/name"), reason);
        }
        let timeout = "/config_discovery/config_source/initial_fetch_timeout";
        if text(patch, &format!("/patch/value{timeout}")) == "0s" {
            let reason = "the listener waits for the plugin for ever: requests hang while its configuration is refused";
            findings.at_key(&rules::ECDS_WAIT, &format!("{at}{timeout}"), reason);
        }
    }
}
