//! Calling filters, and what they ask for: queued actions, local replies, traps (`FLOW-10` to `FLOW-29`, `FAULT-*`, section 13).

use super::Replay;
use super::stream::bare;
use crate::exchange::Message;
use crate::headers::Headers;
use crate::host::{Action, Host, Phase, Reply, View, grpc_status};
use crate::outcome::End;
use crate::scenario::FailurePolicy;
use crate::upstream::message::percent_encode;
use crate::vm::Vm;

/// What a callback's answer is where it does not count: the stream stops.
const STOPPED: u32 = 4;

impl Replay {
    /// Calls a filter's headers callback.
    pub(super) fn call_headers(&mut self, filter: usize, response: bool, end: bool) -> u32 {
        if !response {
            self.create(filter);
            if self.stopped(response) {
                return STOPPED;
            }
        } else if self.host.stream.filters[filter].id == 0 {
            return 0;
        }
        self.access(filter, response).headers = true;
        let count = self.host.stream.side(response).headers.len();
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.call(filter, response, |vm, host, id| vm.call_headers(host, id, response, count, end))
    }

    /// Calls a filter's body callback.
    pub(super) fn call_body(&mut self, filter: usize, response: bool, view: View, last: bool) -> u32 {
        if self.host.stream.filters[filter].id == 0 {
            return 0;
        }
        let buffering = self.access(filter, response).buffering;
        let side = self.host.stream.side_mut(response);
        let mut shown = view;
        if buffering && view == View::Chunk {
            side.hold_chunk();
            shown = View::Buffered;
        }
        let data = if shown == View::Buffered { side.buffered.as_ref() } else { Some(&side.chunk) };
        let size = u32::try_from(data.map_or(0, Vec::len)).unwrap_or(u32::MAX);
        let access = self.access(filter, response);
        (access.view, access.last) = (shown, last);
        let params = move |id| (id, size, u32::from(last));
        let status = self.call(filter, response, |vm, host, id| {
            if response {
                vm.call(host, id, |all| &all.response_body, params(id))
            } else {
                vm.call(host, id, |all| &all.request_body, params(id))
            }
        });
        let access = self.access(filter, response);
        (access.view, access.last) = (View::None, false);
        status
    }

    /// Calls a filter's trailers callback.
    pub(super) fn call_trailers(&mut self, filter: usize, response: bool) -> u32 {
        if self.host.stream.filters[filter].id == 0 {
            return 0;
        }
        let count = self.host.stream.side(response).trailers.len();
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.call(filter, response, |vm, host, id| {
            if response {
                vm.call(host, id, |all| &all.response_trailers, (id, count))
            } else {
                vm.call(host, id, |all| &all.request_trailers, (id, count))
            }
        })
    }

    /// Calls a filter and does what it asked for; an absent callback goes on.
    fn call(
        &mut self,
        filter: usize,
        response: bool,
        callback: impl FnOnce(&mut Vm, &mut Box<Host>, u32) -> Result<Option<u32>, String>,
    ) -> u32 {
        let entry = self.host.stream.filters[filter];
        let vm = &mut self.vms[entry.vm];
        if vm.failed {
            return self.call_failed(filter, response);
        }
        let result = callback(vm, &mut self.host, entry.id);
        let stop = std::mem::take(&mut self.vms[entry.vm].guest().stop);
        match result {
            Ok(status) => {
                self.run_actions();
                if stop { STOPPED } else { status.unwrap_or(0) }
            }
            Err(fault) => {
                self.fault(filter, fault);
                self.host.actions.clear();
                self.fail_stream();
                STOPPED
            }
        }
    }

    /// A filter whose VM failed before (`FAULT-04`, `FAULT-05`, `FAULT-08`).
    fn call_failed(&mut self, filter: usize, response: bool) -> u32 {
        let plugin = &self.plugins[self.host.stream.filters[filter].plugin];
        let bypassed =
            plugin.failure_policy == FailurePolicy::FailOpen && self.host.stream.filters[filter].id == 0;
        if bypassed || self.run.failed {
            return 0;
        }
        let fault = format!("`{}`: its VM failed earlier, so the stream gets 503", plugin.name);
        self.run.faults.push(fault);
        self.fail_stream();
        if response || self.run.decode_aborted { STOPPED } else { 0 }
    }

    /// Calls a root context; a trap there does nothing to the stream (`FAULT-06`, `FAULT-07`).
    pub(super) fn call_root<R>(
        &mut self,
        root: usize,
        callback: impl FnOnce(&mut Vm, &mut Box<Host>, u32) -> Result<Option<R>, String>,
    ) {
        let Some((vm, id, plugin)) = self.host.roots.get(root).map(|root| (root.vm, root.id, root.plugin))
        else {
            return;
        };
        let machine = &mut self.vms[vm];
        if machine.failed {
            return;
        }
        let result = callback(machine, &mut self.host, id);
        machine.guest().stop = false;
        if let Err(fault) = result {
            let name = &self.plugins[plugin].name;
            self.run.faults.push(format!("`{name}`: {fault}"));
            self.host.actions.clear();
        }
        self.run_actions();
    }

