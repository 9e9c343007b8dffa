//! Local replies: of filters and of Envoy itself (`FLOW-22` to `FLOW-31`). Knows how they look and which way they go, not who makes them.

use super::Replay;
use super::stream::bare;
use crate::exchange::Message;
use crate::headers::Headers;
use crate::host::{Reply, Slot, grpc_status};
use crate::outcome::End;
use crate::upstream::message::percent_encode;

impl Replay {
    /// A reply of Envoy's own.
    pub(super) fn own_reply(&mut self, at: Slot, status: u32, body: &[u8], details: &str) {
        let details = details.to_owned();
        let reply = Reply { status, headers: Headers::new(), body: body.to_vec(), grpc_status: -1, details };
        self.local_reply(at, reply);
    }

    /// Answers in place of the upstream: through the filters as long as there is no response, instead of it as long as its headers are
    /// held, by a reset afterwards (`FLOW-22`, `FLOW-25`, `FLOW-26`).
    pub(super) fn local_reply(&mut self, at: Slot, reply: Reply) {
        if self.lives[at].run.over {
            return;
        }
        self.host.streams[at].info.details.clone_from(&reply.details);
        self.stop_waiting(at);
        let run = &mut self.lives[at].run;
        run.decode_aborted = true;
        if run.headers_sent {
            if let Some(response) = &mut run.response {
                response.body_truncated = true;
            }
            self.over(at);
            return;
        }
        if run.replied && !run.failed && run.end != Some(End::Stalled) {
            return;
        }
        run.replied = true;
        let direct = self.host.streams[at].response.present;
        let (headers, body) = self.render(at, reply);
        self.host.streams[at].info.code = crate::host::status(&headers);
        self.host.streams[at].response.headers = headers;
        if direct {
            self.lives[at].run.encode_aborted = true;
            self.host.streams[at].response.trailers.clear();
            self.host.streams[at].response.has_trailers = false;
            self.client_headers(at, body.is_empty());
            if !body.is_empty() {
                self.client_data(at, &body, true);
            }
            return;
        }
        let side = &mut self.host.streams[at].response;
        (side.present, side.complete) = (true, body.is_empty());
        self.pass_headers(at, true, 0, body.is_empty());
        if !body.is_empty() && !self.stopped(at, true) {
            self.chunk(at, true, &body, true);
        }
    }

    /// Headers and body of a local reply (`FLOW-23`, `FLOW-28`, `FLOW-29`). Header changes of a route that forwards come first, whoever
    /// replies.
    fn render(&self, at: Slot, reply: Reply) -> (Headers, Vec<u8>) {
        let grpc = self.lives[at].run.grpc;
        let mut headers = bare(reply.status);
        if self.forwards(at) {
            self.finish_response(at, &mut headers);
        }
        for (name, value) in reply.headers.iter().filter(|(name, _)| *name != b":status") {
            headers.append(name, value);
        }
        if grpc {
            headers.set(b":status", b"200");
            let status = u64::try_from(reply.grpc_status).ok().filter(|status| *status <= 16);
            let status = status.unwrap_or_else(|| grpc_status(reply.status));
            headers.set(b"content-type", b"application/grpc");
            headers.set(b"grpc-status", status.to_string().as_bytes());
            if !reply.body.is_empty() {
                headers.set(b"grpc-message", &percent_encode(&reply.body));
            }
            return (headers, Vec::new());
        }
        headers.remove(b"content-length");
        if !reply.body.is_empty() {
            headers.append(b"content-length", reply.body.len().to_string().as_bytes());
            if headers.get(b"content-type").is_none() {
                headers.append(b"content-type", b"text/plain");
            }
        }
        let silent = self.lives[at].run.head || matches!(reply.status, 204 | 304);
        (headers, if silent { Vec::new() } else { reply.body })
    }

    /// What the client received, or a new message for it.
    pub(super) fn received(&mut self, at: Slot) -> &mut Message {
        self.lives[at].run.response.get_or_insert_default()
    }
}
