//! Rollbacks as properties: what a seeded crowd of calls leads to.

use weir_sdk::outcome::Verdict;
use weir_sdk::{Problems, SharedValue as _, parse};

use super::counts::{Counts, SLICES, Slices};
use super::record::{Record, Step};
use super::rules::{Cause, Rules};
use crate::config::Rollback;

/// SplitMix64: a crowd that is the same each time.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }

    /// So many calls, of which so many parts of a million fail.
    fn calls(&mut self, calls: u64, error_ppm: u64) -> Counts {
        let mut counts = Counts::default();
        for _ in 0..calls {
            let error = self.below(1_000_000) < error_ppm;
            counts.add(if error { Verdict::Error } else { Verdict::Success }, error);
        }
        counts
    }
}

#[track_caller]
fn rules(text: &str) -> Rules {
    let written: Rollback = parse(Some(text.as_bytes())).unwrap();
    let mut problems = Problems::new();
    let rules = Rules::compile(&weir_sdk::At::ROOT, &written, true, &mut problems);
    problems.finish().unwrap();
    rules
}

/// A second each.
const WINDOW: &str = r#""window": "30s""#;
const SECOND: u64 = 1_000_000_000;

/// In which part of a window, from 1, an arm is rolled back that fails so often, beside a stable one.
fn rolled_in(rules: &Rules, dice: &mut Dice, calls: [u64; 2], error_ppm: [u64; 2]) -> Option<u64> {
    let mut record = Record::default();
    (1..=SLICES).find(|slice| {
        let counts = [dice.calls(calls[0], error_ppm[0]), dice.calls(calls[1], error_ppm[1])];
        !record.merge(rules, (1000 + slice) * SECOND, &counts).rolled.is_empty()
    })
}

