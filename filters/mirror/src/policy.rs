//! Which requests are copied, to where, and what the copies look like. Pure: the request and the dice are arguments.

use weir_sdk::{At, ConfigError, HeaderMap, PerRoute, Problems, RequestView, names};

use crate::config::{self, Config};
use back_off::Part;
use bytes::joined;
use plan::{Entry, Plan, Verdict};
use target::Target;
use why::Why;

pub mod answer;
pub mod back_off;
pub mod bucket;
pub(crate) mod bytes;
mod check;
pub mod compare;
pub mod copy;
mod fold;
mod json;
mod json_path;
mod number;
pub mod plan;
pub mod record;
pub mod redact;
pub mod report;
pub mod rewrite;
pub mod sample;
pub mod snapshot;
mod sort;
pub mod target;
pub mod trial;
pub mod why;

#[cfg(test)]
mod tests;

/// What a plan may ask for: only when it needs it.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// The request.
    pub request: &'a dyn RequestView,
    /// 64 random bits.
    pub random: &'a dyn Fn() -> u64,
    /// The part of its share that the target of this number gets now.
    pub part: &'a dyn Fn(usize) -> Part,
}

/// A checked [`Config`], with what is compiled of it.
#[derive(Clone, Debug)]
pub struct Policy {
    /// As it is written, but for the targets, which are compiled.
    config: Config,
    /// The targets of the configuration, then those of its policies.
    targets: Vec<Target>,
    per_route: Option<PerRoute>,
    /// The headers of what is posted to the collector of records of differences.
    report_headers: HeaderMap,
}

impl TryFrom<Config> for Policy {
    type Error = ConfigError;

    #[inline(never)]
    fn try_from(config: Config) -> Result<Self, ConfigError> {
        let mut problems = Problems::new();
        let mut this =
            Self { config, targets: Vec::new(), per_route: None, report_headers: HeaderMap::new() };
        let Self { config, targets, per_route, report_headers } = &mut this;
        let is_empty = config.targets.is_empty() && config.policies.is_empty();
        compile(&At::of("targets"), &mut config.targets, 0, targets, &mut problems);
        let mut index = 0;
        while let Some((before, [named, ..])) = config.policies.split_at_mut_checked(index) {
            let at = At::ROOT.item("policies", index);
            if before.iter().any(|other| other.name == named.name) {
                let reason = joined("`", &named.name, "` is there already; expected another name");
                check::refuse(&mut problems, &at, "name", &reason);
            }
            index = index.saturating_add(1);
            compile(&at.field("targets"), &mut named.targets, index, targets, &mut problems);
        }
        let mut refuse = |field: &str, reason: &str| check::refuse(&mut problems, &At::ROOT, field, reason);
        if is_empty {
            refuse("targets", "expected at least one target such as `{cluster: shadow, percentage: 10}`");
        }
        if index > 0 && config.per_route.is_none() {
            refuse("per_route", "is missing: without it no route can choose one of `policies`");
        }
        check::told(&mut problems, &At::ROOT, "stat_prefix", names::stat_prefix(&config.stat_prefix));
        check::number(&mut problems, &At::ROOT, "max_held_bytes", config.max_held_bytes, (1, 1 << 30));
        if let Some(written) = &config.per_route {
            *per_route = Some(PerRoute::compile(&written.namespace, "weir.mirror", &mut problems));
        }
        if let Some(report) = &config.report {
            *report_headers = report.compile(&mut problems);
            if targets.iter().all(|target| target.trial.is_none()) && problems.is_empty() {
                let reason = "is for targets with `compare`; here is none";
                check::refuse(&mut problems, &At::ROOT, "report", reason);
            }
        }
        problems.finish().map(|()| this)
    }
}

/// Compiles the list at a place behind those that are there.
#[inline(never)]
fn compile(
    at: &At<'_>,
    written: &mut Vec<config::Target>,
    list: usize,
    targets: &mut Vec<Target>,
    problems: &mut Problems,
) {
    for (index, target) in std::mem::take(written).into_iter().enumerate() {
        let at = at.index(index);
        let before = problems.len();
        let target = Target::compile(&at, target, list, problems);
        if problems.len() != before {
            continue;
        }
        if targets.iter().any(|other| other.name == target.name) {
            let reason = joined("`", &target.name, "` is there already; expected a `name` of its own");
            check::refuse(problems, &at, "name", &reason);
        }
        targets.push(target);
    }
}

impl Policy {
    /// All targets; their places are their numbers.
    #[must_use]
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// Bytes that a worker holds at most.
    #[must_use]
    pub fn max_held_bytes(&self) -> usize {
        usize::try_from(self.config.max_held_bytes).unwrap_or(usize::MAX)
    }

    /// Where records of differences go, and the headers of what is posted there; once.
    pub fn take_report(&mut self) -> Option<(config::Report, HeaderMap)> {
        let report = self.config.report.take()?;
        Some((report, std::mem::take(&mut self.report_headers)))
    }

    /// First part of the names of the metrics of a dry run or not.
    #[must_use]
    pub fn prefix(&self, dry_run: bool) -> String {
        joined(&self.config.stat_prefix, if dry_run { ".dry_run" } else { "" }, "")
    }

    /// First part of the names of a target's metrics, of a dry run or not.
    #[must_use]
    pub fn metrics_of(&self, target: &Target, dry_run: bool) -> String {
        joined(&self.prefix(dry_run), ".", &target.name)
    }

    /// Whether this may be a dry run, or anything else.
    #[must_use]
    pub fn may_be(&self, dry_run: bool) -> bool {
        self.config.dry_run == dry_run || self.per_route.is_some()
    }

    /// What is to be copied of a request, and to where.
    pub fn plan(&self, inputs: &Inputs<'_>) -> Plan {
        let route =
            self.per_route.as_ref().map(|per_route| per_route.read(inputs.request)).unwrap_or_default();
        let mut list = 0;
        let mut route_invalid = false;
        if let Some(policy) = &route.policy {
            let named = self.config.policies.iter().position(|named| named.name.as_bytes() == policy);
            list = named.map_or(0, |index| index.saturating_add(1));
            route_invalid = named.is_none();
        }
        let mut entries = Vec::new();
        for (index, target) in self.targets.iter().enumerate() {
            if target.list != list {
                continue;
            }
            let mut draw = None;
            let verdict = match route.disabled {
                true => Verdict::Skipped(Why::Disabled),
                false => target.consider(inputs, (inputs.part)(index), &mut draw),
            };
            entries.push(Entry { target: index, name: target.name.clone(), draw, verdict, detail: None });
        }
        Plan { entries, dry_run: route.dry_run.unwrap_or(self.config.dry_run), route_invalid }
    }
}
