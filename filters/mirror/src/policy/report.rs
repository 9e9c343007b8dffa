//! Records of differences on their way to a collector.

use weir_sdk::{At, Draw, HeaderMap, Problems, names};

use super::check;
use super::record::post;
use crate::config;

/// A checked [`config::Report`].
#[derive(Clone, Debug)]
pub struct Report {
    /// As it is written.
    pub written: config::Report,
    /// The headers of what is posted to the collector, where there is one.
    pub headers: HeaderMap,
}

impl Report {
    /// Checks and compiles what stands at `report`.
    #[inline(never)]
    pub fn compile(report: config::Report, problems: &mut Problems) -> Self {
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
        Self { headers: post(&report.path, authority), written: report }
    }

    /// Whether there is a record of this difference.
    #[must_use]
    pub fn includes(&self, random: u64) -> bool {
        self.written.percentage.0.includes(Draw::from_random(random))
    }
}