/// No more windows with equal arms end in a rollback than the configuration says: here one in twenty, and no difference is too small.
#[test]
fn equal_arms_are_rolled_back_as_rarely_as_is_configured() {
    const WINDOWS: usize = 1000;
    let text =
        format!(r#"{{{WINDOW}, "confidence": 95, "min_samples": 1, "error_rate": {{"min_difference": 0}}}}"#);
    let rules = rules(&text);
    for (seed, calls, error_ppm) in [
        (1, [10, 1], 1_000),
        (2, [10, 1], 50_000),
        (3, [5, 5], 50_000),
        (4, [5, 5], 500_000),
        (5, [1, 10], 10_000),
        (6, [20, 2], 10_000),
    ] {
        let mut dice = Dice(seed);
        let rolled = (0..WINDOWS).filter(|_| rolled_in(&rules, &mut dice, calls, [error_ppm; 2]).is_some());
        let rolled = rolled.count();
        assert!(rolled <= WINDOWS / 20, "{calls:?} {error_ppm}: {rolled} of {WINDOWS}");
    }
}

#[test]
fn a_clearly_worse_arm_is_always_rolled_back_within_the_window() {
    let rules = rules(&format!("{{{WINDOW}}}"));
    let mut dice = Dice(7);
    for (calls, error_ppm) in
        [([90, 10], [1_000, 300_000]), ([50, 50], [10_000, 100_000]), ([20, 20], [0, 1_000_000])]
    {
        for _ in 0..100 {
            assert!(rolled_in(&rules, &mut dice, calls, error_ppm).is_some(), "{calls:?} {error_ppm:?}");
        }
    }
}

#[test]
fn a_better_arm_and_a_small_difference_are_left_alone() {
    let rules = rules(&format!(r#"{{{WINDOW}, "error_rate": {{"min_difference": 5}}}}"#));
    let mut dice = Dice(8);
    for error_ppm in [[500_000, 0], [10_000, 40_000], [0, 30_000]] {
        assert_eq!(rolled_in(&rules, &mut dice, [100, 100], error_ppm), None, "{error_ppm:?}");
    }
}

#[test]
fn nothing_is_tested_with_too_few_calls() {
    let compared = rules(r#"{"min_samples": 50}"#);
    let assumed = rules(r#"{"min_samples": 50, "error_rate": {"assumed": 1}}"#);
    let failing = |calls| Counts { calls, errors: calls, slow: 0 };
    let fine = |calls| Counts { calls, ..Counts::default() };
    for calls in 0..50 {
        for stable in [0, 49, 50, 100_000] {
            assert_eq!(compared.test(failing(calls), fine(stable)), None);
            assert_eq!(assumed.test(failing(calls), fine(stable)), None);
        }
    }
    assert_eq!(compared.test(failing(50), fine(49)), None);
    assert_eq!(compared.test(failing(50), fine(50)), Some(Cause::Errors));
    assert_eq!(assumed.test(failing(50), fine(0)), Some(Cause::Errors));
}

#[test]
fn slow_calls_are_compared_likewise() {
    let rules = rules(r#"{"slow": {"slower_than": "500ms"}}"#);
    let slow = |slow| Counts { calls: 1000, errors: 1000 - slow, slow };
    assert_eq!(rules.test(slow(300), slow(10)), Some(Cause::Slow));
    assert_eq!(rules.test(slow(10), slow(300)), None);
    assert_eq!(rules.slow_ns(), Some(500_000_000));
}

/// Workers add what they counted in any order, and in any pieces.
#[test]
fn the_order_in_which_workers_add_does_not_matter() {
    let mut dice = Dice(9);
    for _ in 0..200 {
        let mut pieces: Vec<(u64, [Counts; 2])> = (0..40)
            .map(|_| (100 + dice.below(SLICES), [dice.calls(3, 500_000), dice.calls(2, 100_000)]))
            .collect();
        let sum = |pieces: &[(u64, [Counts; 2])]| {
            let mut slices = Slices::default();
            pieces.iter().for_each(|(slice, counts)| slices.add(*slice, counts));
            slices.advance(110 + SLICES);
            slices
        };
        let one = sum(&pieces);
        for place in (1..pieces.len()).rev() {
            pieces.swap(place, usize::try_from(dice.below(place as u64 + 1)).unwrap());
        }
        assert_eq!(sum(&pieces), one);
        let kept: u64 =
            pieces.iter().filter(|(slice, _)| slice + SLICES > 110 + SLICES).map(|(_, c)| c[0].calls).sum();
        assert_eq!(one.sum(0).calls, kept);
    }
}

fn tripped(rules: &Rules) -> Record {
    let mut record = Record::default();
    let counts = [Counts { calls: 100, ..Counts::default() }, Counts { calls: 100, errors: 100, slow: 0 }];
    let step = record.merge(rules, 1000 * SECOND, &counts);
    assert_eq!(step.rolled.len(), 1);
    record
}

#[test]
fn what_is_rolled_back_stays_so_until_it_is_reset() {
    let rules = rules(&format!("{{{WINDOW}}}"));
    let mut record = tripped(&rules);
    let mut dice = Dice(10);
    for slice in 1001..1400 {
        let counts = [dice.calls(20, 500_000), dice.calls(20, 0)];
        assert_eq!(record.merge(&rules, slice * SECOND, &counts), Step::default());
        assert!(
            record.rolled(&rules, 1, slice * SECOND).is_some()
                && record.rolled(&rules, 0, slice * SECOND).is_none()
        );
    }
    assert_eq!((record.reset().back, record.count()), (vec![1], 0));
    assert_eq!(record.rolled(&rules, 1, 1400 * SECOND), None);
    assert_eq!(record.reset(), Step::default());
}

#[test]
fn its_time_ends_exactly_and_it_is_watched_anew() {
    let rules = rules(&format!(r#"{{{WINDOW}, "for": "5s"}}"#));
    let mut record = tripped(&rules);
    let none = [Counts::default(); 2];
    let end = 1005 * SECOND;
    assert_eq!(record.merge(&rules, end - 1, &none), Step::default());
    assert!(record.rolled(&rules, 1, end - 1).is_some() && record.rolled(&rules, 1, end).is_none());
    let step = record.merge(&rules, end, &none);
    // What it did before is forgotten.
    assert_eq!((step.back, step.rolled), (vec![1], vec![]));
    let failing = [Counts::default(), Counts { calls: 100, errors: 100, slow: 0 }];
    assert_eq!(record.merge(&rules, end + SECOND, &failing).rolled.len(), 1);
}

/// At most one test in each part of the window, however often workers add.
#[test]
fn tests_are_made_once_a_part() {
    let rules = rules(&format!("{{{WINDOW}}}"));
    let mut record = Record::default();
    let fine = [Counts { calls: 100, ..Counts::default() }; 2];
    assert_eq!(record.merge(&rules, 1000 * SECOND, &fine), Step::default());
    let failing = [Counts::default(), Counts { calls: 100, errors: 100, slow: 0 }];
    assert_eq!(record.merge(&rules, 1000 * SECOND + SECOND / 2, &failing), Step::default());
    assert_eq!(record.merge(&rules, 1001 * SECOND, &[Counts::default(); 2]).rolled.len(), 1);
    // Further steps change nothing, and the clock may go back.
    for ns in [1001 * SECOND, 1002 * SECOND, 5 * SECOND, 0] {
        assert_eq!(record.merge(&rules, ns, &failing), Step::default());
    }
}

#[test]
fn bytes_are_read_back_and_others_refused() {
    let mut record = tripped(&rules(&format!("{{{WINDOW}}}")));
    record.merge(
        &rules(&format!("{{{WINDOW}}}")),
        1003 * SECOND,
        &[Counts { calls: 1, errors: 1, slow: 1 }; 2],
    );
    let bytes = record.encode();
    assert_eq!(Record::decode(&bytes), Some(record));
    for cut in 0..bytes.len() {
        let _ = Record::decode(&bytes[..cut]);
    }
    assert_eq!(Record::decode(&[0xff; 16]), None);
    assert_eq!(Record::decode(b"1234567"), None);
}
