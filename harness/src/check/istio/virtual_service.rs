//! `VirtualService`: what Istio's webhook asks of hosts, gateways, and routes of TCP and TLS.

use serde_json::Value;

use super::object::{Part, Webhook};
use super::{http_route, names, unreachable, values};
use crate::check::findings::Findings;
use crate::check::rules;

/// The gateway that stands for all sidecars.
const MESH: &str = "mesh";

pub(in crate::check) fn check(value: &Value, findings: &mut Findings<'_>) {
    let Some(spec) = Part::of(value, "/spec") else { return };
    let hook = &mut Webhook { findings, rule: &rules::VIRTUAL_SERVICE };
    let (hosts, gateways) = (spec.list("hosts"), spec.list("gateways"));
    let (http, tls, tcp) = (spec.list("http"), spec.list("tls"), spec.list("tcp"));
    let is_delegate = hosts.is_empty();
    if is_delegate {
        for (field, is_there) in
            [("gateways", !gateways.is_empty()), ("tls", !tls.is_empty()), ("tcp", !tcp.is_empty())]
        {
            if is_there {
                let reason =
                    format!("without `hosts` this is routes for another's `delegate`: it has no `{field}`");
                hook.refuse(&spec.at_field(field), reason);
            }
        }
    }
    gateway_names(&spec, "gateways", hook);
    let on_gateway = !gateways.is_empty() && is_for_gateways(&gateways);
    check_hosts(&hosts, !on_gateway, on_gateway && has_sni(&tls), hook);
    if http.is_empty() && tls.is_empty() && tcp.is_empty() {
        hook.refuse(spec.at(), "`http`, `tcp` or `tls` is missing: there is no route");
    }
    for route in &http {
        http_route::check(route, is_delegate, !on_gateway, hook);
    }
    for route in &tls {
        check_tls(route, &hosts, &gateways, hook);
    }
    for route in &tcp {
        for one in route.list("match") {
            layer4(&one, hook);
        }
        destinations(route, hook);
    }
    super::export_to(value, false, hook);
    for routes in [&http, &tls, &tcp] {
        unreachable::check(routes, hook.findings);
    }
}

