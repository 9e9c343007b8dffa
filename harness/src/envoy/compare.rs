//! What came of a scenario in the harness beside what came of it in Envoy: exchange by exchange, then what belongs to none. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use similar::TextDiff;

use super::portrait;
use super::run::Run;
use crate::outcome::{End, Outcome};

/// Envoy's timers have milliseconds, are set by a clock that is read once a round of the event loop, and its log cuts to milliseconds.
const GRAIN: Duration = Duration::from_millis(5);
/// So much longer than in the harness an exchange may take; only a hung machine takes longer.
const SLACK: Duration = Duration::from_secs(10);
/// Response headers that count seconds until something: a real clock goes on while the harness's stands.
const SECONDS: [&[u8]; 2] = [b"retry-after", b"x-ratelimit-reset"];
/// So many seconds apart they may be: longer runs are told apart from mistakes by nobody.
const SECONDS_APART: u64 = 60;
/// Lines around a change in a difference.
const CONTEXT: usize = 2;

/// How two runs compare.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// Of each exchange, how it differs; absent where it does not.
    pub exchanges: Vec<Option<Difference>>,
    /// What else differs.
    pub others: Vec<Other>,
}

/// How an exchange differs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Difference {
    /// A unified diff, the harness first.
    pub diff: String,
    /// Why that need not be an error; absent where nothing is known that explains it.
    pub because: Option<String>,
}

/// Something that differs and belongs to no exchange.
#[derive(Clone, Debug, PartialEq)]
pub enum Other {
    /// Who refuses the configuration.
    Refused {
        /// The harness does.
        harness: bool,
        /// Envoy does.
        envoy: bool,
    },
    /// The value of a metric; one that was never defined is 0.
    Metric {
        /// Its name.
        name: String,
        /// In the harness.
        harness: u64,
        /// In Envoy.
        envoy: u64,
    },
    /// The calls that filters made, or what they logged while exchanges overlapped: a unified diff, sorted.
    Lines {
        /// What it is of.
        what: &'static str,
        /// The diff.
        diff: String,
    },
}

impl Comparison {
    /// Whether nothing differs.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.others.is_empty() && self.exchanges.iter().all(Option::is_none)
    }

    /// Whether every difference is explained. What is counted over all exchanges follows those that are explained.
    #[must_use]
    pub fn is_explained(&self) -> bool {
        let mut differing = self.exchanges.iter().flatten().peekable();
        let some = differing.peek().is_some();
        let refused = self.others.iter().any(|other| matches!(other, Other::Refused { .. }));
        !refused && (self.others.is_empty() || some) && differing.all(|one| one.because.is_some())
    }

    /// How many exchanges agree, differ for a reason, and differ without one.
    #[must_use]
    pub fn counts(&self) -> (u64, u64, u64) {
        let mut counts = (0, 0, 0);
        for one in &self.exchanges {
            match one {
                None => counts.0 += 1,
                Some(Difference { because: Some(_), .. }) => counts.1 += 1,
                Some(_) => counts.2 += 1,
            }
        }
        counts
    }
}

/// Compares two runs of the same exchanges.
#[must_use]
pub fn compare(harness: &Run, envoy: &Run) -> Comparison {
    if harness.refused || envoy.refused {
        let refused = Other::Refused { harness: harness.refused, envoy: envoy.refused };
        let differs = harness.refused != envoy.refused;
        return Comparison {
            exchanges: Vec::new(),
            others: differs.then_some(refused).into_iter().collect(),
        };
    }
    let differ = |(index, (ours, theirs))| {
        let with_log = !harness.loose.contains(&index) && !envoy.loose.contains(&index);
        let diff = difference(ours, theirs, with_log)?;
        Some(Difference { diff, because: seconds(ours, theirs, with_log) })
    };
    let pairs = harness.outcomes.iter().zip(&envoy.outcomes);
    let mut others = metrics(&harness.metrics, &envoy.metrics);
    others.extend(lines("calls of filters", &calls(harness), &calls(envoy)));
    others.extend(lines(
        "log lines of overlapping exchanges",
        &loose_log(harness, envoy),
        &loose_log(envoy, harness),
    ));
    Comparison { exchanges: pairs.enumerate().map(differ).collect(), others }
}