    /// Calls a filter when its stream is over.
    pub(super) fn call_end(
        &mut self,
        filter: usize,
        callback: impl FnOnce(&mut Vm, &mut Box<Host>, u32) -> Result<(), String>,
    ) {
        let entry = self.host.stream.filters[filter];
        let vm = &mut self.vms[entry.vm];
        if vm.failed || entry.id == 0 {
            return;
        }
        let result = callback(vm, &mut self.host, entry.id);
        vm.guest().stop = false;
        self.host.actions.clear();
        if let Err(fault) = result {
            self.fault(filter, fault);
        }
        if let Some(fatal) = self.host.fatal.take() {
            self.run.faults.push(fatal);
            self.vms[entry.vm].failed = true;
        }
    }

    pub(super) fn fault(&mut self, filter: usize, fault: String) {
        let name = &self.plugins[self.host.stream.filters[filter].plugin].name;
        self.run.faults.push(format!("`{name}`: {fault}"));
    }

    /// Does what guests asked for, in order (`FLOW-10`).
    pub(super) fn run_actions(&mut self) {
        if let Some(fatal) = self.host.fatal.take() {
            self.run.faults.push(fatal);
            self.run.end = Some(End::Trapped);
            self.run.over = true;
            self.host.actions.clear();
        }
        while let Some(action) = self.host.actions.pop_front() {
            if self.host.stream.phase != Phase::Open || self.run.over {
                if let Action::Reply(reply) = action
                    && self.run.replied
                {
                    self.host.stream.info.details = reply.details;
                }
                continue;
            }
            match action {
                Action::Continue { filter, response } => self.release(filter, response),
                Action::Close => self.reset("wasm_close_stream"),
                Action::Reply(reply) => {
                    // In place of Envoy's own answer, whose headers have just come, a filter may still give another.
                    if matches!(self.run.end, Some(End::Direct | End::Refused)) && !self.run.headers_sent {
                        (self.run.end, self.run.replied) = (None, false);
                    }
                    self.run.end.get_or_insert(End::LocalReply);
                    self.local_reply(reply);
                }
            }
        }
    }

    /// Resets the stream (`FLOW-20`).
    pub(super) fn reset(&mut self, details: &str) {
        if self.host.stream.info.details.is_empty() {
            details.clone_into(&mut self.host.stream.info.details);
        }
        self.run.end = Some(End::Reset);
        if let Some(response) = &mut self.run.response {
            response.body_truncated = true;
        }
        self.run.over = true;
    }

    /// A trap or a failed VM ends the stream (`FAULT-03`).
    fn fail_stream(&mut self) {
        self.run.end = Some(End::Trapped);
        self.run.failed = true;
        self.own_reply(503, b"", "wasm_fail_stream");
    }

    /// Too much data is held back (`BODY-12`, `BODY-13`).
    pub(super) fn overflow(&mut self, response: bool) {
        self.run.end = Some(End::Refused);
        if response {
            self.own_reply(500, b"Internal Server Error", "response_payload_too_large");
        } else {
            self.own_reply(413, b"Payload Too Large", "request_payload_too_large");
        }
    }

    /// A reply of Envoy's own.
    pub(super) fn own_reply(&mut self, status: u32, body: &[u8], details: &str) {
        let details = details.to_owned();
        let reply = Reply { status, headers: Headers::new(), body: body.to_vec(), grpc_status: -1, details };
        self.local_reply(reply);
    }

    /// Answers in place of the upstream: through the filters as long as there is no response, instead of it as long as its headers are
    /// held, by a reset afterwards (`FLOW-22`, `FLOW-25`, `FLOW-26`).
    pub(super) fn local_reply(&mut self, reply: Reply) {
        if self.run.over {
            return;
        }
        self.host.stream.info.details.clone_from(&reply.details);
        self.run.decode_aborted = true;
        self.run.waiting = false;
        if self.run.headers_sent {
            if let Some(response) = &mut self.run.response {
                response.body_truncated = true;
            }
            self.run.over = true;
            return;
        }
        if self.run.replied && !self.run.failed && self.run.end != Some(End::Stalled) {
            return;
        }
        self.run.replied = true;
        let direct = self.host.stream.response.present;
        let (headers, body) = self.render(reply);
        self.host.stream.info.code = crate::host::status(&headers);
        self.host.stream.response.headers = headers;
        if direct {
            self.run.encode_aborted = true;
            self.host.stream.response.trailers.clear();
            self.host.stream.response.has_trailers = false;
            self.client_headers(body.is_empty());
            if !body.is_empty() {
                self.client_data(&body, true);
            }
            return;
        }
        let side = &mut self.host.stream.response;
        (side.present, side.complete) = (true, body.is_empty());
        self.pass_headers(true, 0, body.is_empty());
        if !body.is_empty() && !self.stopped(true) {
            self.chunk(true, &body, true);
        }
    }

    /// Headers and body of a local reply (`FLOW-23`, `FLOW-28`, `FLOW-29`). Header changes of a route that forwards come first, whoever
    /// replies.
    fn render(&self, reply: Reply) -> (Headers, Vec<u8>) {
        let grpc = self.run.grpc;
        let mut headers = bare(reply.status);
        if self.forwards() {
            self.finish_response(&mut headers);
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
        let silent = self.run.head || matches!(reply.status, 204 | 304);
        (headers, if silent { Vec::new() } else { reply.body })
    }

    /// What the client received, or a new message for it.
    pub(super) fn received(&mut self) -> &mut Message {
        self.run.response.get_or_insert_default()
    }
}
