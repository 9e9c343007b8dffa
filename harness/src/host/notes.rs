//! What callbacks leave behind, to be told of the exchange that it belongs to: log lines, calls, changes of metrics, faults.

use crate::outcome::{CalloutOutcome, LogLine};

/// How many lines, calls and faults of no exchange are kept.
const MOST: usize = 10_000;

/// What belongs to one exchange, or to none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes {
    pub log: Vec<LogLine>,
    pub callouts: Vec<CalloutOutcome>,
    /// By how much metrics changed, by their index in [`Metrics`](super::Metrics), wrapping, in order of first change.
    pub changes: Vec<(usize, u64)>,
    pub faults: Vec<String>,
}

impl Notes {
    /// Notes that a metric changed.
    pub(crate) fn change(&mut self, metric: usize, by: u64) {
        match self.changes.iter_mut().find(|(known, _)| *known == metric) {
            Some((_, sum)) => *sum = sum.wrapping_add(by),
            None => self.changes.push((metric, by)),
        }
    }

    /// Whether there is nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.log.is_empty() && self.callouts.is_empty() && self.changes.is_empty() && self.faults.is_empty()
    }

    /// Adds what came afterwards, as far as there is room: ticks of a day can write without end.
    pub(crate) fn append(&mut self, after: Self) {
        let room = |have: usize| MOST.saturating_sub(have);
        self.log.extend(after.log.into_iter().take(room(self.log.len())));
        self.callouts.extend(after.callouts.into_iter().take(room(self.callouts.len())));
        self.faults.extend(after.faults.into_iter().take(room(self.faults.len())));
        for (metric, by) in after.changes {
            self.change(metric, by);
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.log.clear();
        self.callouts.clear();
        self.changes.clear();
        self.faults.clear();
    }
}
