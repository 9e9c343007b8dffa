//! A route of HTTP of a `VirtualService`: what Istio's webhook asks of its match, of what it does, and of what it changes.

use super::object::{Part, Webhook};
use super::virtual_service::{check_destination, gateway_names, port, source_labels, weights};
use super::{names, values};
use crate::check::pattern;

/// A body of a direct response that Istio warns of, and one that it refuses, in bytes.
const LARGE: usize = 100 * 1024;
const TOO_LARGE: usize = 1024 * 1024;

/// Says what is refused of a route; `on_sidecars`: not at a gateway.
pub(super) fn check(route: &Part<'_>, is_delegate: bool, on_sidecars: bool, hook: &mut Webhook<'_, '_>) {
    conflicts(route, is_delegate, hook);
    for one in route.list("match") {
        check_match(&one, on_sidecars, hook);
    }
    headers(route, hook);
    authority_once(route, hook);
    cors(route, hook);
    fault(route, hook);
    mirrors(route, hook);
    redirect(route, hook);
    direct_response(route, hook);
    retries(route, hook);
    rewrite(route, hook);
    precision(route, "timeout", hook);
    let to = route.list("route");
    for one in &to {
        headers(one, hook);
        if let Some(destination) = one.field("destination") {
            check_destination(&destination, hook);
        }
    }
    weights(&to, hook);
}

/// What does not stand beside each other, and what must be there.
fn conflicts(route: &Part<'_>, is_delegate: bool, hook: &mut Webhook<'_, '_>) {
    let has_route = !route.list("route").is_empty();
    if is_delegate && route.has("delegate") {
        hook.refuse(&route.at_field("delegate"), "a delegate's routes have no `delegate` of their own");
    }
    let action = match (route.has("redirect"), route.has("directResponse"), route.has("delegate")) {
        (_, _, true) if !is_delegate => {
            for field in ["redirect", "route"].into_iter().filter(|field| route.has(field)) {
                let reason = format!("`{field}` and `delegate` exclude each other");
                hook.refuse(&route.at_field(field), reason);
            }
            return;
        }
        (true, true, _) => {
            let reason = "`redirect` and `directResponse` exclude each other";
            hook.refuse(&route.at_field("directResponse"), reason);
            "redirect"
        }
        (true, false, _) => "redirect",
        (false, true, _) => "directResponse",
        (false, false, _) => {
            if !has_route {
                hook.refuse(route.at(), "`route`, `redirect` or `directResponse` is missing");
            }
            ""
        }
    };
    for field in ["route", "fault", "rewrite"].into_iter().filter(|_| !action.is_empty()) {
        if route.has(field) && (field != "route" || has_route) {
            hook.refuse(&route.at_field(field), format!("`{field}` and `{action}` exclude each other"));
        }
    }
    if route.has("mirror") && !route.list("mirrors").is_empty() {
        hook.refuse(&route.at_field("mirror"), "`mirror` and `mirrors` exclude each other");
    }
}

fn check_match(one: &Part<'_>, on_sidecars: bool, hook: &mut Webhook<'_, '_>) {
    for map in ["headers", "withoutHeaders"] {
        for (name, text) in one.entries(map) {
            if on_sidecars && values::is_claim(name) {
                let reason = "claims of a JWT are matched at gateways only";
                hook.refuse_key_for(text.at(), Some(reason.to_owned()));
            }
            hook.refuse_key_for(text.at(), values::matched_header(name));
            // There `*` is no regular expression: it stands for any value.
            if map == "headers" || text.text("regex") != "*" {
                check_text(&text, hook);
            }
        }
    }
    if let Some(uri) = one.field("uri") {
        regex(&uri, "regex", hook);
    }
    for field in ["scheme", "method", "authority"] {
        one.field(field).iter().for_each(|text| check_text(text, hook));
    }
    for (_, text) in one.entries("queryParams") {
        check_text(&text, hook);
    }
    port(one, "port", hook);
    source_labels(one, hook);
    gateway_names(one, "gateways", hook);
    let namespace = one.text("sourceNamespace");
    if !namespace.is_empty() && !names::is_label(namespace) {
        hook.refuse(&one.at_field("sourceNamespace"), format!("`{namespace}` is no name of a namespace"));
    }
}

/// A match of a text.
fn check_text(text: &Part<'_>, hook: &mut Webhook<'_, '_>) {
    if text.has("prefix") && text.text("prefix").is_empty() {
        hook.refuse(&text.at_field("prefix"), "an empty prefix matches everything: leave the match out");
    }
    regex(text, "regex", hook);
}

fn regex(text: &Part<'_>, field: &str, hook: &mut Webhook<'_, '_>) {
    if text.has(field) {
        hook.refuse_for(&text.at_field(field), pattern::problem_of_match(text.text(field)));
    }
}

