//! The metrics of a target. Knows no policy but its names.

use weir_sdk::{Counter, Gauge, Histogram, HostError, PluginHost};

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

/// The metrics of one target.
#[derive(Debug)]
pub(crate) struct Metrics {
    sent: Counter,
    bytes: Counter,
    truncated: Counter,
    answered: Counter,
    errors: Counter,
    failed: Counter,
    timed_out: Counter,
    skipped: Vec<Counter>,
    latency: Histogram,
    /// Bodies that were compressed, and those that Envoy would not compress, where any are to be.
    gzip: Option<(Counter, Counter)>,
    /// Copies without an answer, of all workers.
    pub(crate) in_flight: Gauge,
}

impl Metrics {
    /// Defines them.
    ///
    /// # Errors
    /// The host refuses.
    pub(crate) fn define(host: &PluginHost, prefix: &str, target: &Target) -> Result<Self, HostError> {
        let may_compress = target.may_compress();
        let target = &*target.name;
        let counter = |name: &str| host.counter(&format!("{prefix}.{target}.{name}"));
        Ok(Self {
            sent: counter("sent")?,
            bytes: counter("bytes")?,
            truncated: counter("truncated")?,
            answered: counter("answered")?,
            errors: counter("answered_5xx")?,
            failed: counter("failed")?,
            timed_out: counter("timed_out")?,
            skipped: Why::ALL.iter().map(|why| counter(why.counter())).collect::<Result<_, _>>()?,
            latency: host.histogram(&format!("{prefix}.{target}.latency_ms"))?,
            gzip: may_compress
                .then(|| Ok::<_, HostError>((counter("gzipped")?, counter("gzip_failed")?)))
                .transpose()?,
            in_flight: host.gauge(&format!("{prefix}.{target}.in_flight"))?,
        })
    }

    /// A copy was sent, or would have been.
    pub(crate) fn sent(&self, bytes: usize, truncated: bool) {
        self.sent.increment();
        self.bytes.add(u64::try_from(bytes).unwrap_or(u64::MAX));
        self.truncated.add(u64::from(truncated));
    }

    /// Envoy has compressed a body, or would not.
    pub(crate) fn compressed(&self, is_done: bool) {
        if let Some((done, failed)) = &self.gzip {
            if is_done { done.increment() } else { failed.increment() }
        }
    }

    /// There is no copy.
    pub(crate) fn skipped(&self, why: Why) {
        if let Some(counter) = self.skipped.get(why.index()) {
            counter.increment();
        }
    }

    /// A copy that was sent has come to its end.
    pub(crate) fn ended(&self, end: End, latency: std::time::Duration) {
        match end {
            End::Answered => self.answered.increment(),
            End::AnsweredBadly => {
                self.answered.increment();
                self.errors.increment();
            }
            End::Failed => self.failed.increment(),
            End::TimedOut => self.timed_out.increment(),
        }
        self.latency.record(u64::try_from(latency.as_millis()).unwrap_or(u64::MAX));
    }
}
