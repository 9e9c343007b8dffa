//! Records of differences of this worker: collected, and sent together by a timer, so that no stream waits for the collector.

use std::cell::{Cell, RefCell};
use std::fmt;

use weir_sdk::{CalloutId, HeaderMap, PluginHost};

use crate::config::Report;
use crate::metrics::{Counters, Definer};
use crate::policy::bytes::joined;
use crate::recorder::arm;
use crate::trials::say;

const COUNTERS: &str = "records dropped failed";
const TOLD: usize = 0;
const DROPPED: usize = 1;
const FAILED: usize = 2;

/// The records that wait.
pub(crate) struct Reporter {
    report: Report,
    /// Of what is posted to the collector.
    headers: HeaderMap,
    records: RefCell<Vec<u8>>,
    armed: Cell<bool>,
    counters: Counters,
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reporter").field("report", &self.report).finish_non_exhaustive()
    }
}

impl Reporter {
    /// Defines what it counts.
    pub(crate) fn new(
        (report, headers): (Report, HeaderMap),
        definer: &mut Definer<'_>,
        prefix: &str,
    ) -> Self {
        let counters = definer.counters(&joined(prefix, ".report_", ""), COUNTERS);
        Self { report, headers, records: RefCell::default(), armed: Cell::new(false), counters }
    }

    /// Whether there is to be a record of this difference.
    pub(crate) fn wants(&self, host: &PluginHost) -> bool {
        self.report.includes(host.random())
    }

    /// Takes a record.
    pub(crate) fn tell(&self, record: &[u8], host: &PluginHost) {
        if self.report.cluster.is_none() {
            self.counters.add(TOLD, 1);
            say(record);
            return;
        }
        // The host is asked with nothing borrowed.
        let armed = arm(&self.armed, self.report.interval.0, host);
        let mut records = self.records.borrow_mut();
        // And a line feed.
        let length = records.len().saturating_add(record.len()).saturating_add(1);
        let max_bytes = usize::try_from(self.report.max_bytes).unwrap_or(usize::MAX);
        if !armed || length > max_bytes {
            self.counters.add(DROPPED, 1);
        } else {
            records.extend_from_slice(record);
            records.push(b'\n');
            self.counters.add(TOLD, 1);
        }
    }

    /// The time has come: sends what waits.
    pub(crate) fn flush(&self, host: &PluginHost) -> Option<CalloutId> {
        self.armed.set(false);
        let records = self.records.take();
        let cluster = self.report.cluster.as_ref().filter(|_| !records.is_empty())?;
        let call = host.callout_of(
            cluster.as_bytes(),
            &self.headers,
            &records,
            &HeaderMap::new(),
            self.report.timeout.0,
        );
        call.inspect_err(|_| self.counters.add(FAILED, 1)).ok()
    }

    /// The collector has answered, or Envoy for it.
    pub(crate) fn ended(&self, accepted: bool) {
        if !accepted {
            self.counters.add(FAILED, 1);
        }
    }
}
