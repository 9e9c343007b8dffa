//! What is shed, how fast a budget burns, and the limit that follows the times of calls: with a mocked clock, and against Envoy's formulas.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{ERROR, OK, SECOND, START, call, end, rules, run, ticket};
use crate::policy::Reason;
use crate::policy::adapt::step;
use crate::policy::circuit::{Circuit, State};
use crate::policy::machine::{Admission, Call, End, Refusal, Why};
use crate::policy::window::Tally;

fn probability(config: Value, calls: u32, errors: u32) -> u32 {
    let rules = rules(json!({"shed": config}));
    rules.shed.unwrap().probability_ppm(Tally { calls, errors, slow: 0 })
}

#[test]
fn the_probability_is_that_of_envoys_admission_control() {
    // (100 − 50 / 0.95) / 101
    assert_eq!(probability(json!({}), 100, 50), 468_994);
    assert_eq!(probability(json!({}), 100, 5), 0);
    // The same, and the square root of it.
    assert_eq!(probability(json!({"aggression": 2}), 100, 50), 684_831);
    assert_eq!(probability(json!({}), 1000, 1000), 800_000);
    assert_eq!(probability(json!({"max_probability": 99}), 1000, 1000), 990_000);
    assert_eq!(probability(json!({"minimum_rps": 4}), 119, 119), 0);
    assert_eq!(probability(json!({"minimum_rps": 4}), 120, 120), 800_000);
    assert_eq!(probability(json!({"success_rate": 50}), 100, 50), 0);
    assert_eq!(probability(json!({}), 0, 0), 0);
}

/// How many of a thousand requests, their draws spread evenly, are shed.
fn shed(circuit: &mut Circuit, config: &Value, now_ns: u64, share_ppm: u32) -> usize {
    let rules = rules(config.clone());
    let draws = (0..1000_u64).map(|part| (u64::MAX / 1000 * part + u64::MAX / 2000).rotate_right(32));
    let refused = Admission::Refused(Refusal { why: Why::Shed, retry_ns: 0 });
    draws
        .filter(|random| {
            let call = Call { random: *random, share_ppm, ..call(now_ns) };
            circuit.clone().admit(&rules, &call).0 == refused
        })
        .count()
}

#[test]
fn as_much_is_shed_as_the_probability_says_and_low_classes_first() {
    let config = json!({"shed": {"window": "30s"}});
    let compiled = rules(config.clone());
    let mut circuit = Circuit::new(b"k");
    // Let through before anything is known of them.
    let tickets: Vec<_> = (0..100).filter_map(|_| ticket(circuit.admit(&compiled, &call(START)).0)).collect();
    for (number, ticket) in tickets.iter().enumerate() {
        circuit.record(&compiled, ticket, &end(START, if number % 4 == 0 { ERROR } else { OK }));
    }
    // (100 − 75 / 0.95) / 101 = 0.20844
    let classes = [1_000_000, 500_000, 250_000, 1];
    assert_eq!(classes.map(|share| shed(&mut circuit, &config, START, share)), [208, 417, 800, 800]);
    assert_eq!(shed(&mut circuit, &config, START + 30 * SECOND, 1_000_000), 0);
    assert_eq!(circuit.head.state, State::Closed);
}

#[test]
fn a_class_leaves_room_for_others() {
    let rules = rules(json!({"concurrency": {"max": 8}}));
    let mut circuit = Circuit::new(b"k");
    let mut passed = |share_ppm| {
        let call = Call { share_ppm, ..call(START) };
        (0..20).filter(|_| ticket(circuit.admit(&rules, &call).0).is_some()).count()
    };
    assert_eq!([250_000, 500_000, 1, 1_000_000].map(&mut passed), [2, 2, 0, 4]);
}

#[test]
fn a_budget_burns_over_both_windows() {
    let config = json!({"open_when": {"minimum_calls": 10, "burn_rate":
        {"objective": 99, "factor": 10, "long": "1h", "short": "5m"}}});
    let rules = rules(config);
    let minute = 60 * SECOND;
    // A tenth fails: for an hour, and still.
    let mut circuit = Circuit::new(b"k");
    let mut now = START;
    for number in 0..9 {
        run(&mut circuit, &rules, now, if number == 0 { ERROR } else { OK });
        now += minute / 4;
    }
    assert_eq!(circuit.head.state, State::Closed, "too few");
    let mut steady = circuit;
    run(&mut steady, &rules, now, ERROR);
    assert_eq!(steady.head.state, State::Open);
    let mut good = Circuit::new(b"k");
    let mut at = START;
    for number in 0..200 {
        run(&mut good, &rules, at, if number < 100 || number % 20 > 0 { OK } else { ERROR });
        at += minute / 10;
    }
    assert_eq!(good.head.state, State::Closed, "a twentieth is less than a tenth");
    // Probes, and it begins anew.
    let open_ns = steady.head.open_ns;
    run(&mut steady, &rules, now + open_ns, OK);
    assert_eq!(steady.head.state, State::Closed);
    run(&mut steady, &rules, now + open_ns, ERROR);
    assert_eq!(steady.head.state, State::Closed, "the windows are empty");
}

