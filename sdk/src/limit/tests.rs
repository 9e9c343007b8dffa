//! What every limit promises, over generated sequences of steps.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::HostError;

fn bucket(max: u32, fill: u32, interval: u64) -> Algorithm {
    Algorithm::TokenBucket(TokenBucket::new(max, fill, interval).unwrap())
}

fn gcra(max: u32, fill: u32, interval: u64) -> Algorithm {
    Algorithm::Gcra(Gcra::new(fill, interval, max).unwrap())
}

fn fresh(algorithm: &Algorithm) -> Vec<u8> {
    vec![0; algorithm.state_bytes()]
}

/// What a worker has read, its version, and when.
type Read = (Option<Vec<u8>>, u32, u64);

/// What was taken, and when.
type Log = Vec<(u64, u64)>;

/// In no stretch of time more than `max`, and what comes in it.
#[track_caller]
fn check_bucket(log: &Log, max: u32, fill: u32, interval: u64) {
    for (first, (start, _)) in log.iter().enumerate() {
        let mut sum = 0_u128;
        for (end, amount) in log.iter().skip(first) {
            sum += u128::from(*amount) * u128::from(interval);
            let come = u128::from(end - start) * u128::from(fill);
            assert!(sum <= u128::from(max) * u128::from(interval) + come, "from {start} to {end}");
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<(u64, u64)>> {
    prop::collection::vec((prop_oneof![Just(0), 0..50_u64, 0..5_000_u64], 0..5_u64), 1..80)
}

#[test]
fn a_bucket_says_what_envoys_does() {
    // Seen on Envoy 1.40: 4 tokens, 2 in 10 s.
    let second = 1_000_000_000;
    for algorithm in [bucket(4, 2, 10 * second), gcra(4, 2, 10 * second)] {
        let mut state = fresh(&algorithm);
        let mut at = |now: u64| {
            let answer = algorithm.take(&mut state, now, 1);
            (answer.admitted, answer.remaining, answer.reset_ns.unwrap().div_ceil(second))
        };
        let start = 1_000 * second;
        assert_eq!([at(start), at(start), at(start)], [(true, 3, 0), (true, 2, 0), (true, 1, 0)]);
        assert_eq!([at(start), at(start)], [(true, 0, 5), (false, 0, 5)]);
        assert_eq!(at(start + 21 * second / 10), (false, 0, 3));
        assert_eq!(at(start + 63 * second / 10), (true, 0, 4));
    }
}

#[test]
fn no_numbers_overflow() {
    let algorithms = [
        bucket(u32::MAX, u32::MAX, u64::MAX),
        gcra(u32::MAX, u32::MAX, u64::MAX),
        bucket(u32::MAX, 1, u64::MAX),
        gcra(1, u32::MAX, 1),
        Algorithm::FixedWindow(FixedWindow::new(u64::MAX, 1).unwrap().with_offset(i32::MIN)),
        Algorithm::FixedWindow(FixedWindow::weeks(u64::MAX).unwrap().with_offset(i32::MAX)),
        Algorithm::FixedWindow(FixedWindow::months(1, u32::MAX).unwrap()),
        Algorithm::FixedWindow(FixedWindow::months(1, 1).unwrap().with_offset(i32::MAX)),
        Algorithm::FixedWindow(FixedWindow::new(1, u64::MAX).unwrap()),
        Algorithm::SlidingWindow(SlidingWindow::new(u32::MAX, u64::MAX).unwrap()),
        Algorithm::SlidingWindow(SlidingWindow::new(1, 1).unwrap()),
        Algorithm::Concurrency(Concurrency::new(u32::MAX).unwrap()),
    ];
    for algorithm in algorithms {
        let mut state = fresh(&algorithm);
        for now in [u64::MAX, 0, 1, u64::MAX - 1, u64::MAX] {
            for cost in [u64::MAX, 0, 1, u64::from(u32::MAX)] {
                algorithm.take(&mut state, now, cost);
                algorithm.charge(&mut state, now, cost);
                let receipt = state.clone();
                algorithm.refund(&mut state, &receipt, now, cost);
                let _ = algorithm.is_idle(&state, now);
            }
        }
        // Bytes of anything else are nothing used.
        assert!(algorithm.take(&mut [], 0, 1).admitted);
    }
    assert!(TokenBucket::new(0, 1, 1).is_none() && TokenBucket::new(1, 0, 1).is_none());
    assert!(Gcra::new(1, 0, 1).is_none() && SlidingWindow::new(1, 0).is_none());
}

#[test]
fn what_waits_is_bounded_in_number_and_time() {
    let queue = Queue { max_queued: 2, max_wait_ns: 25 };
    let limits = [
        Algorithm::TokenBucket(TokenBucket::new(1, 1, 10).unwrap().with_queue(queue)),
        Algorithm::Gcra(Gcra::new(1, 10, 1).unwrap().with_queue(queue)),
    ];
    for algorithm in limits {
        let mut state = fresh(&algorithm);
        let mut at = |now, cost| {
            let answer = algorithm.take(&mut state, now, cost);
            answer.admitted.then_some(answer.wait_ns)
        };
        assert_eq!([at(100, 1), at(100, 1), at(101, 1), at(101, 1)], [Some(0), Some(10), Some(19), None]);
        assert_eq!([at(110, 1), at(110, 2), at(1_000, 1)], [Some(20), None, Some(0)]);
    }
}

proptest! {
    #[test]
    fn a_bucket_admits_its_size_and_what_comes(
        max in 1..20_u32, fill in 1..7_u32, interval in 1..400_u64, steps in steps(),
    ) {
        let (one, other) = (bucket(max, fill, interval), gcra(max, fill, interval));
        let (mut one_state, mut other_state) = (fresh(&one), fresh(&other));
        let (mut now, mut log) = (1_u64 << 40, Log::new());
        for (after, cost) in steps {
            now += after;
            let answer = one.take(&mut one_state, now, cost);
            prop_assert_eq!(answer, other.take(&mut other_state, now, cost));
            prop_assert!(answer.remaining <= u64::from(max));
            if answer.admitted {
                log.push((now, cost));
            } else if let Some(reset) = answer.reset_ns {
                // It says when, to the nanosecond.
                let refused = |time| !one.take(&mut one_state.clone(), time, cost).admitted;
                prop_assert!(refused(now + reset - 1) && !refused(now + reset));
            }
            if let Some(full) = answer.full_ns {
                prop_assert!(one.is_idle(&one_state, now + full) && other.is_idle(&other_state, now + full));
                prop_assert!(full == 0 || !one.is_idle(&one_state, now + full - 1));
            }
        }
        check_bucket(&log, max, fill, interval);
    }

    #[test]
    fn no_clock_makes_a_bucket_give_more(
        max in 1..20_u32, fill in 1..7_u32, interval in 1..400_u64,
        steps in prop::collection::vec((0..10_000_u64, 0..4_u64), 1..80),
    ) {
        for algorithm in [bucket(max, fill, interval), gcra(max, fill, interval)] {
            let (mut state, mut latest, mut log) = (fresh(&algorithm), 0, Log::new());
            for (now, cost) in &steps {
                if algorithm.take(&mut state, *now, *cost).admitted {
                    latest = latest.max(*now);
                    log.push((latest, *cost));
                }
            }
            check_bucket(&log, max, fill, interval);
        }
    }

    #[test]
    fn refunds_and_charges_keep_the_bound(
        max in 1..20_u32, fill in 1..7_u32, interval in 1..400_u64,
        steps in prop::collection::vec((0..300_u64, 1..4_u64, prop::option::of((0..8_usize, 0..4_u64))), 1..80),
    ) {
        for algorithm in [bucket(max, fill, interval), gcra(max, fill, interval)] {
            let (mut state, mut now, mut log) = (fresh(&algorithm), 1 << 40, Log::new());
            let mut receipts: Vec<(usize, Vec<u8>)> = Vec::new();
            for (after, cost, refund) in &steps {
                now += after;
                if let Some((back, amount)) = refund && *back < receipts.len() {
                    let (index, receipt) = receipts.swap_remove(*back);
                    let amount = (*amount).min(log[index].1);
                    algorithm.refund(&mut state, &receipt, now, amount);
                    log[index].1 -= amount;
                }
                if algorithm.take(&mut state, now, *cost).admitted {
                    log.push((now, *cost));
                    receipts.push((log.len() - 1, state.clone()));
                }
            }
            check_bucket(&log, max, fill, interval);
        }
    }

    #[test]
    fn a_fixed_window_admits_its_number(max in 1..9_u64, window in 1..200_u64, steps in steps()) {
        let algorithm = Algorithm::FixedWindow(FixedWindow::new(max, window).unwrap());
        let (mut state, mut now) = (fresh(&algorithm), 0);
        let mut taken = BTreeMap::<u64, u64>::new();
        for (after, cost) in steps {
            now += after;
            let answer = algorithm.take(&mut state, now, cost);
            let sum = taken.entry(now / window).or_default();
            prop_assert_eq!(answer.admitted, *sum + cost <= max);
            *sum += if answer.admitted { cost } else { 0 };
            prop_assert_eq!(answer.remaining, max - *sum);
        }
    }

    #[test]
    fn a_sliding_window_admits_its_number_in_any_window(
        max in 1..9_u32, tenth in 1..50_u64, steps in steps(),
    ) {
        let window = 10 * tenth;
        let algorithm = Algorithm::SlidingWindow(SlidingWindow::new(max, window).unwrap());
        let (mut state, mut now, mut log) = (fresh(&algorithm), 0, Log::new());
        for (after, cost) in steps {
            now += after;
            let before = |from: u64| log.iter().filter(|(at, _)| *at > from).map(|(_, cost)| cost).sum::<u64>();
            // What has left the window for longer than a tenth does not count any more.
            let (within, nearly) = match now.checked_sub(window) {
                Some(from) => (before(from), from.checked_sub(tenth).map_or(u64::from(max), &before)),
                None => (log.iter().map(|(_, cost)| cost).sum(), log.iter().map(|(_, cost)| cost).sum()),
            };
            let answer = algorithm.take(&mut state, now, cost);
            if answer.admitted {
                prop_assert!(within + cost <= u64::from(max));
                log.push((now, cost));
            } else {
                prop_assert!(nearly + cost > u64::from(max) || nearly == u64::from(max));
                if let Some(reset) = answer.reset_ns {
                    let refused = |time| !algorithm.take(&mut state.clone(), time, cost).admitted;
                    prop_assert!(refused(now + reset - 1) && !refused(now + reset));
                }
            }
        }
    }

    #[test]
    fn an_idle_state_is_as_good_as_none(kind in 0..5_usize, steps in steps(), later in 0..2_000_u64) {
        let algorithm = kinds()[kind];
        let (mut state, mut now) = (fresh(&algorithm), 1 << 40);
        for (after, cost) in steps {
            now += after;
            algorithm.take(&mut state, now, cost);
            if algorithm.is_idle(&state, now) {
                let (mut used, mut unused) = (state.clone(), fresh(&algorithm));
                for cost in [1, 2, 1, 3] {
                    let at = now + later;
                    prop_assert_eq!(algorithm.take(&mut used, at, cost), algorithm.take(&mut unused, at, cost));
                }
            }
        }
    }

    /// Any number of workers, each of which reads a value, thinks, and writes it when nobody has written since.
    #[test]
    fn no_interleaving_of_workers_admits_more(
        workers in 2..6_usize, turns in prop::collection::vec((0..6_usize, 0..40_u64), 1..200),
        kind in 0..2_usize,
    ) {
        let (max, fill, interval) = (5, 2, 90);
        let algorithm = [bucket(max, fill, interval), gcra(max, fill, interval)][kind];
        let table = Table::single("t", algorithm);
        let mut shared: (Option<Vec<u8>>, u32) = (None, 0);
        let mut reading: Vec<Option<Read>> = vec![None; workers];
        let (mut now, mut log) = (1 << 40, Log::new());
        for (worker, after) in turns {
            now += after;
            let worker = worker % workers;
            let Some((value, version, at)) = reading[worker].take() else {
                reading[worker] = Some((shared.0.clone(), shared.1, now));
                continue;
            };
            let (new, taken) = table.step(value, 0, 0, at, Ask::of(1));
            match new {
                Some(new) if version == shared.1 => {
                    shared = (Some(new), version + 1);
                    // By the time at which it was known that there is one, or a later one: the latest so far.
                    log.push((log.last().map_or(at, |(last, _)| at.max(*last)), 1));
                }
                Some(_) => reading[worker] = Some((shared.0.clone(), shared.1, at)),
                None => prop_assert!(!taken.admission.admitted),
            }
        }
        check_bucket(&log, max, fill, interval);
    }

    /// However many keys there are for however few slots, no key gets more than its own limit.
    #[test]
    fn forgetting_gives_nothing_away(
        steps in prop::collection::vec((0..60_u64, 0..40_u8, 1..3_u64), 1..300),
        kind in 0..2_usize, deny: bool,
    ) {
        let (max, fill, interval) = (3, 1, 100);
        let algorithm = [bucket(max, fill, interval), gcra(max, fill, interval)][kind];
        let on_full = if deny { OnFull::Deny } else { OnFull::Shared };
        let table = Table::keyed("t", algorithm, 8, 7, on_full);
        let store = Memory::default();
        let (mut now, mut logs) = (1 << 40, BTreeMap::<u8, Log>::new());
        for (after, key, cost) in steps {
            now += after;
            let taken = table.take(&store, &[key], now, cost).unwrap();
            if taken.admission.admitted {
                logs.entry(key).or_default().push((now, cost));
            }
        }
        for log in logs.values() {
            check_bucket(log, max, fill, interval);
        }
        let bytes: usize = store.0.borrow().values().map(Vec::len).sum();
        prop_assert!(bytes as u64 <= table.max_bytes());
    }

    /// A class leaves alone what it has to leave; the one that may take all gets it at any time.
    #[test]
    fn what_is_to_be_left_is_left(
        kind in 0..5_usize, leave in 0..4_u64,
        steps in prop::collection::vec((0..60_u64, 0..3_u64, any::<bool>()), 1..80),
    ) {
        let algorithm = kinds()[kind];
        let table = Table::single("t", algorithm);
        let store = Memory::default();
        let mut now = 1_u64 << 40;
        // What those have taken that may take all: as if there were nobody else.
        let mut alone = fresh(&algorithm);
        for (after, cost, low) in steps {
            now += after;
            let before = table.take(&store, b"", now, 0).unwrap().admission.remaining;
            if low {
                let taken = table.take_as(&store, b"", now, Ask { leave, ..Ask::of(cost) }).unwrap();
                prop_assert_eq!(taken.admission.admitted, cost + leave <= before);
                let left = table.take(&store, b"", now, 0).unwrap().admission.remaining;
                prop_assert_eq!(taken.admission.remaining, left.saturating_sub(leave));
            } else if cost <= leave {
                // At least what others have left is there, less what those like it have taken themselves.
                let own = algorithm.take(&mut alone.clone(), now, 0);
                let may = cost <= (own.remaining + leave).saturating_sub(own.limit);
                let taken = table.take(&store, b"", now, cost).unwrap();
                prop_assert!(taken.admission.admitted || !may);
                if taken.admission.admitted {
                    algorithm.charge(&mut alone, now, cost);
                }
            }
        }
    }

    /// Each of N has a state of its own and takes Nths: all together take what one state would admit.
    #[test]
    fn shares_add_up_to_no_more_than_the_limit(
        max in 1..20_u32, fill in 1..7_u32, interval in 1..400_u64, count in 1..5_u64, steps in steps(),
        turns in prop::collection::vec(0..5_u64, 80),
    ) {
        let table = Table::single("t", bucket(max, fill, interval));
        let (other, stores) = (bucket(max, fill, interval), [(); 5].map(|()| Memory::default()));
        let (mut now, mut log) = (1_u64 << 40, Log::new());
        for ((after, cost), turn) in steps.into_iter().zip(turns) {
            now += after;
            let store = &stores[(turn % count) as usize];
            let ask = Ask { unit: count, ..Ask::of(cost) };
            let taken = table.take_as(store, b"", now, ask).unwrap();
            prop_assert_eq!(taken.admission.limit, other.size() / count);
            if taken.admission.admitted {
                log.push((now, cost));
                // Given back and taken again, it is the same.
                let receipt = taken.receipt.unwrap();
                table.refund(store, &receipt, now, cost).unwrap();
                let again = table.take_as(store, b"", now, ask).unwrap();
                prop_assert_eq!(again.admission, taken.admission);
            } else if let Some(reset) = taken.admission.reset_ns {
                let look = |time| table.take_as(&Memory(store.0.clone()), b"", time, ask).unwrap().admission.admitted;
                prop_assert!(!look(now + reset - 1) && look(now + reset));
            }
        }
        check_bucket(&log, max, fill, interval);
    }

    #[test]
    fn as_many_at_a_time_as_allowed(
        steps in prop::collection::vec((0..30_u8, prop::option::of(0..20_usize)), 1..300),
    ) {
        let table = Table::keyed("t", Algorithm::Concurrency(Concurrency::new(2).unwrap()), 8, 7, OnFull::Shared);
        let store = Memory::default();
        let mut active: Vec<(u8, Receipt)> = Vec::new();
        for (key, ends) in steps {
            if let Some(ends) = ends && ends < active.len() {
                let (_, receipt) = active.swap_remove(ends);
                table.refund(&store, &receipt, 0, 1).unwrap();
            }
            if let Some(receipt) = table.take(&store, &[key], 0, 1).unwrap().receipt {
                active.push((key, receipt));
            }
            for key in active.iter().map(|(key, _)| *key) {
                prop_assert!(active.iter().filter(|(other, _)| *other == key).count() <= 2);
            }
        }
        // Everything that was given back is there again.
        for (_, receipt) in active.drain(..) {
            table.refund(&store, &receipt, 0, 1).unwrap();
        }
        prop_assert_eq!(table.take(&store, b"new", 0, 2).map(|taken| taken.admission.admitted), Ok(true));
    }
}

fn kinds() -> [Algorithm; 5] {
    [
        bucket(3, 1, 100),
        gcra(3, 1, 100),
        Algorithm::FixedWindow(FixedWindow::new(3, 100).unwrap()),
        Algorithm::SlidingWindow(SlidingWindow::new(3, 100).unwrap()),
        Algorithm::Concurrency(Concurrency::new(3).unwrap()),
    ]
}

/// A store of one worker.
#[derive(Default)]
struct Memory(std::cell::RefCell<BTreeMap<Vec<u8>, Vec<u8>>>);

impl Store for Memory {
    fn update(
        &self,
        key: &[u8],
        next: &mut dyn FnMut(Option<Vec<u8>>) -> Option<Vec<u8>>,
    ) -> Result<(), HostError> {
        let old = self.0.borrow().get(key).cloned();
        if let Some(new) = next(old) {
            self.0.borrow_mut().insert(key.to_vec(), new);
        }
        Ok(())
    }
}

#[test]
fn a_full_set_shares_or_refuses() {
    for (on_full, want) in [(OnFull::Shared, [true, false]), (OnFull::Deny, [false, false])] {
        let table = Table::keyed("t", bucket(1, 1, 100), 8, 7, on_full);
        let store = Memory::default();
        for key in 0..8_u8 {
            let taken = table.take(&store, &[key], 0, 1).unwrap();
            assert!(taken.admission.admitted && !taken.overflowed);
        }
        let got = [8_u8, 9].map(|key| {
            let taken = table.take(&store, &[key], 0, 1).unwrap();
            assert!(taken.overflowed);
            taken.admission.admitted
        });
        assert_eq!(got, want);
        // When the slots are idle again, there is one for it, full when the overflow is.
        let taken = table.take(&store, &[9], 100, 1).unwrap();
        assert!(taken.admission.admitted && !taken.overflowed);
    }
}

#[test]
fn a_charge_becomes_a_debt() {
    let table = Table::single("t", bucket(10, 1, 10));
    let store = Memory::default();
    let receipt = table.take(&store, b"", 0, 1).unwrap().receipt.unwrap();
    table.charge(&store, &receipt, 0, 29).unwrap();
    let refused = table.take(&store, b"", 0, 1).unwrap().admission;
    assert_eq!((refused.admitted, refused.remaining, refused.reset_ns), (false, 0, Some(210)));
    assert!(table.take(&store, b"", 210, 1).unwrap().admission.admitted);
}

#[test]
fn division_is_that_of_the_compiler() {
    // Knuth's multiplier instead of dice.
    let mut seed = 1_u128;
    for _ in 0..10_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let dividend = seed >> (seed % 128);
        let divisor = (seed >> 32) as u64 >> (seed % 61);
        let want = dividend.checked_div(divisor.into()).and_then(|quotient| u64::try_from(quotient).ok());
        assert_eq!(super::divide(dividend, divisor), want, "{dividend} / {divisor}");
    }
    for (dividend, divisor) in [(u128::MAX, u64::MAX), (u128::MAX, 1), (1 << 64, 1), (1 << 64, 2), (0, 0)] {
        let want =
            dividend.checked_div(u128::from(divisor)).and_then(|quotient| u64::try_from(quotient).ok());
        assert_eq!(super::divide(dividend, divisor), want, "{dividend} / {divisor}");
    }
}
