//! The steps of a circuit: a request asks to be let through, a call ends. Pure: the clock and the dice are arguments, and a step that comes
//! too late to be written is simply made again on what is there then.

use super::circuit::{Circuit, Lease, State};
use super::rules::{MILLION, Reason, Rules};
use super::window::{Tally, Window};

/// A request that asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) now_ns: u64,
    /// Uniform over `u64`.
    pub(crate) random: u64,
    /// Whether its method is GET, HEAD or OPTIONS; only asked where rules need it.
    pub(crate) is_safe: bool,
    /// The share of the room that its class may use, in parts of a million; more than 0.
    pub(crate) share_ppm: u32,
}

/// What the request is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Passed(Ticket),
    Refused(Refusal),
}

/// What a call brings back when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// The state that let it through.
    pub(crate) state: State,
    pub(super) generation: u64,
    /// Of a probe, the number of its lease; else 0.
    pub(super) probe: u32,
    /// Whether it is counted among the calls under way.
    pub(super) counted: bool,
}

impl Ticket {
    pub(crate) fn is_probe(&self) -> bool {
        self.probe != 0
    }

    /// Whether the circuit has to be told of an end that says nothing about the upstream.
    pub(crate) fn holds_something(&self) -> bool {
        self.probe != 0 || self.counted
    }
}

/// Why not, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) why: Why,
    /// Until it is worth coming again.
    pub(crate) retry_ns: u64,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The circuit is open.
    Open,
    /// All probes are under way.
    HalfOpen,
    /// It cannot be a probe, because of its method.
    Unsafe,
    /// The draw went against it.
    Recovering,
    /// Too many calls are under way.
    Concurrency,
    /// Too few calls succeed, and the draw went against it.
    Shed,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With something that says how the upstream is.
    Call {
        /// It failed.
        error: bool,
        /// It took too long.
        slow: bool,
    },
    /// With something that says nothing about the upstream, such as another filter's answer.
    Ignored,
    /// The client left.
    Lost,
}

/// The end of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) outcome: Outcome,
    pub(crate) began_ns: u64,
    /// How long the upstream took.
    pub(crate) time_ns: u64,
    pub(crate) now_ns: u64,
    /// Uniform over `u64`.
    pub(crate) random: u64,
}

/// What became of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recorded {
    Counted,
    /// The state had changed meanwhile, or the probe's slot was another's already.
    Late,
    /// It said nothing.
    Nothing,
}

/// A change of state, with its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Before.
    pub from: State,
    /// After.
    pub to: State,
    /// Why.
    pub reason: Reason,
    /// What the window held.
    pub tally: Tally,
    /// Errors one after another.
    pub consecutive: u32,
    /// Of an opening: for how long.
    pub open_ns: u64,
    /// Of an opening: how many in a row.
    pub openings: u32,
    /// Results of probes.
    pub succeeded: u32,
    /// Results of probes.
    pub failed: u32,
}

/// What happened in a step, for metrics and the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Steps {
    pub(crate) transitions: [Option<Transition>; 2],
    /// Probes whose lease was over.
    pub(crate) expired: u32,
    /// The limit of calls under way, where it has been found anew.
    pub(crate) limit: Option<u32>,
}

impl Steps {
    fn add(&mut self, transition: Transition) {
        let [first, second] = &mut self.transitions;
        *if first.is_none() { first } else { second } = Some(transition);
    }
}

impl Circuit {
    /// A request asks.
    pub(crate) fn admit(&mut self, rules: &Rules, call: &Call) -> (Admission, Steps) {
        let mut steps = Steps::default();
        self.settle(rules, call.now_ns, call.random, &mut steps);
        let head = &self.head;
        let admission = match head.state {
            State::Closed | State::Recovering => match head.refuse_by_draw(rules, call) {
                Some(refused) => refused,
                None => self.enter(rules, call),
            },
            State::Open if head.open_left_ns(rules, call.now_ns) > 0 => head.refuse_open(rules, call),
            State::Open if rules.probes.safe_only && !call.is_safe => {
                Admission::Refused(Refusal { why: Why::Unsafe, retry_ns: 0 })
            }
            State::Open => {
                self.change(
                    rules,
                    State::HalfOpen,
                    Reason::OpenTimeOver,
                    call.now_ns,
                    call.random,
                    &mut steps,
                );
                self.probe(rules, call)
            }
            State::HalfOpen => self.probe(rules, call),
        };
        (admission, steps)
    }

    /// A call has ended.
    pub(crate) fn record(&mut self, rules: &Rules, ticket: &Ticket, end: &End) -> (Recorded, Steps) {
        let End { outcome, now_ns, random, .. } = *end;
        let mut steps = Steps::default();
        self.settle(rules, now_ns, random, &mut steps);
        if ticket.counted {
            steps.limit = self.adapt(rules, end);
            self.head.in_flight = self.head.in_flight.saturating_sub(1);
        }
        self.head.used_ns = now_ns;
        if ticket.generation != self.head.generation {
            return (Recorded::Late, steps);
        }
        if ticket.is_probe() {
            let mut leases = self.head.leases.iter_mut();
            let Some(lease) = leases.find(|lease| lease.ticket == ticket.probe) else {
                return (Recorded::Late, steps);
            };
            *lease = Lease::default();
        }
        let Outcome::Call { error, slow } = outcome else {
            return (Recorded::Nothing, steps);
        };
        match self.head.state {
            State::HalfOpen => {
                let head = &mut self.head;
                let results = if error || slow { &mut head.failed } else { &mut head.succeeded };
                *results = results.saturating_add(1);
                self.judge(rules, now_ns, random, &mut steps);
            }
            State::Closed | State::Recovering => {
                self.head.consecutive = if error { self.head.consecutive.saturating_add(1) } else { 0 };
                for window in self.more.iter_mut().chain([&mut self.window]) {
                    window.add(now_ns, error, slow);
                }
                let tally = self.window.tally(now_ns);
                let reason = rules.trip.reason(self.head.consecutive, tally);
                if let Some(reason) = reason.or_else(|| self.burns(rules, now_ns)) {
                    self.change(rules, State::Open, reason, now_ns, random, &mut steps);
                }
            }
            // Nothing is let through with this generation.
            State::Open => return (Recorded::Late, steps),
        }
        (Recorded::Counted, steps)
    }

