//! The filter's metrics: defined once, one set for all circuits, since a metric can never be removed.

use weir_sdk::{ConfigError, Counter, Gauge, HostError, PluginHost};

use crate::policy::{Outcome, Recorded, State, Steps, Ticket, Transition};

/// All of them.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// In the order of [`Count`].
    counters: Vec<Counter>,
    /// In the order of [`GAUGES`].
    gauges: Vec<Gauge>,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    Opened,
    HalfOpened,
    Recoveries,
    Closed,
    Probes,
    ProbesLost,
    Successes,
    Errors,
    Slow,
    Ignored,
    Late,
    Waited,
    FallbackAsked,
    NoKey,
    NoRoom,
    Contended,
    RouteInvalid,
    NotPermitted,
    ConcurrencyLimited,
    Shed,
    Fallback,
}

/// In the order of [`Count`]; the last ones, which say what became of requests that were not let through, once more for a dry run.
const COUNTERS: [&str; 25] = [
    "opened",
    "half_opened",
    "recoveries",
    "closed",
    "probes",
    "probes_lost",
    "successes",
    "errors",
    "slow",
    "ignored",
    "late",
    "waited",
    "fallback_asked",
    "no_key",
    "no_room",
    "contended",
    "route_invalid",
    "not_permitted",
    "concurrency_limited",
    "shed",
    "fallback",
    "dry_run.not_permitted",
    "dry_run.concurrency_limited",
    "dry_run.shed",
    "dry_run.fallback",
];

/// How many circuits are open, half-open, recovering now; the adaptive limit that was found last.
const GAUGES: [&str; 4] = ["open", "half_open", "recovering", "concurrency_limit"];

impl Metrics {
    /// # Errors
    /// The host refuses a name.
    pub(crate) fn define(host: &PluginHost, prefix: &str) -> Result<Self, ConfigError> {
        Self::all(host, prefix).map_err(|error| ConfigError::invalid("stat_prefix", error.text()))
    }

    fn all(host: &PluginHost, prefix: &str) -> Result<Self, HostError> {
        let (mut counters, mut gauges) = (Vec::new(), Vec::new());
        for name in COUNTERS {
            counters.push(host.counter(&[prefix, ".", name].concat())?);
        }
        for name in GAUGES {
            gauges.push(host.gauge(&[prefix, ".", name].concat())?);
        }
        Ok(Self { counters, gauges })
    }

    /// Counts so many.
    pub(crate) fn add(&self, what: Count, by: u32) {
        self.add_at(what as usize, by);
    }

    #[inline(never)]
    fn add_at(&self, place: usize, by: u32) {
        if let Some(counter) = self.counters.get(place) {
            counter.add(by.into());
        }
    }

    /// Counts a request that is not let through, or would not be.
    pub(crate) fn refused(&self, what: Count, dry_run: bool) {
        let apart = COUNTERS.len().saturating_sub(Count::Fallback as usize).saturating_sub(1);
        self.add_at((what as usize).saturating_add(if dry_run { apart } else { 0 }), 1);
    }

    /// Counts what happened in a step. Each step was written by one worker, so each of its transitions is counted by one.
    pub(crate) fn steps(&self, steps: &Steps) {
        for transition in steps.transitions.iter().flatten() {
            self.transition(transition);
        }
        self.add(Count::ProbesLost, steps.expired);
        if let (Some(limit), Some(gauge)) = (steps.limit, self.gauges.get(3)) {
            gauge.set(limit.into());
        }
    }

    fn transition(&self, transition: &Transition) {
        for (state, by) in [(transition.from, -1), (transition.to, 1)] {
            if let Some(gauge) = self.gauge(state) {
                gauge.add(by);
            }
        }
        let count = match transition.to {
            State::Open => Count::Opened,
            State::HalfOpen => Count::HalfOpened,
            State::Recovering => Count::Recoveries,
            State::Closed => Count::Closed,
        };
        self.add(count, 1);
    }

    fn gauge(&self, state: State) -> Option<&Gauge> {
        let place = match state {
            State::Closed => return None,
            State::Open => 0,
            State::HalfOpen => 1,
            State::Recovering => 2,
        };
        self.gauges.get(place)
    }

    /// Counts how a call ended, and what became of that.
    pub(crate) fn ended(&self, outcome: Outcome, recorded: Recorded, ticket: Option<&Ticket>) {
        match outcome {
            Outcome::Call { error, slow } => {
                self.add(if error { Count::Errors } else { Count::Successes }, 1);
                self.add(Count::Slow, slow.into());
            }
            Outcome::Ignored | Outcome::Lost => self.add(Count::Ignored, 1),
        }
        let is_probe = ticket.is_some_and(Ticket::is_probe);
        match recorded {
            Recorded::Late => self.add(Count::Late, 1),
            Recorded::Nothing => self.add(Count::ProbesLost, is_probe.into()),
            Recorded::Counted => {}
        }
    }
}
