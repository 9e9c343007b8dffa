//! What a stream remembers between its callbacks.

use std::rc::Rc;

use crate::held::Held;
use crate::policy::plan::Plan;
use crate::policy::snapshot::Snapshot;
use crate::recorder::Recording;
use crate::trials::{Case, Kept};

/// One stream.
#[derive(Debug, Default)]
pub struct Stream {
    /// As long as the request is not complete and a copy is wanted.
    pub(crate) pending: Option<Box<Pending>>,
    /// Comparisons that wait for the primary's answer.
    pub(crate) cases: Vec<Rc<Case>>,
    /// That answer, as far as it has come.
    pub(crate) primary: Option<Rc<Kept>>,
    /// Records that wait for the end.
    pub(crate) recordings: Vec<Recording>,
    /// There was no memory for all of the answer.
    pub(crate) lost: bool,
}

/// A request on its way.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) plan: Plan,
    pub(crate) snapshot: Snapshot,
    pub(crate) held: Held,
}
