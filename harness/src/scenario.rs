//! A scenario: which filters, with which configuration, on which routes, and which recordings. The YAML form, and nothing that runs it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::time;
use crate::yaml::{self, FileError};

mod body;
mod cluster;
pub(crate) mod text;

pub use body::{Body, Span};
pub use cluster::{
    AfterSequence, Cluster, ClusterProtocol, ClusterResponse, Distribution, Failure, FailureType,
    GrpcResponse, Latency, Rule, Step,
};
pub(crate) use cluster::{Fields, percentile};
pub use text::BytesText;

/// The most workers that a scenario may have: each has a VM of every plugin.
pub const MAX_WORKERS: u32 = 64;

/// What to replay and how: `scenario.yaml`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What the scenario shows; printed above the report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The HTTP filters in chain order; Envoy's router follows the last.
    #[serde(default)]
    pub filters: Vec<Filter>,
    /// Envoy's `RouteConfiguration` as JSON or YAML. Absent: every request goes to the only cluster, or to `upstream`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_config: Option<Value>,
    /// The clusters that exist, by name. Empty: every cluster that a route names exists.
    #[serde(default)]
    pub clusters: BTreeMap<String, Cluster>,
    /// Recordings, relative to this file; replayed in this order. May be empty when the command line gives some.
    #[serde(default)]
    pub recordings: Vec<PathBuf>,
    /// How recordings that carry no marker are to be read, such as an access log's format string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_log_format: Option<String>,
    /// HCM's `stream_idle_timeout`, such as `10s`: a stream in which nothing happens for so long is ended with 504. `0s`: never. Default `5m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_idle_timeout: Option<String>,
    /// HCM's `request_timeout`, such as `30s`: a request that has not passed all filters by then is answered 504. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_timeout: Option<String>,
    /// Seed of everything random that filters ask the host for. Default 0.
    #[serde(default)]
    pub seed: u64,
    /// How many workers the proxy has, as Envoy's `--concurrency`: each has its own VM of every plugin, connections are spread over them, and
    /// what they do at one moment interleaves by the seed. 1 to 64. Default 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    #[schemars(range(min = 1, max = MAX_WORKERS))]
    pub workers: u32,
    /// The time of the first exchange, RFC 3339, overriding the recording's. Default: the recording's own, else 2026-01-01T00:00:00Z.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
}

/// One plugin: a configured instance of a module in the filter chain. Names and defaults are Envoy's `PluginConfig`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// The plugin's name, also the default for `module`.
    pub name: String,
    /// A crate's folder or a `.wasm` file, relative to this file; or the name of a filter of this workspace. Default: `name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// The plugin's configuration: an object is given to the module as JSON, a string as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Value>,
    /// A file with the configuration (YAML or JSON become JSON, anything else is given as it is), instead of `config`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_file: Option<PathBuf>,
    /// Envoy's `root_id`. Default empty.
    #[serde(default)]
    pub root_id: String,
    /// Envoy's `vm_id`: plugins of one module with the same id share shared data. Default empty.
    #[serde(default)]
    pub vm_id: String,
    /// What happens after a trap. Default `FAIL_CLOSED`.
    #[serde(default)]
    pub failure_policy: FailurePolicy,
    /// Envoy's `allow_on_headers_stop_iteration`. Default false.
    #[serde(default)]
    pub allow_on_headers_stop_iteration: bool,
    /// Environment variables of the VM.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

/// Envoy's `failure_policy`.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FailurePolicy {
    /// Streams of a failed VM get 503.
    #[default]
    FailClosed,
    /// Streams after the failing one bypass the plugin.
    FailOpen,
    /// As closed, and a fresh VM is made after a back-off.
    FailReload,
}

/// A scenario and where it stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loaded {
    /// The scenario.
    pub scenario: Scenario,
    /// The folder that its paths are relative to.
    pub base: PathBuf,
    /// The file it was read from.
    pub file: PathBuf,
}

/// A scenario that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file cannot be read or is not of the form.
    #[error(transparent)]
    File(#[from] FileError),
    /// A field has the right form and no meaning.
    #[error("{}: `{field}`: {reason}", file.display())]
    Invalid {
        /// The file.
        file: PathBuf,
        /// The field's path.
        field: String,
        /// What is wrong, and what would be accepted.
        reason: String,
    },
}

impl Scenario {
    /// Reads a scenario; a folder means the `scenario.yaml` in it.
    ///
    /// # Errors
    /// When the file cannot be read, is not a scenario, or names a file that is not there.
    pub fn load(path: &Path) -> Result<Loaded, ScenarioError> {
        let file = file_in(path, "scenario.yaml");
        let mut scenario: Self = yaml::read(&file)?;
        let base = parent(&file);
        let usable = scenario.validate(&base, "").and_then(|()| scenario.read_files(&base, ""));
        usable.map_err(|(field, reason)| ScenarioError::Invalid { file: file.clone(), field, reason })?;
        Ok(Loaded { scenario, base, file })
    }

