//! `.wasm` out of a filter crate: finds what a scenario's `module` names and has cargo build it. Runs no module.
//!
//! A filter crate needs no profile of its own: fat LTO, one codegen unit, abort on panic, `opt-level` `z` and no debug information are given
//! to cargo here, whatever the crate's workspace says, and paths of this machine are kept out of the module. The build has a
//! target directory of its own, `target/weir` of the crate's workspace, so it neither waits for nor disturbs the caller's cargo; builds of
//! several processes wait for each other.
//!
//! What cargo links goes through [`slim`](mod@slim) and gets the section `weir.metadata`; the result is `target/weir/<package>.wasm`. The same with
//! the names of its functions at the end is `target/weir/<package>.named.wasm`: the same code at the same offsets, so it explains the
//! backtraces of the other.

pub mod branches;
mod cargo;
mod constants;
mod facts;
mod find;
mod finish;
pub mod order;
pub mod outline;
mod remap;
pub mod slim;
mod target;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::scenario::Filter;

pub use facts::Manifest;
pub use find::Crate;

/// The target that filters are built for: what Envoy's SDKs use.
pub const TARGET: &str = "wasm32-wasip1";

/// The largest file that is read as a module: V8 takes none of more than 1 GiB.
const MAX_BYTES: u64 = 1 << 30;

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
    /// What was linked is no module that can be shipped.
    #[error("`{module}`: {source}")]
    Slim {
        /// The package or file.
        module: String,
        /// Why not.
        source: slim::SlimError,
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
static BUILT: Mutex<BTreeMap<PathBuf, Built>> = Mutex::new(BTreeMap::new());

/// A module that was built, or was up to date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The package, or the file's name.
    pub name: String,
    /// The module.
    pub path: PathBuf,
    /// The same with the names of its functions.
    pub named: PathBuf,
    /// Bytes of what the linker made.
    pub linked_bytes: u64,
    /// Bytes of the module.
    pub bytes: u64,
    /// SHA-256 of the module, in hexadecimal digits.
    pub sha256: String,
    /// Exports of the linked module that are gone.
    pub removed: Vec<String>,
    /// The most bytes that its crate allows.
    pub max_bytes: Option<u64>,
}

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
        find::Found::Crate(found) => build(&found).map(|built| built.path),
    }
}

/// The crate that `name` means: a crate's folder, or a filter of the workspace around the current folder; `None` for a `.wasm` file.
///
/// # Errors
/// When nothing of that name is found.
pub fn crate_named(name: &str) -> Result<Option<Crate>, BuildError> {
    match find::find(name, Path::new("."))? {
        find::Found::File(_) => Ok(None),
        find::Found::Crate(found) => Ok(Some(*found)),
    }
}

/// Makes a module of any toolchain's smaller, as those that are built here; `target` is the folder that it and its named twin go to, once `accept`
/// has nothing against it.
///
/// # Errors
/// When it is no module, would be replaced itself, is not accepted, or a file cannot be written.
pub fn file<E: From<BuildError>>(
    path: &Path,
    target: &Path,
    accept: impl FnOnce(&[u8]) -> Result<(), E>,
) -> Result<Built, E> {
    let failed = |source: io::Error| BuildError::Io { path: path.to_owned(), source };
    let linked = read_bounded(path).map_err(failed)?;
    let name = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let to = target.join(format!("{name}.wasm"));
    if let (Ok(from), Ok(to)) = (path.canonicalize(), to.canonicalize())
        && from == to
    {
        let reason = io::Error::other("would be replaced by what is made of it; expected another folder");
        return Err(failed(reason).into());
    }
    let finished = finish::of_file(&path.display().to_string(), &name, &linked)?;
    accept(&finished.wasm)?;
    Ok(cargo::store(&name, target, linked.len(), finished)?)
}

/// A module's bytes, and not those of a device that never ends.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::other(format!("has more than {MAX_BYTES} bytes, which no module has")));
    }
    Ok(bytes)
}

/// The bytes of a module to run, with the names of its functions when the build left them beside it.
///
/// # Errors
/// When the file cannot be read.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let wasm = std::fs::read(path)?;
    match std::fs::read(path.with_extension("named.wasm")) {
        Ok(named) if named.starts_with(&wasm) => Ok(named),
        _ => Ok(wasm),
    }
}

/// Builds a crate. A crate that is up to date is not built again.
///
/// # Errors
/// When cargo or the target is missing, or the crate does not build.
pub fn build(found: &Crate) -> Result<Built, BuildError> {
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = built.get(&found.manifest) {
        return Ok(known.clone());
    }
    target::ensure(&found.folder())?;
    let fresh = cargo::build(found)?;
    built.insert(found.manifest.clone(), fresh.clone());
    Ok(fresh)
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
