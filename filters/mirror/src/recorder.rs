//! Records of exchanges of this worker on their way to a collector: collected, and posted together, so that no stream waits for it.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::time::Duration;

use weir_sdk::{Attributes as _, CalloutReply, Ended, PluginHost};

use crate::held::{Account, Held};
use crate::metrics::{Counters, Definer};
use crate::policy::bytes::joined;
use crate::policy::copy::Copy;
use crate::policy::record::{Facts, Record};

/// Envoy's flag of a client that left, `DC`.
const CLIENT_LEFT: u64 = 0x4000;

/// An exchange that will be recorded when it is over.
#[derive(Debug)]
pub(crate) struct Recording {
    /// The target's place.
    pub(crate) target: usize,
    /// The request, redacted.
    pub(crate) request: Copy,
    /// Bytes of the answer's body that the record has at most.
    pub(crate) limit: usize,
    pub(crate) _held: Held,
}

/// The records that wait for one target.
pub(crate) struct Recorder {
    lines: RefCell<Vec<u8>>,
    held: RefCell<Option<Held>>,
    count: Cell<u64>,
    armed: Cell<bool>,
    counters: Counters,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("count", &self.count).finish_non_exhaustive()
    }
}

impl Recorder {
    /// Defines what it counts; `target` is the first part of the names.
    pub(crate) fn new(definer: &mut Definer<'_>, target: &str) -> Self {
        Self {
            lines: RefCell::default(),
            held: RefCell::default(),
            count: Cell::new(0),
            armed: Cell::new(false),
            counters: definer.counters(&joined(target, ".record.", ""), "batches lost"),
        }
    }

    /// Takes a line; nothing where no memory is left for it. Tells whether the lines are to be sent now.
    pub(crate) fn add(
        &self,
        record: &Record,
        line: &[u8],
        account: &Account,
        host: &PluginHost,
    ) -> Option<bool> {
        let mut held = self.held.borrow_mut();
        let fits = match &mut *held {
            Some(held) => held.grow(line.len()),
            None => {
                *held = account.take(line.len());
                held.is_some()
            }
        };
        if !fits {
            return None;
        }
        drop(held);
        let mut lines = self.lines.borrow_mut();
        lines.extend_from_slice(line);
        let full = lines.len() >= record.max_bytes;
        // The host is asked with nothing borrowed.
        drop(lines);
        self.count.set(self.count.get().wrapping_add(1));
        // Without a timer nothing would send them later.
        Some(full || !arm(&self.armed, record.interval, host))
    }

    /// All lines that wait, and how many they are.
    pub(crate) fn take(&self) -> Option<(Vec<u8>, u64)> {
        self.held.take();
        let lines = self.lines.take();
        (!lines.is_empty()).then(|| (lines, self.count.take()))
    }

    /// The timer has come.
    pub(crate) fn wake(&self) {
        self.armed.set(false);
    }

    /// So many lines have left, or could not.
    pub(crate) fn posted(&self, lines: u64, has_left: bool) {
        if has_left {
            self.counters.add(0, 1);
        } else {
            self.counters.add(1, lines);
        }
    }

    /// So many lines came to the collector, or never did.
    pub(crate) fn ended(&self, lines: u64, accepted: bool) {
        if !accepted {
            self.counters.add(1, lines);
        }
    }
}

/// Sets the timer, where it is not set yet; whether it is.
#[inline(never)]
pub(crate) fn arm(armed: &Cell<bool>, interval: Duration, host: &PluginHost) -> bool {
    armed.set(armed.get() || host.wake_after(interval).is_ok());
    armed.get()
}

/// Whether a collector has taken what was posted.
pub(crate) fn is_accepted(reply: &CalloutReply) -> bool {
    reply.is_from_upstream() && reply.status.is_some_and(|status| status < 300)
}

/// What Envoy knows of an exchange that is over; `flags` are those of the response.
pub(crate) fn facts(ended: &Ended, record: &Record, flags: u64) -> Facts {
    let ns = |path: &[&str]| ended.attribute_int(path).and_then(|ns| u64::try_from(ns).ok());
    let text = |path: &[&str]| ended.attribute(path).filter(|text| !text.is_empty());
    Facts {
        start_ns: ns(&["request", "time"]),
        duration_ns: ns(&["request", "duration"]),
        aborted: flags & CLIENT_LEFT != 0,
        address: if record.client_address { text(&["source", "address"]) } else { None },
        protocol: text(&["request", "protocol"]),
        connection_id: ended.attribute_uint(&["connection", "id"]),
        tls: text(&["connection", "tls_version"]).is_some(),
        cluster: text(&["xds", "cluster_name"]),
    }
}
