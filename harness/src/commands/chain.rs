//! The chain of filters that a command runs: that of a scenario, with other configurations where `--filter` says so, or one made of `--filter`s.

use std::path::{Path, PathBuf};

use anyhow::anyhow;

use super::{Failure, check};
use crate::scenario::{Filter, Loaded, Scenario};
use crate::yaml;

/// The scenario at `path`; each of `filters`, `NAME[=CONFIG]`, gives its filter of that name another configuration.
pub(super) fn of_scenario(path: &Path, filters: &[String]) -> Result<Loaded, Failure> {
    let mut loaded = Scenario::load(path)?;
    for text in filters {
        let wanted = named_filter(text)?;
        let names: Vec<String> = loaded.scenario.filters.iter().map(|filter| filter.name.clone()).collect();
        let filter = loaded.scenario.filters.iter_mut().find(|filter| filter.name == wanted.name);
        let filter = filter.ok_or_else(|| {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            anyhow!("{}: {}", loaded.file.display(), yaml::unknown("filter", &wanted.name, &names))
        })?;
        filter.config = None;
        // Relative to the current folder, not to the scenario's.
        filter.config_file = wanted.config_file.map(std::path::absolute).transpose()?;
    }
    Ok(loaded)
}

/// A chain of `filters`, `NAME[=CONFIG]`, and nothing else.
pub(super) fn of_filters(filters: &[String]) -> Result<Loaded, Failure> {
    let filters = filters.iter().map(|text| named_filter(text)).collect::<Result<_, _>>()?;
    let scenario = Scenario { filters, ..Scenario::default() };
    Ok(Loaded { scenario, base: PathBuf::from("."), file: PathBuf::new() })
}

/// `NAME[=CONFIG]`; NAME may be a path.
fn named_filter(text: &str) -> Result<Filter, Failure> {
    let (what, config) = match text.split_once('=') {
        Some((what, config)) => (what, Some(PathBuf::from(config))),
        None => (text, None),
    };
    if what.is_empty() {
        return Err(anyhow!("--filter `{text}`: expected NAME or NAME=CONFIG").into());
    }
    Ok(Filter { config_file: config, ..check::filter(what) })
}
