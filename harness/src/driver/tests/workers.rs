//! Several workers: VMs, connections, shared data, queues, metrics, and interleavings that can be found again.

use std::collections::BTreeSet;

use super::*;

const WORKERS: u32 = 4;

/// How often it was called: `n` of the shared data, with whatever is between reading and writing.
fn counting(write: &str) -> String {
    format!(
        "(func (export \"proxy_on_configure\") (param i32 i32) (result i32)
            (i32.store (i32.const 48) (i32.const 0))
            (if (call $shared \"n\" (i32.const 16) (i32.const 20) (i32.const 24))
                (then (drop (call $set_shared \"n\" (i32.const 48) (i32.const 4) (i32.const 0)))))
            (i32.const 1))
        (func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32)
            (loop $again
                (drop (call $shared \"n\" (i32.const 16) (i32.const 20) (i32.const 24)))
                (i32.store (i32.const 48) (i32.add (i32.load (i32.load (i32.const 16))) (i32.const 1)))
                {write})
            (i32.const 0))"
    )
}

/// Reads, and writes whatever happened in between.
fn racy() -> String {
    counting("(drop (call $set_shared \"n\" (i32.const 48) (i32.const 4) (i32.const 0)))")
}

/// Writes only what it has read, else reads again.
fn careful() -> String {
    counting("(br_if $again (call $set_shared \"n\" (i32.const 48) (i32.const 4) (i32.load (i32.const 24))))")
}

fn start_workers(code: &str, workers: u32, seed: u64) -> Replay {
    start_with(Setup { plugins: vec![plugin(code)], workers, seed, ..Setup::default() })
}

/// So many exchanges that begin at once, each of a connection of its own.
fn at_once(count: usize) -> Vec<Exchange> {
    let one = Exchange { start_ns: Some(1_000_000_000_000), ..exchange() };
    std::iter::repeat_n(one, count).collect()
}

fn outcomes(replay: &mut Replay, exchanges: Vec<Exchange>) -> Vec<Outcome> {
    replay.outcomes(exchanges).map(|(_, outcome)| outcome).collect()
}

/// What twenty exchanges at once count to.
fn counted(code: &str, workers: u32, seed: u64) -> u32 {
    let mut replay = start_workers(code, workers, seed);
    assert_eq!(outcomes(&mut replay, at_once(20)).len(), 20);
    let (value, _) = replay.host.shared.get("", b"n").unwrap();
    u32::from_le_bytes(value.try_into().unwrap())
}

fn metric(replay: &Replay, name: &str) -> u64 {
    replay.metrics().iter().find(|metric| metric.name == name).map_or(0, |metric| metric.value)
}

#[test]
fn a_race_in_shared_data_is_found_and_found_again() {
    let counts: Vec<u32> = (0..50).map(|seed| counted(&racy(), WORKERS, seed)).collect();
    assert!(counts.iter().any(|count| *count < 20), "no seed loses an update: {counts:?}");
    let again: Vec<u32> = (0..50).map(|seed| counted(&racy(), WORKERS, seed)).collect();
    assert_eq!(counts, again, "the same seed, the same race");
    assert!(BTreeSet::from_iter(&counts).len() > 5, "hardly any two seeds differ: {counts:?}");
    assert_eq!(counted(&racy(), 1, 0), 20, "one worker does one thing after another");
}

#[test]
fn compare_and_swap_loses_nothing_whatever_the_interleaving() {
    for seed in 0..100 {
        assert_eq!(counted(&careful(), WORKERS, seed), 20, "seed {seed}");
    }
}

#[test]
fn the_seed_of_the_interleaving_is_the_scenarios_own_unless_another_is_given() {
    let run = |seed, interleaving| {
        let plugins = vec![plugin(&racy())];
        let mut replay =
            start_with(Setup { plugins, workers: WORKERS, seed, interleaving, ..Setup::default() });
        outcomes(&mut replay, at_once(20)).iter().map(|outcome| outcome.worker).collect::<Vec<_>>()
    };
    assert_eq!(run(7, None), run(3, Some(7)));
    assert_ne!(run(7, None), run(7, Some(8)));
}

#[test]
fn two_runs_with_workers_are_equal() {
    let run = || {
        let mut replay = start_workers(&racy(), WORKERS, 5);
        let mut exchanges = at_once(30);
        for (number, exchange) in exchanges.iter_mut().enumerate() {
            exchange.start_ns = Some(1_000_000_000_000 + (number as u64 % 3) * 1000);
        }
        let outcomes = outcomes(&mut replay, exchanges);
        replay.finish();
        (outcomes, replay.apart(), replay.metrics())
    };
    assert_eq!(run(), run());
}

#[test]
fn a_connection_stays_on_its_worker() {
    let mut exchanges = at_once(60);
    for (number, exchange) in exchanges.iter_mut().enumerate() {
        match number % 3 {
            0 => exchange.downstream.connection_id = Some(number as u64 % 5),
            1 => {
                let port = 1000 + u16::try_from(number % 5).unwrap();
                exchange.downstream.address = Some(([10, 0, 0, 1], port).into());
            }
            // A host behind which there may be any number of connections.
            _ => exchange.downstream.address = Some(([10, 0, 0, 2], 0).into()),
        }
    }
    let mut replay = start_workers(&careful(), WORKERS, 1);
    let workers: Vec<u32> = outcomes(&mut replay, exchanges).iter().map(|outcome| outcome.worker).collect();
    let of = |kind: usize, rest: usize| -> BTreeSet<u32> {
        (0..60)
            .filter(|number| number % 3 == kind && number % 5 == rest)
            .map(|number| workers[number])
            .collect()
    };
    for rest in 0..5 {
        assert_eq!((of(0, rest).len(), of(1, rest).len()), (1, 1), "{workers:?}");
    }
    let alone: BTreeSet<u32> = (0..20).map(|number| workers[3 * number + 2]).collect();
    assert_eq!(alone, BTreeSet::from([0, 1, 2, 3]));
}

#[test]
fn load_32_configuring_happens_n_plus_two_times_and_metrics_are_of_all_threads() {
    let code = "(global $id (mut i32) (i32.const 0))
        (func (export \"proxy_on_configure\") (param i32 i32) (result i32)
            (drop (call $define (i32.const 0) \"configured\" (i32.const 40)))
            (drop (call $increment (i32.load (i32.const 40)) (i64.const 1)))
            (drop (call $define (i32.const 0) \"requests\" (i32.const 40)))
            (drop (call $define (i32.const 0) \"ticks\" (i32.const 44)))
            (drop (call $tick (i32.const 1000)))
            (i32.const 1))
        (func (export \"proxy_on_tick\") (param i32)
            (drop (call $increment (i32.load (i32.const 44)) (i64.const 1))))
        (func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32)
            (drop (call $increment (i32.load (i32.const 40)) (i64.const 1))) (i32.const 0))";
    for (workers, configured, ticks) in [(1, 3, 4), (2, 4, 6), (4, 6, 10)] {
        let mut replay = start_workers(code, workers, 0);
        assert_eq!(metric(&replay, "configured"), configured, "LOAD-32");
        replay.advance(Duration::from_millis(2500));
        assert_eq!(metric(&replay, "ticks"), ticks, "TICK-01: on the main thread and each worker, twice");
        let served: BTreeSet<u32> = (0..40).map(|_| replay.exchange(&exchange()).worker).collect();
        assert_eq!(served.len(), workers as usize);
        assert_eq!(metric(&replay, "requests"), 40, "MET-04");
    }
}

#[test]
fn fault_04_a_trap_is_of_one_worker() {
    // Traps where the request has no body.
    let code = "(func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32)
        (if (local.get 2) (then unreachable)) (i32.const 0))";
    let mut replay = start_workers(code, WORKERS, 3);
    let mut trapping = exchange();
    trapping.request.body.clear();
    let dead = replay.exchange(&trapping);
    verify("FAULT-03", &dead, End::Trapped, 503, "");
    let mut seen = BTreeSet::new();
    for _ in 0..40 {
        let outcome = replay.exchange(&exchange());
        let (end, status) =
            if outcome.worker == dead.worker { (End::Trapped, 503) } else { (End::Forwarded, 200) };
        verify("FAULT-04", &outcome, end, status, "");
        seen.insert(outcome.worker);
    }
    assert_eq!(seen.len(), WORKERS as usize);
}

#[test]
fn life_14_what_a_guest_keeps_is_of_one_worker() {
    let code = "(global $n (mut i32) (i32.const 0))
        (func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32)
            (global.set $n (i32.add (global.get $n) (i32.const 1))) (call $say (global.get $n)) (i32.const 0))";
    let mut replay = start_workers(code, WORKERS, 9);
    let mut counts = [0_u8; WORKERS as usize];
    for _ in 0..20 {
        let outcome = replay.exchange(&exchange());
        let count = &mut counts[outcome.worker as usize];
        *count += 1;
        assert_eq!(logged(&outcome), char::from(b'0' + *count).to_string(), "LIFE-14");
    }
}

#[test]
fn shr_10_the_last_root_that_registered_a_queue_is_told() {
    let code = "(global $n (mut i32) (i32.const 0))
        (func (export \"proxy_on_configure\") (param i32 i32) (result i32)
            (drop (call $register \"q\" (i32.const 40))) (i32.const 1))
        (func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32)
            (drop (call $enqueue (i32.load (i32.const 40)) \"item\")) (i32.const 0))
        (func (export \"proxy_on_queue_ready\") (param i32 i32)
            (global.set $n (i32.add (global.get $n) (i32.const 1)))
            (if (i32.eqz (call $dequeue (local.get 1) (i32.const 16) (i32.const 20)))
                (then (call $say (global.get $n)))))";
    let mut recipients = BTreeSet::new();
    for seed in 0..20 {
        let mut replay = start_workers(code, WORKERS, seed);
        let mut lines: Vec<String> =
            outcomes(&mut replay, at_once(9)).iter().map(logged).filter(|line| !line.is_empty()).collect();
        replay.finish();
        lines.extend(replay.apart().log.iter().map(|line| line.message.clone()));
        let mut told: Vec<char> = lines.iter().flat_map(|line| line.chars()).filter(|c| *c != ' ').collect();
        told.sort_unstable();
        assert_eq!(told.into_iter().collect::<String>(), "123456789", "one root was told of all: {lines:?}");
        recipients.insert(replay.host.queues.recipient(1));
    }
    assert!(recipients.len() > 1, "who registers last depends on the interleaving: {recipients:?}");
}

#[test]
fn thousands_of_exchanges_at_once_interleave_and_end() {
    let code = careful();
    let mut replay = start_workers(&code, 8, 2);
    assert_eq!(outcomes(&mut replay, at_once(3000)).len(), 3000);
    let (value, _) = replay.host.shared.get("", b"n").unwrap();
    assert_eq!(u32::from_le_bytes(value.try_into().unwrap()), 3000);
}
