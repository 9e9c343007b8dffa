//! Runs a case in a fresh replay and compares. Knows no terminal.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use super::{Failure, Loaded, Step, Totals, check, check_total};
use crate::driver::{Begin, Replay, Setup, StartError};
use crate::exchange::Exchange;
use crate::outcome::{LogLine, Outcome};
use crate::setup::{self, Modules, SetupError};
use crate::traffic::{self, Options, TrafficError};

/// Something of a case that is not as it must be, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseFailure {
    /// The exchange, such as `exchanges[2] repetition 5`; absent for what must hold at the end.
    pub exchange: Option<String>,
    /// What is not so.
    pub failure: Failure,
}

/// What came of a case.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CaseReport {
    /// How many exchanges there were.
    pub exchanges: u64,
    /// What is not as it must be; empty when the case passes.
    pub failures: Vec<CaseFailure>,
    /// Stands for ends, statuses and clusters of all exchanges and for the values of metrics: where it differs, one of them does.
    pub digest: u64,
}

/// Why a case cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Its scenario cannot.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// A plugin's module is not accepted.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A recording is broken.
    #[error(transparent)]
    Traffic(#[from] TrafficError),
}

/// Runs a case: the exchanges that are written out, then the recordings.
///
/// A configuration that is refused, or that traps the module, is compared with `expect.refused`. A filter that fails in an exchange fails
/// the case, unless the exchange's `expect.end` says how it ends.
///
/// # Errors
/// When it cannot run: no module, a broken recording.
pub fn run(loaded: &Loaded, modules: &mut Modules) -> Result<CaseReport, RunError> {
    run_interleaved(loaded, modules, None)
}

/// Runs a case, as [`run`], with a seed of its own for the spread of connections over its workers and for their interleaving; absent: the
/// scenario's. Everything else that is random stays the scenario's.
///
/// # Errors
/// As [`run`].
pub fn run_interleaved(
    loaded: &Loaded,
    modules: &mut Modules,
    interleaving: Option<u64>,
) -> Result<CaseReport, RunError> {
    let (case, base) = (&loaded.case, loaded.base.as_path());
    let mut totals = Totals::default();
    let mut report = CaseReport::default();
    let mut digest = DefaultHasher::new();
    let setup = Setup { interleaving, ..setup::setup(&case.scenario, base, modules)? };
    match Replay::start(setup) {
        Ok(mut replay) => {
            totals.log.extend_from_slice(replay.start_log());
            replay_all(loaded, &mut replay, &mut totals, &mut report, &mut digest)?;
            replay.finish();
            let apart = replay.apart();
            totals.log.extend(apart.log);
            totals.calls.extend(apart.callouts.into_iter().map(|call| (call.cluster, call.request)));
            let failures = faults(&apart.faults).map(|failure| CaseFailure { exchange: None, failure });
            report.failures.extend(failures);
            totals.metrics = replay.metrics().into_iter().map(|metric| (metric.name, metric.value)).collect();
            totals.metrics.hash(&mut digest);
        }
        Err(StartError::Refused { log, .. }) => {
            totals.refused = true;
            totals.log = log;
        }
        Err(StartError::Trapped { plugin, message, log }) => {
            totals.refused = true;
            totals.log = log;
            totals.log.push(LogLine { plugin, level: "critical", message });
        }
        Err(error @ StartError::Load { .. }) => return Err(error.into()),
    }
    report.exchanges = totals.exchanges;
    report.digest = digest.finish();
    let failures = check_total(&case.expect, &totals, base);
    report.failures.extend(failures.into_iter().map(|failure| CaseFailure { exchange: None, failure }));
    Ok(report)
}

fn replay_all(
    loaded: &Loaded,
    replay: &mut Replay,
    totals: &mut Totals,
    report: &mut CaseReport,
    digest: &mut DefaultHasher,
) -> Result<(), TrafficError> {
    let (case, base) = (&loaded.case, loaded.base.as_path());
    let keep_log = !case.expect.log.is_empty();
    let mut expectations = Vec::new();
    for Step { exchange, begin, expect } in case.exchanges() {
        replay.begin(exchange, begin);
        expectations.push(expect);
    }
    for expect in expectations {
        let Some((exchange, outcome)) = replay.next_outcome() else { break };
        add(totals, &outcome, keep_log);
        digest_outcome(&outcome, digest);
        let mut failures = check(expect, &outcome, base);
        if expect.end.is_none() {
            failures.extend(faults(&outcome.faults));
        }
        let at = place(&exchange);
        report
            .failures
            .extend(failures.into_iter().map(|failure| CaseFailure { exchange: Some(at.clone()), failure }));
    }
    let options =
        Options { access_log_format: case.scenario.access_log_format.clone(), ..Options::default() };
    for recording in &case.scenario.recordings {
        replay.begin_recording();
        for exchange in traffic::open(&base.join(Path::new(recording)), &options)? {
            replay.begin(exchange?, Begin::Recorded);
            while let Some((exchange, outcome)) = replay.next_ready() {
                digest_outcome(&outcome, digest);
                add_recorded(totals, report, &exchange, &outcome, keep_log);
            }
        }
    }
    while let Some((exchange, outcome)) = replay.next_outcome() {
        digest_outcome(&outcome, digest);
        add_recorded(totals, report, &exchange, &outcome, keep_log);
    }
    Ok(())
}

fn add_recorded(
    totals: &mut Totals,
    report: &mut CaseReport,
    exchange: &Exchange,
    outcome: &Outcome,
    keep_log: bool,
) {
    add(totals, outcome, keep_log);
    let failures = faults(&outcome.faults);
    report.failures.extend(failures.map(|failure| CaseFailure { exchange: Some(place(exchange)), failure }));
}

fn digest_outcome(outcome: &Outcome, digest: &mut DefaultHasher) {
    let status = outcome.response.as_ref().and_then(crate::report::status);
    (outcome.end, status, &outcome.cluster, &outcome.details).hash(digest);
}

fn add(totals: &mut Totals, outcome: &Outcome, keep_log: bool) {
    totals.add(outcome);
    if !keep_log {
        totals.log.clear();
    }
}

fn faults(faults: &[String]) -> impl Iterator<Item = Failure> {
    faults.iter().map(|fault| Failure {
        field: "end".to_owned(),
        expected: "no filter to fail".to_owned(),
        got: fault.clone(),
        texts: None,
    })
}

fn place(exchange: &Exchange) -> String {
    let text = |name: &[u8]| {
        exchange.request.headers.get(name).map(|value| String::from_utf8_lossy(value)).unwrap_or_default()
    };
    format!("{}: {} {}{}", exchange.origin, text(b":method"), text(b":authority"), text(b":path"))
}
