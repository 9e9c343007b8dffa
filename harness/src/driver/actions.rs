//! Calling filters, and what they ask for: queued actions, resets, traps (`FLOW-10` to `FLOW-21`, `FAULT-*`, section 13).

use super::Replay;
use crate::host::{Action, Host, Notes, Phase, Slot, StreamId, View};
use crate::outcome::End;
use crate::scenario::FailurePolicy;
use crate::vm::Vm;

/// What a callback's answer is where it does not count: the stream stops.
const STOPPED: u32 = 4;

impl Replay {
    /// Calls a filter's headers callback.
    pub(super) fn call_headers(&mut self, at: Slot, filter: usize, response: bool, end: bool) -> u32 {
        if !response {
            self.create(at, filter);
            if self.stopped(at, response) {
                return STOPPED;
            }
        } else if self.host.streams[at].filters[filter].id == 0 {
            return 0;
        }
        self.access(at, filter, response).headers = true;
        let count = self.host.streams[at].side(response).headers.len();
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.call(at, filter, response, |vm, host, id| vm.call_headers(host, id, response, count, end))
    }

    /// Calls a filter's body callback.
    pub(super) fn call_body(
        &mut self,
        at: Slot,
        filter: usize,
        response: bool,
        view: View,
        last: bool,
    ) -> u32 {
        if self.host.streams[at].filters[filter].id == 0 {
            return 0;
        }
        let buffering = self.access(at, filter, response).buffering;
        let side = self.host.streams[at].side_mut(response);
        let mut shown = view;
        if buffering && view == View::Chunk {
            side.hold_chunk();
            shown = View::Buffered;
        }
        let data = if shown == View::Buffered { side.buffered.as_ref() } else { Some(&side.chunk) };
        let size = u32::try_from(data.map_or(0, Vec::len)).unwrap_or(u32::MAX);
        let access = self.access(at, filter, response);
        (access.view, access.last) = (shown, last);
        let params = move |id| (id, size, u32::from(last));
        let status = self.call(at, filter, response, |vm, host, id| {
            if response {
                vm.call(host, id, |all| &all.response_body, params(id))
            } else {
                vm.call(host, id, |all| &all.request_body, params(id))
            }
        });
        let access = self.access(at, filter, response);
        (access.view, access.last) = (View::None, false);
        status
    }

