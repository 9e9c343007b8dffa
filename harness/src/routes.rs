//! Envoy's `RouteConfiguration`: which route a request takes and what the route does to it. Plain data; knows no filters and no VM.
//!
//! Read from its JSON form, names in snake_case or lowerCamelCase. What decides nothing in a replay (timeouts, retries, tracing, statistics,
//! mirroring, hashing, limits) is accepted and ignored, as listed in `parse`; any other unknown field is an error that names it.

use std::sync::Arc;

use serde_json::Value;

use crate::headers::Headers;

mod action;
mod domain;
mod format;
mod matcher;
mod mutation;
mod parse;
mod string;
mod weighted;

pub(crate) use action::{Action, Forward, Redirect, TIMEOUT_MS};
pub(crate) use format::Facts;
use mutation::Mutations;
pub use parse::RouteError;
use parse::object;

/// A route configuration. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RouteTable(Arc<Table>);

#[derive(Debug)]
struct Table {
    hosts: Vec<VirtualHost>,
    domains: domain::Domains,
    mutations: Mutations,
    /// Whether the more specific level is applied last.
    most_specific_wins: bool,
}

/// A virtual host.
#[derive(Debug)]
pub(crate) struct VirtualHost {
    pub(crate) name: String,
    pub(crate) metadata: Option<Value>,
    require_tls: bool,
    routes: Vec<Route>,
    mutations: Mutations,
}

/// A route.
#[derive(Debug)]
pub(crate) struct Route {
    /// Its name; may be empty.
    pub(crate) name: String,
    pub(crate) metadata: Option<Value>,
    pub(crate) action: Action,
    label: String,
    matcher: matcher::Matcher,
    mutations: Mutations,
}

/// What of a stream decides about its route.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) headers: &'a Headers,
    pub(crate) random: u64,
    pub(crate) filter_state: &'a [(Vec<u8>, Vec<u8>)],
}

/// The route of a stream.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    table: Arc<Table>,
    host: usize,
    route: usize,
    /// Which of the weighted clusters.
    arm: Option<usize>,
}

impl RouteTable {
    /// Reads Envoy's JSON form.
    ///
    /// # Errors
    /// For what Envoy would refuse and what the harness does not support; the path names the field.
    pub fn from_value(value: &Value) -> Result<Self, RouteError> {
        let mut fields = object(value, "")?;
        fields.ignore(parse::ROUTE_CONFIGURATION);
        let ignore_port = fields.bool("ignore_port_in_host_matching")?;
        let mut hosts = Vec::new();
        let mut domains = domain::Domains::new(ignore_port);
        for (value, path) in fields.list("virtual_hosts")? {
            let index = hosts.len();
            hosts.push(virtual_host(value, &path, |name, path| domains.add(name, index, path))?);
        }
        let most_specific_wins = fields.bool("most_specific_header_mutations_wins")?;
        let mutations = Mutations::parse(&mut fields)?;
        fields.finish()?;
        Ok(Self(Arc::new(Table { hosts, domains, mutations, most_specific_wins })))
    }

    /// The route of a request; absent when none matches. Needs `x-forwarded-proto` (`HDR-42`).
    pub(crate) fn select(&self, request: &Request<'_>) -> Option<Selection> {
        let proto = request.headers.get(b"x-forwarded-proto")?;
        let authority = request.headers.get(b":authority").unwrap_or_default();
        let host = self.0.domains.find(authority)?;
        let found = self.0.hosts.get(host)?;
        let route = found.routes.iter().position(|route| route.matcher.is_match(request))?;
        let mut selection = Selection { table: Arc::clone(&self.0), host, route, arm: None };
        if found.require_tls && proto != b"https" {
            return None;
        }
        if let Action::Forward(forward) = &selection.route().action {
            selection.arm = forward.pick(request);
        }
        Some(selection)
    }
}

impl Selection {
    pub(crate) fn virtual_host(&self) -> &VirtualHost {
        &self.table.hosts[self.host]
    }

    pub(crate) fn route(&self) -> &Route {
        &self.virtual_host().routes[self.route]
    }

    /// The route's name, or `virtual host/index`.
    pub(crate) fn label(&self) -> &str {
        &self.route().label
    }

    /// The cluster of a request, where the route leads to one.
    pub(crate) fn cluster(&self, request: &Request<'_>) -> Option<Arc<str>> {
        match &self.route().action {
            Action::Forward(forward) => forward.cluster(self.arm, request),
            _ => None,
        }
    }

    /// Rewrites the request on its way upstream and applies header changes of all levels.
    pub(crate) fn finish_request(&self, headers: &mut Headers, facts: &Facts<'_>) {
        for level in self.levels() {
            level.request(headers, facts);
        }
        if let Action::Forward(forward) = &self.route().action {
            forward.rewrite(headers, &self.route().matcher, self.arm);
        }
    }

    /// Applies header changes of all levels to the response.
    pub(crate) fn finish_response(&self, headers: &mut Headers, facts: &Facts<'_>) {
        for level in self.levels() {
            level.response(headers, facts);
        }
    }

    /// From the most specific level to the least, or the other way round where that is configured.
    fn levels(&self) -> impl Iterator<Item = &Mutations> {
        let of_arm = match (&self.route().action, self.arm) {
            (Action::Forward(forward), Some(arm)) => forward.mutations(arm),
            _ => None,
        };
        let mut levels = [
            of_arm,
            Some(&self.route().mutations),
            Some(&self.virtual_host().mutations),
            Some(&self.table.mutations),
        ];
        if self.table.most_specific_wins {
            levels.reverse();
        }
        levels.into_iter().flatten()
    }
}

fn virtual_host(
    value: &Value,
    path: &str,
    mut add_domain: impl FnMut(&str, &str) -> Result<(), RouteError>,
) -> Result<VirtualHost, RouteError> {
    let mut fields = object(value, path)?;
    fields.ignore(parse::VIRTUAL_HOST);
    let name = fields.required_string("name")?;
    let domains = fields.list("domains")?;
    if domains.is_empty() {
        return Err(fields.error("domains", "at least one domain is needed, such as \"*\""));
    }
    for (value, path) in domains {
        add_domain(parse::string(value, &path)?, &path)?;
    }
    let mut routes = Vec::new();
    for (value, path) in fields.list("routes")? {
        let label = format!("{name}/{}", routes.len());
        routes.push(route(value, &path, label)?);
    }
    let require_tls = match fields.string("require_tls")?.as_deref() {
        None | Some("NONE") => false,
        Some(other) => {
            return Err(
                fields.error("require_tls", &format!("`{other}` is not supported by the harness; use NONE"))
            );
        }
    };
    let metadata = fields.get("metadata").cloned();
    let mutations = Mutations::parse(&mut fields)?;
    fields.finish()?;
    Ok(VirtualHost { name, metadata, require_tls, routes, mutations })
}

fn route(value: &Value, path: &str, label: String) -> Result<Route, RouteError> {
    let mut fields = object(value, path)?;
    fields.ignore(parse::ROUTE);
    let name = fields.string("name")?.unwrap_or_default();
    let metadata = fields.get("metadata").cloned();
    let Some((value, match_path)) = fields.child("match") else {
        return Err(fields.error("match", "is missing; {\"prefix\": \"/\"} matches every request"));
    };
    let matcher = matcher::Matcher::parse(value, &match_path)?;
    let action = Action::parse(&mut fields)?;
    let mutations = Mutations::parse(&mut fields)?;
    fields.finish()?;
    let label = if name.is_empty() { label } else { name.clone() };
    Ok(Route { name, metadata, action, label, matcher, mutations })
}

#[cfg(test)]
mod tests;
