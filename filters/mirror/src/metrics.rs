//! The metrics of a target. Knows no policy but its names.

use weir_sdk::{Counter, Gauge, Histogram, HostError, PluginHost};

use crate::policy::Policy;
use crate::policy::bytes::joined;
use crate::policy::target::Target;
use crate::policy::why::Why;

/// How a copy that was sent ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The target answered.
    Answered,
    /// It answered with a status from 500 on.
    AnsweredBadly,
    /// There was no connection, or it broke.
    Failed,
    /// There was no answer in time.
    TimedOut,
}

/// Defines metrics. What the host refuses is noted, not told at once: a filter is made of many of them.
pub(crate) struct Definer<'h> {
    pub(crate) host: &'h PluginHost,
    /// Why one could not be defined.
    pub(crate) refused: Option<HostError>,
}

impl Definer<'_> {
    /// Counters of these names, which begin alike and stand between spaces.
    #[inline(never)]
    pub(crate) fn counters(&mut self, prefix: &str, names: &str) -> Counters {
        let mut counters = Counters(Vec::new());
        self.add(&mut counters, prefix, names);
        counters
    }

    /// As [`Definer::counters`], behind those that are there.
    #[inline(never)]
    fn add(&mut self, counters: &mut Counters, prefix: &str, names: &str) {
        for name in names.split(' ') {
            let counter = self.host.counter(&joined(prefix, name, ""));
            if let Some(counter) = self.defined(counter) {
                counters.0.push(counter);
            }
        }
    }

    fn defined<T>(&mut self, metric: Result<T, HostError>) -> Option<T> {
        metric.map_err(|error| self.refused = Some(error)).ok()
    }
}

/// Counters by their places in a list.
#[derive(Debug)]
pub(crate) struct Counters(Vec<Counter>);

impl Counters {
    /// Adds to one of them.
    #[inline(never)]
    pub(crate) fn add(&self, index: usize, by: u64) {
        if let Some(counter) = self.0.get(index) {
            counter.add(by);
        }
    }
}

/// The counters of a target, by the constants below; between the two lists stand those of [`Why`].
const COUNTERS: &str = "sent bytes truncated answered answered_5xx failed timed_out";
/// Those of bodies that were compressed, and of those that Envoy would not compress: only where any are to be.
const OF_GZIP: &str = "gzipped gzip_failed";
const SENT: usize = 0;
const BYTES: usize = 1;
const TRUNCATED: usize = 2;
const ANSWERED: usize = 3;
const ANSWERED_BADLY: usize = 4;
const FAILED: usize = 5;
const TIMED_OUT: usize = 6;
const SKIPPED: usize = 7;
const GZIPPED: usize = SKIPPED + Why::ALL.len();
const GZIP_FAILED: usize = GZIPPED + 1;

/// The metrics of one target.
#[derive(Debug)]
pub(crate) struct Metrics {
    counters: Counters,
    latency: Histogram,
    /// Copies without an answer, of all workers.
    pub(crate) in_flight: Gauge,
}

impl Metrics {
    /// Defines those of a dry run or not, where there may be one.
    #[inline(never)]
    pub(crate) fn define(
        definer: &mut Definer<'_>,
        policy: &Policy,
        target: &Target,
        dry_run: bool,
    ) -> Option<Self> {
        if !policy.may_be(dry_run) {
            return None;
        }
        let prefix = joined(&policy.metrics_of(target, dry_run), ".", "");
        let latency = definer.host.histogram(&joined(&prefix, "latency_ms", ""));
        let latency = definer.defined(latency)?;
        let in_flight = definer.host.gauge(&joined(&prefix, "in_flight", ""));
        let in_flight = definer.defined(in_flight)?;
        let mut counters = definer.counters(&prefix, COUNTERS);
        definer.add(&mut counters, &joined(&prefix, "skipped_", ""), Why::COUNTERS);
        if target.may_compress() {
            definer.add(&mut counters, &prefix, OF_GZIP);
        }
        Some(Self { counters, latency, in_flight })
    }

    /// A copy was sent, or would have been.
    #[inline(never)]
    pub(crate) fn sent(&self, bytes: usize, truncated: bool) {
        self.counters.add(SENT, 1);
        self.counters.add(BYTES, u64::try_from(bytes).unwrap_or(u64::MAX));
        self.counters.add(TRUNCATED, u64::from(truncated));
    }

    /// Envoy has compressed a body, or would not.
    pub(crate) fn compressed(&self, is_done: bool) {
        self.counters.add(if is_done { GZIPPED } else { GZIP_FAILED }, 1);
    }

    /// There is no copy.
    pub(crate) fn skipped(&self, why: Why) {
        self.counters.add(SKIPPED.saturating_add(why.index()), 1);
    }

    /// A copy that was sent has come to its end, after so long.
    pub(crate) fn ended(&self, end: End, latency_ns: u64) {
        let counter = match end {
            End::Answered => ANSWERED,
            End::AnsweredBadly => {
                self.counters.add(ANSWERED_BADLY, 1);
                ANSWERED
            }
            End::Failed => FAILED,
            End::TimedOut => TIMED_OUT,
        };
        self.counters.add(counter, 1);
        self.latency.record(latency_ns / 1_000_000);
    }
}
