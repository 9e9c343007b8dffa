//! Records of differences on their way to a collector.

use weir_sdk::{At, Draw, HeaderMap, Problems, names};

use super::check;
use super::record::post;
use crate::config::Report;

impl Report {
    /// Checks what stands at `report`. Returns the headers of what is posted to the collector.
    #[inline(never)]
    pub fn compile(&self, problems: &mut Problems) -> HeaderMap {
        let at = &At::of("report");
        check::time(problems, at, "interval", self.interval.0, (100, check::HOUR), "100ms to an hour");
        check::time(problems, at, "timeout", self.timeout.0, (1, check::DAY), "1ms to a day");
        check::number(problems, at, "max_bytes", self.max_bytes, (1024, 16 << 20));
        if !self.path.starts_with('/') || names::header_value(&self.path).is_err() {
            check::refuse(problems, at, "path", "expected a path such as `/mirror`");
        }
        if self.cluster.as_ref().is_some_and(String::is_empty) {
            check::refuse(problems, at, "cluster", "expected the name of a cluster, found nothing");
        }
        let authority = self.authority.as_ref().or(self.cluster.as_ref()).map_or("", String::as_str);
        if names::header_value(authority).is_err() {
            check::refuse(problems, at, "authority", "expected a host such as `collector.example.com`");
        }
        post(&self.path, authority)
    }

    /// Whether there is a record of this difference.
    #[must_use]
    pub fn includes(&self, random: u64) -> bool {
        self.percentage.0.includes(Draw::from_random(random))
    }
}
