//! The modules of plugins in manifests: found by name or by path, and tried out as a proxy would at its start.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::anyhow;
use serde_json::Value;

use super::said;
use crate::build::{self, Crate};
use crate::check::{Answer, Plugin, Question, Runner, Trial, Verdict};
use crate::driver::{self, Replay, Setup, StartError};
use crate::inspect::{self, Metadata};
use crate::scenario::Filter;
use crate::setup::Modules;
use crate::style::printable;

/// Finds modules and runs them.
pub(in crate::commands) struct Workshop {
    /// `--module NAME=FILE`.
    named: BTreeMap<String, String>,
    /// The filters of the workspace around the current folder.
    filters: Vec<Crate>,
    modules: Modules,
    /// The Envoy that is asked, too.
    envoy: Option<PathBuf>,
}

impl Workshop {
    /// Reads `NAME=FILE`s; `envoy` is asked, too.
    pub(in crate::commands) fn new(
        modules: &[String],
        envoy: Option<PathBuf>,
    ) -> Result<Self, anyhow::Error> {
        let mut named = BTreeMap::new();
        for module in modules {
            let (name, file) = module
                .split_once('=')
                .filter(|(name, file)| !name.is_empty() && !file.is_empty())
                .ok_or_else(|| anyhow!("`--module {module}`: expected NAME=FILE"))?;
            named.insert(name.to_owned(), file.to_owned());
        }
        // Outside of a workspace there are none.
        let filters = build::workspace_filters(Path::new(".")).unwrap_or_default();
        Ok(Self { named, filters, modules: Modules::default(), envoy })
    }

    /// What the plugin's module is called here, and the schema beside it.
    fn find(&self, plugin: &Plugin) -> Option<(String, Option<PathBuf>)> {
        let named = plugin.names.iter().find_map(|name| self.named.get(name));
        let local = Path::new(plugin.module.trim_start_matches("file://"));
        let is_file = named.is_none()
            && local.extension().is_some_and(|extension| extension == "wasm")
            && local.is_file();
        let filter =
            plugin.names.iter().find_map(|name| self.filters.iter().find(|filter| filter.name == *name));
        // A filter of this workspace is what its file is built from.
        let what = match (named, filter) {
            (Some(file), _) => file.clone(),
            (None, Some(filter)) => filter.folder().display().to_string(),
            (None, None) if is_file => local.display().to_string(),
            (None, None) => return None,
        };
        let folder = Path::new(&what);
        let folder = if folder.is_dir() { folder } else { folder.parent().unwrap_or(folder) };
        let schema = match (named, filter) {
            (None, Some(_)) => Some(folder.join("config.schema.json")),
            _ => self
                .filters
                .iter()
                .find(|filter| filter.name == what)
                .map(|f| f.folder().join("config.schema.json")),
        };
        Some((what, schema.filter(|schema| schema.is_file())))
    }
}

impl Runner for Workshop {
    fn try_out(&mut self, plugin: &Plugin) -> Option<Trial> {
        let (module, schema) = self.find(plugin)?;
        let schema = schema.and_then(|file| fs::read(file).ok());
        let schema: Option<Value> = schema.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let name = plugin.names.first().cloned().unwrap_or_default();
        let filter = Filter { name: name.clone(), module: Some(module), ..Filter::default() };
        let module = match self.modules.get(&filter, Path::new(".")) {
            Ok(module) => module,
            Err(error) => {
                let verdict = Verdict::NotLoaded(error.to_string());
                return Some(Trial { schema, metadata: None, verdict });
            }
        };
        let metadata = metadata(&filter);
        let schema = schema.or_else(|| metadata.as_ref()?.schema.clone());
        let setup = Setup {
            plugins: vec![driver::Plugin {
                name,
                root_id: plugin.root_id.clone(),
                vm_id: String::new(),
                module,
                configuration: plugin.configuration.clone(),
                failure_policy: filter.failure_policy,
                allow_on_headers_stop_iteration: false,
                env: plugin.env.clone(),
            }],
            ..Setup::default()
        };
        let verdict = match Replay::start(setup) {
            Ok(mut replay) => {
                replay.finish();
                Verdict::Accepted
            }
            Err(StartError::Refused { log, .. }) => Verdict::Refused(said(&log)),
            Err(StartError::Trapped { message, log, .. }) => {
                Verdict::Trapped(format!("{}{}", printable(message.as_bytes()), said(&log)))
            }
            Err(error @ StartError::Load { .. }) => Verdict::NotLoaded(error.to_string()),
        };
        Some(Trial { schema, metadata, verdict })
    }

    fn asks_envoy(&self) -> bool {
        self.envoy.is_some()
    }

    fn locate(&mut self, plugin: &Plugin) -> Option<String> {
        // Envoy looks from the folder it is started in, which is this one.
        if Path::new(&plugin.module).is_file() {
            return Some(plugin.module.clone());
        }
        let (what, _) = self.find(plugin)?;
        let file = build::named(&what, Path::new(".")).ok()?;
        std::path::absolute(file).ok()?.to_str().map(str::to_owned)
    }

    fn ask_envoy(&mut self, question: &Question) -> Option<Answer> {
        let answer = validate(self.envoy.as_deref()?, question);
        answer.inspect_err(|error| eprintln!("warning: Envoy could not be asked: {error}")).ok()
    }
}

/// Asks an Envoy whether it would start with this.
fn validate(envoy: &Path, question: &Question) -> std::io::Result<Answer> {
    let folder = tempfile::Builder::new().prefix("weir-check-").tempdir()?;
    let file = folder.path().join("bootstrap").with_extension(question.extension);
    fs::write(&file, &question.text)?;
    let output = Command::new(envoy)
        .args(["--mode", "validate", "--log-level", "warning", "--concurrency", "1", "-c"])
        .arg(&file)
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(Answer::Accepts);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Ok(Answer::Refuses(if said.trim().is_empty() { output.status.to_string() } else { said.into_owned() }))
}

/// What the module of a filter, which is built, says of itself.
fn metadata(filter: &Filter) -> Option<Metadata> {
    let wasm = fs::read(build::module(filter, Path::new(".")).ok()?).ok()?;
    inspect::inspect(&wasm).ok()?.metadata
}
