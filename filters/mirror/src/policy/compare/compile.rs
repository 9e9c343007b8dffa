//! From what is written to a [`Comparer`], and what is wrong with it.

use weir_sdk::{At, Problems};

use super::{Comparer, Documents};
use crate::config::{self, Compare};
use crate::policy::check;
use crate::policy::json_path::Paths;

pub(super) fn compile(at: &At<'_>, mut config: Box<Compare>, problems: &mut Problems) -> Comparer {
    check::headers(problems, at, "headers", &mut config.headers, "content-type");
    let mut paths = Paths::new(false);
    let mut unordered_root = false;
    for (index, path) in config.ignore.iter().enumerate() {
        check::told(problems, &at.item("ignore", index), "", paths.add(path));
    }
    for (index, path) in config.unordered.iter().enumerate() {
        if path == "$" {
            unordered_root = true;
        } else {
            check::told(problems, &at.item("unordered", index), "", paths.add(path));
        }
    }
    if !(0.0..=1.0).contains(&config.number_tolerance) {
        let reason = "expected a part of one, from 0 to 1, such as 0.001";
        check::refuse(problems, at, "number_tolerance", reason);
    }
    let found = config.record_bytes;
    check::within(problems, at, "record_bytes", found, (256, 65536), "expected 256 to 65536 bytes");
    if let Some(noise) = &config.noise {
        check_noise(noise, &at.field("noise"), problems);
    }
    let documents = Documents {
        paths,
        ignored: config.ignore.len(),
        unordered_root,
        tolerance: config.number_tolerance,
        missing_is_null: config.missing_is_null,
    };
    Comparer { config, documents }
}

fn check_noise(noise: &config::Noise, at: &At<'_>, problems: &mut Problems) {
    let number = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let (found, reason) = (number(noise.min_samples), "expected 1 to 1000 comparisons");
    check::within(problems, at, "min_samples", found, (1, 1000), reason);
    if noise.relative <= 0.0 || noise.relative > 1.0 || noise.relative.is_nan() {
        let reason = "expected a part of one, more than 0, to 1, such as 0.8";
        check::refuse(problems, at, "relative", reason);
    }
    let (found, before) = (number(noise.window), problems.len());
    check::within(problems, at, "window", found, (16, 1_000_000), "expected 16 to 1000000 comparisons");
    if problems.len() == before && noise.window < noise.min_samples.saturating_mul(2) {
        let reason = "is less than twice `min_samples`: counts are halved before there are enough";
        check::refuse(problems, at, "window", reason);
    }
    check::within(problems, at, "max_places", noise.max_places, (1, 4096), "expected 1 to 4096 places");
}
