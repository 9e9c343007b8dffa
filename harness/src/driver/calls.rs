//! Telling filters what came of their calls (`CALL-05` to `CALL-07`, `CALL-22` to `CALL-24`).

use super::Replay;
use crate::headers::Headers;
use crate::host::grpc::{Grpc, Shown};
use crate::host::{Call, Ending, Event, Host, StreamId};
use crate::vm::Vm;

/// The status code that stands for an answer that broke off (`CALL-07`).
const BROKEN: u32 = 11;

impl Replay {
    /// Delivers the next answer that is due. A plugin that calls from every answer is cut off.
    pub(super) fn answer_call(&mut self) {
        let now = self.host.clock.now_ns();
        let call = match &self.turns {
            None => self.host.calls.pop_due(now),
            Some(turns) => {
                let (thread, roots) = (turns.current, &self.host.roots);
                self.host
                    .calls
                    .pop_due_of(now, |root| roots.get(root).is_some_and(|root| root.thread == thread))
            }
        };
        let Some(call) = call else { return };
        if self.calls_left > 0 {
            self.calls_left -= 1;
            return self.deliver(call);
        }
        let fault = "answers of callouts make more callouts while no time passes: the rest is dropped";
        self.host.noting = call.by.filter(|id| self.is_live(*id));
        self.host.notes(None).faults.push(fault.to_owned());
        self.host.calls.clear();
    }

    /// Delivers the answers that are due, also of calls that come up meanwhile; with several workers those of the thread whose turn it is.
    pub(super) fn answer_calls(&mut self) {
        while self.host.calls.is_due_of(self.host.clock.now_ns(), |root| self.is_of_current(root)) {
            self.answer_call();
        }
    }

    /// Tells a filter's root what came of a call, and the report how it ended.
    pub(super) fn deliver(&mut self, call: Call) {
        let Call { root, token, by, event, ending } = call;
        let by = by.filter(|id| self.is_live(*id));
        if let Some(ending) = ending {
            self.end_callout(by, ending);
        }
        self.call_root(root, by, false, |vm, host, id| tell(vm, host, root, id, token, event));
    }

    /// Tells of a gRPC call that could not be made, as soon as the callback that made it has returned; what comes of telling waits its turn.
    pub(super) fn tell_at_once(&mut self, call: Call) {
        if self.telling {
            self.host.calls.push(self.host.clock.now_ns(), call);
            return;
        }
        self.telling = true;
        self.deliver(call);
        self.telling = false;
    }

    /// Writes the end of a call into the outcome of the exchange that made it, if that is still going on.
    fn end_callout(&mut self, by: Option<StreamId>, ending: Ending) {
        let callouts = match by {
            Some(by) => &mut self.host.streams[by.slot].notes.callouts,
            None => &mut self.apart.callouts,
        };
        // The latest are last.
        if let Some(callout) = callouts.iter_mut().rev().find(|callout| callout.id == ending.callout) {
            ending.note(callout);
        }
    }
}

/// Calls the callback of an event.
fn tell(
    vm: &mut Vm,
    host: &mut Box<Host>,
    root: usize,
    id: u32,
    token: u32,
    event: Event,
) -> Result<Option<()>, String> {
    let count = |headers: &Headers| u32::try_from(headers.len()).unwrap_or(u32::MAX);
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    match event {
        Event::Http(Some(answer)) => {
            let (headers, trailers) = (count(&answer.headers), count(&answer.trailers));
            let params = (id, token, headers, length(&answer.body), trailers);
            vm.guest().call = Some(answer);
            let called = vm.call(host, id, |all| &all.http_call_response, params);
            vm.guest().call = None;
            called
        }
        Event::Http(None) => {
            host.roots[root].status = (BROKEN, b"reset".to_vec());
            let called = vm.call(host, id, |all| &all.http_call_response, (id, token, 0, 0, 0));
            host.roots[root].status.1.clear();
            called
        }
        Event::InitialMetadata(headers) => {
            let params = (id, token, count(&headers));
            vm.guest().grpc.shown = Shown::InitialMetadata(headers);
            let called = vm.call(host, id, |all| &all.grpc_initial_metadata, params);
            vm.guest().grpc.shown = Shown::Nothing;
            called
        }
        Event::Receive(message) => {
            let params = (id, token, length(&message));
            vm.guest().grpc.shown = Shown::Message(message);
            let called = vm.call(host, id, |all| &all.grpc_receive, params);
            let grpc = &mut vm.guest().grpc;
            grpc.shown = Shown::Nothing;
            if Grpc::is_call(token) {
                grpc.remove(token);
            }
            called
        }
        Event::TrailingMetadata(headers) => {
            let params = (id, token, count(&headers));
            vm.guest().grpc.shown = Shown::TrailingMetadata(headers);
            let called = vm.call(host, id, |all| &all.grpc_trailing_metadata, params);
            vm.guest().grpc.shown = Shown::Nothing;
            called
        }
        Event::Close { code, message } => {
            host.roots[root].status = (code, message);
            vm.guest().grpc.closing = Some(token);
            let called = vm.call(host, id, |all| &all.grpc_close, (id, token, code));
            vm.guest().grpc.closing = None;
            vm.guest().grpc.remove(token);
            host.roots[root].status.1.clear();
            called
        }
        Event::QueueReady => vm.call(host, id, |all| &all.queue_ready, (id, token)),
    }
}