/// Headers that are set, added and removed.
fn headers(part: &Part<'_>, hook: &mut Webhook<'_, '_>) {
    let Some(headers) = part.field("headers") else { return };
    for (side, set) in
        [("request", values::set_header as fn(&str) -> Option<String>), ("response", values::changed_header)]
    {
        let Some(operations) = headers.field(side) else { continue };
        for operation in ["set", "add"] {
            for (name, value) in operations.entries(operation) {
                hook.refuse_key_for(value.at(), set(name));
                hook.refuse_for(value.at(), values::header_value(value.as_text()));
            }
        }
        for name in operations.list("remove") {
            hook.refuse_for(name.at(), values::changed_header(name.as_text()));
        }
    }
}

/// The host of a request is rewritten in one place.
fn authority_once(route: &Part<'_>, hook: &mut Webhook<'_, '_>) {
    let rewritten = route.field("rewrite").is_some_and(|rewrite| !rewrite.text("authority").is_empty());
    let mut is_set = rewritten;
    let request = route.field("headers").and_then(|headers| headers.field("request"));
    for operation in ["set", "add"] {
        let entries = request.as_ref().map(|request| request.entries(operation)).unwrap_or_default();
        for (_, value) in entries.into_iter().filter(|(name, _)| values::is_authority(name)) {
            if is_set {
                let reason = "the host of the request is set twice".to_owned();
                hook.refuse_key_for(value.at(), Some(reason));
            }
            is_set |= !value.as_text().is_empty();
        }
    }
}

fn cors(route: &Part<'_>, hook: &mut Webhook<'_, '_>) {
    let Some(policy) = route.field("corsPolicy") else { return };
    for origin in policy.list("allowOrigins") {
        let is_empty = ["exact", "prefix", "regex"].iter().all(|field| origin.text(field).is_empty());
        if is_empty {
            hook.refuse(origin.at(), "an origin is matched by a text that is not empty");
        } else {
            regex(&origin, "regex", hook);
        }
    }
    for method in policy.list("allowMethods") {
        hook.refuse_for(method.at(), values::cors_method(method.as_text()));
    }
    for field in ["allowHeaders", "exposeHeaders"] {
        for name in policy.list(field) {
            hook.refuse_for(name.at(), values::cors_header(name.as_text()));
        }
    }
    let nanoseconds = crate::check::cel::nanoseconds(policy.text("maxAge")).unwrap_or_default();
    if nanoseconds % 1_000_000_000 > 0 && nanoseconds >= 1_000_000 {
        hook.refuse(&policy.at_field("maxAge"), "is told to browsers in whole seconds");
    }
}

fn fault(route: &Part<'_>, hook: &mut Webhook<'_, '_>) {
    let Some(fault) = route.field("fault") else { return };
    if !fault.has("abort") && !fault.has("delay") {
        hook.refuse(fault.at(), "a fault is an `abort`, a `delay` or both");
    }
    for part in ["abort", "delay"] {
        let percentage = fault.field(part).and_then(|part| part.field("percentage"));
        if let Some(percentage) = percentage {
            let at = percentage.at_field("value");
            hook.refuse_for(&at, values::fine_percent(percentage.number("value")));
        }
    }
    if let Some(abort) = fault.field("abort") {
        if abort.has("grpcStatus") {
            hook.refuse_for(&abort.at_field("grpcStatus"), values::grpc_status(abort.text("grpcStatus")));
        } else if abort.has("http2Error") {
            hook.refuse(&abort.at_field("http2Error"), "errors of HTTP/2 are not there yet");
        } else if abort.has("httpStatus") {
            hook.refuse_for(&abort.at_field("httpStatus"), values::status(abort.number("httpStatus")));
        } else {
            hook.warn(abort.at(), "has no effect without `httpStatus` or `grpcStatus`");
        }
    }
    if let Some(delay) = fault.field("delay") {
        precision(&delay, "fixedDelay", hook);
        if delay.has("exponentialDelay") {
            hook.refuse(&delay.at_field("exponentialDelay"), "is not there yet: `fixedDelay` is");
        }
    }
}

fn mirrors(route: &Part<'_>, hook: &mut Webhook<'_, '_>) {
    if route.has("mirrorPercent") {
        let at = route.at_field("mirrorPercent");
        hook.refuse_for(&at, values::percent(route.number("mirrorPercent")));
        hook.warn(&at, "is the old form of `mirrorPercentage: {value: …}`");
    }
    if let Some(percentage) = route.field("mirrorPercentage") {
        hook.refuse_for(&percentage.at_field("value"), values::percent(percentage.number("value")));
    }
    route.field("mirror").iter().for_each(|mirror| check_destination(mirror, hook));
    for mirror in route.list("mirrors") {
        mirror.field("destination").iter().for_each(|destination| check_destination(destination, hook));
        if let Some(percentage) = mirror.field("percentage") {
            hook.refuse_for(&percentage.at_field("value"), values::percent(percentage.number("value")));
        }
    }
}

