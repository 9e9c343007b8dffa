//! Delays: percentiles of every distribution, and what is refused.

use serde_json::{Value, json};

use super::*;

fn compile(delay: Value) -> Result<Delay, String> {
    let delay: config::Delay =
        weir_sdk::parse(Some(delay.to_string().as_bytes())).map_err(|error| error.to_string())?;
    let mut problems = Problems::new();
    let compiled = Delay::compile(&At::of("delay"), &delay, false, MAX_DELAY, &mut problems);
    problems.finish().map_err(|error| error.to_string())?;
    Ok(compiled.unwrap())
}

/// The given percentiles, in ms, of 100 000 draws spread evenly over the line.
#[track_caller]
fn check(delay: Value, percentiles: &[(usize, u64)]) {
    let compiled = compile(delay.clone()).unwrap();
    let mut times: Vec<Duration> = (0..100_000_u64)
        .map(|i| compiled.time(&|| Draw::from_random(i * (u64::MAX / 100_000)), None).unwrap_or_default())
        .collect();
    times.sort_unstable();
    for (percent, want) in percentiles {
        let got = u64::try_from(times[percent * 1000 - 1].as_millis()).unwrap();
        assert!(got.abs_diff(*want) <= 1 + want / 200, "{delay}: p{percent} is {got} ms, not {want} ms");
    }
    assert!(*times.last().unwrap() <= MAX_DELAY);
}

#[test]
fn distributions_have_their_percentiles() {
    check(json!("7s"), &[(1, 7000), (99, 7000)]);
    check(json!({"fixed_delay": "100ms", "jitter": "50ms"}), &[(1, 51), (50, 100), (99, 149)]);
    check(json!({"fixed_delay": "10ms", "jitter": "50ms"}), &[(10, 0), (40, 0), (50, 10), (90, 50)]);
    check(json!({"uniform": {"min": "100ms", "max": "300ms"}}), &[(1, 102), (50, 200), (99, 298)]);
    check(json!({"normal": {"mean": "500ms", "std_dev": "100ms"}}), &[(1, 267), (50, 500), (99, 733)]);
    check(json!({"lognormal": {"median": "20ms", "p99": "900ms"}}), &[(50, 20), (99, 900)]);
    check(json!({"exponential": {"mean": "100ms"}}), &[(50, 69), (99, 461)]);
    check(json!({"pareto": {"min": "10ms", "shape": 1.0}}), &[(50, 20), (90, 100), (99, 1000)]);
    check(
        json!({"percentiles": {"p50": "20ms", "p99": "900ms"}}),
        &[(25, 10), (50, 20), (99, 900), (100, 900)],
    );
    check(json!({"percentiles": {"p0": "5ms", "p50": "5ms", "p99.9": "10ms"}}), &[(25, 5), (50, 5)]);
    check(json!({"pareto": {"min": "1s", "shape": 0.1}, "max_delay": "2s"}), &[(50, 2000), (99, 2000)]);
}

#[test]
fn callers_say_how_long() {
    let header = compile(json!({"header_delay": {}, "max_delay": "1m"})).unwrap();
    let time = |asked| header.time(&|| Draw::from_random(0), asked);
    assert_eq!(time(Some(3)), Some(Duration::from_millis(3)));
    assert_eq!(time(Some(u64::MAX)), Some(Duration::from_secs(60)));
    assert_eq!([time(Some(0)), time(None)], [None, None]);
}

#[test]
fn what_means_nothing_is_refused() {
    for (delay, want) in [
        (json!("0s"), "`delay`: expected more than 0"),
        (json!("2h"), "`delay`: expected more than 0 and at most `1h`"),
        (json!({}), "`delay`: expected exactly one of"),
        (json!({"fixed_delay": "1s", "header_delay": {}}), "exactly one of"),
        (json!({"fixed_delay": "0ms"}), "`delay.fixed_delay`"),
        (json!({"uniform": {"min": "2s", "max": "1s"}}), "`delay.uniform.max`"),
        (json!({"lognormal": {"median": "2s", "p99": "1s"}}), "`delay.lognormal.p99`"),
        (json!({"lognormal": {"median": "0s", "p99": "1s"}}), "`delay.lognormal.median`"),
        (json!({"exponential": {"mean": "0s"}}), "`delay.exponential.mean`"),
        (json!({"pareto": {"min": "1s", "shape": 0.0}}), "`delay.pareto.shape`"),
        (json!({"percentiles": {}}), "`delay.percentiles`: expected at least one"),
        (json!({"percentiles": {"p101": "1s"}}), "`delay.percentiles.p101`"),
        (json!({"percentiles": {"p50": "2s", "p99": "1s"}}), "never fall"),
        (json!({"percentiles": {"p50": "2s", "p50.0": "3s"}}), "twice"),
        (json!({"header_delay": {}, "jitter": "1s"}), "`delay.jitter`"),
        (json!({"fixed_delay": "1s", "max_delay": "2h"}), "`delay.max_delay`"),
    ] {
        let error = compile(delay.clone()).unwrap_err();
        assert!(error.contains(want), "{delay}: {error}");
    }
}

#[test]
fn percentiles_are_numbers() {
    for number in
        ["0", "50", "99.9", "99.99", "050", ".5", "5.", "100", "0.001", "33.333333", "99.9999999999999999999"]
    {
        assert_eq!(percent(number), number.parse().ok(), "{number}");
    }
    for number in ["", ".", "1.2.3", "-1", "+1", "1e1", "inf", "99999999999999999999999"] {
        assert_eq!(percent(number), None, "{number}");
    }
}
