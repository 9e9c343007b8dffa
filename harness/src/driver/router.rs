//! Envoy's router filter, the last of the chain: routes, clusters, and what it changes in the request on its way upstream.

use super::Replay;
use crate::host::{ClusterState, Reply};
use crate::outcome::End;
use crate::routes::{Action, Request, Target};

/// Envoy's default route timeout.
const TIMEOUT_MS: &[u8] = b"15000";

impl Replay {
    /// Chooses the route by the request as it is now (`HDR-40`, `HDR-42`).
    pub(super) fn select_route(&mut self) {
        let stream = &mut self.host.stream;
        stream.route_stale = false;
        let Some(table) = &self.routes else {
            stream.info.cluster = Some(self.host.clusters.default_name().to_owned());
            return;
        };
        let request = Request {
            headers: &stream.request.headers,
            random: stream.random,
            filter_state: &stream.filter_state,
        };
        stream.info.route = table.select(&request);
        stream.info.cluster = stream.info.route.as_ref().and_then(|route| match route.target(&request) {
            Target::Cluster(name) => Some(name),
            Target::None => None,
        });
    }

    /// The request's headers have passed the filters.
    pub(super) fn router_headers(&mut self, end: bool) {
        if self.host.stream.route_stale {
            self.select_route();
        }
        let info = &self.host.stream.info;
        self.run.route = info.route.as_ref().map(|route| route.label());
        self.run.cluster.clone_from(&info.cluster);
        if self.routes.is_some() && info.route.is_none() {
            return self.refuse(404, b"", "route_not_found", "NR");
        }
        if let Some(route) = info.route.clone() {
            let headers = &self.host.stream.request.headers;
            match &route.route().action {
                Action::Redirect(redirect) => {
                    let (status, location) = redirect.location(headers, &route);
                    return self.direct(status, vec![("location", location)], b"", "direct_response");
                }
                Action::DirectResponse { status, body } => {
                    let body = body.clone();
                    return self.direct(*status, Vec::new(), &body, "direct_response");
                }
                Action::Forward(_) => {}
            }
        }
        let cluster = self.run.cluster.clone().unwrap_or_default();
        match self.host.clusters.state(&cluster) {
            ClusterState::Unknown => return self.refuse(503, b"", "cluster_not_found", "NC"),
            ClusterState::Unhealthy => {
                self.finish_request();
                return self.refuse(503, b"no healthy upstream", "no_healthy_upstream", "UH");
            }
            ClusterState::Healthy(_) => {}
        }
        if self.host.stream.request.headers.get(b":method").is_none() {
            return self.refuse(503, b"missing required header: :method", "missing_required_header", "UPE");
        }
        self.finish_request();
        self.host.stream.info.upstream = true;
        let mut headers = self.host.stream.request.headers.clone();
        // What Envoy's HTTP/1 codec adds for a request without a body; framing by chunks is not shown.
        let bodiless =
            matches!(headers.get(b":method"), Some(b"GET" | b"HEAD" | b"DELETE" | b"TRACE" | b"CONNECT"));
        if end && !bodiless && headers.get(b"content-length").is_none() {
            headers.append(b"content-length", b"0");
        }
        let upstream = self.run.upstream.get_or_insert_default();
        upstream.headers = headers;
        if end {
            self.run.waiting = true;
        }
    }

    /// Body data has passed the filters.
    pub(super) fn router_data(&mut self, data: &[u8], end: bool) {
        if let Some(upstream) = &mut self.run.upstream {
            upstream.body.extend_from_slice(data);
        }
        if end {
            self.router_trailers();
        }
    }

    /// The end of the request, with trailers if there are any.
    pub(super) fn router_trailers(&mut self) {
        if self.host.stream.request.has_trailers
            && let Some(upstream) = &mut self.run.upstream
        {
            upstream.trailers = self.host.stream.request.trailers.clone();
        }
        self.run.waiting = self.run.upstream.is_some();
    }

    /// Rewrites and header changes of the route.
    fn finish_request(&mut self) {
        let route = self.host.stream.info.route.clone();
        let headers = &mut self.host.stream.request.headers;
        headers.replace(b"x-envoy-expected-rq-timeout-ms", TIMEOUT_MS);
        if let Some(route) = route {
            route.finish_request(headers);
        }
    }

    /// Header changes of the route on the way back.
    pub(super) fn apply_response_headers(&mut self) {
        if let Some(route) = self.host.stream.info.route.clone() {
            route.finish_response(&mut self.host.stream.response.headers);
        }
    }

    /// Envoy cannot forward (`FLOW-31`).
    fn refuse(&mut self, status: u32, body: &[u8], details: &str, flag: &str) {
        self.run.end = Some(End::Refused);
        flag.clone_into(&mut self.run.flags);
        self.host.stream.info.flags |= flag_bit(flag);
        self.reply_by_route(status, crate::headers::Headers::new(), body, details);
    }

    /// Envoy answers from its routes.
    fn direct(&mut self, status: u32, headers: Vec<(&str, Vec<u8>)>, body: &[u8], details: &str) {
        self.run.end = Some(End::Direct);
        self.reply_by_route(status, headers.into_iter().collect(), body, details);
    }

    /// A reply of the router: the route's response headers come with it.
    fn reply_by_route(
        &mut self,
        status: u32,
        mut headers: crate::headers::Headers,
        body: &[u8],
        details: &str,
    ) {
        if let Some(route) = &self.host.stream.info.route {
            route.finish_response(&mut headers);
        }
        let reply =
            Reply { status, headers, body: body.to_vec(), grpc_status: -1, details: details.to_owned() };
        self.local_reply(reply);
    }
}

/// The bit of `response.flags`.
fn flag_bit(flag: &str) -> u64 {
    match flag {
        "UH" => 0x2,
        "NR" => 0x100,
        "NC" => 0x80_0000,
        _ => 0,
    }
}