    /// Checks what the form cannot say: names, times, and that the files are there. `prefix` stands before each field's path.
    ///
    /// # Errors
    /// The path of the first field that cannot be used, and why.
    pub fn validate(&self, base: &Path, prefix: &str) -> Result<(), (String, String)> {
        for (index, filter) in self.filters.iter().enumerate() {
            let field = |name: &str| format!("{prefix}filters[{index}].{name}");
            if filter.name.is_empty() {
                return Err((field("name"), "must not be empty".to_owned()));
            }
            if filter.config.is_some() && filter.config_file.is_some() {
                return Err((field("config_file"), "stands beside `config`; give one of the two".to_owned()));
            }
            if let Some(file) = &filter.config_file {
                is_file(base, file).map_err(|reason| (field("config_file"), reason))?;
            }
        }
        for (index, recording) in self.recordings.iter().enumerate() {
            // A folder of recordings is one, too.
            if !base.join(recording).is_dir() {
                is_file(base, recording)
                    .map_err(|reason| (format!("{prefix}recordings[{index}]"), reason))?;
            }
        }
        // 0 is what a scenario has that was not read from a file.
        if self.workers > MAX_WORKERS {
            let reason = format!("expected 1 to {MAX_WORKERS}, found {}", self.workers);
            return Err((format!("{prefix}workers"), reason));
        }
        if let Some(start) = &self.start
            && time::parse_timestamp(start).is_none()
        {
            let reason = format!("expected a time such as `2026-05-04T09:00:00Z`, found `{start}`");
            return Err((format!("{prefix}start"), reason));
        }
        for (name, text) in
            [("stream_idle_timeout", &self.stream_idle_timeout), ("request_timeout", &self.request_timeout)]
        {
            if let Some(text) = text
                && time::parse_duration(text).is_none()
            {
                let reason = format!("expected a time such as `250ms` or `10s`, found `{text}`");
                return Err((format!("{prefix}{name}"), reason));
            }
        }
        if let Some(route_config) = &self.route_config
            && !route_config.is_object()
        {
            let reason = "expected Envoy's `RouteConfiguration`, an object with `virtual_hosts`".to_owned();
            return Err((format!("{prefix}route_config"), reason));
        }
        for (name, cluster) in &self.clusters {
            cluster
                .validate()
                .map_err(|(field, reason)| (format!("{prefix}clusters.{name}.{field}"), reason))?;
        }
        Ok(())
    }

    /// Puts the content of the files that clusters answer with in the place of their names. `prefix` stands before each field's path.
    ///
    /// # Errors
    /// The path of the first field whose file cannot be read, and why.
    pub fn read_files(&mut self, base: &Path, prefix: &str) -> Result<(), (String, String)> {
        for (name, cluster) in &mut self.clusters {
            let read = cluster.read_files(base);
            read.map_err(|(field, reason)| (format!("{prefix}clusters.{name}.{field}"), reason))?;
        }
        Ok(())
    }

    /// The time of the first exchange in nanoseconds since 1970, where the scenario gives one.
    #[must_use]
    pub fn start_ns(&self) -> Option<u64> {
        self.start.as_deref().and_then(time::parse_timestamp)
    }
}

impl Filter {
    /// The bytes that the module is configured with; `None` where there is no configuration.
    ///
    /// # Errors
    /// When `config_file` cannot be read, or is YAML by its name and not by its content.
    pub fn configuration(&self, base: &Path) -> Result<Option<Vec<u8>>, FileError> {
        if let Some(file) = &self.config_file {
            return read_configuration(&base.join(file)).map(Some);
        }
        Ok(match &self.config {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone().into_bytes()),
            Some(value) => Some(value.to_string().into_bytes()),
        })
    }
}

/// Reads a file as a configuration: `.yaml` and `.yml` become JSON, anything else (JSON too) is given byte by byte.
///
/// # Errors
/// When it cannot be read or is YAML by its name and not by its content.
pub fn read_configuration(file: &Path) -> Result<Vec<u8>, FileError> {
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    if matches!(extension, "yaml" | "yml") {
        let value: Value = yaml::read(file)?;
        // A YAML file that is one text (a block scalar) is the configuration itself.
        return Ok(value.as_str().map_or_else(|| value.to_string(), str::to_owned).into_bytes());
    }
    std::fs::read(file).map_err(|source| FileError::Read { path: file.to_owned(), source })
}

/// `path` itself, or the file `name` in it when it is a folder.
pub(crate) fn file_in(path: &Path, name: &str) -> PathBuf {
    if path.is_dir() { path.join(name) } else { path.to_owned() }
}

/// The folder of a file: `.` for a bare name.
pub(crate) fn parent(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn one() -> u32 {
    1
}

fn is_one(workers: &u32) -> bool {
    *workers <= 1
}

fn is_file(base: &Path, file: &Path) -> Result<(), String> {
    let path = base.join(file);
    if path.is_file() {
        return Ok(());
    }
    let what = if path.is_dir() { "is a folder, not a file" } else { "there is no such file" };
    Err(format!("`{}`: {what} (paths are relative to the folder of this file)", file.display()))
}
