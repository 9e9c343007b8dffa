//! The connection manager's timeouts: streams in which nothing happens, requests that do not get through the filters (`FLOW-30`).

use super::Replay;
use super::events::What;
use crate::clock::nanoseconds;
use crate::host::{Slot, StreamId};
use crate::outcome::End;
use crate::routes::{Action, Forward};

impl Replay {
    /// Starts the idle timer, unless the stream is over or answered at this moment.
    pub(super) fn arm_idle(&mut self, at: Slot, number: u64) {
        let id = StreamId { slot: at, number };
        if !self.is_live(id) {
            return;
        }
        let after = self.idle_ns(at);
        if after == 0 {
            return;
        }
        let run = &mut self.lives[at].run;
        if !run.idle && (!run.waiting || run.answer_ns != Some(self.host.clock.now_ns())) {
            run.idle = true;
            let events = &mut self.events[self.host.streams[at].worker];
            events.push(run.active_ns.saturating_add(after), id, What::Idle);
            let (lives, streams) = (self.in_flight.len(), &self.host.streams);
            events.tidy(lives, |id| streams[id.slot].number == id.number && streams[id.slot].is_open());
        }
    }

    /// The stream's idle timeout: the route's, or the connection manager's; 0 is none.
    fn idle_ns(&self, at: Slot) -> u64 {
        let route = self.host.streams[at].info.route.as_ref().map(|route| &route.route().action);
        match route {
            Some(Action::Forward(Forward { idle_timeout_ms: Some(own), .. })) => {
                own.saturating_mul(1_000_000)
            }
            _ => nanoseconds(self.timeouts.stream_idle),
        }
    }

    /// The idle timer goes off: if really nothing has happened for so long, Envoy ends the stream (`FLOW-30`).
    pub(super) fn idle(&mut self, at: Slot) {
        let after = self.idle_ns(at);
        let due = self.lives[at].run.active_ns.saturating_add(after);
        if due > self.host.clock.now_ns() {
            let id = StreamId { slot: at, number: self.host.streams[at].number };
            return self.events[self.host.streams[at].worker].push(due, id, What::Idle);
        }
        let holder = self.holder(at);
        self.lives[at].run.end = Some(End::Stalled);
        self.host.streams[at].notes.faults.extend(holder);
        self.flag(at, "SI");
        self.own_reply(at, 504, b"stream timeout", "stream_idle_timeout");
        // A filter may hold the reply too.
        self.over(at);
    }

    /// The request has not reached the router as a whole in the time that there is for it.
    pub(super) fn request_timeout(&mut self, at: Slot) {
        let run = &self.lives[at].run;
        if run.asked || run.replied || self.host.streams[at].response.present {
            return;
        }
        let holder = self.holder(at);
        self.lives[at].run.end = Some(End::Stalled);
        self.host.streams[at].notes.faults.extend(holder);
        self.own_reply(at, 504, b"request timeout", "request_overall_timeout");
    }

    /// Something happened in the stream.
    pub(super) fn active(&mut self, at: Slot) {
        self.lives[at].run.active_ns = self.host.clock.now_ns();
    }

    /// Which filters hold the stream, for the report; absent when none does.
    fn holder(&self, at: Slot) -> Option<String> {
        let response = self.host.streams[at].response.present;
        let names = self.lives[at].flows.iter().zip(&self.plugins).filter(|(flows, _)| flows.holds(response));
        let names: Vec<_> = names.map(|(_, plugin)| format!("`{}`", plugin.name)).collect();
        let what = if response { "response" } else { "request" };
        let held = || format!("{} held the {what} until a timeout of Envoy's ended it", names.join(", "));
        (!names.is_empty()).then(held)
    }
}
