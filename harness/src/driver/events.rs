//! What is going to happen to streams, by virtual time: those of one moment in the order in which they were foreseen.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::host::StreamId;

/// What happens to a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The upstream answers, or fails.
    Answer,
    /// The route's timeout is over.
    Timeout,
    /// Perhaps nothing has happened for too long.
    Idle,
    /// The whole request should have been there.
    RequestTimeout,
    /// The client leaves.
    Abort,
}

#[derive(Clone, Copy, Debug)]
struct Event {
    due_ns: u64,
    order: u64,
    stream: StreamId,
    what: What,
}

impl Ord for Event {
    /// The greatest is the next.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.due_ns, other.order).cmp(&(self.due_ns, self.order))
    }
}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Event {}

/// The events to come. Those of streams that are over stay until their time or until there are many of them.
#[derive(Debug, Default)]
pub(super) struct Events {
    heap: BinaryHeap<Event>,
    next: u64,
}

impl Events {
    pub(super) fn push(&mut self, due_ns: u64, stream: StreamId, what: What) {
        self.heap.push(Event { due_ns, order: self.next, stream, what });
        self.next += 1;
    }

    pub(super) fn next_due(&self) -> Option<u64> {
        self.heap.peek().map(|event| event.due_ns)
    }

    pub(super) fn pop(&mut self) -> Option<(StreamId, What)> {
        self.heap.pop().map(|event| (event.stream, event.what))
    }

    /// Forgets events of streams that are over, if there can be many: `in_flight` streams are not.
    pub(super) fn tidy(&mut self, in_flight: usize, is_live: impl Fn(StreamId) -> bool) {
        if self.heap.len() > 64 + 8 * in_flight {
            self.heap.retain(|event| is_live(event.stream));
        }
    }
}
