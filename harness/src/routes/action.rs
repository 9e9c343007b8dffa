//! What a route does: forward, redirect, answer.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use regex::bytes::Regex;
use serde_json::Value;

use super::matcher::Matcher;
use super::mutation::Mutations;
use super::parse::{self, Fields, RouteError, object};
use super::string::compile;
use super::weighted::Weighted;
use super::{Request, Selection};
use crate::headers::Headers;

/// What a route does.
#[derive(Debug)]
pub(crate) enum Action {
    Forward(Forward),
    Redirect(Redirect),
    DirectResponse { status: u32, body: Vec<u8> },
}

/// To a cluster.
#[derive(Debug)]
pub(crate) struct Forward {
    to: To,
    path: PathRewrite,
    host_literal: Option<String>,
    host_header: Option<String>,
    append_forwarded_host: bool,
    /// In milliseconds; 0 is none.
    pub(crate) timeout_ms: u64,
    /// In place of the connection manager's `stream_idle_timeout`; 0 is none.
    pub(crate) idle_timeout_ms: Option<u64>,
}

/// Envoy's default route timeout.
pub(crate) const TIMEOUT_MS: u64 = 15_000;

#[derive(Debug)]
enum To {
    Cluster(Arc<str>),
    Header(String),
    Weighted(Weighted),
}

/// How a path changes.
#[derive(Debug)]
enum PathRewrite {
    None,
    Prefix(String),
    Regex(Regex, Vec<u8>),
    Whole(String),
}

/// To another place.
#[derive(Debug)]
pub(crate) struct Redirect {
    scheme: Option<String>,
    host: Option<String>,
    port: Option<u32>,
    path: PathRewrite,
    status: u32,
    strip_query: bool,
}

impl Action {
    pub(super) fn parse(fields: &mut Fields<'_>) -> Result<Self, RouteError> {
        let route = fields.child("route");
        let redirect = fields.child("redirect");
        let direct = fields.child("direct_response");
        match (route, redirect, direct) {
            (Some((value, path)), None, None) => Forward::parse(value, &path).map(Self::Forward),
            (None, Some((value, path)), None) => Redirect::parse(value, &path).map(Self::Redirect),
            (None, None, Some((value, path))) => direct_response(value, &path),
            _ => Err(fields.error("", "exactly one of route, redirect, direct_response is needed")),
        }
    }
}

