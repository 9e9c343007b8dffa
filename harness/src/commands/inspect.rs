//! `weir inspect`: what a module is, for a reader or as JSON.

use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueEnum};

use super::{Exit, Failure, Run, Terminal};
use crate::build;
use crate::inspect::{self, Inspection};
use crate::style::{Style, paint, printable};

/// Show what a module is: ABI, imports, exports, sizes, metadata
///
/// Marks imports that Envoy lacks, for which it refuses the module, and exports that it calls. The module is not run.
#[derive(Args)]
#[command(after_help = "Examples:
  weir inspect canary                     a filter of this workspace, built first
  weir inspect target/weir/canary.wasm
  weir inspect other.wasm --format json | jq .imports

Exit codes: 0 Envoy would accept it, as far as can be seen; 2 not found, no module, or Envoy refuses it")]
pub(super) struct Inspect {
    /// A `.wasm` file, a crate's folder, or the name of a filter of this workspace
    module: String,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// For a reader
    Text,
    /// One JSON object
    Json,
}

impl Run for Inspect {
    fn run(self, terminal: Terminal) -> Result<Exit, Failure> {
        let path = build::named(&self.module, Path::new("."))?;
        let wasm = std::fs::read(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        let found = inspect::inspect(&wasm).map_err(|error| anyhow!("`{}` {error}", path.display()))?;
        let mut out = io::stdout().lock();
        match self.format {
            Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&found)?)?,
            Format::Text => out.write_all(text(&found, terminal.color.is_on(&io::stdout())).as_bytes())?,
        }
        Ok(if found.problems.is_empty() { Exit::Done } else { Exit::Usage })
    }
}

fn text(found: &Inspection, color: bool) -> String {
    let mut lines: Vec<String> = Vec::new();
    let heading = |text: &str| paint(color, Style::Bold, text);
    let safe = |text: &str| printable(text.as_bytes());
    lines.push(format!("{}  {}", heading("abi"), found.abi.as_deref().unwrap_or("none")));
    if let Some(name) = &found.name {
        lines.push(format!("{}  {}", heading("name"), safe(name)));
    }
    for (field, name, version) in &found.producers {
        lines.push(format!("{}  {} {}", heading(&safe(field)), safe(name), safe(version)));
    }
    for (pages, maximum) in &found.memories {
        let most = maximum
            .map_or_else(|| "no limit of its own".to_owned(), |pages| format!("at most {}", kib(pages)));
        lines.push(format!("{}  {}, {most}", heading("memory"), kib(*pages)));
    }
    if found.has_start_function {
        lines.push(format!("{}  runs when the module is instantiated", heading("start function")));
    }
    lines.push(format!("\n{}  {} bytes", heading("sections"), found.size));
    for section in &found.sections {
        lines.push(format!("  {:>9}  {}", section.size, safe(&section.name)));
    }
    let mut module = None;
    for import in &found.imports {
        if module != Some(&import.module) {
            module = Some(&import.module);
            lines.push(format!("\n{} {}", heading("imports of"), safe(&import.module)));
        }
        let kind = if import.kind == "function" { String::new() } else { format!("  ({})", import.kind) };
        let lacks =
            if import.envoy_has_it { String::new() } else { paint(color, Style::Red, "  Envoy lacks it") };
        lines.push(format!("  {}{kind}{lacks}", safe(&import.name)));
    }
    lines.push(format!("\n{}", heading("exports")));
    for export in &found.exports {
        let mark = match (export.is_callback, export.kind) {
            (true, _) => paint(color, Style::Green, "  called by Envoy"),
            (false, "function") => String::new(),
            (false, kind) => format!("  ({kind})"),
        };
        lines.push(format!("  {}{mark}", safe(&export.name)));
    }
    if !found.problems.is_empty() {
        lines.push(format!("\n{}", paint(color, Style::Red, "Envoy refuses this module:")));
        lines.extend(found.problems.iter().map(|problem| format!("  {}", safe(problem))));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn kib(pages: u64) -> String {
    format!("{} KiB", pages.saturating_mul(64))
}
