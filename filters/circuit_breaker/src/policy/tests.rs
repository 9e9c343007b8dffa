//! The steps of one circuit, with a mocked clock.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::circuit::{Circuit, State};
use super::machine::{Admission, Call, End, Outcome, Recorded, Ticket};
use super::rules::Rules;
use super::{Reason, Tally, Written};
use crate::config::NamedPolicy;
use weir_sdk::{At, Problems};

mod limits;
mod workers;

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_800_000_000 * SECOND;
const OK: Outcome = Outcome::Call { error: false, slow: false };
const ERROR: Outcome = Outcome::Call { error: true, slow: false };

#[track_caller]
fn rules(config: Value) -> Rules {
    let mut config = config;
    config["name"] = json!("test");
    let written: NamedPolicy = serde_json::from_value(config).unwrap();
    let mut problems = Problems::new();
    let rules = Rules::compile(&At::ROOT, &Written::default().under(&written), &mut problems);
    problems.finish().unwrap();
    rules
}

fn call(now_ns: u64) -> Call {
    Call { now_ns, random: u64::MAX / 2, is_safe: true, share_ppm: 1_000_000 }
}

/// An end of a call that took no time.
fn end(now_ns: u64, outcome: Outcome) -> End {
    End { outcome, began_ns: now_ns, time_ns: 0, now_ns, random: 0 }
}

fn ticket(admission: Admission) -> Option<Ticket> {
    match admission {
        Admission::Passed(ticket) => Some(ticket),
        Admission::Refused(_) => None,
    }
}

/// One call with this end; whether it was let through.
fn run(circuit: &mut Circuit, rules: &Rules, now_ns: u64, outcome: Outcome) -> bool {
    let ticket = ticket(circuit.admit(rules, &call(now_ns)).0);
    if let Some(ticket) = &ticket {
        circuit.record(rules, ticket, &end(now_ns, outcome));
    }
    ticket.is_some()
}

/// Closed, and then these ends, a millisecond apart; the state after each.
#[track_caller]
fn check(config: Value, ends: &str, want: &str) {
    let rules = rules(config);
    let mut circuit = Circuit::new(b"k");
    let mut got = String::new();
    for (step, end) in (0..).zip(ends.chars()) {
        let outcome = match end {
            '.' => OK,
            'x' => ERROR,
            's' => Outcome::Call { error: false, slow: true },
            'i' => Outcome::Ignored,
            _ => Outcome::Lost,
        };
        run(&mut circuit, &rules, START + step * SECOND / 1000, outcome);
        got.push(match circuit.head.state {
            State::Closed => 'c',
            State::Open => 'o',
            State::HalfOpen => 'h',
            State::Recovering => 'r',
        });
    }
    assert_eq!(got, want, "{ends}");
}

#[test]
fn each_condition_opens_at_its_number_and_not_before() {
    let when = |when: Value| json!({"open_when": when});
    check(when(json!({"consecutive_errors": 3})), "xx.xxilx", "ccccccco");
    check(when(json!({"errors": 3})), "x..x...x", "ccccccco");
    check(when(json!({"error_rate": 50, "minimum_calls": 4})), "xxx.", "ccco");
    check(when(json!({"error_rate": 50, "minimum_calls": 4})), "x..x", "ccco");
    check(
        when(json!({"slow_rate": 100, "slow_call": "1s", "minimum_calls": 2, "window": {"calls": 2}})),
        "s.ss",
        "ccco",
    );
    check(when(json!({"errors": 2, "window": {"calls": 3}})), "x..x.x", "ccccco");
    check(
        when(json!({"errors": 2, "window": {"time": "10ms"}, "buckets": 10})),
        "x..........x",
        "cccccccccccc",
    );
}

