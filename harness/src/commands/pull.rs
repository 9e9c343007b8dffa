//! `weir pull`: the module out of an image.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;

use super::artifact::{AccessArgs, failure, open};
use super::{Exit, Failure, Run, Terminal};
use crate::oci::{Asked, MODULE_FILE, Place, judge};

/// Pull a module out of an image, as Istio's agent does
///
/// Every digest is checked. Takes the images that Istio and Envoy Gateway take, and the CNCF's Wasm artifact. With `--all` the files beside the module come, too.
#[derive(Args)]
#[command(after_help = "Examples:
  weir pull registry.example/weir/canary:1.4                 plugin.wasm
  weir pull registry.example/weir/canary@sha256:… --out canary.wasm
  weir pull oci:target/weir/canary.oci --all --out canary/   into a folder
Prints `sha256:… <bytes> <file>` for each file: of the module, not of the image.

Exit codes: 0 pulled, 2 not found, refused, tampered with, or no module in it")]
pub(super) struct Pull {
    /// host/repository:tag, host/repository@sha256:…, or oci:FOLDER[:TAG]
    reference: String,
    /// The file, or with `--all` the folder, to write to. Default: plugin.wasm, or the current folder
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    /// All files of the layer
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    access: AccessArgs,
}

impl Run for Pull {
    fn run(self, _: Terminal) -> Result<Exit, Failure> {
        let place = Place::parse(&self.reference).map_err(failure)?;
        let opened = open(&place, &self.access)?;
        let report = judge(opened.store(), &Asked::default()).map_err(failure)?;
        let Some(module) = report.module else {
            let reason =
                report.verdicts.into_iter().next().map_or_else(String::new, |verdict| verdict.reason);
            return Err(anyhow!("`{}` holds no module: {reason}", self.reference).into());
        };
        let (folder, file) = match (&self.out, self.all) {
            (Some(folder), true) => (folder.clone(), folder.join(MODULE_FILE)),
            (None, true) => (PathBuf::from("."), PathBuf::from(MODULE_FILE)),
            (out, false) => (PathBuf::new(), out.clone().unwrap_or_else(|| PathBuf::from(MODULE_FILE))),
        };
        if self.all {
            std::fs::create_dir_all(&folder)
                .with_context(|| format!("cannot make `{}`", folder.display()))?;
            for (name, bytes) in &module.files {
                // An archive of somebody else's may name any path; only its last part counts here.
                if let Some(name) = Path::new(name).file_name() {
                    write(&folder.join(name), bytes)?;
                }
            }
        }
        write(&file, &module.bytes)?;
        Ok(Exit::Done)
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    std::fs::write(path, bytes).with_context(|| format!("cannot write `{}`", path.display()))?;
    writeln!(io::stdout(), "{}  {}  {}", crate::oci::digest(bytes), bytes.len(), path.display())?;
    Ok(())
}
