//! A scenario and its recordings in the harness and in a real Envoy: what both are given, when, what came of it, and what explains a difference.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::EnvoyError;
use super::carry::{self, Carried, Left};
use super::compare::{self, Comparison};
use super::run::{self, Planned, Run};
use crate::driver::Begin;
use crate::exchange::Exchange;
use crate::outcome::Outcome;
use crate::scenario::{Cluster, Scenario};
use crate::setup::Modules;
use crate::time;

/// So long exchanges may take one after another; where they take longer they overlap.
const PATIENCE: Duration = Duration::from_secs(20);
/// So far apart exchanges begin then.
const APART: Duration = Duration::from_millis(25);
/// So many exchanges are replayed at most to find out whether a difference is one of other random numbers, and with so many seeds.
const TRIES: usize = 100_000;
const SEEDS: usize = 1000;
/// With so many seeds it shows whether anything is random.
const FIRST_SEEDS: usize = 16;

/// What to run, and how.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// The folder that its paths are relative to.
    pub base: &'a Path,
    /// The Envoy.
    pub binary: &'a Path,
    /// Recorded times are waited for.
    pub real_time: bool,
}

/// When the exchanges begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// One after another.
    #[default]
    InTurn,
    /// A little after one another, whatever those before do.
    Overlapping,
    /// As they were recorded.
    Recorded,
}

impl Pace {
    /// In words.
    #[must_use]
    pub fn say(self) -> &'static str {
        match self {
            Self::InTurn => "one after another",
            Self::Overlapping => "25 ms after one another",
            Self::Recorded => "at their recorded times",
        }
    }
}

/// What is known before Envoy runs.
#[derive(Clone, Debug, Default)]
pub struct Prepared {
    scenario: Scenario,
    planned: Vec<Planned>,
    harness: Run,
    /// When exchanges begin.
    pub pace: Pace,
    /// How long Envoy will take at least.
    pub at_least: Duration,
    left: Vec<Left>,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Versus {
    /// What was asked of both.
    pub planned: Vec<Planned>,
    /// In the harness.
    pub harness: Run,
    /// In Envoy.
    pub envoy: Run,
    /// How they compare.
    pub comparison: Comparison,
    /// What Envoy could not be given.
    pub left: Vec<Left>,
    /// When exchanges began.
    pub pace: Pace,
    /// How long Envoy took.
    pub took: Duration,
}

/// Runs a scenario in the harness, as it will run in Envoy.
///
/// # Errors
/// When it does not run.
pub fn prepare(
    task: Task<'_>,
    exchanges: Vec<Exchange>,
    modules: &mut Modules,
) -> Result<Prepared, EnvoyError> {
    let mut scenario = task.scenario.clone();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    scenario.start = Some(time::format_timestamp(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)));
    let as_recorded = exchanges.clone();
    let carried = Carried::new(exchanges);
    let span = span(&carried.exchanges);
    let mut left: Vec<Left> = carried.left().collect();
    let (_, clusters): (_, BTreeMap<String, Cluster>) = run::scene(task.scenario);
    left.extend(carry::left_of(task.scenario, &clusters, (!task.real_time).then_some(span)));
    let mut pace = if task.real_time { Pace::Recorded } else { Pace::InTurn };
    let mut planned = plan(carried.exchanges, pace);
    let mut harness = run::in_harness(&scenario, task.base, modules, &planned)?;
    let takes = |run: &Run| run.outcomes.iter().map(|outcome| outcome.duration).sum::<Duration>();
    let mut at_least = if task.real_time { span } else { takes(&harness) };
    if pace == Pace::InTurn && at_least > PATIENCE {
        pace = Pace::Overlapping;
        planned = plan(planned.into_iter().map(|one| one.exchange), pace);
        harness = run::in_harness(&scenario, task.base, modules, &planned)?;
        let longest = harness.outcomes.iter().map(|outcome| outcome.duration).max().unwrap_or_default();
        at_least = longest + APART.saturating_mul(u32::try_from(planned.len()).unwrap_or(u32::MAX));
    }
    left.extend(dependent(task, &scenario, as_recorded, modules, &planned, &harness)?);
    Ok(Prepared { scenario, planned, harness, pace, at_least, left })
}

/// Runs it in Envoy and compares; `told` is called with the number of exchanges that are over.
///
/// # Errors
/// When Envoy does not start, ends, or stops answering.
pub fn compare(
    task: Task<'_>,
    prepared: Prepared,
    modules: &mut Modules,
    told: &mut dyn FnMut(usize),
) -> Result<Versus, EnvoyError> {
    let Prepared { scenario, planned, harness, pace, left, .. } = prepared;
    let begun = Instant::now();
    let envoy = run::in_envoy(task.binary, &scenario, task.base, &planned, &harness, told)?;
    let took = begun.elapsed();
    let mut comparison = compare::compare(&harness, &envoy);
    explain(task, &scenario, &planned, &envoy, &mut comparison, modules)?;
    Ok(Versus { planned, harness, envoy, comparison, left, pace, took })
}

fn plan(exchanges: impl IntoIterator<Item = Exchange>, pace: Pace) -> Vec<Planned> {
    let mut exchanges: Vec<Exchange> = exchanges.into_iter().collect();
    if pace == Pace::Recorded {
        exchanges.sort_by_key(|exchange| exchange.start_ns);
    }
    let mut before = None;
    let mut begin = |exchange: &mut Exchange| match pace {
        Pace::InTurn => Begin::Next,
        Pace::Overlapping => Begin::After(APART),
        Pace::Recorded => {
            let start = exchange.start_ns;
            let since =
                start.zip(before).map_or(0, |(start, before): (u64, u64)| start.saturating_sub(before));
            before = start.or(before);
            Begin::After(Duration::from_nanos(since))
        }
    };
    let planned = |mut exchange: Exchange| {
        let begin = begin(&mut exchange);
        exchange.start_ns = None;
        Planned { exchange, begin }
    };
    exchanges.into_iter().map(planned).collect()
}