#[test]
fn openings_in_a_row_are_longer_and_bounded() {
    let config = json!({"open_when": {"consecutive_errors": 1},
        "open": {"duration": "10s", "multiplier": 2, "max": "35s", "jitter": 50}});
    let rules = rules(config);
    let times = [1, 2, 3, 4, u32::MAX].map(|number| rules.open.time_ns(number, 0) / SECOND);
    assert_eq!(times, [10, 20, 35, 35, 35]);
    assert_eq!(rules.open.time_ns(1, u64::MAX) / SECOND, 15);

    let mut circuit = Circuit::new(b"k");
    let mut now = START;
    for (want, outcome) in [(1, ERROR), (2, ERROR), (3, OK), (4, ERROR)] {
        run(&mut circuit, &rules, now, ERROR);
        assert_eq!((circuit.head.state, circuit.head.openings), (State::Open, want));
        now += circuit.head.open_ns;
        if outcome == OK {
            // Closes, and opens again at once: in the same row.
            assert!(run(&mut circuit, &rules, now, OK));
        }
    }
    run(&mut circuit, &rules, now, OK);
    assert_eq!(circuit.head.state, State::Closed);
    run(&mut circuit, &rules, now + 11 * SECOND, ERROR);
    assert_eq!(circuit.head.openings, 1, "a row of its own");
}

#[test]
fn probes_are_exact_and_decide() {
    let config = json!({"open_when": {"consecutive_errors": 1}, "open": {"duration": "180s"},
        "probes": {"calls": 5, "max_concurrent": 3, "max_failures": 1}});
    let rules = rules(config);
    let mut circuit = Circuit::new(b"k");
    run(&mut circuit, &rules, START, ERROR);
    let passed = |circuit: &mut Circuit, now| ticket(circuit.admit(&rules, &call(now)).0);
    assert_eq!(passed(&mut circuit, START + 180 * SECOND - 1), None);
    let now = START + 180 * SECOND;
    let probes: Vec<Ticket> = (0..10).filter_map(|_| passed(&mut circuit, now)).collect();
    assert_eq!(probes.len(), 3);
    let end = |circuit: &mut Circuit, ticket: &Ticket, outcome| {
        circuit.record(&rules, ticket, &end(now, outcome)).0
    };
    assert_eq!(end(&mut circuit, &probes[0], ERROR), Recorded::Counted);
    assert_eq!(end(&mut circuit, &probes[0], OK), Recorded::Late, "ends once");
    assert_eq!(end(&mut circuit, &probes[1], OK), Recorded::Counted);
    assert_eq!(end(&mut circuit, &probes[2], Outcome::Lost), Recorded::Nothing);
    let probes: Vec<Ticket> = (0..10).filter_map(|_| passed(&mut circuit, now)).collect();
    assert_eq!(probes.len(), 3, "two results are there, three are wanted");
    for (probe, state) in probes.iter().zip([State::HalfOpen, State::HalfOpen, State::Closed]) {
        end(&mut circuit, probe, OK);
        assert_eq!(circuit.head.state, state);
    }
}

#[test]
fn a_recovery_grows_and_can_fail() {
    let config = json!({"open_when": {"consecutive_errors": 1}, "open": {"duration": "1s"},
        "recovery": {"duration": "10s", "from": 20}});
    let rules = rules(config);
    let mut circuit = Circuit::new(b"k");
    run(&mut circuit, &rules, START, ERROR);
    let now = START + SECOND;
    assert!(run(&mut circuit, &rules, now, OK));
    assert_eq!(circuit.head.state, State::Recovering);
    let share = |circuit: &Circuit, now_ns| {
        let passes = |random| circuit.clone().admit(&rules, &Call { random, ..call(now_ns) }).0;
        (0..1000).filter(|part| ticket(passes(u64::MAX / 1000 * part + u64::MAX / 2000)).is_some()).count()
    };
    assert_eq!([0, 5, 9, 10].map(|after| share(&circuit, now + after * SECOND)), [200, 600, 920, 1000]);
    let mut fails = circuit.clone();
    assert!(run(&mut fails, &rules, now + 9 * SECOND, ERROR));
    assert_eq!((fails.head.state, fails.head.openings), (State::Open, 2));
    assert!(run(&mut circuit, &rules, now + 10 * SECOND, OK));
    assert_eq!(circuit.head.state, State::Closed);
}