#[test]
fn a_short_burst_or_an_old_one_burns_nothing() {
    let config = json!({"open_when": {"minimum_calls": 10, "burn_rate":
        {"objective": 90, "factor": 5, "long": "60m", "short": "5m"}}});
    let rules = rules(config);
    let minute = 60 * SECOND;
    let mut circuit = Circuit::new(b"k");
    // 100 good ones, then a burst of errors: half of the short window, a ninth of the long one.
    (0..100).for_each(|_| assert!(run(&mut circuit, &rules, START, OK)));
    (0..12).for_each(|_| assert!(run(&mut circuit, &rules, START + 20 * minute, ERROR)));
    assert_eq!(circuit.head.state, State::Closed);
    // They go on until they are half of the long one, too.
    let mut bad = circuit.clone();
    let errors = (12..200).take_while(|_| run(&mut bad, &rules, START + 20 * minute, ERROR)).count() + 12;
    assert_eq!((errors, bad.head.state), (100, State::Open));
    let mut last = circuit.clone();
    let steps = (0..88).map(|_| {
        let ticket = ticket(last.admit(&rules, &call(START + 20 * minute)).0).unwrap();
        last.record(&rules, &ticket, &end(START + 20 * minute, ERROR)).1
    });
    let transition = steps.last().unwrap().transitions[0].unwrap();
    assert_eq!(
        (transition.reason, transition.tally.calls, transition.tally.errors),
        (Reason::BurnRate, 200, 100)
    );
}

#[test]
fn a_step_is_that_of_envoys_gradient_controller() {
    // 100 · min(2, 12.5 / 10) = 125, and its root.
    assert_eq!(step(100_000, 10_000, 250_000, 10_000), 136_180);
    assert_eq!(step(100_000, 10_000, 250_000, 25_000), 57_071);
    assert_eq!(step(100_000, 10_000, 250_000, 1_000_000), 57_071);
    assert_eq!(step(100_000, 10_000, 250_000, 1), 214_142);
    assert_eq!(step(u32::MAX, u32::MAX, 1_000_000, 0), u32::MAX);
}

const GRADIENT: &str = r#"{"concurrency": {"max": 100, "adaptive": {"min": 3, "interval": "100ms",
    "gradient": {"measure_every": "10s", "measure_calls": 20, "jitter": 0}}}}"#;

/// An upstream that does `capacity` calls at once in 10 ms each, and takes longer for more; what the limit is after so many rounds of as many
/// calls as are let through.
fn simulate(circuit: &mut Circuit, now: &mut u64, capacity: u64, rounds: usize) -> Vec<u32> {
    let rules = rules(serde_json::from_str(GRADIENT).unwrap());
    let round = |_| {
        let mut under_way = Vec::new();
        while let Some(ticket) = ticket(circuit.admit(&rules, &call(*now)).0) {
            under_way.push(ticket);
        }
        let count = under_way.len() as u64;
        let time_ns = SECOND / 100 * count.max(capacity) / capacity;
        let began_ns = *now;
        *now += time_ns;
        for ticket in &under_way {
            circuit.record(&rules, ticket, &End { began_ns, time_ns, ..end(*now, OK) });
        }
        circuit.head.limit(&rules)
    };
    (0..rounds).map(round).collect()
}

#[test]
fn the_limit_follows_what_the_upstream_can_do() {
    let (mut circuit, mut now) = (Circuit::new(b"k"), START);
    let limits = simulate(&mut circuit, &mut now, 30, 300);
    assert_eq!(limits[..5], [3; 5], "measured first");
    // The times are 1.25 of the least at 37 or 38 calls, and the root of the limit comes on top.
    assert!(limits[200..].iter().all(|limit| (30..=60).contains(limit)), "{limits:?}");
    // Half of the machines are gone.
    let limits = simulate(&mut circuit, &mut now, 10, 300);
    assert!(limits[250..].iter().all(|limit| (3..=30).contains(limit)), "{limits:?}");
    // And measured anew after ten seconds.
    let limits = simulate(&mut circuit, &mut now, 30, 1500);
    assert!(limits.contains(&3) && *limits.last().unwrap() >= 30, "{limits:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever calls say and clocks do, the limit stays between its bounds, and while the least time is measured it is the smallest.
    #[test]
    fn a_limit_stays_in_its_bounds(calls in prop::collection::vec((0..5_000_u64, any::<bool>(), any::<u32>(), any::<u64>(), 0..20_u8), 1..300)) {
        let rules = rules(serde_json::from_str(GRADIENT).unwrap());
        let (mut circuit, mut now) = (Circuit::new(b"k"), START);
        for (pass_ms, error, time_ns, random, back) in calls {
            now = if back == 0 { now - 3600 * SECOND } else { now + pass_ms * SECOND / 1000 };
            let Some(ticket) = ticket(circuit.admit(&rules, &call(now)).0) else { panic!("one at a time has room") };
            let began_ns = now;
            now += u64::from(time_ns);
            let outcome = if error { ERROR } else { OK };
            circuit.record(&rules, &ticket, &End { outcome, began_ns, time_ns: time_ns.into(), now_ns: now, random });
            let limit = circuit.head.limit(&rules);
            prop_assert!((3..=100).contains(&limit));
            prop_assert!(circuit.head.kept_milli == 0 || limit == 3);
            prop_assert!(circuit.samples.len() <= 64);
        }
        // It is never stuck in a measurement.
        for _ in 0..64 {
            let ticket = ticket(circuit.admit(&rules, &call(now)).0).unwrap();
            circuit.record(&rules, &ticket, &end(now, OK));
        }
        prop_assert!(circuit.head.least_us > 0 && circuit.head.kept_milli == 0);
    }

    /// More errors never mean that less is shed, and never more than the most.
    #[test]
    fn what_is_shed_grows_with_the_errors(calls in 1..10_000_u32, one in any::<u32>(), two in any::<u32>(), aggression in 1..100_u32) {
        let (few, many) = (one.min(two) % (calls + 1), one.max(two) % (calls + 1));
        let (few, many) = (few.min(many), few.max(many));
        let of = |errors| probability(json!({"aggression": aggression}), calls, errors);
        prop_assert!(of(few) <= of(many) && of(many) <= 800_000);
        let proportional = probability(json!({}), calls, many);
        prop_assert!(aggression == 1 || of(many) >= proportional);
    }
}
