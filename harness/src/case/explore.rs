//! One case under many interleavings of its workers. Knows no terminal.

use std::ops::Range;

use super::{CaseReport, Loaded, RunError, run_interleaved};
use crate::setup::Modules;

/// What came of a case under many interleavings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exploration {
    /// With how many seeds it ran.
    pub tried: u64,
    /// The first seed with which something is not as it must be, with what; the search ends there.
    pub failing: Option<(u64, CaseReport)>,
    /// The first seed with which ends, statuses, clusters or metrics are others than with the first seed. No failure by itself: which of two requests
    /// comes first may be allowed to matter.
    pub differs: Option<u64>,
    /// What came of it with the first seed.
    pub first: CaseReport,
}

/// Runs a case with each of these seeds of the interleaving, until one breaks an expectation. A case with one worker has one interleaving and
/// runs once.
///
/// # Errors
/// When it cannot run.
pub fn explore(loaded: &Loaded, modules: &mut Modules, seeds: Range<u64>) -> Result<Exploration, RunError> {
    let mut exploration = Exploration::default();
    for seed in seeds {
        let report = run_interleaved(loaded, modules, Some(seed))?;
        exploration.tried += 1;
        if exploration.tried == 1 {
            exploration.first = report.clone();
        } else if report.digest != exploration.first.digest {
            exploration.differs.get_or_insert(seed);
        }
        if !report.failures.is_empty() {
            exploration.failing = Some((seed, report));
            break;
        }
        if loaded.case.scenario.workers <= 1 {
            break;
        }
    }
    Ok(exploration)
}