#[test]
fn a_limit_shrinks_and_grows() {
    let config =
        json!({"concurrency": {"max": 10, "adaptive": {"min": 4, "decrease": 50, "interval": "1s"}}});
    let rules = rules(config);
    let mut circuit = Circuit::new(b"k");
    let fill = |circuit: &mut Circuit, now| -> Vec<Ticket> {
        (0..20).filter_map(|_| ticket(circuit.admit(&rules, &call(now)).0)).collect()
    };
    let mut under_way = fill(&mut circuit, START);
    assert_eq!(under_way.len(), 10);
    for (after, want) in [(0, 5000), (0, 5000), (SECOND, 4000), (9 * SECOND, 4000)] {
        circuit.record(&rules, &under_way.pop().unwrap(), &end(START + after, ERROR));
        assert_eq!(circuit.head.limit_milli, want);
    }
    for ticket in under_way.drain(..) {
        circuit.record(&rules, &ticket, &end(START, OK));
    }
    assert!(circuit.head.limit_milli > 4000);
    assert_eq!(circuit.head.in_flight, 0);
    for _ in 0..300 {
        for ticket in fill(&mut circuit, START) {
            circuit.record(&rules, &ticket, &end(START, OK));
        }
    }
    assert!(fill(&mut circuit, START).len() > 8);
}

#[test]
fn a_clock_that_is_set_back_and_changed_rules_leave_nothing_stuck() {
    let rules_of = |calls: u32| {
        rules(json!({"open_when": {"consecutive_errors": 1}, "open": {"duration": "10s"},
            "probes": {"calls": calls, "max_concurrent": 1}}))
    };
    let mut circuit = Circuit::new(b"k");
    run(&mut circuit, &rules_of(5), START, ERROR);
    let earlier = START - 3600 * SECOND;
    assert!(!run(&mut circuit, &rules_of(5), earlier, OK));
    assert!(run(&mut circuit, &rules_of(5), earlier + 10 * SECOND, OK));
    assert!(run(&mut circuit, &rules_of(5), earlier + 10 * SECOND, OK));
    assert_eq!(circuit.head.state, State::HalfOpen);
    // A probe under way, the clock set back again: its lease is none.
    assert!(ticket(circuit.admit(&rules_of(5), &call(START)).0).is_some());
    assert!(run(&mut circuit, &rules_of(5), earlier, OK));
    // Fewer results are wanted than there are.
    assert!(run(&mut circuit, &rules_of(2), earlier, OK));
    assert_eq!(circuit.head.state, State::Closed);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Every bucket-wise window is the naive one with time cut into buckets.
    #[test]
    fn a_window_is_what_a_list_would_say(steps in prop::collection::vec((0..40_u64, any::<bool>(), any::<bool>()), 1..60)) {
        use super::window::{Shape, Window};
        let mut window = Window::new(Shape::Time { bucket_ns: 10, buckets: 5 });
        let mut list: Vec<(u64, bool, bool)> = Vec::new();
        let mut now = 1_000_000;
        for (pass, error, slow) in steps {
            now += pass;
            window.add(now, error, slow);
            list.push((now, error, slow));
            let inside = |at: &&(u64, bool, bool)| now / 10 - at.0 / 10 < 5;
            let count = |of: fn(&(u64, bool, bool)) -> bool| list.iter().filter(inside).filter(|at| of(at)).count() as u32;
            let want = Tally { calls: count(|_| true), errors: count(|at| at.1), slow: count(|at| at.2) };
            prop_assert_eq!(window.tally(now), want);
        }
    }
}

#[test]
fn the_first_condition_that_holds_is_the_reason() {
    let rules = rules(
        json!({"open_when": {"consecutive_errors": 2, "errors": 3, "error_rate": 10, "minimum_calls": 1}}),
    );
    let tally = Tally { calls: 10, errors: 3, slow: 0 };
    assert_eq!(rules.trip.reason(2, tally), Some(Reason::ConsecutiveErrors));
    assert_eq!(rules.trip.reason(1, tally), Some(Reason::Errors));
    assert_eq!(rules.trip.reason(1, Tally { errors: 1, ..tally }), Some(Reason::ErrorRate));
    assert_eq!(rules.trip.reason(0, Tally { errors: 0, ..tally }), None);
}
