//! Envoy's router filter, the last of the chain: routes, clusters, and what it changes in the request on its way upstream.

use std::sync::Arc;

use super::Replay;
use crate::headers::Headers;
use crate::host::{ClusterState, Host, Reply, Slot, Stream};
use crate::outcome::End;
use crate::routes::{Action, Facts, Redirect, Request, TIMEOUT_MS};

/// The header that gives a request another timeout, in milliseconds.
const UPSTREAM_TIMEOUT: &[u8] = b"x-envoy-upstream-rq-timeout-ms";

impl Replay {
    /// Chooses the route by the request as it is now (`HDR-40`, `HDR-42`).
    pub(super) fn select_route(&mut self, at: Slot) {
        let stream = &mut self.host.streams[at];
        stream.route_stale = false;
        let Some(table) = &self.routes else {
            stream.info.cluster = Some(Arc::clone(self.host.clusters.default_name()));
            return;
        };
        let request = Request {
            headers: &stream.request.headers,
            random: stream.random,
            filter_state: &stream.filter_state,
        };
        stream.info.route = table.select(&request);
        stream.info.cluster = stream.info.route.as_ref().and_then(|route| route.cluster(&request));
    }

    /// The request's headers have passed the filters.
    pub(super) fn router_headers(&mut self, at: Slot, end: bool) {
        let touched = self.host.streams[at].route_stale;
        if touched {
            self.select_route(at);
        }
        let info = &self.host.streams[at].info;
        self.lives[at].run.route = info.route.as_ref().map(|route| route.label().to_owned());
        self.lives[at].run.cluster.clone_from(&info.cluster);
        if self.routes.is_some() && info.route.is_none() {
            return self.refuse(at, 404, b"", "route_not_found", "NR");
        }
        if let Some(route) = info.route.clone() {
            let headers = &self.host.streams[at].request.headers;
            match &route.route().action {
                Action::Redirect(redirect) => {
                    let (status, location) = redirect.location(headers, &route);
                    return self.direct(at, status, vec![("location", location)], b"");
                }
                Action::DirectResponse { status, body } => {
                    // Envoy says where what was created or moved is: at the request's own address.
                    let location = matches!(status, 201 | 300..=399).then(|| Redirect::here(headers, &route));
                    let location = location.map(|location| ("location", location)).into_iter().collect();
                    return self.direct(at, *status, location, body);
                }
                Action::Forward(_) => {}
            }
        }
        let cluster = self.lives[at].run.cluster.clone().unwrap_or_default();
        match self.host.clusters.state(&cluster) {
            ClusterState::Unknown => return self.refuse(at, 503, b"", "cluster_not_found", "NC"),
            ClusterState::Unhealthy => {
                self.finish_request(at);
                return self.refuse(at, 503, b"no healthy upstream", "no_healthy_upstream", "UH");
            }
            ClusterState::Healthy => {}
        }
        // What was recorded is in order: only filters bring in what cannot be sent.
        if touched && let Err(message) = encodable(&self.host.streams[at].request.headers) {
            let reason = message.replace(' ', "_");
            let details = format!("filter_removed_required_request_headers{{{reason}}}");
            return self.refuse(at, 503, message.as_bytes(), &details, "DPE");
        }
        self.finish_request(at);
        self.host.streams[at].info.upstream = true;
        let mut headers = self.host.streams[at].request.headers.clone();
        if touched {
            headers.retain(|name, _| name.first() != Some(&b':') || PSEUDO.contains(&name));
        }
        // What Envoy's HTTP/1 codec adds for a request without a body; framing by chunks is not shown.
        let bodiless =
            matches!(headers.get(b":method"), Some(b"GET" | b"HEAD" | b"DELETE" | b"TRACE" | b"CONNECT"));
        if end
            && !bodiless
            && headers.get(b"content-length").is_none()
            && !self.host.clusters.is_http2(&cluster)
        {
            headers.append(b"content-length", b"0");
        }
        let upstream = self.lives[at].run.upstream.get_or_insert_default();
        upstream.headers = headers;
        if end {
            self.complete(at);
        }
    }

    /// Body data has passed the filters.
    pub(super) fn router_data(&mut self, at: Slot, data: &[u8], end: bool) {
        if let Some(upstream) = &mut self.lives[at].run.upstream {
            upstream.body.extend_from_slice(data);
        }
        if end {
            self.router_trailers(at);
        }
    }

    /// The end of the request, with trailers if there are any.
    pub(super) fn router_trailers(&mut self, at: Slot) {
        if self.host.streams[at].request.has_trailers
            && let Some(upstream) = &mut self.lives[at].run.upstream
        {
            upstream.trailers = self.host.streams[at].request.trailers.clone();
        }
        self.complete(at);
    }

