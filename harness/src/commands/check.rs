//! `weir check`: does a filter accept its configuration, does a proxy accept a manifest; without Envoy.

mod files;
mod modules;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::Args;

use super::{Exit, Failure, Run, Terminal, envoy};
use crate::check::output::{self, Format};
use crate::check::{self, Report, Severity, Source, rules};
use crate::driver::{Replay, Setup, StartError};
use crate::outcome::LogLine;
use crate::scenario::{Filter, Loaded, Scenario};
use crate::setup::{self, Modules};
use crate::style::printable;

pub(super) use modules::Workshop;

/// Check manifests, Envoy configurations and configurations of filters, without a cluster and without Envoy
///
/// Manifests of Istio and Envoy Gateway: files or folders, any number of documents; the rules are in harness/CHECKS.md. A filter and its
/// configuration: builds and loads the module as Envoy does and hands it the configuration. A scenario: its filters, routes and files.
#[derive(Args)]
#[command(after_help = "Examples:
  weir check canary canary.yaml           a filter's configuration; YAML becomes JSON, other files are given as they are
  weir check ./my-filter.wasm             without configuration
  weir check examples/bookinfo            a scenario: a folder with scenario.yaml, or a .yaml file
  weir check deploy/ envoy.yaml           all manifests of a folder, and a file
  weir check plugin.yaml --module my-filter=target/my_filter.wasm
  weir check deploy/ --format sarif >check.sarif
  weir check envoy.yaml --envoy           what a real Envoy says, too

Exit codes: 0 accepted, 2 not found or cannot be read, 3 refused, 4 the module trapped")]
pub(super) struct Check {
    /// Manifests, or folders of them; or a filter (of this workspace, a crate's folder, a `.wasm` file) and its configuration; or a scenario
    #[arg(value_name = "PATH|FILTER [CONFIG]|SCENARIO", required = true)]
    what: Vec<String>,
    /// How findings are printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// A module for plugins of this name (plugin, root id or the last part of its URL): a `.wasm` file or a crate's folder; may be repeated
    #[arg(long, value_name = "NAME=FILE")]
    module: Vec<String>,
    /// Leave the findings of a rule out; may be repeated
    #[arg(long, value_name = "RULE")]
    allow: Vec<String>,
    /// Ask a real Envoy about Envoy configurations, and about what manifests patch into them, too (`envoy --mode validate`)
    #[arg(long)]
    envoy: bool,
    /// The Envoy; default: $WEIR_ENVOY, else `envoy` on the PATH
    #[arg(long, value_name = "PATH", requires = "envoy")]
    envoy_path: Option<PathBuf>,
    /// Refuse what gives a warning
    #[arg(long, alias = "deny-warnings")]
    warnings_as_errors: bool,
}

impl Run for Check {
    fn run(self, terminal: Terminal) -> Result<Exit, Failure> {
        if files::are_manifests(&self.what) {
            return self.check_manifests(terminal);
        }
        let (what, config) = match self.what.as_slice() {
            [what] => (what, None),
            [what, config] => (what, Some(PathBuf::from(config))),
            _ => return Err(anyhow!("expected a filter and its configuration, or manifests only").into()),
        };
        if self.envoy {
            let error = anyhow!("`--envoy` is for Envoy configurations");
            let hint = Some("a filter or a scenario runs in a real Envoy with `weir envoy`".to_owned());
            return Err(Failure { exit: Exit::Usage, error, hint });
        }
        check_filters(what, config)
    }
}

impl Check {
    fn check_manifests(&self, terminal: Terminal) -> Result<Exit, Failure> {
        for rule in &self.allow {
            if rules::find(rule).is_none() {
                let known: Vec<&str> = rules::ALL.iter().map(|rule| rule.id).collect();
                return Err(anyhow!("`--allow`: {}", crate::yaml::unknown("rule", rule, &known)).into());
            }
        }
        let sources = files::read(&self.what)?;
        let found = if self.envoy { Some(envoy::find(self.envoy_path.as_deref())?) } else { None };
        let mut workshop = modules::Workshop::new(&self.module, found.map(|found| found.path))?;
        let mut report = check::check(&sources, &mut workshop);
        // A job that checks the wrong folder must not be green.
        if report.checked == 0 && report.findings.is_empty() && report.skipped.is_empty() {
            let error = anyhow!("there is nothing to check in `{}`", self.what.join("`, `"));
            let hint =
                Some("expected manifests or Envoy configurations, in .yaml, .yml or .json files".to_owned());
            return Err(Failure { exit: Exit::Usage, error, hint });
        }
        report.findings.retain(|finding| !self.allow.iter().any(|rule| rule == finding.rule));
        self.print(&report, &sources, terminal)?;
        Ok(self.exit(&report))
    }

