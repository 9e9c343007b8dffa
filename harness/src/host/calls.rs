//! What roots will be told: what comes of calls, and of queues, in the order of time. What comes of a call is known when it is made, as is
//! when; a filter learns it then. Knows neither clusters nor Wasm.

use std::collections::BTreeMap;
use std::time::Duration;

use super::StreamId;
use crate::exchange::Message;
use crate::headers::Headers;
use crate::outcome::{CalloutEnd, CalloutOutcome};

/// All calls on their way.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    /// By time, then by the order in which they were made.
    queue: BTreeMap<(u64, u64), Call>,
    made: u64,
}

/// One thing that will come of a call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    /// Whom it is told (`CALL-05`): index of the root.
    pub root: usize,
    /// The token that the guest has of it, or never got (`CALL-21`); of a queue its own.
    pub token: u32,
    /// The stream that it belongs to, if any: what comes of it is told of that stream as long as it is in flight.
    pub by: Option<StreamId>,
    /// What the guest is told.
    pub event: Event,
    /// What the report is told; absent when the call goes on.
    pub ending: Option<Ending>,
}

/// What a guest is told of a call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// The answer of an HTTP call; absent when it broke off after its headers (`CALL-07`).
    Http(Option<Message>),
    /// The initial metadata of a gRPC stream.
    InitialMetadata(Headers),
    /// A gRPC message.
    Receive(Vec<u8>),
    /// The trailing metadata of a gRPC stream.
    TrailingMetadata(Headers),
    /// The end of a gRPC call or stream, with its status.
    Close { code: u32, message: Vec<u8> },
    /// Something was put into a shared queue (`SHR-13`).
    QueueReady,
}

impl Event {
    /// Whether it is told of a gRPC call or stream.
    pub(crate) fn is_grpc(&self) -> bool {
        !matches!(self, Self::Http(_) | Self::QueueReady)
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    /// The id of its [`CalloutOutcome`].
    pub callout: u64,
    pub end: CalloutEnd,
    /// The time since it was made.
    pub latency: Duration,
    pub status: Option<u16>,
    pub grpc_status: Option<u32>,
}

impl Calls {
    /// Adds what happens at `due_ns`; of two at the same time the one that was added first comes first.
    pub(crate) fn push(&mut self, due_ns: u64, call: Call) {
        self.queue.insert((due_ns, self.made), call);
        self.made += 1;
    }

    /// When the next thing happens.
    pub(crate) fn next_due(&self) -> Option<u64> {
        self.queue.keys().next().map(|(due, _)| *due)
    }

    /// Takes the next thing that happens at `now_ns` or before.
    pub(crate) fn pop_due(&mut self, now_ns: u64) -> Option<Call> {
        let first = self.queue.first_entry()?;
        (first.key().0 <= now_ns).then(|| first.remove())
    }

    /// Takes the next thing that happens at `now_ns` or before to a root for which `is_meant` says so.
    pub(crate) fn pop_due_of(&mut self, now_ns: u64, is_meant: impl Fn(usize) -> bool) -> Option<Call> {
        let mut due = self.queue.iter().take_while(|((due, _), _)| *due <= now_ns);
        let key = due.find(|(_, call)| is_meant(call.root)).map(|(key, _)| *key)?;
        self.queue.remove(&key)
    }

    /// Whether something happens at `now_ns` or before to a root for which `is_meant` says so.
    pub(crate) fn is_due_of(&self, now_ns: u64, is_meant: impl Fn(usize) -> bool) -> bool {
        let mut due = self.queue.iter().take_while(|((due, _), _)| *due <= now_ns);
        due.any(|(_, call)| is_meant(call.root))
    }

    /// Keeps the calls for which `keep` says so; the others are cancelled without a word.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Call) -> bool) {
        self.queue.retain(|_, call| keep(call));
    }

    /// Moves all by the time from `from_ns` to `to_ns`, where the clock is set.
    pub(crate) fn shift(&mut self, from_ns: u64, to_ns: u64) {
        let moved = std::mem::take(&mut self.queue).into_iter();
        self.queue = moved
            .map(|((due, made), call)| ((due.saturating_sub(from_ns).saturating_add(to_ns), made), call))
            .collect();
    }

    /// How many things are to happen.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether nothing is to happen.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Cancels all of them without a word.
    pub(crate) fn clear(&mut self) {
        self.queue.clear();
    }
}

impl Ending {
    /// Writes the end into the call's outcome.
    pub(crate) fn note(self, callout: &mut CalloutOutcome) {
        callout.end = self.end;
        callout.status = self.status;
        callout.grpc_status = self.grpc_status;
        callout.latency = Some(self.latency);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_come_in_the_order_of_time() {
        let mut calls = Calls::default();
        for (due, token) in [(20, 4), (10, 8), (10, 12), (30, 16)] {
            let event = Event::Http(None);
            calls.push(due, Call { root: 0, token, by: None, event, ending: None });
        }
        calls.retain(|call| call.token != 16);
        assert_eq!(calls.next_due(), Some(10));
        let mut next = |now| calls.pop_due(now).map(|call| call.token);
        assert_eq!(
            [next(9), next(10), next(10), next(10), next(20), next(99)],
            [None, Some(8), Some(12), None, Some(4), None]
        );
    }
}
