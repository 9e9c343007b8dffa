//! When each exchange begins in real time, and what is known of it from the harness. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::envoy::bootstrap::IDLE;
use crate::envoy::client::{PATIENCE, Wait};
use crate::exchange::Exchange;
use crate::outcome::{End, Outcome};

/// When an exchange begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// So long after all before it have ended.
    AfterEnd(Duration),
    /// So long after the one before it began, whatever that does.
    AfterBegin(Duration),
}

/// An exchange to run in real time.
#[derive(Clone, Debug)]
pub struct Step<'a> {
    /// The exchange.
    pub exchange: &'a Exchange,
    /// When it begins.
    pub begin: Begin,
    /// The client leaves so long after that.
    pub leave: Option<Duration>,
    /// How long it takes in the harness.
    pub takes: Duration,
    /// How it ends in the harness.
    pub end: End,
    /// How many calls filters make in the harness.
    pub calls: usize,
    /// The clusters that it needs in the harness.
    pub clusters: BTreeSet<String>,
}

/// The steps of exchanges that come one after another, with what the harness made of them where it ran them.
#[must_use]
pub fn steps<'a>(exchanges: &'a [Exchange], outcomes: &[Outcome]) -> Vec<Step<'a>> {
    let none = Outcome::default();
    let outcomes = outcomes.iter().chain(std::iter::repeat(&none));
    exchanges
        .iter()
        .zip(outcomes)
        .map(|(exchange, outcome)| Step {
            exchange,
            begin: Begin::AfterEnd(Duration::ZERO),
            leave: None,
            takes: outcome.delay,
            end: outcome.end,
            calls: outcome.callouts.len(),
            clusters: clusters(outcome),
        })
        .collect()
}

fn clusters(outcome: &Outcome) -> BTreeSet<String> {
    let calls = outcome.callouts.iter().map(|call| &call.cluster);
    calls.chain(&outcome.cluster).filter(|name| !name.is_empty()).cloned().collect()
}

impl Step<'_> {
    /// How long its client waits.
    pub(super) fn wait(&self, idle: Duration) -> Wait {
        let stall = if self.end == End::Stalled { idle } else { Duration::ZERO };
        self.leave.map_or(Wait::Answer(self.takes + stall + PATIENCE), Wait::Leave)
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
    steps.chunk_by(|_, next| matches!(next.begin, Begin::AfterBegin(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(exchange: &Exchange, begin: Begin, takes: u64, end: End) -> Step<'_> {
        let takes = Duration::from_secs(takes);
        Step { exchange, begin, leave: None, takes, end, calls: 0, clusters: BTreeSet::new() }
    }

    #[test]
    fn what_overlaps_is_together() {
        let exchange = Exchange::default();
        let (after, within) = (Begin::AfterEnd(Duration::ZERO), Begin::AfterBegin(Duration::ZERO));
        let steps = [after, within, after, after, within, within]
            .map(|begin| step(&exchange, begin, 0, End::Forwarded));
        assert_eq!(groups(&steps).map(<[Step<'_>]>::len).collect::<Vec<_>>(), [2, 1, 3]);
    }

    #[test]
    fn only_what_goes_on_makes_envoy_wait() {
        let exchange = Exchange::default();
        let after = Begin::AfterEnd(Duration::ZERO);
        let long = step(&exchange, after, 7, End::Forwarded);
        let stalled = step(&exchange, after, 300, End::Stalled);
        assert_eq!(idle(&[]), IDLE);
        assert_eq!(idle(std::slice::from_ref(&stalled)), IDLE);
        assert_eq!(idle(&[long, stalled]), Duration::from_secs(14) + IDLE);
    }
}
