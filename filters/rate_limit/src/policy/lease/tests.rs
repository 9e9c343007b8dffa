//! Leases against a service that counts, on a clock that is written down.

use std::time::Duration;

use weir_sdk::{ConfigDuration, Problems};

use super::{Lease, Spend, State};
use crate::config;

const SECOND: u64 = 1_000_000_000;

fn lease(tokens: u32, hot_after: u32) -> Lease {
    let duration = ConfigDuration(Duration::from_secs(1));
    let written = config::Lease { tokens, refill_below: None, duration, hot_after };
    let mut problems = Problems::new();
    let lease = Lease::compile(&weir_sdk::At::of("lease"), &written, 20_000_000, &mut problems);
    problems.finish().unwrap();
    lease
}

#[test]
fn busy_keys_get_tokens_and_others_ask() {
    let lease = lease(4, 2);
    let mut state = State::default();
    let step = |state: &mut State, now| {
        let (next, spend) = lease.spend(*state, now, 1);
        *state = next;
        spend
    };
    let ask = Spend::Ask { lease: None };
    // Two a second are few, for ever.
    for second in 1..9 {
        assert_eq!([step(&mut state, second * SECOND), step(&mut state, second * SECOND)], [ask, ask]);
    }
    let now = 9 * SECOND;
    assert_eq!([step(&mut state, now), step(&mut state, now)], [ask, ask]);
    assert_eq!(step(&mut state, now), Spend::Ask { lease: Some(4) });
    // One asks for all.
    assert_eq!(step(&mut state, now), ask);
    state = lease.granted(state, now, 4, None);
    let spent = |refill| Spend::Spent { refill, expires: now + SECOND };
    assert_eq!([step(&mut state, now), step(&mut state, now)], [spent(None), spent(None)]);
    assert_eq!(step(&mut state, now), spent(Some(3)));
    assert_eq!(step(&mut state, now), spent(None));
    assert_eq!(step(&mut state, now), ask);
    state = lease.granted(state, now, 3, None);
    // What is not used expires, and is not there any more when the key is idle.
    assert!(!lease.is_idle(&state, now + SECOND - 1) && lease.is_idle(&state, now + SECOND));
    assert_eq!(step(&mut state, now + SECOND), ask);
}

#[test]
fn tokens_end_with_the_services_window() {
    let lease = lease(4, 0);
    let state = lease.granted(State::default(), SECOND, 4, Some(SECOND / 10));
    let spend = |now| lease.spend(state, now, 1).1;
    assert!(matches!(spend(SECOND + SECOND / 10 - 1), Spend::Spent { .. }));
    assert!(matches!(spend(SECOND + SECOND / 10), Spend::Ask { .. }));
}

#[test]
fn who_is_refused_does_not_ask_again_at_once() {
    let lease = lease(4, 0);
    let now = SECOND;
    let (state, spend) = lease.spend(State::default(), now, 1);
    assert_eq!(spend, Spend::Ask { lease: Some(4) });
    // The tokens are not to be had, the request is over the limit until a known time.
    let state = lease.not_granted(state, now, None);
    assert_eq!(lease.spend(state, now, 1).1, Spend::Ask { lease: None });
    assert_eq!(lease.denied(state, now, None), state);
    let state = lease.denied(state, now, Some(SECOND / 2));
    assert_eq!(lease.spend(state, now + 1, 1).1, Spend::Denied { reset_ns: SECOND / 2 - 1 });
    assert_eq!(lease.spend(state, now + SECOND / 2, 1).1, Spend::Ask { lease: None });
    assert_eq!(lease.spend(state, now + SECOND, 1).1, Spend::Ask { lease: Some(4) });
    // An answer that never comes is waited for a while.
    let (state, _) = lease.spend(State::default(), now, 1);
    assert_eq!(lease.spend(state, now + 139_999_999, 1).1, Spend::Ask { lease: None });
    assert_eq!(lease.spend(state, now + 140_000_000, 1).1, Spend::Ask { lease: Some(4) });
}

#[test]
fn what_is_given_back_is_there_again_and_no_more() {
    let lease = lease(4, 0);
    let full = lease.granted(State::default(), SECOND, 4, None);
    let (state, _) = lease.spend(full, SECOND, 3);
    let back = |now, cost| lease.give_back(state, now, cost, 2 * SECOND).remaining;
    assert_eq!([back(SECOND, 3), back(SECOND, 9), back(2 * SECOND, 3)], [4, 4, 1]);
    // Of tokens that have gone, nothing comes back.
    assert_eq!(lease.give_back(state, SECOND, 3, 2 * SECOND + 1).remaining, 1);
}

#[test]
fn a_cost_above_the_tokens_asks() {
    let lease = lease(4, 9);
    let state = lease.granted(State::default(), SECOND, 4, None);
    assert_eq!(
        lease.spend(state, SECOND, 5),
        (State { asks: 1, since: SECOND, ..state }, Spend::Ask { lease: None })
    );
}

#[test]
fn never_more_is_spent_than_was_granted() {
    // A service that grants 1000, and requests in a pseudorandom order of costs, answers and expiries.
    let lease = lease(16, 1);
    let (mut state, mut now, mut seed) = (State::default(), SECOND, 7_u64);
    let (mut granted, mut spent, mut asked) = (0, 0, Vec::new());
    for _ in 0..20_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let dice = seed >> 40;
        now += dice % 7 * SECOND / 100;
        let cost = 1 + dice % 3;
        let (next, spend) = lease.spend(state, now, cost);
        state = next;
        match spend {
            Spend::Spent { refill, .. } => {
                spent += cost;
                asked.extend(refill);
            }
            Spend::Ask { lease } => asked.extend(lease),
            Spend::Denied { .. } => unreachable!("nothing was denied"),
        }
        assert!(state.remaining <= 16);
        if dice % 5 == 0
            && let Some(tokens) = asked.pop()
        {
            granted += tokens;
            state = if granted > 5_000 {
                granted -= tokens;
                lease.not_granted(state, now, None)
            } else {
                lease.granted(state, now, tokens, (dice % 2 == 0).then_some(SECOND / 3))
            };
        }
        assert!(spent <= granted, "{spent} of {granted}");
    }
    assert!(spent > 1_000, "{spent}");
}

#[test]
fn a_state_comes_back() {
    let state = State { remaining: 1, expires: 2, asking: 3, since: 4, asks: 5, denied: 6 };
    let mut bytes = Vec::new();
    state.write(&mut bytes);
    assert_eq!(bytes.len(), State::BYTES);
    assert_eq!(State::read(&bytes), state);
    assert_eq!(State::read(b"short"), State::default());
}
