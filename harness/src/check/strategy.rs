//! What is accepted and does not protect, pin or order what it seems to: failure strategies, versions of modules, secrets, phases.

use serde_json::Value;

use super::findings::Findings;
use super::image::Named;
use super::rules;

/// What a name of an environment variable says that should not stand in a manifest.
const SECRETS: &[&str] =
    &["PASSWORD", "PASSWD", "SECRET", "TOKEN", "API_KEY", "APIKEY", "PRIVATE_KEY", "CREDENTIAL"];

/// What decides who may pass: to be skipped after a failure is to let everybody pass.
const GUARDS: &[&str] =
    &["auth", "jwt", "oidc", "openid", "acl", "waf", "rate_limit", "ratelimit", "firewall"];

/// A plugin of Istio at `at`: the spec of a `WasmPlugin` or the `wasm` of a `TrafficExtension`.
pub(super) fn istio(value: &Value, at: &str, findings: &mut Findings<'_>) {
    let Some(spec) = value.pointer(at) else { return };
    let text = |pointer: &str| spec.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let phase = value.pointer("/spec/phase").and_then(Value::as_str).unwrap_or_default();
    if text("/failStrategy") == "FAIL_OPEN" {
        let names = [text("/pluginName"), text("/url")];
        open(&format!("{at}/failStrategy"), matches!(phase, "AUTHN" | "AUTHZ") || is_guard(&names), findings);
    }
    module(spec, "", at, |named, findings| named.check_istio(findings), findings);
    let env = spec.pointer("/vmConfig/env").and_then(Value::as_array);
    for (index, one) in env.into_iter().flatten().enumerate() {
        let name = one.get("name").and_then(Value::as_str).unwrap_or_default();
        if one.get("value").is_some() {
            secret(name, &format!("{at}/vmConfig/env/{index}/value"), findings);
        }
    }
}

/// A policy of Envoy Gateway.
pub(super) fn gateway(value: &Value, findings: &mut Findings<'_>) {
    let wasm = value.pointer("/spec/wasm").and_then(Value::as_array);
    for (index, spec) in wasm.into_iter().flatten().enumerate() {
        let at = format!("/spec/wasm/{index}");
        let text = |pointer: &str| spec.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        if spec.get("failOpen") == Some(&Value::Bool(true)) {
            let names = [text("/name"), text("/rootID"), text("/code/image/url"), text("/code/http/url")];
            open(&format!("{at}/failOpen"), is_guard(&names), findings);
        }
        if text("/code/image/url").starts_with("oci://") {
            let reason = "Envoy Gateway documents the image's name without `oci://`";
            findings.add(&rules::GATEWAY_URL, &format!("{at}/code/image/url"), reason);
        }
        module(spec, "/code/image", &at, |named, findings| named.check_gateway_image(findings), findings);
        module(spec, "/code/http", &at, |named, findings| named.check_gateway_file(findings), findings);
    }
}

/// Envoy's `PluginConfig` at `at`.
pub(super) fn envoy(value: &Value, at: &str, findings: &mut Findings<'_>) {
    let Some(config) = value.pointer(at) else { return };
    let text = |pointer: &str| config.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let is_open = config.get("fail_open") == Some(&Value::Bool(true));
    let policy = config.get("failure_policy").and_then(Value::as_str).unwrap_or("UNSPECIFIED");
    if is_open && policy != "UNSPECIFIED" {
        let reason = "`fail_open` and `failure_policy` are both set: Envoy refuses that";
        findings.at_key(&rules::FAILURE_TWICE, &format!("{at}/fail_open"), reason);
    }
    let field = if is_open { "fail_open" } else { "failure_policy" };
    if is_open || policy == "FAIL_OPEN" {
        let names = [text("/name"), text("/root_id"), text("/vm_config/code/local/filename")];
        open(&format!("{at}/{field}"), is_guard(&names), findings);
    }
    let values = config.pointer("/vm_config/environment_variables/key_values").and_then(Value::as_object);
    for name in values.into_iter().flatten().map(|(name, _)| name) {
        let step = super::document::step(name);
        secret(name, &format!("{at}/vm_config/environment_variables/key_values{step}"), findings);
    }
    let runtime = text("/vm_config/runtime");
    if !runtime.is_empty() && runtime != "envoy.wasm.runtime.v8" {
        let finding = findings.add(
            &rules::RUNTIME,
            &format!("{at}/vm_config/runtime"),
            format!("`{runtime}` is not in the Envoys that are published"),
        );
        finding.hint("`envoy.wasm.runtime.v8`");
    }
}

/// What failing open does not do.
fn open(pointer: &str, is_guard: bool, findings: &mut Findings<'_>) {
    if is_guard {
        let reason = "after a failure everybody passes unchecked: this plugin decides who may pass";
        findings
            .at_key(&rules::OPEN_GUARD, pointer, reason)
            .hint("`FAIL_CLOSE` (Istio), `FAIL_CLOSED` (Envoy)");
    } else {
        let reason = "failing open helps later requests only: the one that fails still gets 503, requests that are held hang until a \
                      timeout, and a configuration that is refused stops the listener all the same";
        findings.at_key(&rules::OPEN, pointer, reason);
    }
}