    /// Calls a filter's trailers callback.
    pub(super) fn call_trailers(&mut self, at: Slot, filter: usize, response: bool) -> u32 {
        if self.host.streams[at].filters[filter].id == 0 {
            return 0;
        }
        let count = self.host.streams[at].side(response).trailers.len();
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.call(at, filter, response, |vm, host, id| {
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
        at: Slot,
        filter: usize,
        response: bool,
        callback: impl FnOnce(&mut Vm, &mut Box<Host>, u32) -> Result<Option<u32>, String>,
    ) -> u32 {
        let entry = self.host.streams[at].filters[filter];
        if self.vms[entry.vm].failed {
            return self.call_failed(at, filter, response);
        }
        self.host.noting = Some(StreamId { slot: at, number: self.host.streams[at].number });
        let result = self.enter(entry.vm, entry.id, callback);
        let guest = self.vms[entry.vm].guest();
        let stop = std::mem::take(&mut guest.stop);
        match result {
            Ok(status) => {
                self.run_actions(entry.vm);
                if stop { STOPPED } else { status.unwrap_or(0) }
            }
            Err(fault) => {
                guest.actions.clear();
                self.fault(at, filter, fault);
                self.fail_stream(at);
                STOPPED
            }
        }
    }

    /// A filter whose VM failed before (`FAULT-04`, `FAULT-05`, `FAULT-08`).
    fn call_failed(&mut self, at: Slot, filter: usize, response: bool) -> u32 {
        let plugin = &self.plugins[self.host.streams[at].filters[filter].plugin];
        let bypassed =
            plugin.failure_policy == FailurePolicy::FailOpen && self.host.streams[at].filters[filter].id == 0;
        if bypassed || self.lives[at].run.failed {
            return 0;
        }
        let fault = format!("`{}`: its VM failed earlier, so the stream gets 503", plugin.name);
        self.host.streams[at].notes.faults.push(fault);
        self.fail_stream(at);
        if response || self.lives[at].run.decode_aborted { STOPPED } else { 0 }
    }

    /// Calls a root context; a trap there does nothing to any stream (`FAULT-06`, `FAULT-07`). What it does to no stream is told of the
    /// stream `told`; without one of the next stream if it is `kept`, else of none.
    pub(super) fn call_root<R>(
        &mut self,
        root: usize,
        told: Option<StreamId>,
        kept: bool,
        callback: impl FnOnce(&mut Vm, &mut Box<Host>, u32) -> Result<Option<R>, String>,
    ) {
        let Some((vm, id, plugin)) = self.host.roots.get(root).map(|root| (root.vm, root.id, root.plugin))
        else {
            return;
        };
        if self.vms[vm].failed {
            return;
        }
        // A stream of another worker may be over before the callback returns.
        let apart = if told.is_none() { !kept } else { self.turns.is_some() };
        let before = if apart { std::mem::take(&mut self.host.apart) } else { Notes::default() };
        self.host.noting = told;
        let result = self.enter(vm, id, callback);
        let guest = self.vms[vm].guest();
        guest.stop = false;
        if let Err(fault) = result {
            guest.actions.clear();
            let name = &self.plugins[plugin].name;
            let thread = self.thread_name(root);
            self.host.notes(None).faults.push(format!("`{name}`{thread}: {fault}"));
        }
        self.run_actions(vm);
        if apart {
            let after = std::mem::replace(&mut self.host.apart, before);
            self.apart.append(after);
        }
    }

    /// Calls a filter when its stream is over.
    pub(super) fn call_end(
        &mut self,
        at: Slot,
        filter: usize,
        callback: impl FnOnce(&mut Vm, &mut Box<Host>, u32) -> Result<(), String>,
    ) {
        let entry = self.host.streams[at].filters[filter];
        if self.vms[entry.vm].failed || entry.id == 0 {
            return;
        }
        self.host.noting = Some(StreamId { slot: at, number: self.host.streams[at].number });
        let result = self.enter(entry.vm, entry.id, |vm, host, id| callback(vm, host, id).map(Some));
        let vm = &mut self.vms[entry.vm];
        vm.guest().stop = false;
        if self.host.fatal.is_some() {
            vm.failed = true;
        }
        if let Err(fault) = result {
            vm.guest().actions.clear();
            self.fault(at, filter, fault);
        }
        self.run_actions(entry.vm);
    }

    pub(super) fn fault(&mut self, at: Slot, filter: usize, fault: String) {
        let name = &self.plugins[self.host.streams[at].filters[filter].plugin].name;
        self.host.streams[at].notes.faults.push(format!("`{name}`: {fault}"));
    }

    /// What the callback that has just returned did would end the process: its stream is over.
    fn die(&mut self, fatal: String) {
        self.host.notes(None).faults.push(fatal);
        if let Some(StreamId { slot: at, .. }) = self.host.noting
            && self.host.streams[at].phase == Phase::Open
            && self.is_own(at)
        {
            self.lives[at].run.end = Some(End::Trapped);
            self.over(at);
        }
    }

    /// Does what the guests of a VM asked for, in order (`FLOW-10`), whichever streams they asked it for (`FLOW-18`).
    pub(super) fn run_actions(&mut self, vm: usize) {
        if let Some(fatal) = self.host.fatal.take() {
            self.vms[vm].guest().actions.clear();
            self.die(fatal);
        }
        while let Some(action) = self.vms[vm].guest().actions.pop_front() {
            let at = match &action {
                Action::Continue { at, .. } | Action::Close(at) | Action::Reply(at, _) => *at,
                Action::Call(_) => {
                    if let Action::Call(call) = action {
                        self.tell_at_once(call);
                    }
                    continue;
                }
            };
            if self.host.streams[at].phase != Phase::Open || self.lives[at].run.over {
                if let Action::Reply(_, reply) = action
                    && self.lives[at].run.replied
                {
                    self.host.streams[at].info.details = reply.details;
                }
                continue;
            }
            match action {
                Action::Continue { filter, response, .. } => self.release(at, filter, response),
                Action::Close(_) => self.reset(at, "wasm_close_stream"),
                Action::Call(_) => {}
                Action::Reply(_, reply) => {
                    let run = &mut self.lives[at].run;
                    // In place of Envoy's own answer, whose headers have just come, a filter may still give another.
                    if matches!(run.end, Some(End::Direct | End::Refused)) && !run.headers_sent {
                        (run.end, run.replied) = (None, false);
                    }
                    run.end.get_or_insert(End::LocalReply);
                    self.local_reply(at, reply);
                }
            }
        }
    }

    /// Resets the stream (`FLOW-20`).
    pub(super) fn reset(&mut self, at: Slot, details: &str) {
        if self.host.streams[at].info.details.is_empty() {
            details.clone_into(&mut self.host.streams[at].info.details);
        }
        self.lives[at].run.end = Some(End::Reset);
        if let Some(response) = &mut self.lives[at].run.response {
            response.body_truncated = true;
        }
        self.over(at);
    }

    /// A trap or a failed VM ends the stream (`FAULT-03`).
    fn fail_stream(&mut self, at: Slot) {
        self.lives[at].run.end = Some(End::Trapped);
        self.lives[at].run.failed = true;
        self.own_reply(at, 503, b"", "wasm_fail_stream");
    }

    /// Too much data is held back (`BODY-12`, `BODY-13`).
    pub(super) fn overflow(&mut self, at: Slot, response: bool) {
        self.lives[at].run.end = Some(End::Refused);
        if response {
            self.own_reply(at, 500, b"Internal Server Error", "response_payload_too_large");
        } else {
            self.own_reply(at, 413, b"Payload Too Large", "request_payload_too_large");
        }
    }
}
