//! The metrics of a target. Knows no policy but its names.

use weir_sdk::{Counter, Gauge, Histogram, HostError, PluginHost};

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

/// Counters whose names begin alike, by their places in a list.
#[derive(Debug)]
pub(crate) struct Counters(Vec<Counter>);

impl Counters {
    /// Defines those of these names.
    ///
    /// # Errors
    /// The host refuses one.
    #[inline(never)]
    pub(crate) fn define(host: &PluginHost, prefix: &str, names: &[&[&str]]) -> Result<Self, HostError> {
        let mut counters = Vec::new();
        for name in names.iter().copied().flatten() {
            counters.push(host.counter(&joined(prefix, name, ""))?);
        }
        Ok(Self(counters))
    }

    /// Adds to one of them.
    #[inline(never)]
    pub(crate) fn add(&self, index: usize, by: u64) {
        if let Some(counter) = self.0.get(index) {
            counter.add(by);
        }
    }
}

/// The counters of a target, by the constants below; between the two lists stand those of [`Why`].
const COUNTERS: [&str; 7] = ["sent", "bytes", "truncated", "answered", "answered_5xx", "failed", "timed_out"];
/// Those of bodies that were compressed, and of those that Envoy would not compress: only where any are to be.
const OF_GZIP: [&str; 2] = ["gzipped", "gzip_failed"];
const SENT: usize = 0;
const BYTES: usize = 1;
const TRUNCATED: usize = 2;
const ANSWERED: usize = 3;
const ANSWERED_BADLY: usize = 4;
const FAILED: usize = 5;
const TIMED_OUT: usize = 6;
const SKIPPED: usize = COUNTERS.len();
const GZIPPED: usize = SKIPPED + Why::COUNTERS.len();
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
    /// Defines them; all names begin with `prefix`.
    ///
    /// # Errors
    /// The host refuses.
    #[inline(never)]
    pub(crate) fn define(host: &PluginHost, prefix: &str, target: &Target) -> Result<Self, HostError> {
        let of_gzip: &[&str] = if target.may_compress() { &OF_GZIP } else { &[] };
        Ok(Self {
            latency: host.histogram(&joined(prefix, "latency_ms", ""))?,
            in_flight: host.gauge(&joined(prefix, "in_flight", ""))?,
            counters: Counters::define(host, prefix, &[&COUNTERS, &Why::COUNTERS, of_gzip])?,
        })
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

    /// A copy that was sent has come to its end.
    pub(crate) fn ended(&self, end: End, latency: std::time::Duration) {
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
        self.latency.record(u64::try_from(latency.as_millis()).unwrap_or(u64::MAX));
    }
}
