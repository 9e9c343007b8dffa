//! Calls of each arm in a sliding window, in parts that any number of workers add to in any order. Knows no clock.

use weir_sdk::outcome::Verdict;

use super::rules::Cause;

/// Parts of a window.
pub(crate) const SLICES: u64 = 30;

/// Calls of an arm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// That ended with an error or a success.
    pub(crate) calls: u64,
    /// With an error.
    pub(crate) errors: u64,
    /// That were slow.
    pub(crate) slow: u64,
}

impl Counts {
    /// One more call. What says nothing about the arm is not counted.
    pub(crate) fn add(&mut self, verdict: Verdict, slow: bool) {
        if !matches!(verdict, Verdict::ClientLeft | Verdict::Ignored) {
            self.merge(Self { calls: 1, errors: verdict.is_error().into(), slow: slow.into() });
        }
    }

    /// What may give an arm away, out of all calls.
    pub(crate) fn bad(self, cause: Cause) -> (u64, u64) {
        match cause {
            Cause::Errors => (self.errors, self.calls),
            Cause::Slow => (self.slow, self.calls),
        }
    }

    /// Both.
    pub(crate) fn merge(&mut self, other: Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.errors = self.errors.saturating_add(other.errors);
        self.slow = self.slow.saturating_add(other.slow);
    }
}

/// Adds calls to those of the same lanes.
#[inline(never)]
pub(crate) fn merge(lanes: &mut [Counts], more: &[Counts]) {
    for (lane, more) in lanes.iter_mut().zip(more) {
        lane.merge(*more);
    }
}

/// The parts of a window that have calls, by their number since the clock's beginning, in its order; the counts of each by the arm's lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slices(pub(crate) Vec<(u64, Vec<Counts>)>);

impl Slices {
    /// Adds calls that ended in this part.
    pub(crate) fn add(&mut self, slice: u64, counts: &[Counts]) {
        match self.0.iter_mut().find(|(number, _)| *number == slice) {
            Some((_, lanes)) => merge(lanes, counts),
            None => {
                let place = self.0.iter().filter(|(number, _)| *number < slice).count();
                self.0.insert(place, (slice, counts.to_vec()));
            }
        }
    }

    /// Forgets what is no longer in the window that ends in this part, and what lies behind it: the clock was set back.
    pub(crate) fn advance(&mut self, slice: u64) {
        while self.0.first().is_some_and(|(number, _)| number.saturating_add(SLICES) <= slice) {
            self.0.remove(0);
        }
        while self.0.last().is_some_and(|(number, _)| *number > slice) {
            self.0.pop();
        }
    }

    /// All calls of an arm.
    pub(crate) fn sum(&self, lane: usize) -> Counts {
        let mut sum = Counts::default();
        for (_, counts) in &self.0 {
            sum.merge(counts.get(lane).copied().unwrap_or_default());
        }
        sum
    }

    /// Forgets an arm's calls.
    pub(crate) fn clear(&mut self, lane: usize) {
        for (_, counts) in &mut self.0 {
            if let Some(counts) = counts.get_mut(lane) {
                *counts = Counts::default();
            }
        }
    }
}
