//! Counters, gauges and histograms: ids that are defined once, at configure, and copied into the filter.
//!
//! Metrics are one per name for the whole process: every worker, plugin and listener shares them (`MET-04`). A metric that cannot be
//! changed fails no stream: the change is lost.

use super::wire::MetricType;
use super::{HostError, abi};

/// A number that only grows. Appears as `wasmcustom.<name>` in Envoy's statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter(u32);

impl Counter {
    /// Not a counter yet.
    pub(super) const NONE: Self = Self(0);

    pub(crate) fn define(name: &str) -> Result<Self, HostError> {
        abi::define_metric(MetricType::Counter, name.as_bytes()).map(Self)
    }

    /// Adds one.
    pub fn increment(self) {
        self.add(1);
    }

    /// Adds `by`; 0 is not a host call.
    pub fn add(self, by: u64) {
        if by > 0 {
            let _ = abi::increment_metric(self.0, i64::try_from(by).unwrap_or(i64::MAX));
        }
    }

    /// The value now, of all workers.
    ///
    /// # Errors
    /// The host refuses.
    pub fn value(self) -> Result<u64, HostError> {
        abi::metric(self.0)
    }
}

/// A number that goes up and down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gauge(u32);

impl Gauge {
    pub(crate) fn define(name: &str) -> Result<Self, HostError> {
        abi::define_metric(MetricType::Gauge, name.as_bytes()).map(Self)
    }

    /// Sets the value, for all workers.
    pub fn set(self, value: u64) {
        let _ = abi::record_metric(self.0, value);
    }

    /// Adds `by`, which may be negative. Below 0 Envoy wraps to 2⁶⁴ − … (`MET-02`): take away only what was added.
    pub fn add(self, by: i64) {
        if by != 0 {
            let _ = abi::increment_metric(self.0, by);
        }
    }

    /// The value now, of all workers.
    ///
    /// # Errors
    /// The host refuses.
    pub fn value(self) -> Result<u64, HostError> {
        abi::metric(self.0)
    }
}

/// A distribution of values. End the name in the unit: `_ms`, `_bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram(u32);

impl Histogram {
    pub(crate) fn define(name: &str) -> Result<Self, HostError> {
        abi::define_metric(MetricType::Histogram, name.as_bytes()).map(Self)
    }

    /// Adds one value.
    pub fn record(self, value: u64) {
        let _ = abi::record_metric(self.0, value);
    }
}
