//! When each exchange begins in real time, and what is known of it from the harness. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::driver::Begin;
use crate::envoy::bootstrap::IDLE;
use crate::envoy::client::{PATIENCE, Wait};
use crate::exchange::Exchange;
use crate::outcome::{End, Outcome};

/// An exchange and when it begins.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The exchange; where it begins when all before it are over, its time says how long after the first at least.
    pub exchange: Exchange,
    /// When it begins.
    pub begin: Begin,
}

impl Planned {
    /// How long after the first exchange, which began at `first_ns` of its recording, it begins at the earliest.
    #[must_use]
    pub fn since(&self, first_ns: u64) -> Duration {
        let since = self.exchange.start_ns.filter(|_| !matches!(self.begin, Begin::After(_)));
        Duration::from_nanos(since.unwrap_or_default().saturating_sub(first_ns))
    }
}

/// The time of the first exchange, as its recording has it.
#[must_use]
pub fn first_ns(planned: &[Planned]) -> u64 {
    planned.first().and_then(|one| one.exchange.start_ns).unwrap_or_default()
}

/// Exchanges that come one after another, without a pause.
#[must_use]
pub fn in_turn(exchanges: impl IntoIterator<Item = Exchange>) -> Vec<Planned> {
    let planned =
        |exchange| Planned { exchange: Exchange { start_ns: None, ..exchange }, begin: Begin::Next };
    exchanges.into_iter().map(planned).collect()
}

/// An exchange to run in real time, and what came of it in the harness.
#[derive(Clone, Debug)]
pub struct Step<'a> {
    /// The exchange.
    pub planned: &'a Planned,
    /// How long it takes.
    pub takes: Duration,
    /// How it ends.
    pub end: End,
    /// How many calls of filters arrive somewhere.
    pub calls: usize,
    /// The clusters that it needs.
    pub clusters: BTreeSet<String>,
}

/// The steps of exchanges, with what the harness made of them where it ran them.
#[must_use]
pub fn steps<'a>(planned: &'a [Planned], outcomes: &[Outcome]) -> Vec<Step<'a>> {
    let none = Outcome::default();
    let outcomes = outcomes.iter().chain(std::iter::repeat(&none));
    let step = |(planned, outcome): (&'a Planned, &Outcome)| Step {
        planned,
        takes: outcome.duration,
        end: outcome.end,
        calls: outcome.callouts.iter().filter(|call| call.end.arrives()).count(),
        clusters: clusters(outcome),
    };
    planned.iter().zip(outcomes).map(step).collect()
}

fn clusters(outcome: &Outcome) -> BTreeSet<String> {
    let calls = outcome.callouts.iter().map(|call| &call.cluster);
    calls.chain(&outcome.cluster).filter(|name| !name.is_empty()).cloned().collect()
}

impl Step<'_> {
    /// How long its client waits.
    pub(super) fn wait(&self, idle: Duration) -> Wait {
        let stall = if self.end == End::Stalled { idle } else { Duration::ZERO };
        self.planned.exchange.abort_after.map_or(Wait::Answer(self.takes + stall + PATIENCE), Wait::Leave)
    }
}

/// How long Envoy must let a stream wait, so that none is cut off that the harness lets go on. As short as that, so that one that nobody
/// continues ends soon.
pub(super) fn idle(steps: &[Step<'_>]) -> Duration {
    let held = steps.iter().filter(|step| step.end != End::Stalled).map(|step| step.takes);
    held.max().map_or(IDLE, |longest| longest.saturating_mul(2).saturating_add(IDLE))
}

/// The steps that overlap, together.
pub(super) fn groups<'s, 'a>(steps: &'s [Step<'a>]) -> impl Iterator<Item = &'s [Step<'a>]> {
    steps.chunk_by(|_, next| matches!(next.planned.begin, Begin::After(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(begin: Begin) -> Planned {
        Planned { exchange: Exchange::default(), begin }
    }

    fn outcome(takes: u64, end: End) -> Outcome {
        Outcome { duration: Duration::from_secs(takes), end, ..Outcome::default() }
    }

    #[test]
    fn what_overlaps_is_together() {
        let (next, within) = (Begin::Next, Begin::After(Duration::ZERO));
        let planned = [next, within, next, next, within, within].map(planned);
        let steps = steps(&planned, &[]);
        assert_eq!(groups(&steps).map(<[Step<'_>]>::len).collect::<Vec<_>>(), [2, 1, 3]);
    }

    #[test]
    fn only_what_goes_on_makes_envoy_wait() {
        let planned = in_turn([Exchange::default(), Exchange::default()]);
        let steps = steps(&planned, &[outcome(300, End::Stalled), outcome(7, End::Forwarded)]);
        assert_eq!(idle(&steps[..0]), IDLE);
        assert_eq!(idle(&steps[..1]), IDLE);
        assert_eq!(idle(&steps), Duration::from_secs(14) + IDLE);
    }
}
