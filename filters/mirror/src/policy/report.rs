//! Records of differences on their way to a collector.

use std::time::Duration;

use weir_sdk::{Draw, FractionalPercent, HeaderMap, Problems, names};

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
        let mut within = |field: &str, found: Duration, least: u64, most: u64, words: &str| {
            if found < Duration::from_millis(least) || found > Duration::from_millis(most) {
                problems.add(format!("report.{field}"), format!("expected {words}"));
            }
        };
        within("interval", report.interval.0, 100, 3_600_000, "100ms to an hour");
        within("timeout", report.timeout.0, 1, 86_400_000, "1ms to a day");
        if !(1024..=16 << 20).contains(&report.max_bytes) {
            let reason = format!("expected 1024 to 16777216, found {}", report.max_bytes);
            problems.add("report.max_bytes", reason);
        }
        if !report.path.starts_with('/') || names::header_value(&report.path).is_err() {
            problems.add("report.path", "expected a path such as `/mirror`");
        }
        if report.cluster.as_ref().is_some_and(String::is_empty) {
            problems.add("report.cluster", "expected the name of a cluster, found nothing");
        }
        let authority = report.authority.as_ref().or(report.cluster.as_ref()).map_or("", String::as_str);
        if names::header_value(authority).is_err() {
            problems.add("report.authority", "expected a host such as `collector.example.com`");
        }
        let collector = report.cluster.as_ref().map(|cluster| {
            let lines = [
                (":method", "POST"),
                (":path", &report.path),
                (":authority", authority),
                ("content-type", "application/x-ndjson"),
            ];
            (cluster.clone().into_bytes(), lines.into_iter().collect())
        });
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
