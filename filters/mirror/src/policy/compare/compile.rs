//! From what is written to a [`Comparer`], and what is wrong with it.

use weir_sdk::{At, Problems, names};

use super::{Comparer, Documents};
use crate::config::{self, Compare};
use crate::policy::json_path::Paths;

pub(super) fn compile(at: &At<'_>, config: &Compare, problems: &mut Problems) -> Comparer {
    let mut headers = Vec::new();
    for (index, name) in config.headers.iter().enumerate() {
        match names::header(name, "content-type") {
            Ok(name) => headers.push(name),
            Err(reason) => problems.add(at.item("headers", index), reason),
        }
    }
    let mut paths = Paths::new(false);
    let mut unordered_root = false;
    for (list, written) in [("ignore", &config.ignore), ("unordered", &config.unordered)] {
        for (index, path) in written.iter().enumerate() {
            if list == "unordered" && path == "$" {
                unordered_root = true;
            } else if let Err(reason) = paths.add(path) {
                problems.add(at.item(list, index), reason);
            }
        }
    }
    if !(0.0..=1.0).contains(&config.number_tolerance) {
        problems.add(at.field("number_tolerance"), "expected a part of one, from 0 to 1, such as 0.001");
    }
    if !(256..=65536).contains(&config.record_bytes) {
        problems.add(at.field("record_bytes"), "expected 256 to 65536 bytes");
    }
    if let Some(noise) = &config.noise {
        check_noise(noise, &at.field("noise"), problems);
    }
    Comparer {
        status: config.status,
        headers,
        body: config.body,
        documents: Documents {
            paths,
            ignored: config.ignore.len(),
            unordered_root,
            tolerance: config.number_tolerance,
            missing_is_null: config.missing_is_null,
        },
        noise: config.noise.clone(),
        record_values: config.record_values,
        record_bytes: config.record_bytes,
    }
}

fn check_noise(noise: &config::Noise, at: &At<'_>, problems: &mut Problems) {
    let mut add = |field: &str, reason: &str| problems.add(at.field(field), reason);
    if !(1..=1000).contains(&noise.min_samples) {
        add("min_samples", "expected 1 to 1000 comparisons");
    }
    if noise.relative <= 0.0 || noise.relative > 1.0 || noise.relative.is_nan() {
        add("relative", "expected a part of one, more than 0, to 1, such as 0.8");
    }
    if !(16..=1_000_000).contains(&noise.window) {
        add("window", "expected 16 to 1000000 comparisons");
    } else if noise.window < noise.min_samples.saturating_mul(2) {
        add("window", "is less than twice `min_samples`: counts are halved before there are enough");
    }
    if !(1..=4096).contains(&noise.max_places) {
        add("max_places", "expected 1 to 4096 places");
    }
}
