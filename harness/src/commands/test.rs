//! `weir test`: cases as data, run in the harness, and in a real Envoy when asked.

use std::fs;
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;
use similar::{ChangeTag, TextDiff};

use super::replay::EnvoyArgs;
use super::{Exit, Failure, Run, Terminal};
use crate::case::{self, Case, CaseFailure, CaseReport, Exploration};
use crate::envoy::cases::Ready;
use crate::envoy::find::Found;
use crate::envoy::process;
use crate::scenario::MAX_WORKERS;
use crate::setup::Modules;
use crate::style::{Style, paint, printable};

/// So many failures of a case are shown.
const MAX_FAILURES: usize = 10;

/// Run cases: scenarios with what must come of them
///
/// A case is a case.yaml in a folder of its own: a scenario, exchanges, and for each what must come of it (`weir schema case`). Each runs in a
/// fresh replay. With --envoy each runs in a real Envoy as well, where its expectations hold too and every exchange comes to the same.
#[derive(Args)]
#[command(after_help = "Examples:
  weir test                                 every case below filters/ and examples/ of this workspace
  weir test filters/canary/cases/user-jack  one case
  weir test --only sticky                   those whose path has `sticky` in it
  weir test --envoy --only sticky           the same in a real Envoy
  weir test --workers 4 --seeds 100         with four workers, under a hundred interleavings
  weir test --workers 4 --seed 17 PATH      the interleaving that was named as the one that fails

Exit codes: 0 all pass, 1 some failed, 2 some cannot be read or run, or there are none")]
pub(super) struct Test {
    /// Folders to look for case.yaml in, or such files
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Only cases whose path contains this text
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// So many workers, in place of each case's own
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_WORKERS)))]
    workers: Option<u32>,
    /// The interleaving of several workers, and which of them serves a connection, in place of the scenario's seed; whatever else is random
    /// stays as it is
    #[arg(long, value_name = "N", conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Run each case that has several workers with every seed of A..B (B is not one of them; N is 0..N), until one breaks what is expected
    #[arg(long, value_name = "A..B|N", value_parser = seeds)]
    seeds: Option<Range<u64>>,
    #[command(flatten)]
    envoy: EnvoyArgs,
}

/// `A..B`, or `N` for `0..N`.
fn seeds(text: &str) -> Result<Range<u64>, String> {
    let (first, last) = text.split_once("..").unwrap_or(("0", text));
    let number = |text: &str| text.parse().ok();
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first < last => Ok(first..last),
        _ => Err("expected `A..B` with A below B, or a number above 0".to_owned()),
    }
}

impl Run for Test {
    fn run(self, terminal: Terminal) -> Result<Exit, Failure> {
        let color = terminal.color.is_on(&io::stdout());
        let envoy = self.envoy.envoy.then(|| self.envoy.find()).transpose()?;
        let mut files = Vec::new();
        for path in if self.paths.is_empty() { default_paths()? } else { self.paths.clone() } {
            find(&path, true, &mut files)
                .with_context(|| format!("cannot look for cases in `{}`", path.display()))?;
        }
        if let Some(only) = &self.only {
            files.retain(|file| file.to_string_lossy().contains(only.as_str()));
        }
        if files.is_empty() {
            return Err(anyhow!("there is no case.yaml").into());
        }
        let mut out = io::stdout();
        let mut modules = Modules::default();
        let (mut ok, mut failed, mut errors) = (0_u64, 0_u64, 0_u64);
        for file in &files {
            let name = case_name(file);
            match self.run_case(file, &mut modules, envoy.as_ref()) {
                Ok(Verdict { report, notes, differs: None }) if report.failures.is_empty() => {
                    ok += 1;
                    let notes: String = notes.iter().map(|note| format!("  ({note})")).collect();
                    let notes = paint(color, Style::Dim, &notes);
                    writeln!(out, "{}      {name}{notes}", paint(color, Style::Green, "ok"))?;
                }
                Ok(Verdict { report, notes, differs }) => {
                    failed += 1;
                    let notes: String = notes.iter().map(|note| format!("  ({note})")).collect();
                    writeln!(out, "{}  {name}{notes}", paint(color, Style::Red, "FAILED"))?;
                    out.write_all(describe(&report.failures, color).as_bytes())?;
                    for line in differs.iter().flat_map(|text| text.lines()) {
                        writeln!(out, "        {}", printable(line.as_bytes()))?;
                    }
                }
                Err(error) => {
                    errors += 1;
                    writeln!(out, "{}   {name}\n        {error}", paint(color, Style::Red, "ERROR"))?;
                }
            }
        }
        let s = if files.len() == 1 { "" } else { "s" };
        write!(out, "\n{} case{s}: {ok} ok", files.len())?;
        for (count, what) in [(failed, "failed"), (errors, "could not run")] {
            if count > 0 {
                write!(out, ", {count} {what}")?;
            }
        }
        writeln!(out)?;
        Ok(match (failed, errors) {
            (0, 0) => Exit::Done,
            (_, 0) => Exit::Differs,
            _ => Exit::Usage,
        })
    }
}

/// What came of a case.
struct Verdict {
    report: CaseReport,
    /// What is to be told beside: why it ran in the harness only, what many interleavings came to.
    notes: Vec<String>,
    /// What is wrong in Envoy.
    differs: Option<String>,
}

