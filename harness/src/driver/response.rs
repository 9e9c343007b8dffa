//! The end of the response's way: what has passed the filters goes to the client.

use super::Replay;
use super::stream::bare;
use crate::clock::http_date;
use crate::exchange::Protocol;
use crate::host::Slot;

/// Whether it is a header of one hop that Envoy does not pass to the client.
fn is_of_hop(name: &[u8]) -> bool {
    matches!(name, b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade")
}

impl Replay {
    /// The response's headers have passed the filters: the connection manager adds its own and sends them.
    pub(super) fn client_headers(&mut self, at: Slot, end: bool) {
        let http1 = matches!(self.host.streams[at].info.protocol, Protocol::Http10 | Protocol::Http11);
        let stream = &mut self.host.streams[at];
        let headers = &mut stream.response.headers;
        let Some(status) = crate::host::status(headers) else {
            return self.removed_status(at);
        };
        stream.info.code = Some(status);
        headers.retain(|name, _| !is_of_hop(name));
        if headers.get(b"date").is_none() {
            headers.append(b"date", http_date(self.host.clock.now_ns()).as_bytes());
        }
        headers.set(b"server", b"envoy");
        let lengthless = headers.get(b"content-length").is_none() && !matches!(status, 0..=199 | 204);
        if end && http1 && lengthless && !self.lives[at].run.head {
            headers.append(b"content-length", b"0");
        }
        let headers = headers.clone();
        self.received(at).headers = headers;
        self.lives[at].run.headers_sent = true;
        if end {
            self.over(at);
        }
    }

    /// Body data has passed the filters.
    pub(super) fn client_data(&mut self, at: Slot, data: &[u8], end: bool) {
        let silent = self.lives[at].run.head;
        let response = self.received(at);
        if !silent {
            response.body.extend_from_slice(data);
        }
        if end {
            self.client_trailers(at);
        }
    }

    /// The end of the response, with trailers if there are any.
    pub(super) fn client_trailers(&mut self, at: Slot) {
        if self.host.streams[at].response.has_trailers {
            let trailers = self.host.streams[at].response.trailers.clone();
            self.received(at).trailers = trailers;
        }
        self.over(at);
    }

    /// A filter took the status away (`HDR-29`).
    fn removed_status(&mut self, at: Slot) {
        self.lives[at].run.encode_aborted = true;
        let body = b"missing required header: :status";
        let mut headers = bare(502);
        "filter_removed_required_response_headers{missing_required_header:_:status}"
            .clone_into(&mut self.host.streams[at].info.details);
        if self.forwards(at) {
            self.finish_response(at, &mut headers);
        }
        headers.push("content-length", body.len().to_string());
        headers.push("content-type", "text/plain");
        self.host.streams[at].response.headers = headers;
        self.client_headers(at, false);
        self.client_data(at, body, true);
    }
}
