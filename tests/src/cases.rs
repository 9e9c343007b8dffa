//! Finds cases, runs them in the harness and in a real Envoy, and compares. Knows nothing of test runners.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use weir_harness::case::{self, Case, Expectation, Loaded, Totals};
use weir_harness::exchange::Exchange;
use weir_harness::traffic;

use weir_harness::envoy::portrait;

use crate::run::{self, Run};

/// So many differing exchanges of a case are shown.
const SHOWN: usize = 3;

/// The folders of all cases: `filters/*/cases/*` and `examples/*/cases/*`, sorted.
///
/// # Errors
/// When a folder cannot be read.
pub fn all(workspace: &Path) -> Result<Vec<PathBuf>> {
    let mut found = BTreeSet::new();
    for group in ["filters", "examples"] {
        for package in folders(&workspace.join(group))? {
            let cases = package.join("cases");
            if cases.is_dir() {
                found.extend(folders(&cases)?.into_iter().filter(|case| case.join("case.yaml").is_file()));
            }
        }
    }
    Ok(found.into_iter().collect())
}

fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    Ok(paths.into_iter().filter(|path| path.is_dir()).collect())
}

/// A case that is ready to run: its recordings are read.
#[derive(Debug)]
pub struct Ready {
    loaded: Loaded,
    exchanges: Vec<Exchange>,
}

impl Ready {
    /// Loads a case and reads its recordings.
    ///
    /// # Errors
    /// When any of that fails.
    pub fn new(folder: &Path) -> Result<Self> {
        let loaded = Case::load(folder)?;
        let scenario = &loaded.case.scenario;
        let mut exchanges: Vec<Exchange> =
            loaded.case.exchanges().into_iter().map(|step| step.exchange).collect();
        for path in &scenario.recordings {
            let options = traffic::Options {
                access_log_format: scenario.access_log_format.clone(),
                ..traffic::Options::default()
            };
            for exchange in traffic::open(&loaded.base.join(path), &options)? {
                exchanges.push(exchange?);
            }
        }
        Ok(Self { loaded, exchanges })
    }

    /// The case.
    #[must_use]
    pub fn case(&self) -> &Case {
        &self.loaded.case
    }

    /// Why the case cannot run in a real Envoy: its own reason, or that it needs the virtual clock.
    #[must_use]
    pub fn skipped_in_envoy(&self) -> Option<String> {
        let case = self.case();
        let clock = case.exchanges.iter().any(|exchange| exchange.after.is_some());
        case.envoy.skip.clone().or_else(|| clock.then(|| "it needs the virtual clock".to_owned()))
    }

    /// Runs the case in the harness.
    ///
    /// # Errors
    /// When it does not run, or something is not as the case expects.
    pub fn in_harness(&self) -> Result<Run> {
        let run = run::in_harness(&self.case().scenario, &self.loaded.base, &self.exchanges)?;
        self.check(&run).context("in the harness")?;
        Ok(run)
    }

    /// Runs the case in a real Envoy; `harness` is what came of it there.
    ///
    /// # Errors
    /// As in the harness.
    pub fn in_envoy(&self, binary: &Path, harness: &Run) -> Result<Run> {
        let run = run::in_envoy(binary, &self.case().scenario, &self.loaded.base, &self.exchanges, harness)?;
        if self.case().envoy.differs.is_none() {
            self.check(&run).context("in Envoy")?;
        }
        Ok(run)
    }

    /// Compares what came of both runs, exchange by exchange. A case that is said to differ must.
    ///
    /// # Errors
    /// Shows how the first exchanges differ.
    pub fn compare(&self, harness: &Run, envoy: &Run) -> Result<()> {
        let note = &self.case().envoy;
        if note.random {
            return Ok(());
        }
        let differences = self.differences(harness, envoy);
        match (&note.differs, differences.is_empty()) {
            (None, true) | (Some(_), false) => Ok(()),
            (Some(reason), true) => {
                bail!("is said to differ in Envoy ({reason}), and does not: remove `envoy.differs`")
            }
            (None, false) => bail!("differs between the harness and Envoy: {}", listed(&differences)),
        }
    }

    fn differences(&self, harness: &Run, envoy: &Run) -> Vec<String> {
        let mut differences = Vec::new();
        let pairs = harness.outcomes.iter().zip(&envoy.outcomes);
        for ((ours, theirs), exchange) in pairs.zip(&self.exchanges) {
            if let Some(difference) = portrait::difference(ours, theirs) {
                differences.push(format!("{}\n{difference}", exchange.origin));
            }
        }
        if harness.refused != envoy.refused || harness.outcomes.len() != envoy.outcomes.len() {
            differences.push(format!("refused: harness {}, Envoy {}", harness.refused, envoy.refused));
        }
        let names: BTreeSet<&String> = harness.metrics.keys().chain(envoy.metrics.keys()).collect();
        for name in names {
            let value = |run: &Run| run.metrics.get(name).copied().unwrap_or_default();
            if value(harness) != value(envoy) {
                differences.push(format!(
                    "metric {name}: harness {}, Envoy {}",
                    value(harness),
                    value(envoy)
                ));
            }
        }
        differences
    }

    fn check(&self, run: &Run) -> Result<()> {
        let (case, base) = (self.case(), &self.loaded.base);
        let mut failures = Vec::new();
        let mut totals = Totals { refused: run.refused, metrics: run.metrics.clone(), ..Totals::default() };
        totals.log.clone_from(&run.start_log);
        let expectations = case.exchanges();
        for (index, outcome) in run.outcomes.iter().enumerate() {
            totals.add(outcome);
            let (exchange, expect): (_, Option<&Expectation>) =
                (self.exchanges.get(index), expectations.get(index).map(|step| step.expect));
            let found = expect.map(|expect| case::check(expect, outcome, base)).unwrap_or_default();
            if !found.is_empty() {
                let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
                let origin = exchange.map_or("?", |exchange| &exchange.origin);
                failures.push(format!("{origin}\n{}\n{}", lines.join("\n"), portrait::portrait(outcome)));
            }
        }
        totals.calls.clone_from(&run.calls);
        failures.extend(case::check_total(&case.expect, &totals, base).iter().map(ToString::to_string));
        if failures.is_empty() { Ok(()) } else { bail!("not as expected: {}", listed(&failures)) }
    }
}

fn listed(all: &[String]) -> String {
    let mut text = format!("{} in all", all.len());
    for one in all.iter().take(SHOWN) {
        let _ = write!(text, "\n\n{one}");
    }
    text
}