    /// The whole request is with the router.
    fn complete(&mut self, at: Slot) {
        let run = &mut self.lives[at].run;
        if run.upstream.is_some() && !run.waiting {
            run.waiting = true;
            self.asked.push_back(at);
        }
    }

    /// Rewrites and header changes of the route.
    fn finish_request(&mut self, at: Slot) {
        let Host { streams, clusters, .. } = &mut *self.host;
        let Stream { request, info, filter_state, .. } = &mut streams[at];
        let timeout_ms = match info.route.as_ref().map(|route| &route.route().action) {
            Some(Action::Forward(forward)) => forward.timeout_ms,
            _ => TIMEOUT_MS,
        };
        // A filter may give the request another timeout: a number takes the header away, anything else does nothing.
        let own = request
            .headers
            .get(UPSTREAM_TIMEOUT)
            .and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        if own.is_some() {
            request.headers.remove(UPSTREAM_TIMEOUT);
        }
        let timeout_ms: u64 = own.unwrap_or(timeout_ms);
        self.lives[at].run.timeout_ns = timeout_ms.saturating_mul(1_000_000);
        if timeout_ms > 0 {
            request.headers.replace(b"x-envoy-expected-rq-timeout-ms", timeout_ms.to_string().as_bytes());
        }
        if let Some(route) = &info.route {
            let flags = &self.lives[at].run.flags;
            let facts = Facts { request: None, info, flags, filter_state, clusters };
            route.finish_request(&mut request.headers, &facts);
        }
    }

    /// Header changes of the route on the way back.
    pub(super) fn finish_response(&self, at: Slot, headers: &mut Headers) {
        let Stream { request, info, filter_state, .. } = &self.host.streams[at];
        if let Some(route) = &info.route {
            let (request, clusters) = (Some(&request.headers), &self.host.clusters);
            let facts = Facts { request, info, flags: &self.lives[at].run.flags, filter_state, clusters };
            route.finish_response(headers, &facts);
        }
    }

    /// Whether the stream's route leads to a cluster. Its header changes are then in every response, whoever makes it.
    pub(super) fn forwards(&self, at: Slot) -> bool {
        let route = self.host.streams[at].info.route.as_ref();
        route.is_some_and(|route| matches!(route.route().action, Action::Forward(_)))
    }

    /// Envoy cannot forward (`FLOW-31`).
    pub(super) fn refuse(&mut self, at: Slot, status: u32, body: &[u8], details: &str, flag: &'static str) {
        self.lives[at].run.end = Some(End::Refused);
        self.flag(at, flag);
        self.own_reply(at, status, body, details);
    }

    /// Envoy answers from its routes. Only this reply of a route that does not forward gets the route's header changes.
    fn direct(&mut self, at: Slot, status: u32, headers: Vec<(&str, Vec<u8>)>, body: &[u8]) {
        self.lives[at].run.end = Some(End::Direct);
        let mut headers: Headers = headers.into_iter().collect();
        "direct_response".clone_into(&mut self.host.streams[at].info.details);
        self.finish_response(at, &mut headers);
        let details = "direct_response".to_owned();
        self.local_reply(at, Reply { status, headers, body: body.to_vec(), grpc_status: -1, details });
    }

    /// Sets a response flag.
    pub(super) fn flag(&mut self, at: Slot, flag: &'static str) {
        flag.clone_into(&mut self.lives[at].run.flags);
        self.host.streams[at].info.flags |= flag_bit(flag);
    }
}

/// The pseudo headers of a request; others are not sent (`HDR-26`).
const PSEUDO: [&[u8]; 5] = [b":method", b":path", b":authority", b":scheme", b":protocol"];

/// Whether the upstream's HTTP/1 codec takes the headers, or what it says of them (`HDR-26`, `HDR-29`). A name may be empty.
fn encodable(headers: &Headers) -> Result<(), String> {
    if headers.get(b":method").is_none() {
        return Err("missing required header: :method".to_owned());
    }
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    for (name, value) in headers.iter().filter(|(name, _)| name.first() != Some(&b':')) {
        let shown = || String::from_utf8_lossy(name);
        if !name.iter().all(is_token) {
            return Err(format!("invalid header name: {}", shown()));
        }
        if value.iter().any(|byte| b"\r\n\0".contains(byte)) {
            return Err(format!("invalid header value for: {}", shown()));
        }
    }
    Ok(())
}

/// The bit of `response.flags`.
fn flag_bit(flag: &str) -> u64 {
    match flag {
        "UH" => 0x2,
        "UT" => 0x4,
        "UF" => 0x20,
        "UC" => 0x40,
        "NR" => 0x100,
        "DC" => 0x4000,
        "SI" => 0x1_0000,
        "DPE" => 0x4_0000,
        "UPE" => 0x80_0000,
        "NC" => 0x100_0000,
        _ => 0,
    }
}
