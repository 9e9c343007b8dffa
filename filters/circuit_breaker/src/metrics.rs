//! The filter's metrics: defined once, one set for all circuits, since a metric can never be removed.

use weir_sdk::{ConfigError, Counter, Gauge, HostError, PluginHost};

use crate::policy::{Outcome, Recorded, State, Steps, Ticket, Transition};

/// All of them.
#[derive(Debug)]
pub(crate) struct Metrics {
    opened: Counter,
    half_opened: Counter,
    recoveries: Counter,
    closed: Counter,
    /// How many circuits are open, half-open, recovering now.
    open: Gauge,
    half_open: Gauge,
    recovering: Gauge,
    /// The adaptive limit that was found last.
    concurrency_limit: Gauge,
    pub(crate) probes: Counter,
    probes_lost: Counter,
    successes: Counter,
    errors: Counter,
    slow: Counter,
    ignored: Counter,
    late: Counter,
    pub(crate) waited: Counter,
    pub(crate) fallback_asked: Counter,
    pub(crate) no_key: Counter,
    pub(crate) no_room: Counter,
    pub(crate) contended: Counter,
    pub(crate) route_invalid: Counter,
    pub(crate) refusals: Refusals,
    pub(crate) dry_run: Refusals,
}

/// What became of requests that were not let through.
#[derive(Debug)]
pub(crate) struct Refusals {
    pub(crate) not_permitted: Counter,
    pub(crate) concurrency_limited: Counter,
    pub(crate) shed: Counter,
    pub(crate) fallback: Counter,
}

impl Metrics {
    /// # Errors
    /// The host refuses a name.
    pub(crate) fn define(host: &PluginHost, prefix: &str) -> Result<Self, ConfigError> {
        let refused = |error: HostError| ConfigError::invalid("stat_prefix", error.to_string());
        let prefix = [prefix, "."].concat();
        let refusals = |prefix: &str| -> Result<_, ConfigError> {
            let names = ["not_permitted", "concurrency_limited", "shed", "fallback"];
            let [not_permitted, concurrency_limited, shed, fallback] =
                host.counters(prefix, names).map_err(refused)?;
            Ok(Refusals { not_permitted, concurrency_limited, shed, fallback })
        };
        let gauge = |name: &str| host.gauge(&[&prefix, name].concat()).map_err(refused);
        let states = ["opened", "half_opened", "recoveries", "closed"];
        let [opened, half_opened, recoveries, closed] = host.counters(&prefix, states).map_err(refused)?;
        let calls = ["probes", "probes_lost", "successes", "errors", "slow", "ignored", "late"];
        let [probes, probes_lost, successes, errors, slow, ignored, late] =
            host.counters(&prefix, calls).map_err(refused)?;
        let requests = ["waited", "fallback_asked", "no_key", "no_room", "contended", "route_invalid"];
        let [waited, fallback_asked, no_key, no_room, contended, route_invalid] =
            host.counters(&prefix, requests).map_err(refused)?;
        Ok(Self {
            opened,
            half_opened,
            recoveries,
            closed,
            open: gauge("open")?,
            half_open: gauge("half_open")?,
            recovering: gauge("recovering")?,
            concurrency_limit: gauge("concurrency_limit")?,
            probes,
            probes_lost,
            successes,
            errors,
            slow,
            ignored,
            late,
            waited,
            fallback_asked,
            no_key,
            no_room,
            contended,
            route_invalid,
            refusals: refusals(&prefix)?,
            dry_run: refusals(&[&prefix, "dry_run."].concat())?,
        })
    }

    /// Counts what happened in a step. Each step was written by one worker, so each of its transitions is counted by one.
    pub(crate) fn steps(&self, steps: &Steps) {
        for transition in steps.transitions.iter().flatten() {
            self.transition(transition);
        }
        self.probes_lost.add(steps.expired.into());
        if let Some(limit) = steps.limit {
            self.concurrency_limit.set(limit.into());
        }
    }

    fn transition(&self, transition: &Transition) {
        if let Some(gauge) = self.gauge(transition.from) {
            gauge.add(-1);
        }
        if let Some(gauge) = self.gauge(transition.to) {
            gauge.add(1);
        }
        let counter = match transition.to {
            State::Open => self.opened,
            State::HalfOpen => self.half_opened,
            State::Recovering => self.recoveries,
            State::Closed => self.closed,
        };
        counter.increment();
    }

    fn gauge(&self, state: State) -> Option<Gauge> {
        match state {
            State::Closed => None,
            State::Open => Some(self.open),
            State::HalfOpen => Some(self.half_open),
            State::Recovering => Some(self.recovering),
        }
    }

    /// Counts how a call ended, and what became of that.
    pub(crate) fn ended(&self, outcome: Outcome, recorded: Recorded, ticket: Option<&Ticket>) {
        match outcome {
            Outcome::Call { error, slow } => {
                if error { self.errors } else { self.successes }.increment();
                self.slow.add(slow.into());
            }
            Outcome::Ignored | Outcome::Lost => self.ignored.increment(),
        }
        let is_probe = ticket.is_some_and(Ticket::is_probe);
        match recorded {
            Recorded::Late => self.late.increment(),
            Recorded::Nothing => self.probes_lost.add(is_probe.into()),
            Recorded::Counted => {}
        }
    }
}