impl Test {
    fn run_case(&self, file: &Path, modules: &mut Modules, envoy: Option<&Found>) -> anyhow::Result<Verdict> {
        let mut loaded = Case::load(file)?;
        if let Some(workers) = self.workers {
            loaded.case.scenario.workers = workers;
        }
        let mut notes = Vec::new();
        let report = match &self.seeds {
            Some(seeds) => {
                let explored = case::explore(&loaded, modules, seeds.clone())?;
                notes.extend(say(&explored));
                explored.failing.map_or(explored.first, |(_, report)| report)
            }
            None => case::run_interleaved(&loaded, modules, self.seed)?,
        };
        let mut verdict = Verdict { report, notes, differs: None };
        if let Some(envoy) = envoy.filter(|_| verdict.report.failures.is_empty()) {
            let ready = Ready::new(&loaded)?;
            if let Some(reason) = ready.skipped_in_envoy() {
                verdict.notes.push(format!("harness only: {reason}"));
            } else {
                let harness = ready.in_harness(modules)?;
                let both = ready.in_envoy(&envoy.path, harness).inspect_err(|_| process::unless_ending())?;
                verdict.differs = ready.verdict(&both);
            }
        }
        Ok(verdict)
    }
}

/// What many interleavings came to, where there was more than one.
fn say(explored: &Exploration) -> Option<String> {
    let Exploration { tried, failing, differs, .. } = explored;
    match (failing, differs) {
        (Some((seed, _)), _) => Some(format!("with seed {seed}: `--seed {seed}` shows it again")),
        (None, _) if *tried <= 1 => None,
        (None, Some(seed)) => {
            Some(format!("{tried} seeds; outcomes depend on the interleaving, first with seed {seed}"))
        }
        (None, None) => Some(format!("{tried} seeds, all with the same outcomes")),
    }
}

/// `filters` and `examples` of the workspace around the current folder.
fn default_paths() -> Result<Vec<PathBuf>, Failure> {
    let here = std::env::current_dir()?;
    for folder in here.ancestors() {
        let found: Vec<PathBuf> = ["filters", "examples"]
            .iter()
            .map(|name| folder.join(name))
            .filter(|path| path.is_dir())
            .collect();
        if !found.is_empty() {
            let relative = |path: PathBuf| path.strip_prefix(&here).map(Path::to_path_buf).unwrap_or(path);
            return Ok(found.into_iter().map(relative).collect());
        }
    }
    let error = anyhow!("there is no folder `filters` or `examples` here or above");
    let hint = Some("say where the cases are: weir test PATH".to_owned());
    Err(Failure { exit: Exit::Usage, error, hint })
}

/// Collects case files in the order of their names. Hidden folders and `target` are left out unless they are asked for.
fn find(path: &Path, asked_for: bool, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if asked_for && path.is_file() {
        files.push(path.to_owned());
        return Ok(());
    }
    let mut entries = fs::read_dir(path)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        // Links are not followed: they may lead in circles.
        let kind = entry.file_type()?;
        if kind.is_dir() && name != "target" && !name.to_string_lossy().starts_with('.') {
            find(&entry.path(), false, files)?;
        } else if kind.is_file() && name == "case.yaml" {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// The folder of a `case.yaml`, any other file itself.
fn case_name(file: &Path) -> String {
    match file.parent() {
        Some(folder) if file.ends_with("case.yaml") && folder != Path::new("") => {
            folder.display().to_string()
        }
        _ => file.display().to_string(),
    }
}

fn describe(failures: &[CaseFailure], color: bool) -> String {
    let mut text = String::new();
    let mut at = None;
    for CaseFailure { exchange, failure } in failures.iter().take(MAX_FAILURES) {
        if at != Some(exchange) {
            let place = exchange.as_deref().unwrap_or("at the end");
            text.push_str(&format!("        {}\n", printable(place.as_bytes())));
            at = Some(exchange);
        }
        text.push_str(&format!("          {}\n", paint(color, Style::Bold, &format!("`{}`", failure.field))));
        match &failure.texts {
            Some((expected, got)) => text.push_str(&diff(expected, got, color)),
            None => {
                let lines = |mark: &str, style: Style, value: &str| -> String {
                    let line = |line: &str| format!("{mark} {}", printable(line.as_bytes()));
                    value
                        .lines()
                        .map(|text| format!("            {}\n", paint(color, style, &line(text))))
                        .collect()
                };
                text.push_str(&lines("expected", Style::Green, &failure.expected));
                text.push_str(&lines("got     ", Style::Red, &failure.got));
            }
        }
    }
    if failures.len() > MAX_FAILURES {
        text.push_str(&format!("        … {} more\n", failures.len() - MAX_FAILURES));
    }
    text
}

/// What must be and what is, line by line.
fn diff(expected: &str, got: &str, color: bool) -> String {
    let mut text = String::from("            - expected, + got\n");
    for change in TextDiff::from_lines(expected, got).iter_all_changes() {
        let (mark, style) = match change.tag() {
            ChangeTag::Equal => (" ", Style::Dim),
            ChangeTag::Delete => ("-", Style::Green),
            ChangeTag::Insert => ("+", Style::Red),
        };
        let line = change.to_string();
        let line = printable(line.strip_suffix('\n').unwrap_or(&line).as_bytes());
        text.push_str(&format!("            {}\n", paint(color, style, &format!("{mark} {line}"))));
    }
    text
}