/// Not for sidecars; so, too, without any gateway, as Istio has it where it asks for hosts of SNI.
fn is_for_gateways(gateways: &[Part<'_>]) -> bool {
    gateways.iter().all(|gateway| gateway.as_text() != MESH)
}

fn has_sni(tls: &[Part<'_>]) -> bool {
    tls.iter().any(|route| route.list("match").iter().any(|one| !one.list("sniHosts").is_empty()))
}

fn check_hosts(hosts: &[Part<'_>], on_sidecars: bool, has_sni: bool, hook: &mut Webhook<'_, '_>) {
    let mut are_sound = true;
    for host in hosts {
        let text = host.as_text();
        let reason = if has_sni { names::sni_host(text) } else { names::host(text) };
        if let Some(reason) = reason.filter(|_| !names::is_address(text)) {
            hook.refuse(host.at(), reason);
            are_sound = false;
        } else if on_sidecars && text == "*" {
            hook.refuse(host.at(), "`*` is for gateways: for sidecars a host must be named");
            are_sound = false;
        }
    }
    for (index, host) in hosts.iter().enumerate().filter(|_| are_sound) {
        let mut before = hosts.iter().take(index);
        if let Some(other) = before.find(|other| names::overlap(other.as_text(), host.as_text())) {
            let reason = format!("`{}` is there by `{}` already", host.as_text(), other.as_text());
            hook.refuse(host.at(), reason);
        }
    }
}

/// Names of gateways in a field.
pub(super) fn gateway_names(part: &Part<'_>, field: &str, hook: &mut Webhook<'_, '_>) {
    for gateway in part.list(field) {
        let text = gateway.as_text();
        let reason = names::gateway(text);
        if let (None, false, Some((name, rest))) = (&reason, text.contains('/'), text.split_once('.')) {
            let namespace = rest.split('.').next().unwrap_or_default();
            hook.warn(gateway.at(), format!("`{text}` is the old form of `{namespace}/{name}`"));
        }
        hook.refuse_for(gateway.at(), reason);
    }
}

/// Labels of who asks.
pub(super) fn source_labels(one: &Part<'_>, hook: &mut Webhook<'_, '_>) {
    labels(one, "sourceLabels", hook);
}

/// Labels in a field.
pub(super) fn labels(part: &Part<'_>, field: &str, hook: &mut Webhook<'_, '_>) {
    for (key, label) in part.entries(field) {
        hook.refuse_key_for(label.at(), names::label_key(key));
        hook.refuse_for(label.at(), names::label_value(label.as_text()));
    }
}

/// A port in a field, where there is one.
pub(super) fn port(part: &Part<'_>, field: &str, hook: &mut Webhook<'_, '_>) {
    let number = part.number(field);
    if number != 0.0 {
        hook.refuse_for(&part.at_field(field), values::port(number));
    }
}

/// What TCP and TLS are matched by.
fn layer4(one: &Part<'_>, hook: &mut Webhook<'_, '_>) {
    for subnet in one.list("destinationSubnets") {
        hook.refuse_for(subnet.at(), names::subnet(subnet.as_text()));
    }
    port(one, "port", hook);
    source_labels(one, hook);
    gateway_names(one, "gateways", hook);
}

fn check_tls(route: &Part<'_>, hosts: &[Part<'_>], gateways: &[Part<'_>], hook: &mut Webhook<'_, '_>) {
    let matches = route.list("match");
    if matches.is_empty() && route.has("match") {
        hook.refuse(&route.at_field("match"), "a route of TLS needs a match");
    }
    for one in &matches {
        let sni_hosts = one.list("sniHosts");
        if sni_hosts.is_empty() && one.has("sniHosts") {
            hook.refuse(&one.at_field("sniHosts"), "a match of TLS needs a host");
        }
        for host in sni_hosts {
            sni_host(&host, hosts, gateways, hook);
        }
        layer4(one, hook);
    }
    destinations(route, hook);
}

fn sni_host(sni: &Part<'_>, hosts: &[Part<'_>], gateways: &[Part<'_>], hook: &mut Webhook<'_, '_>) {
    let text = sni.as_text();
    let reason = if is_for_gateways(gateways) { names::sni_host(text) } else { names::host(text) };
    if names::is_address(text) {
        hook.warn(sni.at(), "an address: SNI has none, and few clients send one");
    } else if reason.is_some() {
        hook.refuse_for(sni.at(), reason);
    } else if !hosts.iter().any(|host| names::covers(host.as_text(), text)) {
        let hosts: Vec<&str> = hosts.iter().map(Part::as_text).collect();
        let reason = format!("`{text}` is none of the object's `hosts`: `{}`", hosts.join("`, `"));
        hook.refuse(sni.at(), reason);
    }
}

/// Where a route of TCP or TLS goes to.
fn destinations(route: &Part<'_>, hook: &mut Webhook<'_, '_>) {
    let to = route.list("route");
    if to.is_empty() {
        hook.refuse(route.at(), "a route needs a destination: `route` is missing");
    }
    for one in &to {
        if let Some(destination) = one.field("destination") {
            check_destination(&destination, hook);
        }
    }
    weights(&to, hook);
}

/// The weights of several destinations.
pub(super) fn weights(to: &[Part<'_>], hook: &mut Webhook<'_, '_>) {
    for one in to.iter().filter(|one| one.number("weight") < 0.0) {
        hook.refuse(&one.at_field("weight"), "a weight is not below 0");
    }
    let total: f64 = to.iter().map(|one| one.number("weight")).sum();
    if let ([first, _, ..], true) = (to, total == 0.0) {
        let at = if first.has("weight") { first.at_field("weight") } else { first.at().to_owned() };
        hook.refuse(&at, "the weights of several destinations must not all be 0");
    }
}

/// Where requests go to.
pub(super) fn check_destination(destination: &Part<'_>, hook: &mut Webhook<'_, '_>) {
    if let Some(host) = destination.field("host") {
        if host.as_text() == "*" {
            hook.refuse(host.at(), "`*` names no destination");
        } else {
            hook.refuse_for(host.at(), names::host(host.as_text()));
        }
    }
    let subset = destination.text("subset");
    if !subset.is_empty() {
        hook.refuse_for(&destination.at_field("subset"), names::subset(subset));
    }
    if let Some(selector) = destination.field("port") {
        let at = if selector.has("number") { selector.at_field("number") } else { selector.at().to_owned() };
        hook.refuse_for(&at, values::port(selector.number("number")));
    }
}
