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

/// Defines metrics whose names begin alike.
pub(crate) struct Definer<'h> {
    host: &'h PluginHost,
    /// With the point behind it.
    prefix: String,
}

impl<'h> Definer<'h> {
    /// For names that begin with these parts.
    pub(crate) fn new(host: &'h PluginHost, parts: &[&str]) -> Self {
        Self { host, prefix: parts.concat() }
    }

    fn name(&self, name: &str) -> String {
        [&self.prefix, name].concat()
    }

    /// A counter.
    ///
    /// # Errors
    /// The host refuses.
    #[inline(never)]
    pub(crate) fn counter(&self, name: &str) -> Result<Counter, HostError> {
        self.host.counter(&self.name(name))
    }

    /// A counter for each of these names.
    ///
    /// # Errors
    /// The host refuses one.
    #[inline(never)]
    pub(crate) fn counters(&self, names: &mut dyn Iterator<Item = &str>) -> Result<Vec<Counter>, HostError> {
        let mut counters = Vec::new();
        for name in names {
            counters.push(self.counter(name)?);
        }
        Ok(counters)
    }
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
        let define = Definer::new(host, &[prefix, ".", &target.name, "."]);
        let gzip = match target.may_compress() {
            true => Some((define.counter("gzipped")?, define.counter("gzip_failed")?)),
            false => None,
        };
        let names = ["sent", "bytes", "truncated", "answered", "answered_5xx", "failed", "timed_out"];
        let [sent, bytes, truncated, answered, errors, failed, timed_out] =
            host.counters(&define.prefix, names)?;
        Ok(Self {
            sent,
            bytes,
            truncated,
            answered,
            errors,
            failed,
            timed_out,
            skipped: define.counters(&mut Why::ALL.iter().map(|why| why.counter()))?,
            latency: host.histogram(&define.name("latency_ms"))?,
            gzip,
            in_flight: host.gauge(&define.name("in_flight"))?,
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
