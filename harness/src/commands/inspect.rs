//! `weir inspect`: what a module is, for a reader or as JSON.

use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueEnum};

use super::artifact::{AccessArgs, failure, open};
use super::verify::image;
use super::{Exit, Failure, Run, Terminal};
use crate::build;
use crate::inspect::{self, Inspection, Metadata};
use crate::oci::{Asked, Place, judge};
use crate::style::{Style, paint, printable};

/// Show what a module is: ABI, imports, exports, sizes, metadata
///
/// Marks imports that Envoy lacks, for which it refuses the module, and exports that it calls. The module is not run.
#[derive(Args)]
#[command(after_help = "Examples:
  weir inspect canary                     a filter of this workspace, built first
  weir inspect target/weir/canary.wasm
  weir inspect other.wasm --format json | jq .imports
  weir inspect registry.example/weir/canary:1.4

Exit codes: 0 Envoy would accept it, as far as can be seen; 2 not found, no module, or Envoy refuses it")]
pub(super) struct Inspect {
    /// A `.wasm` file, a crate's folder, the name of a filter of this workspace, or an image: host/repository:tag, oci:FOLDER[:TAG]
    module: String,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    #[command(flatten)]
    access: AccessArgs,
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
        let color = terminal.color.is_on(&io::stdout());
        let mut out = io::stdout().lock();
        let (place, wasm) = if Place::is_image(&self.module) {
            let place = Place::parse(&self.module).map_err(failure)?;
            let report = judge(open(&place, &self.access)?.store(), &Asked::default()).map_err(failure)?;
            if matches!(self.format, Format::Text) {
                out.write_all(image(&self.module, &report, color).as_bytes())?;
            }
            let wasm = report.module.map(|module| module.bytes);
            (self.module.clone(), wasm.ok_or_else(|| anyhow!("`{}` holds no module", self.module))?)
        } else {
            let path = build::named(&self.module, Path::new("."))?;
            let wasm = std::fs::read(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
            (path.display().to_string(), wasm)
        };
        let found = inspect::inspect(&wasm).map_err(|error| anyhow!("`{place}` {error}"))?;
        match self.format {
            Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&found)?)?,
            Format::Text => out.write_all(text(&found, color).as_bytes())?,
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
    if let Some(metadata) = &found.metadata {
        describe(metadata, color, &mut lines);
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

/// What the module says of itself; its schema is for machines.
fn describe(metadata: &Metadata, color: bool, lines: &mut Vec<String>) {
    let licence = metadata.license.as_deref().unwrap_or("no licence named");
    let texts = [format!("{} {}", metadata.name, metadata.version), licence.to_owned()];
    let texts = texts.into_iter().chain(metadata.description.clone());
    let text = texts.map(|text| printable(text.as_bytes())).collect::<Vec<_>>().join(", ");
    lines.push(format!("{}  {text}", paint(color, Style::Bold, "metadata")));
    if !metadata.clusters.is_empty() {
        let places = printable(metadata.clusters.join(", ").as_bytes());
        lines.push(format!(
            "{}  its configuration names them at {places}",
            paint(color, Style::Bold, "clusters")
        ));
    }
    let schema = if metadata.schema.is_some() { "there; `--format json` prints it" } else { "none" };
    lines.push(format!("{}  {schema}", paint(color, Style::Bold, "schema")));
}

fn kib(pages: u64) -> String {
    format!("{} KiB", pages.saturating_mul(64))
}
