//! `.wasm` out of a filter crate: finds what a scenario's `module` names and has cargo build it. Runs no module.
//!
//! A filter crate needs no profile of its own: fat LTO, one codegen unit, abort on panic, `opt-level` `s` and no debug information are given
//! to cargo here, whatever the crate's workspace says. Function names stay, so that the backtrace of a trap is readable. The build has a
//! target directory of its own, `target/weir` of the crate's workspace, so it neither waits for nor disturbs the caller's cargo; builds of
//! several processes wait for each other. The result is copied to `target/weir/<package>.wasm`.

mod cargo;
mod find;
mod target;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::scenario::Filter;

pub use find::Crate;

/// The target that filters are built for: what Envoy's SDKs use.
pub const TARGET: &str = "wasm32-wasip1";

/// Why there is no module.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Nothing of this name was found.
    #[error("`{module}`: {reason}")]
    NotFound {
        /// What was asked for.
        module: String,
        /// Where it was looked for.
        reason: String,
    },
    /// The crate makes no module.
    #[error("`{package}` is no filter: its Cargo.toml lacks `[lib] crate-type = [\"cdylib\"]`")]
    NoModule {
        /// The package.
        package: String,
    },
    /// A tool could not be run.
    #[error("cannot run `{tool}`: {source}; filters are built with Rust, see https://rustup.rs")]
    Tool {
        /// The tool.
        tool: String,
        /// Why not.
        source: io::Error,
    },
    /// The Rust target is missing and cannot be added.
    #[error("the Rust target {TARGET} is missing: {reason}")]
    Target {
        /// Why it cannot be added.
        reason: String,
    },
    /// Cargo failed.
    #[error("`{package}` does not build:\n{output}")]
    Cargo {
        /// The package or folder.
        package: String,
        /// What cargo said.
        output: String,
    },
    /// A file could not be written or read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Crates that this process has built, by manifest: a case suite asks for the same filter a hundred times.
static BUILT: Mutex<BTreeMap<PathBuf, PathBuf>> = Mutex::new(BTreeMap::new());

/// The `.wasm` file of a filter: its `module` (default: its name), built first when that is a crate. Paths are relative to `base`.
///
/// # Errors
/// When nothing of that name is found, or it does not build.
pub fn module(filter: &Filter, base: &Path) -> Result<PathBuf, BuildError> {
    named(filter.module.as_deref().unwrap_or(&filter.name), base)
}

/// The `.wasm` file that `name` means: a `.wasm` file, a crate's folder, or a filter of the workspace around `base` or the current folder.
///
/// # Errors
/// As [`module`].
pub fn named(name: &str, base: &Path) -> Result<PathBuf, BuildError> {
    match find::find(name, base)? {
        find::Found::File(file) => Ok(file),
        find::Found::Crate(found) => build(&found),
    }
}

/// Builds a crate and returns its `.wasm` file. A crate that is up to date is not built again.
///
/// # Errors
/// When cargo or the target is missing, or the crate does not build.
pub fn build(found: &Crate) -> Result<PathBuf, BuildError> {
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(wasm) = built.get(&found.manifest) {
        return Ok(wasm.clone());
    }
    target::ensure(&found.folder())?;
    let wasm = cargo::build(found)?;
    built.insert(found.manifest.clone(), wasm.clone());
    Ok(wasm)
}

/// Every filter of the workspace around `folder`: the packages that make a module, but for those below its `tests/`.
///
/// # Errors
/// When there is no workspace or cargo cannot read it.
pub fn workspace_filters(folder: &Path) -> Result<Vec<Crate>, BuildError> {
    let manifest = find::manifest_above(folder).ok_or_else(|| BuildError::NotFound {
        module: folder.display().to_string(),
        reason: "there is no Cargo.toml here or above".to_owned(),
    })?;
    Ok(cargo::metadata(&manifest)?.into_iter().filter(Crate::is_filter).collect())
}