/// The time between the begins of the first and the last exchange, where the recording says.
fn span(exchanges: &[Exchange]) -> Duration {
    let starts = || exchanges.iter().filter_map(|exchange| exchange.start_ns);
    let (first, last) = (starts().min().unwrap_or_default(), starts().max().unwrap_or_default());
    Duration::from_nanos(last.saturating_sub(first))
}

/// What outcomes depend on that Envoy cannot be given: the recorded times, the seed. The harness shows it: it comes to others.
fn dependent(
    task: Task<'_>,
    scenario: &Scenario,
    as_recorded: Vec<Exchange>,
    modules: &mut Modules,
    planned: &[Planned],
    harness: &Run,
) -> Result<Vec<Left>, EnvoyError> {
    let recorded = |exchange| Planned { exchange, begin: Begin::Recorded };
    let recorded: Vec<Planned> = as_recorded.into_iter().map(recorded).collect();
    let at_times = run::in_harness(task.scenario, task.base, modules, &recorded)?;
    let reseeded = Scenario { seed: scenario.seed.wrapping_add(1), ..scenario.clone() };
    let reseeded = run::in_harness(&reseeded, task.base, modules, planned)?;
    let rows = [
        (
            "outcomes at the recorded times",
            "the harness comes to others there, which this comparison says nothing about",
            differing(planned, harness, &recorded, &at_times),
        ),
        (
            "outcomes by `seed`",
            "what filters and routes draw at random, Envoy draws anew; the harness comes to others with another seed",
            differing(planned, harness, planned, &reseeded),
        ),
    ];
    let left = |(what, why, exchanges): (&str, &str, u64)| Left {
        what: what.to_owned(),
        why: why.to_owned(),
        exchanges: Some(exchanges),
    };
    Ok(rows.into_iter().filter(|(.., exchanges)| *exchanges > 0).map(left).collect())
}

/// How many exchanges end otherwise in another run of the harness, whatever their order there.
fn differing(planned: &[Planned], run: &Run, other_planned: &[Planned], other: &Run) -> u64 {
    let origins = other_planned.iter().map(|one| one.exchange.origin.as_str());
    let others: BTreeMap<&str, &Outcome> = origins.zip(&other.outcomes).collect();
    let brief = |outcome: &Outcome| {
        let status = outcome.response.as_ref().and_then(|response| response.headers.get(b":status"));
        (outcome.end, outcome.cluster.clone(), outcome.details.clone(), status.map(<[u8]>::to_vec))
    };
    let differs = |(one, outcome): &(&Planned, &Outcome)| {
        let other = others.get(one.exchange.origin.as_str());
        other.is_some_and(|other| brief(other) != brief(outcome))
    };
    planned.iter().zip(&run.outcomes).filter(differs).count() as u64
}

/// Says of differing exchanges that are random that they are: the harness comes to Envoy's outcome with another seed.
fn explain(
    task: Task<'_>,
    scenario: &Scenario,
    planned: &[Planned],
    envoy: &Run,
    comparison: &mut Comparison,
    modules: &mut Modules,
) -> Result<(), EnvoyError> {
    let open = |comparison: &Comparison| -> Vec<usize> {
        let all = comparison.exchanges.iter().enumerate();
        all.filter(|(_, one)| one.as_ref().is_some_and(|one| one.because.is_none()))
            .map(|(index, _)| index)
            .collect()
    };
    let seeds = (TRIES / planned.len().max(1)).clamp(FIRST_SEEDS, SEEDS);
    let mut varies = false;
    let mut first: Option<Run> = None;
    for seed in 0..seeds {
        let unexplained = open(comparison);
        if unexplained.is_empty() || (seed >= FIRST_SEEDS && !varies) {
            break;
        }
        let other = Scenario { seed: scenario.seed.wrapping_add(seed as u64 + 1), ..scenario.clone() };
        let run = run::in_harness(&other, task.base, modules, planned)?;
        for index in unexplained {
            let (Some(ours), Some(theirs)) = (run.outcomes.get(index), envoy.outcomes.get(index)) else {
                continue;
            };
            if compare::difference(ours, theirs, !envoy.loose.contains(&index)).is_none()
                && let Some(Some(difference)) = comparison.exchanges.get_mut(index)
            {
                difference.because =
                    Some(format!("random: with seed {} the harness comes to the same", other.seed));
            }
        }
        varies |= first.as_ref().is_some_and(|first| !compare::compare(first, &run).agrees());
        first.get_or_insert(run);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Option<u64>) -> Exchange {
        Exchange { start_ns: start, ..Exchange::default() }
    }

    #[test]
    fn recorded_times_become_distances() {
        let planned = plan([at(Some(5)), at(Some(2)), at(Some(9))], Pace::Recorded);
        let begins: Vec<Begin> = planned.iter().map(|one| one.begin).collect();
        let after = |nanos| Begin::After(Duration::from_nanos(nanos));
        assert_eq!(begins, [after(0), after(3), after(4)]);
        assert!(planned.iter().all(|one| one.exchange.start_ns.is_none()));
        assert_eq!(span(&[at(Some(5)), at(None), at(Some(2))]), Duration::from_nanos(3));
    }
}
