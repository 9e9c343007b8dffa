//! What a stream remembers between its callbacks.

use weir_sdk::outcome::Verdict;

use crate::policy::Chosen;
use crate::policy::guard::Watch;
use crate::policy::guard::zero_error::Kept;

/// One stream.
#[derive(Debug, Default)]
pub struct Stream {
    /// What was decided.
    pub(crate) chosen: Chosen,
    /// Where a guard watches it.
    pub(crate) watched: Option<Box<Watched>>,
}

/// A call of an arm that is watched.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) watch: Watch,
    pub(crate) is_grpc: bool,
    /// Where it matters how long it takes.
    pub(crate) began_ns: Option<u64>,
    /// Known once the answer has begun.
    pub(crate) slow: Option<bool>,
    /// The request, where it may be sent again.
    pub(crate) kept: Option<Kept>,
    /// What the arm's own answer says, where another has replaced it, or may.
    pub(crate) verdict: Option<Verdict>,
    /// Another answer has replaced it.
    pub(crate) saved: bool,
}
