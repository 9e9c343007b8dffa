//! A circuit that several workers share by compare-and-swap, their steps interleaved in every order: it opens once, lets exactly its probes
//! through, gives lost slots back, and is never stuck.

use proptest::prelude::*;
use serde_json::{Value, json};
use weir_sdk::SharedValue;

use super::{ERROR, OK, SECOND, START, end, rules};
use crate::policy::circuit::{Circuit, Head, State};
use crate::policy::machine::{Admission, Call, Outcome, Recorded, Steps, Ticket};
use crate::policy::rules::Rules;

/// How old a worker's copy may be.
const REFRESH: u64 = SECOND / 100;

/// What a worker does next.
#[derive(Clone, Copy, Debug)]
enum Do {
    /// A request comes.
    Begin { worker: usize, random: u64, is_safe: bool },
    /// One of its calls ends.
    End { worker: usize, which: usize, outcome: u8 },
    /// Its compare-and-swap is tried.
    Commit { worker: usize },
    /// Time passes, for all.
    Pass { ms: u64 },
}

fn actions() -> impl Strategy<Value = Vec<Do>> {
    let worker = || 0..4_usize;
    let begin = (worker(), any::<u64>(), any::<bool>()).prop_map(|(worker, random, is_safe)| Do::Begin {
        worker,
        random,
        is_safe,
    });
    let end = (worker(), 0..8_usize, 0..8_u8).prop_map(|(worker, which, outcome)| Do::End {
        worker,
        which,
        outcome,
    });
    let commit = worker().prop_map(|worker| Do::Commit { worker });
    let pass = prop_oneof![1..20_u64, 1..20_u64, 500..4000_u64].prop_map(|ms| Do::Pass { ms });
    prop::collection::vec(prop_oneof![4 => begin, 4 => end, 8 => commit, 2 => pass], 1..400)
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Admit(Call),
    Record(Ticket, Outcome),
}

#[derive(Default)]
struct Worker {
    copy: Option<(Head, u64)>,
    /// The step in hand, and what was read for it.
    pending: Option<(Step, Vec<u8>, u64)>,
    calls: Vec<Ticket>,
}

/// The shared state and what an observer counts.
struct World {
    rules: Rules,
    now: u64,
    bytes: Vec<u8>,
    cas: u64,
    workers: Vec<Worker>,
    /// Of this half-open time: probes let through, and slots that came back without a result.
    probes: u32,
    given_back: u32,
    gauges: [i64; 4],
}

impl World {
    fn new(rules: Rules) -> Self {
        let workers = (0..4).map(|_| Worker::default()).collect();
        let bytes = Circuit::new(b"k").encode();
        Self { rules, now: START, bytes, cas: 1, workers, probes: 0, given_back: 0, gauges: [1, 0, 0, 0] }
    }

    fn circuit(&self) -> Circuit {
        Circuit::decode(&self.bytes).unwrap()
    }

    fn act(&mut self, action: Do) -> Result<(), TestCaseError> {
        match action {
            Do::Pass { ms } => self.now += ms * SECOND / 1000,
            Do::Commit { worker } => self.commit(worker)?,
            Do::Begin { worker, random, is_safe } => {
                let call = Call { now_ns: self.now, random, is_safe, share_ppm: 1_000_000 };
                let (mut circuit, now) = (self.circuit(), self.now);
                let at = &mut self.workers[worker];
                if at.pending.is_some() {
                    return Ok(());
                }
                if at.copy.is_none_or(|(_, seen)| now - seen >= REFRESH) {
                    at.copy = Some((circuit.head(&self.rules, now), now));
                }
                match at.copy.unwrap().0.answer(&self.rules, &call) {
                    Some(Admission::Passed(ticket)) => {
                        prop_assert!(!ticket.is_probe(), "a copy gives no slot away");
                        at.calls.push(ticket);
                    }
                    Some(Admission::Refused(_)) => {}
                    None => at.pending = Some((Step::Admit(call), self.bytes.clone(), self.cas)),
                }
            }
            Do::End { worker, which, outcome } => {
                let at = &mut self.workers[worker];
                if at.pending.is_some() || at.calls.is_empty() {
                    return Ok(());
                }
                let ticket = at.calls.swap_remove(which % at.calls.len());
                let outcome = match outcome {
                    0..=2 => ERROR,
                    3..=5 => OK,
                    6 => Outcome::Ignored,
                    _ => Outcome::Lost,
                };
                at.pending = Some((Step::Record(ticket, outcome), self.bytes.clone(), self.cas));
            }
        }
        Ok(())
    }