/// A protobuf `Duration` in JSON: seconds with up to nine decimals and an `s`.
fn milliseconds(value: &Value, path: &str) -> Result<u64, RouteError> {
    let seconds = value.as_str().and_then(|text| text.strip_suffix('s')?.parse::<f64>().ok());
    let seconds = seconds.filter(|seconds| (0.0..=315_576_000_000.0).contains(seconds));
    let duration = seconds.map(Duration::from_secs_f64);
    let duration = duration.ok_or_else(|| parse::wrong(path, "seconds such as \"1.5s\"", value))?;
    Ok(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

impl Forward {
    fn parse(value: &Value, path: &str) -> Result<Self, RouteError> {
        let mut fields = object(value, path)?;
        fields.ignore(parse::ROUTE_ACTION);
        let mut to = Vec::new();
        to.extend(fields.string("cluster")?.map(|name| To::Cluster(name.into())));
        to.extend(fields.string("cluster_header")?.map(|name| To::Header(name.to_ascii_lowercase())));
        if let Some((value, path)) = fields.child("weighted_clusters") {
            to.push(To::Weighted(Weighted::parse(value, &path)?));
        }
        let (Some(to), true) = (to.pop(), to.is_empty()) else {
            return Err(
                fields.error("", "exactly one of cluster, cluster_header, weighted_clusters is needed")
            );
        };
        if let Some((value, path)) = fields.child("cluster_not_found_response_code")
            && value.as_str() != Some("SERVICE_UNAVAILABLE")
        {
            return Err(parse::wrong(
                &path,
                "SERVICE_UNAVAILABLE (the others are not supported by the harness)",
                value,
            ));
        }
        let path = path_rewrite(&mut fields, None)?;
        let host_literal = fields.string("host_rewrite_literal")?;
        let host_header = fields.string("host_rewrite_header")?;
        fields.ignore(&["auto_host_rewrite"]);
        let mut duration =
            |name: &str| fields.child(name).map(|(value, path)| milliseconds(value, &path)).transpose();
        let (timeout_ms, idle_timeout_ms) = (duration("timeout")?, duration("idle_timeout")?);
        let append_forwarded_host = fields.bool("append_x_forwarded_host")?;
        fields.finish()?;
        let timeout_ms = timeout_ms.unwrap_or(TIMEOUT_MS);
        Ok(Self { to, path, host_literal, host_header, append_forwarded_host, timeout_ms, idle_timeout_ms })
    }

    pub(super) fn pick(&self, request: &Request<'_>) -> Option<usize> {
        match &self.to {
            To::Weighted(weighted) => Some(weighted.pick(request)),
            _ => None,
        }
    }

    /// The cluster; a header that is not there names the cluster ``.
    pub(super) fn cluster(&self, arm: Option<usize>, request: &Request<'_>) -> Option<Arc<str>> {
        let by_header = |name: &str| {
            let value = request.headers.get(name.as_bytes()).unwrap_or_default();
            Arc::from(String::from_utf8_lossy(value))
        };
        match &self.to {
            To::Cluster(name) => Some(Arc::clone(name)),
            To::Header(name) => Some(by_header(name)),
            To::Weighted(weighted) => {
                let arm = weighted.arm(arm?)?;
                Some(arm.cluster_header.as_deref().map_or_else(|| Arc::clone(&arm.name), by_header))
            }
        }
    }

    pub(super) fn mutations(&self, arm: usize) -> Option<&Mutations> {
        match &self.to {
            To::Weighted(weighted) => weighted.arm(arm).map(|arm| &arm.mutations),
            _ => None,
        }
    }

    /// Rewrites path and host; the old ones are kept in `x-envoy-original-path`, `x-envoy-original-host` and, where asked for,
    /// `x-forwarded-host`.
    pub(super) fn rewrite(&self, headers: &mut Headers, matcher: &Matcher, arm: Option<usize>) {
        let old = headers.get(b":path").unwrap_or_default().to_vec();
        if let Some(new) = self.path.apply(&old, matcher.matched(&old)) {
            headers.set(b"x-envoy-original-path", &old);
            headers.set(b":path", &new);
        }
        let of_arm = match (&self.to, arm) {
            (To::Weighted(weighted), Some(arm)) => weighted.arm(arm).and_then(|arm| arm.host_rewrite.clone()),
            _ => None,
        };
        let literal = of_arm.or_else(|| self.host_literal.clone()).map(String::into_bytes);
        let host = literal.or_else(|| {
            headers
                .get(self.host_header.as_ref()?.as_bytes())
                .filter(|host| !host.is_empty())
                .map(<[u8]>::to_vec)
        });
        if let Some(host) = host {
            let before = headers.get(b":authority").unwrap_or_default().to_vec();
            headers.set(b"x-envoy-original-host", &before);
            if self.append_forwarded_host {
                headers.add(b"x-forwarded-host", &before, crate::headers::Kind::Request);
            }
            headers.set(b":authority", &host);
        }
    }
}

impl PathRewrite {
    /// The path with its query after the change; absent when nothing changes.
    fn apply(&self, old: &[u8], matched: usize) -> Option<Vec<u8>> {
        let cut = old.iter().position(|byte| *byte == b'?').unwrap_or(old.len());
        let (path, query) = old.split_at(cut);
        match self {
            Self::None => None,
            Self::Prefix(new) => {
                Some([new.as_bytes(), path.get(matched..).unwrap_or_default(), query].concat())
            }
            Self::Regex(regex, to) => Some([&*regex.replace_all(path, Substitution(to)), query].concat()),
            Self::Whole(new) => Some(new.clone().into_bytes()),
        }
    }
}

/// RE2's substitution: `\1` is a group, `\\` a backslash.
struct Substitution<'a>(&'a [u8]);

impl regex::bytes::Replacer for Substitution<'_> {
    fn replace_append(&mut self, captures: &regex::bytes::Captures<'_>, out: &mut Vec<u8>) {
        let mut bytes = self.0.iter().copied();
        while let Some(byte) = bytes.next() {
            match (byte, if byte == b'\\' { bytes.next() } else { None }) {
                (b'\\', Some(digit @ b'0'..=b'9')) => {
                    let group = captures.get(usize::from(digit - b'0'));
                    out.extend_from_slice(group.map_or(&b""[..], |group| group.as_bytes()));
                }
                (b'\\', Some(other)) => out.push(other),
                (byte, _) => out.push(byte),
            }
        }
    }
}

impl Redirect {
    fn parse(value: &Value, path: &str) -> Result<Self, RouteError> {
        let mut fields = object(value, path)?;
        let scheme = fields.string("scheme_redirect")?;
        let scheme = if fields.bool("https_redirect")? { Some("https".to_owned()) } else { scheme };
        let host = fields.string("host_redirect")?.filter(|host| !host.is_empty());
        let port = fields.unsigned("port_redirect")?.filter(|port| *port > 0);
        let path = path_rewrite(&mut fields, Some("path_redirect"))?;
        let status = match fields.string("response_code")?.as_deref() {
            None | Some("MOVED_PERMANENTLY") => 301,
            Some("FOUND") => 302,
            Some("SEE_OTHER") => 303,
            Some("TEMPORARY_REDIRECT") => 307,
            Some("PERMANENT_REDIRECT") => 308,
            Some(_) => {
                let reason =
                    "expected MOVED_PERMANENTLY, FOUND, SEE_OTHER, TEMPORARY_REDIRECT or PERMANENT_REDIRECT";
                return Err(fields.error("response_code", reason));
            }
        };
        let strip_query = fields.bool("strip_query")?;
        fields.finish()?;
        Ok(Self { scheme, host, port, path, status, strip_query })
    }

