//! Several workers: what is exact over all of them stays exact however they interleave, and what is not is found.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use conformance::{run, tools};
use weir_harness::case::{self, Case, Exploration};
use weir_harness::envoy::cases::Ready;

/// How many interleavings are tried.
const SEEDS: u64 = 100;

fn explore(folder: &Path) -> Exploration {
    let loaded = Case::load(folder).unwrap();
    assert!(loaded.case.scenario.workers > 1, "{}: one worker has one interleaving", folder.display());
    case::explore(&loaded, &mut run::modules(), 0..SEEDS).unwrap()
}

/// Every expectation holds with every seed, and the seeds make a difference.
#[track_caller]
fn check(case: &str) {
    let explored = explore(&tools::workspace().join(case));
    assert_eq!(explored.failing, None, "{case}");
    assert_eq!(explored.tried, SEEDS);
    assert!(explored.differs.is_some(), "{case}: no two interleavings come to different outcomes");
}

#[test]
fn no_interleaving_over_admits() {
    check("filters/rate_limit/cases/four-workers");
}

#[test]
fn no_interleaving_lets_more_through_at_once_or_keeps_a_place() {
    check("filters/rate_limit/cases/four-workers-at-once");
}

#[test]
fn a_breaker_opens_once_and_lets_exactly_its_probes_through() {
    check("filters/circuit_breaker/cases/four-workers");
}

#[test]
fn a_canary_is_rolled_back_within_its_window_on_all_workers() {
    check("filters/canary/cases/rollback-on-four-workers");
}

/// Reads a count and writes the next without compare-and-swap; the count is also what a metric says in the end.
const RACY: &str = r#"(module
    (import "env" "proxy_get_shared_data" (func $get (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_set_shared_data" (func $set (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_define_metric" (func $define (param i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_record_metric" (func $record (param i32 i64) (result i32)))
    (memory (export "memory") 2)
    (data (i32.const 64) "ncount")
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "malloc") (param i32) (result i32) (i32.const 4096))
    (func (export "proxy_on_configure") (param i32 i32) (result i32)
        (drop (call $define (i32.const 1) (i32.const 65) (i32.const 5) (i32.const 40))) (i32.const 1))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (i64.store (i32.const 48) (i64.const 0))
        (if (i32.eqz (call $get (i32.const 64) (i32.const 1) (i32.const 16) (i32.const 20) (i32.const 24)))
            (then (i64.store (i32.const 48) (i64.load (i32.load (i32.const 16))))))
        (i64.store (i32.const 48) (i64.add (i64.load (i32.const 48)) (i64.const 1)))
        (drop (call $set (i32.const 64) (i32.const 1) (i32.const 48) (i32.const 8) (i32.const 0)))
        (i32.const 0))
    (func (export "proxy_on_done") (param i32) (result i32)
        (drop (call $get (i32.const 64) (i32.const 1) (i32.const 16) (i32.const 20) (i32.const 24)))
        (drop (call $record (i32.load (i32.const 40)) (i64.load (i32.load (i32.const 16)))))
        (i32.const 1)))"#;

const CASE: &str = "
description: Counts to twelve, and once more when all is over.
scenario:
  workers: 4
  filters: [{name: racy, module: ./racy.wasm}]
  clusters: {backend: {}}
exchanges:
- {start: 0s, repeat: 12}
- {after: 1s}
expect: {metric: {count: 13}}
";

#[test]
fn a_lost_update_is_found_and_its_seed_shows_it_again() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("racy.wasm"), wat::parse_str(RACY).unwrap()).unwrap();
    fs::write(folder.path().join("case.yaml"), CASE).unwrap();
    let explored = explore(folder.path());
    let Some((seed, report)) = explored.failing else { panic!("no seed loses an update") };
    assert_eq!(report.failures[0].failure.field, "metric.count");
    let loaded = Case::load(folder.path()).unwrap();
    let again = case::run_interleaved(&loaded, &mut run::modules(), Some(seed)).unwrap();
    assert_eq!(again, report);
    let mut one = loaded;
    one.case.scenario.workers = 1;
    assert_eq!(case::run(&one, &mut run::modules()).unwrap().failures, []);
}

/// Counts how often it is configured and asked.
const COUNTING: &str = r#"(module
    (import "env" "proxy_define_metric" (func $define (param i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_increment_metric" (func $increment (param i32 i64) (result i32)))
    (memory (export "memory") 2)
    (data (i32.const 64) "startedconfiguredrequests")
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "malloc") (param i32) (result i32) (i32.const 4096))
    (func $count (param i32 i32)
        (drop (call $define (i32.const 0) (local.get 0) (local.get 1) (i32.const 40)))
        (drop (call $increment (i32.load (i32.const 40)) (i64.const 1))))
    (func (export "proxy_on_vm_start") (param i32 i32) (result i32)
        (call $count (i32.const 64) (i32.const 7)) (i32.const 1))
    (func (export "proxy_on_configure") (param i32 i32) (result i32)
        (call $count (i32.const 71) (i32.const 10)) (i32.const 1))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (call $count (i32.const 81) (i32.const 8)) (i32.const 0)))"#;

/// LOAD-32, MET-04: the same in a real Envoy with as many workers.
#[test]
fn starts_and_requests_are_counted_as_in_envoy() {
    let Some(envoy) = tools::envoy_or_skip("starts_and_requests_are_counted_as_in_envoy").unwrap() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("counting.wasm"), wat::parse_str(COUNTING).unwrap()).unwrap();
    for workers in [1, 2, 4] {
        let starts = workers + 2;
        let case = format!(
            "
description: Counts.
scenario:
  workers: {workers}
  filters: [{{name: counting, module: ./counting.wasm}}]
  clusters: {{backend: {{}}}}
exchanges:
- {{repeat: 12}}
expect: {{metric: {{started: {starts}, configured: {starts}, requests: 12}}}}
"
        );
        fs::write(folder.path().join("case.yaml"), case).unwrap();
        let loaded = Case::load(folder.path()).unwrap();
        let ready = Ready::new(&loaded).unwrap();
        let harness = ready.in_harness(&mut run::modules()).unwrap();
        assert_eq!(ready.check(&harness), [], "{workers} workers in the harness");
        let both = ready.in_envoy(envoy, harness).unwrap();
        assert_eq!(ready.verdict(&both), None, "{workers} workers in Envoy");
    }
}