/// How two outcomes differ; nothing when they do not. Lines of the first begin with `-`, of the second with `+`.
#[must_use]
pub fn difference(harness: &Outcome, envoy: &Outcome, with_log: bool) -> Option<String> {
    let (mut ours, mut theirs) = (portrait::portrait(harness, with_log), portrait::portrait(envoy, with_log));
    if let Some(took) = time(harness, envoy) {
        ours.push_str(&format!("took: {:?}\n", harness.duration));
        theirs.push_str(&took);
    }
    diff(&ours, &theirs)
}

/// The reason, where the outcomes differ in nothing but headers that count seconds.
fn seconds(harness: &Outcome, envoy: &Outcome, with_log: bool) -> Option<String> {
    let number = |value: Option<&[u8]>| std::str::from_utf8(value?).ok()?.parse::<u64>().ok();
    let mut envoy = envoy.clone();
    let (ours, theirs) = (&harness.response.as_ref()?.headers, &mut envoy.response.as_mut()?.headers);
    let mut named = Vec::new();
    for name in SECONDS {
        let (Some(here), Some(there)) = (number(ours.get(name)), number(theirs.get(name))) else { continue };
        if here != there && here.abs_diff(there) <= SECONDS_APART {
            theirs.set(name, here.to_string().as_bytes());
            named.push(format!("`{}`", String::from_utf8_lossy(name)));
        }
    }
    let explains = !named.is_empty() && difference(harness, &envoy, with_log).is_none();
    explains.then(|| format!("time: {} counts seconds, and they pass while Envoy runs", named.join(" and ")))
}

fn diff(harness: &str, envoy: &str) -> Option<String> {
    (harness != envoy).then(|| {
        let diff = TextDiff::from_lines(harness, envoy);
        diff.unified_diff().context_radius(CONTEXT).header("harness", "envoy").to_string()
    })
}

/// What to say when an exchange took a time in Envoy that the harness's cannot explain. How long Envoy's own timers wait for a stream that
/// nobody continues is a setting of the run.
fn time(harness: &Outcome, envoy: &Outcome) -> Option<String> {
    if harness.end == End::Stalled || envoy.end == End::Stalled {
        return None;
    }
    let (ours, theirs) = (harness.duration, envoy.duration);
    let fits = theirs + GRAIN >= ours && theirs <= ours + SLACK;
    (!fits).then(|| format!("took: {theirs:?}\n"))
}

fn metrics(harness: &BTreeMap<String, u64>, envoy: &BTreeMap<String, u64>) -> Vec<Other> {
    let names: BTreeSet<&String> = harness.keys().chain(envoy.keys()).collect();
    let value =
        |metrics: &BTreeMap<String, u64>, name: &String| metrics.get(name).copied().unwrap_or_default();
    let metric = |name: &String| {
        let (harness, envoy) = (value(harness, name), value(envoy, name));
        (harness != envoy).then(|| Other::Metric { name: name.clone(), harness, envoy })
    };
    names.into_iter().filter_map(metric).collect()
}

fn calls(run: &Run) -> Vec<String> {
    run.calls.iter().map(|(cluster, request)| portrait::call(cluster, request)).collect()
}

/// The log lines of a run that belong to no exchange in one of the two.
fn loose_log(run: &Run, other: &Run) -> Vec<String> {
    let overlapping = run.loose.union(&other.loose).filter_map(|index| run.outcomes.get(*index));
    let lines = overlapping.flat_map(|outcome| &outcome.log).chain(&run.loose_log);
    portrait::log(lines)
}

