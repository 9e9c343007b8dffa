//! What this worker has sent and not heard of yet.

use std::cell::RefCell;
use std::rc::Rc;

use weir_sdk::{CalloutId, Calls};

use crate::sender::{Flight, InFlight};
use crate::trials::Case;

/// All of it. What is dropped with it gives back its place among the copies in flight.
#[derive(Debug, Default)]
pub(crate) struct Flights(RefCell<Calls<Kind>>);

/// One call.
#[derive(Debug)]
pub(crate) enum Kind {
    /// A copy to a target.
    Copy { target: usize, flight: Flight, case: Option<Rc<Case>> },
    /// A control copy.
    Control { case: Rc<Case>, _in_flight: InFlight },
    /// Records for the collector.
    Report,
}

impl Flights {
    /// A call has left.
    pub(crate) fn start(&self, id: CalloutId, kind: Kind) {
        // Should the host use an id again, what it stood for is dropped after the table is free.
        let before = self.0.borrow_mut().insert(id, kind);
        drop(before);
    }

    /// It was answered.
    pub(crate) fn land(&self, id: CalloutId) -> Option<Kind> {
        self.0.borrow_mut().remove(id)
    }

    /// The target whose comparison waits for this answer.
    pub(crate) fn compared(&self, id: CalloutId) -> Option<usize> {
        match self.0.borrow().get(id)? {
            Kind::Copy { case: Some(case), .. } | Kind::Control { case, .. } => Some(case.target),
            Kind::Copy { .. } | Kind::Report => None,
        }
    }
}
