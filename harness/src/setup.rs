//! A scenario made ready to run: modules built and compiled, configurations read, routes compiled. Runs nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::build::{self, BuildError};
use crate::driver::{Plugin, Setup, Timeouts};
use crate::routes::{RouteError, RouteTable};
use crate::scenario::{Filter, Scenario};
use crate::time;
use crate::vm::{LoadError, Module};
use crate::yaml::FileError;

/// Why a scenario cannot run.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// There is no module.
    #[error("filter `{filter}`: {source}")]
    Build {
        /// The filter.
        filter: String,
        /// Why not.
        source: BuildError,
    },
    /// The module cannot be read.
    #[error("filter `{filter}`: {}: {source}", path.display())]
    Read {
        /// The filter.
        filter: String,
        /// The module.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A proxy would not load the module.
    #[error("filter `{filter}`: {}{source}", if source.is_envoys() { "Envoy would not load " } else { "" })]
    Load {
        /// The filter.
        filter: String,
        /// Why not.
        source: LoadError,
    },
    /// The configuration cannot be read.
    #[error("filter `{filter}`: {source}")]
    Configuration {
        /// The filter.
        filter: String,
        /// Why not.
        source: FileError,
    },
    /// The routes are not Envoy's.
    #[error("`route_config`: {0}")]
    Routes(#[from] RouteError),
}

/// Compiled modules by file, so that each is compiled once however many plugins and cases use it.
#[derive(Debug, Default)]
pub struct Modules(BTreeMap<PathBuf, Module>);

impl Modules {
    /// The module of a filter, built and compiled when it is not yet.
    ///
    /// # Errors
    /// When it does not build, cannot be read, or a proxy would not load it.
    pub fn get(&mut self, filter: &Filter, base: &Path) -> Result<Module, SetupError> {
        let name = || filter.name.clone();
        let path =
            build::module(filter, base).map_err(|source| SetupError::Build { filter: name(), source })?;
        if let Some(module) = self.0.get(&path) {
            return Ok(module.clone());
        }
        let wasm = build::read(&path).map_err(|source| SetupError::Read {
            filter: name(),
            path: path.clone(),
            source,
        })?;
        let module = Module::compile(&path.display().to_string(), &wasm)
            .map_err(|source| SetupError::Load { filter: name(), source })?;
        self.0.insert(path, module.clone());
        Ok(module)
    }
}

/// Makes a scenario ready to run; its paths are relative to `base`.
///
/// # Errors
/// The first thing of it that cannot be used.
pub fn setup(scenario: &Scenario, base: &Path, modules: &mut Modules) -> Result<Setup, SetupError> {
    let mut plugins = Vec::new();
    for filter in &scenario.filters {
        let configuration = filter
            .configuration(base)
            .map_err(|source| SetupError::Configuration { filter: filter.name.clone(), source })?;
        plugins.push(Plugin {
            name: filter.name.clone(),
            root_id: filter.root_id.clone(),
            vm_id: filter.vm_id.clone(),
            module: modules.get(filter, base)?,
            configuration,
            failure_policy: filter.failure_policy,
            allow_on_headers_stop_iteration: filter.allow_on_headers_stop_iteration,
            env: filter.env.clone(),
        });
    }
    Ok(Setup {
        plugins,
        routes: scenario.route_config.as_ref().map(RouteTable::from_value).transpose()?,
        clusters: scenario.clusters.clone(),
        seed: scenario.seed,
        start_ns: scenario.start_ns(),
        timeouts: Timeouts {
            stream_idle: duration(&scenario.stream_idle_timeout).unwrap_or(Timeouts::default().stream_idle),
            request: duration(&scenario.request_timeout).unwrap_or_default(),
        },
        workers: scenario.workers,
        interleaving: None,
    })
}

/// A time that is known to be one.
fn duration(text: &Option<String>) -> Option<Duration> {
    text.as_deref().and_then(time::parse_duration)
}

/// Clusters that routes name and that do not exist, where the scenario says which exist: requests to them are answered 503.
#[must_use]
pub fn unknown_clusters(scenario: &Scenario) -> BTreeSet<&str> {
    let mut named = BTreeSet::new();
    if let Some(routes) = &scenario.route_config
        && !scenario.clusters.is_empty()
    {
        name_clusters(routes, &mut named);
    }
    named.retain(|cluster| !scenario.clusters.contains_key(*cluster));
    named
}

fn name_clusters<'a>(value: &'a Value, named: &mut BTreeSet<&'a str>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| name_clusters(value, named)),
        Value::Object(fields) => {
            for (key, value) in fields {
                match (key.as_str(), value) {
                    ("cluster", Value::String(cluster)) => {
                        named.insert(cluster);
                    }
                    ("weighted_clusters", value) => {
                        let clusters = value.get("clusters").and_then(Value::as_array);
                        let names = clusters.into_iter().flatten().filter_map(|cluster| cluster.get("name"));
                        named.extend(names.filter_map(Value::as_str));
                    }
                    // Metadata is the user's own.
                    ("metadata" | "typed_per_filter_config", _) => {}
                    _ => name_clusters(value, named),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    #[test]
    fn routes_to_clusters_that_do_not_exist_are_found() {
        let scenario: Scenario = yaml::parse(
            "clusters: {a: {}}\nroute_config:\n  virtual_hosts:\n  - routes:\n    - route: {cluster: a}\n    \
             - {route: {cluster: b}, metadata: {filter_metadata: {x: {cluster: not-one}}}}\n    \
             - route: {weighted_clusters: {clusters: [{name: c, weight: 1}, {name: a, weight: 1}]}}\n",
        )
        .unwrap();
        assert_eq!(unknown_clusters(&scenario), BTreeSet::from(["b", "c"]));
        let all = Scenario { clusters: BTreeMap::new(), ..scenario };
        assert_eq!(unknown_clusters(&all), BTreeSet::new());
    }
}