fn is_guard(names: &[&str]) -> bool {
    let is = |name: &str| GUARDS.iter().any(|guard| name.to_ascii_lowercase().contains(guard));
    names.iter().any(|name| is(super::plugin::last_segment(name)))
}

fn secret(name: &str, pointer: &str, findings: &mut Findings<'_>) {
    let upper = name.to_ascii_uppercase();
    if SECRETS.iter().any(|secret| upper.contains(secret)) {
        let reason =
            format!("`{name}` looks like a secret, and everybody who may read the manifest reads it");
        findings
            .at_key(&rules::SECRET, pointer, reason)
            .hint("take it from the proxy's environment: `valueFrom: HOST`, `host_env_keys`");
    }
}

/// A module by its URL in `field`: whether there can be one, and whether it can change.
fn module(
    spec: &Value,
    field: &str,
    at: &str,
    check: fn(Named<'_>, &mut Findings<'_>) -> bool,
    findings: &mut Findings<'_>,
) {
    let text = |name: &str| spec.pointer(&format!("{field}/{name}")).and_then(Value::as_str);
    let Some(url) = text("url").filter(|url| !url.is_empty()) else { return };
    let sha256 = text("sha256").unwrap_or_default();
    let (url_at, sha256_at) = (format!("{at}{field}/url"), format!("{at}{field}/sha256"));
    if check(Named { url, url_at: &url_at, sha256, sha256_at: &sha256_at }, findings) {
        pinned(url, sha256, &url_at, findings);
    }
}

/// Whether a module can change under the name that it has.
fn pinned(url: &str, sha256: &str, pointer: &str, findings: &mut Findings<'_>) {
    let is_http = url.starts_with("http://") || url.starts_with("https://");
    if is_http && sha256.is_empty() {
        let reason = "without `sha256` whatever the server sends is run";
        findings.add(&rules::UNPINNED_HTTP, pointer, reason);
    }
    if is_http {
        return;
    }
    let image = url.split_once("://").map_or(url, |(_, image)| image);
    let last = image.rsplit('/').next().unwrap_or_default();
    let has_digest = last.contains('@') || !sha256.is_empty();
    let tag = last.split('@').next().unwrap_or_default().split_once(':').map(|(_, tag)| tag);
    match tag {
        None | Some("latest") if !has_digest => {
            let which = if tag.is_none() { "an image without a tag is `latest`" } else { "`latest`" };
            let reason = format!("{which}: what runs depends on when it was pulled");
            findings.add(&rules::LATEST, pointer, reason).hint("a version, and its digest");
        }
        _ if !has_digest => {
            let finding = findings.add(&rules::UNPINNED, pointer, "a tag can be moved; a digest cannot");
            finding.hint(
                "`sha256` of the image's manifest (not of an index: Istio compares the one for linux/amd64)",
            );
        }
        _ => {}
    }
}

/// Where plugins of one phase come in an order that nobody chose.
pub(super) fn order(plugins: &[(&Value, usize)], mut say: impl FnMut(usize, String)) {
    for (index, (value, at)) in plugins.iter().enumerate() {
        for (other, _) in plugins.iter().take(index) {
            if name(value) != name(other) && is_same_place(value, other) {
                let reason = format!(
                    "stands at the same phase and priority as `{}`: which of the two comes first is by age, not by intent",
                    name(other).unwrap_or_default()
                );
                say(*at, reason);
                break;
            }
        }
    }
}

fn name(value: &Value) -> Option<&str> {
    value.pointer("/metadata/name").and_then(Value::as_str)
}

fn is_same_place(a: &Value, b: &Value) -> bool {
    let default = |value: &Value, pointer: &str, default: &str| {
        value.pointer(pointer).map_or_else(|| default.to_owned(), Value::to_string)
    };
    let same = [
        ("/metadata/namespace", "\"default\""),
        ("/spec/phase", "\"UNSPECIFIED_PHASE\""),
        ("/spec/priority", "0"),
        ("/spec/type", "\"HTTP\""),
    ];
    let targets = ["/spec/targetRef", "/spec/targetRefs"];
    same.iter().all(|(pointer, value)| default(a, pointer, value) == default(b, pointer, value))
        && targets.iter().all(|pointer| a.pointer(pointer) == b.pointer(pointer))
        && may_overlap(a, b)
        && may_meet(a, b)
}

/// Whether some traffic is matched by both: not when one is for what comes in and the other for what goes out.
fn may_meet(a: &Value, b: &Value) -> bool {
    let modes = |value: &Value| -> Vec<String> {
        let selectors = value.pointer("/spec/match").and_then(Value::as_array).cloned().unwrap_or_default();
        selectors.iter().map(|selector| selector["mode"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let is_only = |modes: &[String], mode: &str| !modes.is_empty() && modes.iter().all(|known| known == mode);
    let (a, b) = (modes(a), modes(b));
    !(is_only(&a, "CLIENT") && is_only(&b, "SERVER") || is_only(&a, "SERVER") && is_only(&b, "CLIENT"))
}

/// Whether some workload may have the labels of both.
fn may_overlap(a: &Value, b: &Value) -> bool {
    let labels =
        |value: &Value| value.pointer("/spec/selector/matchLabels").and_then(Value::as_object).cloned();
    let (Some(a), Some(b)) = (labels(a), labels(b)) else { return true };
    a.iter().all(|(name, value)| b.get(name).is_none_or(|other| other == value))
}
