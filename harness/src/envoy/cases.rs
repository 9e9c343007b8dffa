//! A case in the harness and in a real Envoy: what the case expects of each, and that both agree. Knows no terminal and no test runner.

use std::path::Path;
use std::time::Duration;

use super::EnvoyError;
use super::compare::{self, Comparison, Other};
use super::run::{self, Planned, Run};
use crate::case::{self, CaseFailure, Expectation, Loaded, Totals};
use crate::exchange::Exchange;
use crate::setup::Modules;
use crate::traffic::{self, TrafficError};

/// So much time between exchanges of a case is waited for in a real Envoy; a case with more runs in the harness only.
pub const LONGEST: Duration = Duration::from_secs(3);

/// So many differing exchanges of a case are shown.
const SHOWN: usize = 3;

/// Why a case cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// It does not run.
    #[error(transparent)]
    Envoy(#[from] EnvoyError),
    /// A recording is broken.
    #[error(transparent)]
    Traffic(#[from] TrafficError),
}

/// What came of a case in both.
#[derive(Clone, Debug, Default)]
pub struct Both {
    /// What in Envoy is not as the case expects.
    pub failures: Vec<CaseFailure>,
    /// How the two differ.
    pub comparison: Comparison,
    /// What came of it in the harness.
    pub harness: Run,
    /// What came of it in Envoy.
    pub envoy: Run,
}

/// A case that is ready to run: its recordings are read.
#[derive(Debug)]
pub struct Ready<'a> {
    loaded: &'a Loaded,
    planned: Vec<Planned>,
}

impl<'a> Ready<'a> {
    /// Reads a case's recordings.
    ///
    /// # Errors
    /// When one is broken.
    pub fn new(loaded: &'a Loaded) -> Result<Self, TrafficError> {
        let scenario = &loaded.case.scenario;
        let steps = loaded.case.exchanges().into_iter();
        let mut planned: Vec<Planned> =
            steps.map(|step| Planned { exchange: step.exchange, begin: step.begin }).collect();
        for path in &scenario.recordings {
            let format = scenario.access_log_format.clone();
            let options = traffic::Options { access_log_format: format, ..traffic::Options::default() };
            for exchange in traffic::open(&loaded.base.join(path), &options)? {
                planned.extend(run::in_turn([exchange?]));
            }
        }
        Ok(Self { loaded, planned })
    }

    /// Why the case cannot run in a real Envoy: its own reason, or that it needs the virtual clock.
    #[must_use]
    pub fn skipped_in_envoy(&self) -> Option<String> {
        let first = run::first_ns(&self.planned);
        let waits = self.planned.iter().map(|one| one.since(first)).max().unwrap_or_default();
        let clock =
            || format!("it needs the virtual clock: {} s pass between exchanges", waits.as_secs_f64());
        self.loaded.case.envoy.skip.clone().or_else(|| (waits > LONGEST).then(clock))
    }

    /// Runs it in the harness.
    ///
    /// # Errors
    /// When it does not run.
    pub fn in_harness(&self, modules: &mut Modules) -> Result<Run, EnvoyError> {
        run::in_harness(&self.loaded.case.scenario, &self.loaded.base, modules, &self.planned)
    }

    /// Runs it in a real Envoy and compares; `harness` is what came of it there.
    ///
    /// # Errors
    /// When it does not run.
    pub fn in_envoy(&self, binary: &Path, harness: Run) -> Result<Both, EnvoyError> {
        let (scenario, base) = (&self.loaded.case.scenario, &self.loaded.base);
        let envoy = run::in_envoy(binary, scenario, base, &self.planned, &harness, &mut |_| ())?;
        let note = &self.loaded.case.envoy;
        let failures = if note.differs.is_none() { self.check(&envoy) } else { Vec::new() };
        let comparison = if note.random { Comparison::default() } else { compare::compare(&harness, &envoy) };
        Ok(Both { failures, comparison, harness, envoy })
    }

    /// What of a run is not as the case expects.
    #[must_use]
    pub fn check(&self, run: &Run) -> Vec<CaseFailure> {
        let (case, base) = (&self.loaded.case, self.loaded.base.as_path());
        let mut failures = Vec::new();
        let mut totals = Totals { refused: run.refused, metrics: run.metrics.clone(), ..Totals::default() };
        totals.log.clone_from(&run.start_log);
        totals.log.extend_from_slice(&run.loose_log);
        let expectations: Vec<&Expectation> = case.exchanges().into_iter().map(|step| step.expect).collect();
        for (index, (outcome, planned)) in run.outcomes.iter().zip(&self.planned).enumerate() {
            totals.add(outcome);
            let Some(expect) = expectations.get(index) else { continue };
            // What is known of no single exchange is looked for among all that is known of none.
            let loose = run.loose.contains(&index).then(|| {
                let mut outcome = outcome.clone();
                outcome.log.extend_from_slice(&run.loose_log);
                outcome
            });
            let found = case::check(expect, loose.as_ref().unwrap_or(outcome), base);
            let at = place(&planned.exchange);
            failures
                .extend(found.into_iter().map(|failure| CaseFailure { exchange: Some(at.clone()), failure }));
        }
        totals.calls.clone_from(&run.calls);
        let total = case::check_total(&case.expect, &totals, base);
        failures.extend(total.into_iter().map(|failure| CaseFailure { exchange: None, failure }));
        failures
    }

    /// What is wrong with a case that ran in both, as a text; nothing when it is right. A case that is said to differ must.
    #[must_use]
    pub fn verdict(&self, both: &Both) -> Option<String> {
        if let Some(failure) = both.failures.first() {
            let CaseFailure { exchange, failure } = failure;
            let at = exchange.as_deref().unwrap_or("at the end");
            let count = both.failures.len();
            return Some(format!("{count} not as expected in Envoy, the first at {at}: {failure}"));
        }
        match (&self.loaded.case.envoy.differs, both.comparison.agrees()) {
            (None, true) | (Some(_), false) => None,
            (Some(reason), true) => {
                Some(format!("is said to differ in Envoy ({reason}), and does not: remove `envoy.differs`"))
            }
            (None, false) => Some(self.describe(&both.comparison)),
        }
    }

    fn describe(&self, comparison: &Comparison) -> String {
        let (_, explained, unexplained) = comparison.counts();
        let mut text =
            format!("differs between the harness and Envoy in {} exchanges", explained + unexplained);
        let differing = comparison.exchanges.iter().zip(&self.planned);
        let differing = differing.filter_map(|(difference, one)| Some((&one.exchange, difference.as_ref()?)));
        for (exchange, difference) in differing.take(SHOWN) {
            text.push_str(&format!("\n\n{}\n{}", place(exchange), difference.diff));
        }
        for other in &comparison.others {
            text.push_str(&format!("\n\n{other}"));
        }
        text
    }
}

/// Where an exchange stands, and what it asks for.
fn place(exchange: &Exchange) -> String {
    let text = |name: &[u8]| {
        exchange.request.headers.get(name).map(|value| String::from_utf8_lossy(value)).unwrap_or_default()
    };
    format!("{}: {} {}{}", exchange.origin, text(b":method"), text(b":authority"), text(b":path"))
}

impl std::fmt::Display for Other {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused { harness, envoy } => {
                let say = |refuses| if refuses { "refuses the configuration" } else { "takes it" };
                write!(f, "the harness {}, Envoy {}", say(*harness), say(*envoy))
            }
            Self::Metric { name, harness, envoy } => {
                write!(f, "metric {name}: harness {harness}, Envoy {envoy}")
            }
            Self::Lines { what, diff } => write!(f, "{what}\n{diff}"),
        }
    }
}