fn redirect(route: &Part<'_>, hook: &mut Webhook<'_, '_>) {
    let Some(redirect) = route.field("redirect") else { return };
    let has = |field: &str| !redirect.text(field).is_empty();
    if has("uri") && has("prefixRewrite") {
        hook.refuse(&redirect.at_field("prefixRewrite"), "`uri` and `prefixRewrite` exclude each other");
    } else if has("prefixRewrite") {
        for uri in route.list("match").iter().filter_map(|one| one.field("uri")) {
            if !uri.has("prefix") {
                hook.refuse(uri.at(), "with `prefixRewrite` every URI is matched by its prefix");
            }
        }
    }
    let is_empty = !["uri", "prefixRewrite", "authority", "scheme"].into_iter().any(has);
    if is_empty && !redirect.has("port") && !redirect.has("derivePort") {
        hook.refuse(redirect.at(), "`uri`, `prefixRewrite`, `authority`, `scheme` or `port` is missing");
    }
    let code = redirect.number("redirectCode");
    if code != 0.0 && !(300.0..400.0).contains(&code) {
        hook.refuse(&redirect.at_field("redirectCode"), format!("`{code}` redirects nobody: 300 to 399"));
    }
    let scheme = redirect.text("scheme");
    if !matches!(scheme, "" | "http" | "https") {
        hook.refuse(&redirect.at_field("scheme"), format!("`{scheme}` is neither `http` nor `https`"));
    }
    port(&redirect, "port", hook);
}

fn direct_response(route: &Part<'_>, hook: &mut Webhook<'_, '_>) {
    let Some(response) = route.field("directResponse") else { return };
    if let Some(body) = response.field("body") {
        let (field, size) = if body.has("bytes") {
            // Three bytes are four letters.
            ("bytes", body.text("bytes").len() / 4 * 3)
        } else {
            ("string", body.text("string").len())
        };
        let at = body.at_field(field);
        if size > TOO_LARGE {
            hook.refuse(&at, format!("has {size} bytes; Istio takes {TOO_LARGE} at most"));
        } else if size > LARGE {
            hook.warn(&at, format!("has {size} bytes, which every proxy is sent: {LARGE} are not yet many"));
        }
    }
    if response.has("status") {
        hook.refuse_for(&response.at_field("status"), values::status(response.number("status")));
    }
}

fn retries(route: &Part<'_>, hook: &mut Webhook<'_, '_>) {
    let Some(retries) = route.field("retries") else { return };
    let attempts = retries.number("attempts");
    if attempts < 0.0 {
        hook.refuse(&retries.at_field("attempts"), "attempts are not below 0");
    }
    if attempts == 0.0
        && let Some(field) = ["perTryTimeout", "retryOn", "retryRemoteLocalities"]
            .into_iter()
            .find(|field| retries.has(field) && (*field != "retryOn" || !retries.text(field).is_empty()))
    {
        hook.refuse(&retries.at_field(field), "without `attempts` nothing is tried again");
    }
    precision(&retries, "perTryTimeout", hook);
    precision(&retries, "backoff", hook);
    if !retries.text("retryOn").is_empty() {
        hook.refuse_for(&retries.at_field("retryOn"), values::retry_on(retries.text("retryOn")));
    }
}

fn rewrite(route: &Part<'_>, hook: &mut Webhook<'_, '_>) {
    let Some(rewrite) = route.field("rewrite") else { return };
    let has_uri = !rewrite.text("uri").is_empty();
    let regex_rewrite = rewrite.field("uriRegexRewrite");
    if has_uri && regex_rewrite.is_some() {
        hook.refuse(&rewrite.at_field("uriRegexRewrite"), "`uri` and `uriRegexRewrite` exclude each other");
    } else if !has_uri && regex_rewrite.is_none() && rewrite.text("authority").is_empty() {
        hook.refuse(rewrite.at(), "`uri`, `uriRegexRewrite` or `authority` is missing");
    }
    if let Some(parts) = regex_rewrite {
        if parts.text("match").is_empty() || parts.text("rewrite").is_empty() {
            hook.refuse(parts.at(), "`match` and `rewrite` must both be there");
        } else {
            regex(&parts, "match", hook);
        }
    }
}

/// A duration in a field, where there is one.
fn precision(part: &Part<'_>, field: &str, hook: &mut Webhook<'_, '_>) {
    hook.refuse_for(&part.at_field(field), values::precision(part.text(field)));
}