    /// The address of a request itself.
    pub(crate) fn here(headers: &Headers, selection: &Selection) -> Vec<u8> {
        let (scheme, host, port, path) = (None, None, None, PathRewrite::None);
        let same = Self { scheme, host, port, path, status: 0, strip_query: false };
        same.location(headers, selection).1
    }

    /// Status and `location`.
    pub(crate) fn location(&self, headers: &Headers, selection: &Selection) -> (u32, Vec<u8>) {
        let old_scheme =
            headers.get(b"x-forwarded-proto").or_else(|| headers.get(b":scheme")).unwrap_or(b"http");
        let scheme = self.scheme.as_deref().map_or(old_scheme, str::as_bytes);
        let authority = headers.get(b":authority").unwrap_or_default();
        let mut host = self.host.as_deref().map_or(authority, str::as_bytes).to_vec();
        let colon = host
            .iter()
            .rposition(|byte| *byte == b':')
            .filter(|at| *at + 1 < host.len() && host[at + 1..].iter().all(u8::is_ascii_digit));
        if let Some(port) = self.port {
            host.truncate(colon.unwrap_or(host.len()));
            host.extend_from_slice(format!(":{port}").as_bytes());
        } else if let (Some(colon), None, Some(new)) = (colon, &self.host, &self.scheme) {
            // The default port of the old scheme makes no sense under the new one.
            let port = &host[colon + 1..];
            let old = (old_scheme == b"http" && port == b"80") || (old_scheme == b"https" && port == b"443");
            if old && new.as_bytes() != old_scheme {
                host.truncate(colon);
            }
        }
        let full = headers.get(b":path").unwrap_or(b"/");
        let cut = full.iter().position(|byte| *byte == b'?').unwrap_or(full.len());
        let kept = if self.strip_query { &full[..cut] } else { full };
        let matched = selection.route().matcher.matched(full);
        let path = match &self.path {
            // The query of the request stays unless the new path has one.
            PathRewrite::Whole(new) if new.contains('?') || self.strip_query => new.clone().into_bytes(),
            PathRewrite::Whole(new) => [new.as_bytes(), &full[cut..]].concat(),
            rewrite => rewrite.apply(kept, matched).unwrap_or_else(|| kept.to_vec()),
        };
        (self.status, [scheme, b"://", &host, &path].concat())
    }
}

fn path_rewrite(fields: &mut Fields<'_>, whole: Option<&str>) -> Result<PathRewrite, RouteError> {
    let mut found = Vec::new();
    found.extend(fields.string("prefix_rewrite")?.filter(|text| !text.is_empty()).map(PathRewrite::Prefix));
    if let Some((value, path)) = fields.child("regex_rewrite") {
        let mut rewrite = object(value, &path)?;
        let Some((value, pattern)) = rewrite.child("pattern") else {
            return Err(rewrite.error("pattern", "is missing"));
        };
        let regex = compile(value, &pattern, false)?;
        let to = rewrite.string("substitution")?.unwrap_or_default();
        rewrite.finish()?;
        found.push(PathRewrite::Regex(regex, to.into_bytes()));
    }
    if let Some(name) = whole {
        found.extend(fields.string(name)?.filter(|text| !text.is_empty()).map(PathRewrite::Whole));
    }
    if found.len() > 1 {
        return Err(fields.error("", "only one way to change the path may be given"));
    }
    Ok(found.pop().unwrap_or(PathRewrite::None))
}

fn direct_response(value: &Value, path: &str) -> Result<Action, RouteError> {
    let mut fields = object(value, path)?;
    let status = fields.unsigned("status")?.unwrap_or(0);
    if !(200..600).contains(&status) {
        return Err(fields.error("status", "expected a status from 200 to 599"));
    }
    let mut body = Vec::new();
    if let Some((value, path)) = fields.child("body") {
        let mut source = object(value, &path)?;
        if let Some(text) = source.string("inline_string")? {
            body = text.into_bytes();
        } else if let Some(text) = source.string("inline_bytes")? {
            let bytes = base64::engine::general_purpose::STANDARD.decode(text);
            body = bytes.map_err(|error| source.error("inline_bytes", &format!("not base64: {error}")))?;
        }
        source.finish()?;
    }
    fields.finish()?;
    Ok(Action::DirectResponse { status, body })
}
