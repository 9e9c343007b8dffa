//! Totals of a replay: how many exchanges ended how, where, on which arm. Constant memory, whatever names traffic brings.

use std::collections::BTreeMap;

use crate::outcome::{End, Outcome};

/// How many different names a tally keeps: a cluster can be named by a client's header.
const MAX_NAMES: usize = 1000;

/// Counts by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    counts: BTreeMap<String, u64>,
    other: u64,
}

impl Tally {
    /// Counts one.
    pub fn add(&mut self, name: &str) {
        if let Some(count) = self.counts.get_mut(name) {
            *count += 1;
        } else if self.counts.len() < MAX_NAMES {
            self.counts.insert(name.to_owned(), 1);
        } else {
            self.other += 1;
        }
    }

    /// Names and counts, sorted by name; names beyond the first thousand together as `(other)`.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        let other = (self.other > 0).then_some(("(other)", self.other));
        self.counts.iter().map(|(name, count)| (name.as_str(), *count)).chain(other)
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

/// The totals of a replay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// All exchanges.
    pub exchanges: u64,
    /// By how they ended, in the order of [`End::ALL`].
    pub ends: [u64; End::ALL.len()],
    /// By arm; exchanges without one are not counted.
    pub arms: Tally,
    /// By route; exchanges without one are not counted.
    pub routes: Tally,
    /// By cluster; exchanges without one are not counted.
    pub clusters: Tally,
    /// By the status the client got; exchanges without a response are not counted.
    pub statuses: Tally,
    /// Exchanges in which a filter failed.
    pub faults: u64,
    /// By worker; those that served none are left out.
    pub workers: BTreeMap<u32, Served>,
}

/// What a worker served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// All exchanges.
    pub exchanges: u64,
    /// Exchanges in which a filter failed.
    pub faults: u64,
}

impl Totals {
    /// Counts an exchange.
    pub fn add(&mut self, outcome: &Outcome) {
        self.exchanges += 1;
        for (end, count) in End::ALL.iter().zip(&mut self.ends) {
            *count += u64::from(*end == outcome.end);
        }
        if let Some(arm) = super::arm(outcome) {
            self.arms.add(&arm);
        }
        if let Some(route) = &outcome.route {
            self.routes.add(route);
        }
        if let Some(cluster) = &outcome.cluster {
            self.clusters.add(cluster);
        }
        let status = outcome.response.as_ref().and_then(|response| response.headers.get(b":status"));
        if let Some(status) = status {
            self.statuses.add(&String::from_utf8_lossy(status));
        }
        self.faults += u64::from(!outcome.faults.is_empty());
        let served = self.workers.entry(outcome.worker).or_default();
        served.exchanges += 1;
        served.faults += u64::from(!outcome.faults.is_empty());
    }

    /// Ends that happened, with their counts.
    pub fn ends(&self) -> impl Iterator<Item = (&'static str, u64)> {
        End::ALL.iter().zip(self.ends).filter(|(_, count)| *count > 0).map(|(end, count)| (end.name(), count))
    }
}
