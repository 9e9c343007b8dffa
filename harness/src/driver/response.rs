//! The way of the response: from the upstream (recorded or fixed) through the filters to the client.

use std::borrow::Cow;

use super::Replay;
use super::stream::bare;
use crate::clock::{http_date, nanoseconds};
use crate::exchange::{Message, Protocol};
use crate::upstream::Answer;

/// Whether it is a header of one hop that Envoy does not pass to the client.
fn is_of_hop(name: &[u8]) -> bool {
    matches!(name, b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade")
}

impl Replay {
    /// The upstream answers, by its script or as recorded.
    pub(super) fn start_upstream_response(&mut self, recorded: Option<&Message>) {
        let cluster = self.run.cluster.as_deref().unwrap_or_default();
        let request = self.run.upstream.as_ref();
        let request = request.map_or_else(|| Cow::Owned(Message::default()), Cow::Borrowed);
        let turn = self.host.upstreams.turn(cluster, &request, recorded);
        self.host.clock.reach(self.host.clock.now_ns().saturating_add(nanoseconds(turn.latency)));
        let (Answer::Message(mut message) | Answer::Cut { mut message, .. }) = turn.answer else {
            let body = b"upstream connect error or disconnect/reset before headers. reset reason: connection termination";
            return self.refuse(
                503,
                body,
                "upstream_reset_before_response_started{connection_termination}",
                "UC",
            );
        };
        if self.run.head && !message.body.is_empty() {
            message.to_mut().body.clear();
        }
        "via_upstream".clone_into(&mut self.host.stream.info.details);
        self.host.stream.info.code = crate::host::status(&message.headers);
        let headers = &mut self.host.stream.response.headers;
        headers.clear();
        for (name, value) in message.headers.iter() {
            headers.add(name, value, crate::headers::Kind::Response);
        }
        headers.replace(b"x-envoy-upstream-service-time", turn.latency.as_millis().to_string().as_bytes());
        let mut headers = std::mem::take(headers);
        self.finish_response(&mut headers);
        self.host.stream.response.headers = headers;
        self.message(true, &message);
    }

    /// The response's headers have passed the filters: the connection manager adds its own and sends them.
    pub(super) fn client_headers(&mut self, end: bool) {
        let http1 = matches!(self.host.stream.info.protocol, Protocol::Http10 | Protocol::Http11);
        let headers = &mut self.host.stream.response.headers;
        let Some(status) = crate::host::status(headers) else {
            return self.removed_status();
        };
        self.host.stream.info.code = Some(status);
        headers.retain(|name, _| !is_of_hop(name));
        if headers.get(b"date").is_none() {
            headers.append(b"date", http_date(self.host.clock.now_ns()).as_bytes());
        }
        headers.set(b"server", b"envoy");
        let lengthless = headers.get(b"content-length").is_none() && !matches!(status, 0..=199 | 204);
        if end && http1 && lengthless && !self.run.head {
            headers.append(b"content-length", b"0");
        }
        let headers = headers.clone();
        self.received().headers = headers;
        self.run.headers_sent = true;
        if end {
            self.run.over = true;
        }
    }

    /// Body data has passed the filters.
    pub(super) fn client_data(&mut self, data: &[u8], end: bool) {
        let silent = self.run.head;
        let response = self.received();
        if !silent {
            response.body.extend_from_slice(data);
        }
        if end {
            self.client_trailers();
        }
    }

    /// The end of the response, with trailers if there are any.
    pub(super) fn client_trailers(&mut self) {
        if self.host.stream.response.has_trailers {
            let trailers = self.host.stream.response.trailers.clone();
            self.received().trailers = trailers;
        }
        self.run.over = true;
    }

    /// A filter took the status away (`HDR-29`).
    fn removed_status(&mut self) {
        self.run.encode_aborted = true;
        let body = b"missing required header: :status";
        let mut headers = bare(502);
        "filter_removed_required_response_headers{missing_required_header:_:status}"
            .clone_into(&mut self.host.stream.info.details);
        if self.forwards() {
            self.finish_response(&mut headers);
        }
        headers.push("content-length", body.len().to_string());
        headers.push("content-type", "text/plain");
        self.host.stream.response.headers = headers;
        self.client_headers(false);
        self.client_data(body, true);
    }
}
