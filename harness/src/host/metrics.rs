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
}

/// All metrics.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    all: Vec<Metric>,
    names: HashMap<(Type, String), usize>,
}

impl Metrics {
    /// The index of a metric, made when it is new.
    pub(crate) fn define(&mut self, kind: Type, name: &[u8]) -> usize {
        let name = String::from_utf8_lossy(name);
        let all = &mut self.all;
        *self.names.entry((kind, name.into_owned())).or_insert_with_key(|(kind, name)| {
            all.push(Metric { name: name.clone(), kind: *kind, value: 0 });
            all.len() - 1
        })
    }

    /// Adds to a metric; by how much it changed, wrapping.
    pub(crate) fn add(&mut self, index: usize, offset: i64) -> u64 {
        self.change(index, |value| value.wrapping_add_signed(offset))
    }

    /// Sets a gauge, adds to a counter, counts a histogram's value (`MET-03`); by how much the value changed, wrapping.
    pub(crate) fn record(&mut self, index: usize, new: u64) -> u64 {
        let Some(kind) = self.all.get(index).map(|metric| metric.kind) else { return 0 };
        self.change(index, |value| match kind {
            Type::Counter => value.wrapping_add(new),
            Type::Gauge => new,
            Type::Histogram => value.wrapping_add(1),
        })
    }

    /// The value of a metric.
    pub(crate) fn value(&self, index: usize) -> u64 {
        self.all.get(index).map_or(0, |metric| metric.value)
    }

    /// Name, type and value of all, in order of definition.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, Type, u64)> {
        self.all.iter().map(|metric| (metric.name.as_str(), metric.kind, metric.value))
    }

    /// Changes with names, without those that came to nothing.
    pub(crate) fn named(&self, changes: &[(usize, u64)]) -> Vec<(String, MetricDelta)> {
        let moved = changes.iter().filter(|(_, by)| *by != 0);
        let named = moved.filter_map(|(index, by)| {
            let metric = self.all.get(*index)?;
            let delta = match metric.kind {
                Type::Counter => MetricDelta::Counter(*by),
                Type::Gauge => MetricDelta::Gauge(by.cast_signed()),
                Type::Histogram => MetricDelta::Histogram(*by),
            };
            Some((metric.name.clone(), delta))
        });
        named.collect()
    }

    fn change(&mut self, index: usize, change: impl FnOnce(u64) -> u64) -> u64 {
        let Some(metric) = self.all.get_mut(index) else { return 0 };
        let before = metric.value;
        metric.value = change(before);
        metric.value.wrapping_sub(before)
    }
}