    /// What time, a clock that was set, and changed rules have brought about.
    fn settle(&mut self, rules: &Rules, now_ns: u64, random: u64, steps: &mut Steps) {
        if self.window.shape() != rules.shape {
            self.window = Window::new(rules.shape);
        }
        if !self.more.iter().map(Window::shape).eq(rules.more.iter().copied()) {
            self.more = rules.more.iter().map(|shape| Window::new(*shape)).collect();
        }
        self.weigh(rules, now_ns);
        if self.head.was_set_back(now_ns) {
            self.head.since_ns = now_ns;
        }
        match self.head.state {
            State::Recovering if self.head.share_ppm(rules, now_ns) >= MILLION => {
                self.change(rules, State::Closed, Reason::Recovered, now_ns, random, steps);
            }
            State::HalfOpen => {
                for lease in &mut self.head.leases {
                    if lease.ticket != 0 && !lease.is_held(rules, now_ns) {
                        *lease = Lease::default();
                        steps.expired = steps.expired.saturating_add(1);
                    }
                }
                self.judge(rules, now_ns, random, steps);
            }
            State::Closed | State::Open | State::Recovering => {}
        }
    }

    fn judge(&mut self, rules: &Rules, now_ns: u64, random: u64, steps: &mut Steps) {
        let (to, reason) = match self.head.verdict(rules) {
            Some(false) => (State::Open, Reason::ProbesFailed),
            Some(true) if rules.recovery.is_some() => (State::Recovering, Reason::ProbesSucceeded),
            Some(true) => (State::Closed, Reason::ProbesSucceeded),
            None => return,
        };
        self.change(rules, to, reason, now_ns, random, steps);
    }

    /// Lets a call through, if there is room among those under way.
    fn enter(&mut self, rules: &Rules, call: &Call) -> Admission {
        self.head.used_ns = call.now_ns;
        if !rules.counts_calls() {
            return self.head.pass(0, false);
        }
        if self.head.in_flight >= self.head.room(rules, call) {
            return Admission::Refused(Refusal { why: Why::Concurrency, retry_ns: 0 });
        }
        self.head.in_flight = self.head.in_flight.saturating_add(1);
        self.head.pass(0, true)
    }

    /// Half-open: gives the request a slot, if there is one.
    fn probe(&mut self, rules: &Rules, call: &Call) -> Admission {
        if let Some(refused) = self.head.refuse_probe(rules, call) {
            return refused;
        }
        // 0 is no ticket.
        let ticket = self.head.last_ticket.checked_add(1).unwrap_or(1);
        let until_ns = call.now_ns.saturating_add(rules.probes.lease_ns);
        let slot = self.head.free_slot(rules, call.now_ns);
        let Some(lease) = slot.and_then(|slot| self.head.leases.get_mut(slot)) else {
            return Admission::Refused(Refusal { why: Why::HalfOpen, retry_ns: 0 });
        };
        *lease = Lease { ticket, until_ns };
        self.head.last_ticket = ticket;
        self.head.used_ns = call.now_ns;
        let counted = rules.counts_calls();
        if counted {
            self.head.in_flight = self.head.in_flight.saturating_add(1);
        }
        self.head.pass(ticket, counted)
    }

    fn change(
        &mut self,
        rules: &Rules,
        to: State,
        reason: Reason,
        now_ns: u64,
        random: u64,
        steps: &mut Steps,
    ) {
        let tally = match (reason, &rules.burn) {
            (Reason::BurnRate, Some(burn)) => self.tally(burn.long, now_ns),
            _ => self.window.tally(now_ns),
        };
        let head = &mut self.head;
        let before = *head;
        if to == State::Open {
            let closed_for = now_ns.saturating_sub(head.since_ns);
            let anew = head.state == State::Closed && closed_for > rules.open.first_ns;
            head.openings = if anew { 1 } else { head.openings.saturating_add(1) };
            head.open_ns = rules.open.time_ns(head.openings, random);
        }
        head.state = to;
        head.since_ns = now_ns;
        head.used_ns = now_ns;
        // Calls that a recovery let through still count when it is over.
        if reason != Reason::Recovered {
            head.generation = head.generation.wrapping_add(1);
            head.consecutive = 0;
            head.succeeded = 0;
            head.failed = 0;
            head.leases.fill(Lease::default());
        }
        if before.state == State::HalfOpen {
            self.window = Window::new(rules.shape);
            self.more.clear();
        }
        steps.add(Transition {
            from: before.state,
            to,
            reason,
            tally,
            consecutive: before.consecutive,
            open_ns: if to == State::Open { head.open_ns } else { 0 },
            openings: head.openings,
            succeeded: before.succeeded,
            failed: before.failed,
        });
    }
}
