//! The same user lands on the same arm in the native policy, in the harness, and in Envoy with any number of workers; shares are exact
//! enough, and growing one moves nobody back.

use std::time::UNIX_EPOCH;

use canary::{Config, Inputs, Policy};
use serde_json::json;
use weir_sdk::{HeaderMap, Mutation, parse};

/// Users of the recording.
const USERS: usize = 100_000;

fn user(number: usize) -> String {
    format!("user-{number:06}@example.com")
}

fn config(percent: u32) -> String {
    json!({"rules": [{
        "name": "shift",
        "split": [{"arm": "v3", "weight": percent}, {"arm": "v1", "weight": 100 - percent}],
        "sticky": {"by": [{"header": "end-user"}]},
    }]})
    .to_string()
}

/// The arm of each user by the policy alone: whether it is v3.
fn native(percent: u32, users: usize) -> Vec<bool> {
    let config: Config = parse(Some(config(percent).as_bytes())).unwrap();
    let policy = Policy::try_from(config).unwrap();
    let arm = |number| {
        let name = user(number);
        let lines = [
            (":method", "GET"),
            (":path", "/reviews/0"),
            (":authority", "reviews:9080"),
            ("end-user", &name),
        ];
        let request: HeaderMap = lines.into_iter().collect();
        let inputs =
            Inputs { request: &request, now: &|| UNIX_EPOCH, random: &|| panic!("drawn though sticky") };
        let (decision, _) = policy.on_request(&inputs);
        let set = |mutation: &Mutation| match mutation {
            Mutation::Set(name, value) if name.as_ref() == "x-canary-arm" => Some(value.as_slice() == b"v3"),
            _ => None,
        };
        decision.mutations.iter().find_map(set).expect("an arm")
    };
    (0..users).map(arm).collect()
}

#[test]
fn growing_moves_nobody_back() {
    let mut before = native(0, USERS);
    assert!(before.iter().all(|is_v3| !is_v3));
    for percent in [1, 2, 3, 5, 10, 20, 25, 33, 50, 67, 75, 90, 99, 100] {
        let now = native(percent, USERS);
        let back = before.iter().zip(&now).filter(|(before, now)| **before && !**now).count();
        assert_eq!(back, 0, "moved back at {percent} %");
        let share = now.iter().filter(|is_v3| **is_v3).count() as f64 * 100.0 / USERS as f64;
        assert!((share - f64::from(percent)).abs() <= 0.5, "{share} % at {percent} %");
        before = now;
    }
    assert!(before.iter().all(|is_v3| *is_v3));
}
