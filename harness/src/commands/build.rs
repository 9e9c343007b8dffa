//! `weir build`: `.wasm` files out of filter crates.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Exit, Failure, Run, Terminal};
use crate::build;

/// Build filter crates into `.wasm` files
///
/// Built for release with fat LTO, one codegen unit, abort on panic and without debug information, whatever profile the crate has; function
/// names stay, so that the backtrace of a trap is readable. The target wasm32-wasip1 is added through rustup when it is missing. What is up
/// to date is not built again.
#[derive(Args)]
#[command(after_help = "Examples:
  weir build                    every filter of this workspace
  weir build canary             one of them
  weir build ../my-filter       any crate with a `cdylib`
Prints path and size: target/weir/<package>.wasm in the crate's workspace.

Exit codes: 0 built, 2 not found or it does not build")]
pub(super) struct Build {
    /// Names of filters of this workspace, or folders of crates; default: every filter of this workspace
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
}

impl Run for Build {
    fn run(self, _: Terminal) -> Result<Exit, Failure> {
        let here = Path::new(".");
        let modules: Vec<PathBuf> = if self.filters.is_empty() {
            build::workspace_filters(here)?.iter().map(build::build).collect::<Result<_, _>>()?
        } else {
            self.filters.iter().map(|name| build::named(name, here)).collect::<Result<_, _>>()?
        };
        if modules.is_empty() {
            return Err(anyhow::anyhow!("this workspace has no filter: no package with a `cdylib`").into());
        }
        for module in modules {
            let size = std::fs::metadata(&module)?.len();
            writeln!(io::stdout(), "{}  {} KiB", module.display(), size.div_ceil(1024))?;
        }
        Ok(Exit::Done)
    }
}