fn lines(what: &'static str, harness: &[String], envoy: &[String]) -> Option<Other> {
    let sorted = |lines: &[String]| {
        let mut lines = lines.to_vec();
        lines.sort();
        lines.concat()
    };
    diff(&sorted(harness), &sorted(envoy)).map(|diff| Other::Lines { what, diff })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(durations: &[u64]) -> Run {
        let outcome =
            |millis: &u64| Outcome { duration: Duration::from_millis(*millis), ..Outcome::default() };
        Run { outcomes: durations.iter().map(outcome).collect(), ..Run::default() }
    }

    #[track_caller]
    fn time(harness: u64, envoy: u64, want: bool) {
        let comparison = compare(&run(&[harness]), &run(&[envoy]));
        assert_eq!(comparison.agrees(), want, "{harness} ms, {envoy} ms: {comparison:?}");
    }

    #[test]
    fn envoy_takes_as_long_and_no_hung_machine_s_time_longer() {
        time(0, 0, true);
        time(7000, 7003, true);
        time(7000, 6997, true);
        time(7000, 3000, false);
        time(25, 4000, true);
        time(25, 60_000, false);
    }

    #[test]
    fn seconds_that_pass_explain_a_difference_of_seconds_only() {
        let answer = |retry_after: &str, status: &str| {
            let mut run = run(&[0]);
            let headers = [(":status", status), ("retry-after", retry_after)].into_iter().collect();
            run.outcomes[0].response = Some(crate::exchange::Message { headers, ..Default::default() });
            run
        };
        let explained = |harness: &Run, envoy: &Run| {
            let comparison = compare(harness, envoy);
            comparison.exchanges[0].as_ref().is_some_and(|difference| difference.because.is_some())
        };
        assert!(explained(&answer("3599", "429"), &answer("3592", "429")));
        assert!(!explained(&answer("3599", "429"), &answer("3592", "503")));
        assert!(!explained(&answer("3599", "429"), &answer("99", "429")));
        assert!(!explained(&answer("soon", "429"), &answer("later", "429")));
        assert!(compare(&answer("5", "429"), &answer("5", "429")).agrees());
    }

    #[test]
    fn metrics_and_calls_are_of_the_whole_run() {
        let mut harness = run(&[0]);
        let mut envoy = run(&[0]);
        harness.metrics.insert("a".to_owned(), 0);
        assert!(compare(&harness, &envoy).agrees(), "0 and never defined are the same");
        envoy.metrics.insert("a".to_owned(), 2);
        harness.calls.push(("one".to_owned(), crate::exchange::Message::default()));
        let comparison = compare(&harness, &envoy);
        let metric = Other::Metric { name: "a".to_owned(), harness: 0, envoy: 2 };
        assert_eq!(comparison.others.first(), Some(&metric));
        assert!(
            matches!(&comparison.others[1], Other::Lines { what: "calls of filters", diff } if diff.contains("-one"))
        );
        assert!(!comparison.is_explained());
    }

    #[test]
    fn what_follows_from_an_explained_exchange_is_explained() {
        let metric = Other::Metric { name: "a".to_owned(), harness: 0, envoy: 2 };
        let random = Difference { diff: String::new(), because: Some("random".to_owned()) };
        let mut comparison = Comparison { exchanges: vec![None, Some(random)], others: vec![metric] };
        assert!(comparison.is_explained());
        assert_eq!(comparison.counts(), (1, 1, 0));
        comparison.exchanges.push(Some(Difference::default()));
        assert!(!comparison.is_explained());
    }

    #[test]
    fn a_refusal_by_one_is_a_difference() {
        let refused = Run { refused: true, ..Run::default() };
        assert!(compare(&refused, &refused).agrees());
        let comparison = compare(&refused, &Run::default());
        assert_eq!(comparison.others, [Other::Refused { harness: true, envoy: false }]);
    }
}
