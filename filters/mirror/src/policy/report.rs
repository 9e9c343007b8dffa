//! Records of differences on their way to a collector.

use std::time::Duration;

use weir_sdk::{At, Draw, FractionalPercent, HeaderMap, Problems, names};

use super::check;
use super::record::post;
use crate::config;

/// A compiled [`config::Report`].
#[derive(Clone, Debug)]
pub struct Report {
    share: FractionalPercent,
    /// The collector: its cluster, and the headers of what is posted to it.
    pub collector: Option<(Vec<u8>, HeaderMap)>,
    /// How long records are collected.
    pub interval: Duration,
    /// Bytes that are collected at most.
    pub max_bytes: usize,
    /// How long the collector may take.
    pub timeout: Duration,
}

impl Report {
    /// Checks and compiles what stands at `report`.
    pub fn compile(report: &config::Report, problems: &mut Problems) -> Self {
        let at = &At::of("report");
        check::time(problems, at, "interval", report.interval.0, (100, check::HOUR), "100ms to an hour");
        check::time(problems, at, "timeout", report.timeout.0, (1, check::DAY), "1ms to a day");
        check::number(problems, at, "max_bytes", report.max_bytes, (1024, 16 << 20));
        if !report.path.starts_with('/') || names::header_value(&report.path).is_err() {
            check::refuse(problems, at, "path", "expected a path such as `/mirror`");
        }
        if report.cluster.as_ref().is_some_and(String::is_empty) {
            check::refuse(problems, at, "cluster", "expected the name of a cluster, found nothing");
        }
        let authority = report.authority.as_ref().or(report.cluster.as_ref()).map_or("", String::as_str);
        if names::header_value(authority).is_err() {
            check::refuse(problems, at, "authority", "expected a host such as `collector.example.com`");
        }
        let collector = report
            .cluster
            .as_ref()
            .map(|cluster| (cluster.clone().into_bytes(), post(&report.path, authority)));
        Self {
            share: report.percentage.0,
            collector,
            interval: report.interval.0,
            max_bytes: usize::try_from(report.max_bytes).unwrap_or(usize::MAX),
            timeout: report.timeout.0,
        }
    }

    /// Whether there is a record of this difference.
    #[must_use]
    pub fn includes(&self, random: u64) -> bool {
        self.share.includes(Draw::from_random(random))
    }
}
