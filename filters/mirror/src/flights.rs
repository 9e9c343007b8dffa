//! What this worker has sent and not heard of yet.

use std::cell::RefCell;
use std::rc::Rc;

use weir_sdk::{CalloutId, Calls};

use crate::sender::InFlight;
use crate::trials::Case;

/// All of it. What is dropped with it gives back its place among the copies in flight.
#[derive(Debug, Default)]
pub(crate) struct Flights(RefCell<Calls<Flight>>);

/// A call that has left.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) kind: Kind,
    /// The target's place.
    pub(crate) target: usize,
    /// When it left, in nanoseconds of the clock.
    pub(crate) since: u64,
    /// How many records it has; none but in [`Kind::Records`].
    pub(crate) records: u64,
    /// The comparison that waits for its answer.
    pub(crate) case: Option<Rc<Case>>,
    pub(crate) _in_flight: Option<InFlight>,
}

/// What a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A copy to a target.
    Copy,
    /// Records of exchanges for a target.
    Records,
    /// A control copy.
    Control,
    /// Records of differences for their collector.
    Report,
}

impl Flight {
    /// Records of differences.
    pub(crate) const REPORT: Self =
        Self { kind: Kind::Report, target: 0, since: 0, records: 0, case: None, _in_flight: None };
}

impl Flights {
    /// A call has left.
    #[inline(never)]
    pub(crate) fn start(&self, id: CalloutId, flight: Flight) {
        // Should the host use an id again, what it stood for is dropped after the table is free.
        let before = self.0.borrow_mut().insert(id, flight);
        drop(before);
    }

    /// It was answered.
    pub(crate) fn land(&self, id: CalloutId) -> Option<Flight> {
        self.0.borrow_mut().remove(id)
    }

    /// The target whose comparison waits for this answer.
    pub(crate) fn compared(&self, id: CalloutId) -> Option<usize> {
        Some(self.0.borrow().get(id)?.case.as_ref()?.target)
    }
}