    fn commit(&mut self, worker: usize) -> Result<(), TestCaseError> {
        let Some((step, read, cas)) = self.workers[worker].pending.take() else {
            return Ok(());
        };
        if cas != self.cas {
            // Another worker was faster: read again.
            self.workers[worker].pending = Some((step, self.bytes.clone(), self.cas));
            return Ok(());
        }
        let before = Circuit::decode(&read).unwrap();
        let mut circuit = before.clone();
        let steps = match step {
            Step::Admit(call) => {
                let (admission, steps) = circuit.admit(&self.rules, &call);
                self.seen(&before, &circuit, &steps)?;
                if let Admission::Passed(ticket) = admission {
                    self.probes += u32::from(ticket.is_probe());
                    prop_assert_eq!(ticket.is_probe(), circuit.head.state == State::HalfOpen);
                    prop_assert!(circuit.head.state != State::Open);
                    self.workers[worker].calls.push(ticket);
                }
                steps
            }
            Step::Record(ticket, outcome) => {
                let (recorded, steps) = circuit.record(&self.rules, &ticket, &end(self.now, outcome));
                self.given_back += u32::from(ticket.is_probe() && recorded == Recorded::Nothing);
                self.seen(&before, &circuit, &steps)?;
                if ticket.generation != before.head.generation {
                    prop_assert_eq!(recorded, Recorded::Late);
                    prop_assert_eq!(
                        circuit.head.consecutive,
                        before.head.consecutive.min(circuit.head.consecutive)
                    );
                }
                steps
            }
        };
        let _ = steps;
        self.workers[worker].copy = Some((circuit.head(&self.rules, self.now), self.now));
        self.bytes = circuit.encode();
        self.cas += 1;
        self.holds(&circuit)
    }

    /// Transitions of one written step.
    fn seen(&mut self, before: &Circuit, after: &Circuit, steps: &Steps) -> Result<(), TestCaseError> {
        let mut state = before.head.state;
        self.given_back += steps.expired;
        for transition in steps.transitions.iter().flatten() {
            prop_assert_eq!(transition.from, state);
            let allowed = match transition.from {
                State::Closed | State::Recovering if transition.to == State::Open => true,
                State::Open => transition.to == State::HalfOpen,
                State::HalfOpen => transition.to != State::HalfOpen,
                State::Recovering => transition.to == State::Closed,
                State::Closed => false,
            };
            prop_assert!(allowed, "{:?}", transition);
            if transition.to == State::HalfOpen {
                let open = before.head.open_ns;
                prop_assert!(self.now - before.head.since_ns >= open, "not before its time");
                (self.probes, self.given_back) = (0, 0);
            }
            self.gauges[transition.from as usize] -= 1;
            self.gauges[transition.to as usize] += 1;
            state = transition.to;
        }
        prop_assert_eq!(state, after.head.state);
        Ok(())
    }

    /// What always holds.
    fn holds(&self, circuit: &Circuit) -> Result<(), TestCaseError> {
        let head = &circuit.head;
        let held = head.leases.iter().filter(|lease| lease.ticket != 0).count();
        prop_assert!(held <= self.rules.probes.slots);
        if head.state == State::HalfOpen {
            let results = head.succeeded + head.failed;
            prop_assert!(results + held as u32 <= self.rules.probes.calls);
            // Exactly its probes: each that was let through is under way, has a result, or has given its slot back.
            prop_assert_eq!(self.probes, results + held as u32 + self.given_back);
        } else {
            prop_assert_eq!(held, 0);
        }
        let want = [State::Closed, State::HalfOpen, State::Open, State::Recovering]
            .map(|state| i64::from(state == head.state));
        prop_assert_eq!(self.gauges, want);
        if self.rules.counts_calls() {
            let counted = |worker: &Worker| {
                let ending = matches!(worker.pending, Some((Step::Record(..), ..)));
                worker.calls.len() + usize::from(ending)
            };
            let under_way: usize = self.workers.iter().map(counted).sum();
            prop_assert_eq!(head.in_flight as usize, under_way);
        }
        Ok(())
    }

    /// All calls end, the clients of some having left, and good ones come: it closes.
    fn drain(&mut self) -> Result<(), TestCaseError> {
        for worker in 0..self.workers.len() {
            while self.workers[worker].pending.is_some() {
                self.commit(worker)?;
            }
            while !self.workers[worker].calls.is_empty() {
                self.act(Do::End { worker, which: 0, outcome: 7 })?;
                while self.workers[worker].pending.is_some() {
                    self.commit(worker)?;
                }
            }
        }
        prop_assert_eq!(self.circuit().head.in_flight, 0);
        for _ in 0..60 {
            self.act(Do::Pass { ms: 2000 })?;
            self.act(Do::Begin { worker: 0, random: 0, is_safe: true })?;
            self.commit(0)?;
            self.act(Do::End { worker: 0, which: 0, outcome: 3 })?;
            self.commit(0)?;
        }
        prop_assert_eq!(self.circuit().head.state, State::Closed);
        Ok(())
    }
}

fn configs() -> impl Strategy<Value = Value> {
    (1..4_u32, 1..5_u32, 1..5_u32, any::<bool>(), any::<bool>(), prop::option::of(1..6_u32)).prop_map(
        |(errors, calls, slots, recovers, safe, limit)| {
            let mut config = json!({
                "open_when": {"consecutive_errors": errors, "error_rate": 60, "minimum_calls": 5, "window": {"calls": 8}},
                "open": {"duration": "3s", "multiplier": 2, "max": "10s", "jitter": 10},
                "probes": {"calls": calls, "max_concurrent": slots.min(calls), "max_failures": calls / 3,
                    "lease": "2s", "safe_methods_only": safe},
            });
            if recovers {
                config["recovery"] = json!({"duration": "5s", "from": 30});
            }
            if let Some(max) = limit {
                config["concurrency"] = json!({"max": max});
            }
            config
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn workers_that_interleave_keep_one_circuit(config in configs(), actions in actions()) {
        let mut world = World::new(rules(config));
        for action in actions {
            world.act(action)?;
        }
        world.drain()?;
    }
}
