//! Metrics of the process: by name and type, for all plugins and threads (`MET-04`).

use std::collections::HashMap;

use crate::outcome::MetricDelta;

/// The type of a metric, numbered as in the ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Type {
    Counter = 0,
    Gauge = 1,
    Histogram = 2,
}

#[derive(Debug)]
struct Metric {
    name: String,
    kind: Type,
    /// A counter's or gauge's value, wrapping as Envoy's do (`MET-02`); how many values a histogram holds.
    value: u64,
    /// The value when the exchange began, if it changed since.
    before: Option<u64>,
}

/// All metrics.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    all: Vec<Metric>,
    names: HashMap<(Type, String), usize>,
    changed: Vec<usize>,
}

impl Metrics {
    /// The index of a metric, made when it is new.
    pub(crate) fn define(&mut self, kind: Type, name: &[u8]) -> usize {
        let name = String::from_utf8_lossy(name);
        let all = &mut self.all;
        *self.names.entry((kind, name.into_owned())).or_insert_with_key(|(kind, name)| {
            all.push(Metric { name: name.clone(), kind: *kind, value: 0, before: None });
            all.len() - 1
        })
    }

    /// Adds to a metric.
    pub(crate) fn add(&mut self, index: usize, offset: i64) {
        self.change(index, |value| value.wrapping_add_signed(offset));
    }

    /// Sets a gauge, adds to a counter, counts a histogram's value (`MET-03`).
    pub(crate) fn record(&mut self, index: usize, new: u64) {
        let Some(kind) = self.all.get(index).map(|metric| metric.kind) else { return };
        self.change(index, |value| match kind {
            Type::Counter => value.wrapping_add(new),
            Type::Gauge => new,
            Type::Histogram => value.wrapping_add(1),
        });
    }

    /// The value of a metric.
    pub(crate) fn value(&self, index: usize) -> u64 {
        self.all.get(index).map_or(0, |metric| metric.value)
    }

    /// Name, type and value of all, in order of definition.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, Type, u64)> {
        self.all.iter().map(|metric| (metric.name.as_str(), metric.kind, metric.value))
    }

    /// What changed since the last call, in order of first change.
    pub(crate) fn take_deltas(&mut self) -> Vec<(String, MetricDelta)> {
        let mut deltas = Vec::with_capacity(self.changed.len());
        for index in self.changed.drain(..) {
            let metric = &mut self.all[index];
            let before = metric.before.take().unwrap_or(metric.value);
            let by = metric.value.wrapping_sub(before);
            let delta = match metric.kind {
                Type::Counter => MetricDelta::Counter(by),
                Type::Gauge => MetricDelta::Gauge(by.cast_signed()),
                Type::Histogram => MetricDelta::Histogram(by),
            };
            if by != 0 {
                deltas.push((metric.name.clone(), delta));
            }
        }
        deltas
    }

    fn change(&mut self, index: usize, change: impl FnOnce(u64) -> u64) {
        let Some(metric) = self.all.get_mut(index) else { return };
        if metric.before.is_none() {
            metric.before = Some(metric.value);
            self.changed.push(index);
        }
        metric.value = change(metric.value);
    }
}