    fn print(&self, report: &Report, sources: &[Source], terminal: Terminal) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        let color = terminal.color.is_on(&out);
        out.write_all(output::render(report, sources, self.format, color).as_bytes())?;
        Ok(())
    }

    fn exit(&self, report: &Report) -> Exit {
        if report.findings.iter().any(|finding| finding.rule == rules::YAML.id) {
            Exit::Usage
        } else if report.findings.iter().any(|finding| finding.rule == rules::TRAPPED.id) {
            Exit::Trapped
        } else if report.count(Severity::Error) > 0
            || self.warnings_as_errors && report.count(Severity::Warning) > 0
        {
            Exit::Refused
        } else {
            Exit::Done
        }
    }
}

/// Filters with their configurations: one, or those of a scenario.
fn check_filters(what: &str, config: Option<PathBuf>) -> Result<Exit, Failure> {
    let path = Path::new(what);
    let loaded = if is_scenario(path) {
        if config.is_some() {
            return Err(anyhow!("a scenario has its filters' configurations; leave CONFIG out").into());
        }
        Scenario::load(path)?
    } else {
        let filter = Filter { config_file: config, ..filter(what) };
        let scenario = Scenario { filters: vec![filter], ..Scenario::default() };
        Loaded { scenario, base: PathBuf::from("."), file: PathBuf::new() }
    };
    let setup = ready(&loaded)?;
    warn(&loaded.scenario);
    let mut replay = Replay::start(setup).map_err(start_failure)?;
    replay.finish();
    for filter in &loaded.scenario.filters {
        writeln!(io::stdout(), "`{}` accepts its configuration", filter.name)?;
    }
    if loaded.scenario.filters.is_empty() {
        writeln!(io::stdout(), "the scenario has no filters; its routes and files are in order")?;
    }
    Ok(Exit::Done)
}

/// Makes a scenario ready to run; errors name its file, where it has one.
pub(super) fn ready(loaded: &Loaded) -> Result<Setup, Failure> {
    setup::setup(&loaded.scenario, &loaded.base, &mut Modules::default()).map_err(|error| {
        if loaded.file.as_os_str().is_empty() {
            return error.into();
        }
        anyhow!("{}: {error}", loaded.file.display()).into()
    })
}

/// Whether a path means a scenario: a folder with a `scenario.yaml`, or a YAML file.
pub(super) fn is_scenario(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("yaml" | "yml")) || path.join("scenario.yaml").is_file()
}

/// A filter as the command line names it: a name of the workspace, or a path whose last part is the name.
pub(super) fn filter(what: &str) -> Filter {
    let name = Path::new(what).file_stem().and_then(|stem| stem.to_str()).filter(|stem| !stem.is_empty());
    Filter { name: name.unwrap_or(what).to_owned(), module: Some(what.to_owned()), ..Filter::default() }
}

/// Says what of a scenario is probably not meant.
pub(super) fn warn(scenario: &Scenario) {
    for cluster in setup::unknown_clusters(scenario) {
        eprintln!(
            "warning: routes name the cluster `{cluster}`, which is not among `clusters`: Envoy answers 503"
        );
    }
}

/// A start that failed, with what the plugin logged, and the exit code for it.
pub(super) fn start_failure(error: StartError) -> Failure {
    let (exit, log) = match &error {
        StartError::Load { .. } => (Exit::Usage, Vec::new()),
        StartError::Refused { log, .. } => (Exit::Refused, log.clone()),
        StartError::Trapped { log, .. } => (Exit::Trapped, log.clone()),
    };
    let error = match &error {
        StartError::Refused { plugin, .. } => anyhow!("`{plugin}` refused its configuration{}", said(&log)),
        StartError::Trapped { plugin, message, .. } => {
            anyhow!("`{plugin}` trapped while it started: {}{}", message, said(&log))
        }
        StartError::Load { .. } => error.into(),
    };
    Failure { exit, error, hint: None }
}

/// The lines that tell why: errors, or everything where there is none.
pub(super) fn said(log: &[LogLine]) -> String {
    let is_error = |line: &&LogLine| matches!(line.level, "error" | "critical");
    let errors: Vec<&LogLine> = log.iter().filter(is_error).collect();
    let lines = if errors.is_empty() { log.iter().collect() } else { errors };
    if lines.is_empty() {
        return " and logged no reason".to_owned();
    }
    // A filter's message may have lines of its own.
    let texts = lines.iter().flat_map(|line| line.message.lines());
    texts.map(|text| format!("\n  {}", printable(text.as_bytes()))).collect()
}
