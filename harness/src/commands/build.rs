//! `weir build`: `.wasm` files out of filter crates, or out of other `.wasm` files.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueEnum};
use serde_json::json;

use super::{Exit, Failure, Run, Terminal};
use crate::build::{self, Built};
use crate::inspect;
use crate::vm::Module;

/// Build filter crates into `.wasm` files
///
/// Built for release with fat LTO, one codegen unit and abort on panic, whatever profile the crate has. Then exports that Envoy does not use,
/// callbacks that do nothing, functions that nobody reaches and names are removed, and the section `weir.metadata` says what the module is:
/// name, version, licence, description, hostcalls, where its configuration names clusters, and the configuration's JSON Schema. The same
/// source gives the same bytes in any folder. A module that Envoy would not load is an error. The target wasm32-wasip1 is added through
/// rustup when it is missing. What is up to date is not built again.
#[derive(Args)]
#[command(after_help = "Examples:
  weir build                              every filter of this workspace
  weir build canary --out dist            one of them, copied to dist/canary.wasm
  weir build ../my-filter                 any crate with a `cdylib`
  weir build --wasm main.wasm --out dist  a module that another toolchain made
  weir build --format json | jq -r '.[].sha256'
Modules are target/weir/<package>.wasm in the crate's workspace, and with names target/weir/<package>.named.wasm.
A crate's Cargo.toml may have [package.metadata.weir] with clusters, callbacks, schema and max_bytes; see harness/MODULES.md.

Exit codes: 0 built; 2 not found, it does not build, Envoy would not load it, or it has more than `max_bytes`")]
pub(super) struct Build {
    /// Names of filters of this workspace, or folders of crates; default: every filter of this workspace
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
    /// A module to treat as if it had just been linked; needs `--out`
    #[arg(long, value_name = "FILE", requires = "out", conflicts_with = "filters")]
    wasm: Vec<PathBuf>,
    /// A folder that gets the modules as <package>.wasm; made when it is missing
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Keep the names of functions, which backtraces in Envoy's log then have
    #[arg(long)]
    names: bool,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// For a reader
    Text,
    /// One JSON list
    Json,
}

impl Run for Build {
    fn run(self, _: Terminal) -> Result<Exit, Failure> {
        let mut modules = self.build()?;
        for built in &mut modules {
            // Those of other toolchains were, before they were written.
            if self.wasm.is_empty() {
                checked(built)?;
            }
            let path = if self.names { &built.named } else { &built.path };
            if let Some(folder) = &self.out {
                let to = folder.join(format!("{}.wasm", built.name));
                copy(path, &to).with_context(|| format!("cannot write `{}`", to.display()))?;
                built.path = to;
            } else if self.names {
                built.path.clone_from(&built.named);
            }
        }
        let text = match self.format {
            Format::Text => table(&modules),
            Format::Json => format!("{}\n", serde_json::to_string_pretty(&json(&modules))?),
        };
        io::stdout().write_all(text.as_bytes())?;
        let large = modules.iter().find_map(|built| Some((built, over(built)?)));
        match large {
            Some((built, most)) => Err(anyhow!(
                "`{}` has {} bytes; `max_bytes` of its Cargo.toml allows {most}",
                built.name,
                built.bytes
            )
            .into()),
            None => Ok(Exit::Done),
        }
    }
}

impl Build {
    fn build(&self) -> Result<Vec<Built>, Failure> {
        if let (Some(folder), false) = (&self.out, self.wasm.is_empty()) {
            fs::create_dir_all(folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
            let mut stems = BTreeSet::new();
            if let Some(twice) = self.wasm.iter().find(|file| !stems.insert(file.file_stem())) {
                let name = twice.file_stem().unwrap_or_default().to_string_lossy();
                return Err(
                    anyhow!("two of the files would be `{name}.wasm` in `{}`", folder.display()).into()
                );
            }
            let files = self.wasm.iter();
            return files
                .map(|file| build::file(file, folder, |wasm| accepted(&file.display().to_string(), wasm)))
                .collect();
        }
        let crates = if self.filters.is_empty() {
            build::workspace_filters(Path::new("."))?
        } else {
            let named = self.filters.iter().map(|name| {
                build::crate_named(name)?
                    .ok_or_else(|| anyhow!("`{name}` is a module already; `--wasm {name}` makes it smaller"))
            });
            named.collect::<Result<_, anyhow::Error>>()?
        };
        if crates.is_empty() {
            return Err(anyhow!("this workspace has no filter: no package with a `cdylib`").into());
        }
        Ok(crates.iter().map(build::build).collect::<Result<_, _>>()?)
    }
}

/// What Envoy would refuse is not built: marker, allocator, imports, signatures.
fn checked(built: &Built) -> Result<(), Failure> {
    let label = built.path.display().to_string();
    let wasm = fs::read(&built.path).with_context(|| format!("cannot read `{label}`"))?;
    accepted(&label, &wasm)
}

fn accepted(label: &str, wasm: &[u8]) -> Result<(), Failure> {
    let found = inspect::inspect(wasm).map_err(|error| anyhow!("`{label}` {error}"))?;
    if !found.problems.is_empty() {
        return Err(anyhow!("Envoy would refuse `{label}`: {}", found.problems.join("; ")).into());
    }
    Module::compile(label, wasm)?;
    Ok(())
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if from == to {
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(from, to).map(drop)
}

/// What a module may have at most, when it has more.
fn over(built: &Built) -> Option<u64> {
    built.max_bytes.filter(|most| built.bytes > *most)
}

fn table(modules: &[Built]) -> String {
    let mut rows = vec![["module", "linked", "bytes", "allowed", "sha256"].map(str::to_owned)];
    rows.extend(modules.iter().map(|built| {
        [
            built.path.display().to_string(),
            built.linked_bytes.to_string(),
            built.bytes.to_string(),
            built.max_bytes.map_or_else(String::new, |most| most.to_string()),
            built.sha256.clone(),
        ]
    }));
    let mut text = String::new();
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2), width(3)];
    for [module, linked, bytes, allowed, sha256] in &rows {
        let [a, b, c, d] = widths;
        text.push_str(&format!("{module:a$}  {linked:>b$}  {bytes:>c$}  {allowed:>d$}  {sha256}\n"));
    }
    for built in modules.iter().filter(|built| !built.removed.is_empty()) {
        text.push_str(&format!("{}: removed {}\n", built.name, built.removed.join(", ")));
    }
    text
}

fn json(modules: &[Built]) -> serde_json::Value {
    let module = |built: &Built| {
        json!({
            "name": built.name,
            "path": built.path,
            "linked_bytes": built.linked_bytes,
            "bytes": built.bytes,
            "max_bytes": built.max_bytes,
            "sha256": built.sha256,
            "removed": built.removed,
        })
    };
    modules.iter().map(module).collect()
}
