//! Keeps the paths of this machine out of a module, so that the same source gives the same bytes wherever it is built.
//!
//! Paths get into a module where a panic could say where it happened. Cargo's own `trim-paths` is not stable yet.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{BuildError, Crate, TARGET};

/// Has the linker say where addresses are, so that what nobody has the address of can go.
const RELOCATIONS: &str = "-Clink-arg=--emit-relocs";

/// A stack of 960 kB, where Rust's is of 1 MiB. It comes first in memory, and each address of what stands behind it, as far as it is below 1 MiB, takes a byte less in the code.
const STACK: &str = "-Clink-arg=-zstack-size=983040";

/// The setting for cargo: flags for the modules' target, beside those that its configuration has for it.
pub(super) fn setting(found: &Crate) -> Result<String, BuildError> {
    let flags: Vec<String> = pairs(found)?
        .into_iter()
        .map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()))
        .chain([RELOCATIONS.to_owned(), STACK.to_owned()])
        .collect();
    // A list of strings in JSON is one in TOML, too.
    let flags = serde_json::Value::from(flags);
    Ok(format!("target.{TARGET}.rustflags={flags}"))
}

/// Folders of this machine and what stands for them; of several that fit, rustc takes the last.
fn pairs(found: &Crate) -> Result<Vec<(PathBuf, String)>, BuildError> {
    let mut pairs = vec![(found.workspace.clone(), "/workspace".to_owned())];
    if let Some(home) = cargo_home() {
        pairs.push((home.join("git").join("checkouts"), "/cargo/git".to_owned()));
        // A folder for each registry and mirror; the crates in them are the same.
        let registries = fs::read_dir(home.join("registry").join("src"));
        let mut folders: Vec<PathBuf> =
            registries.into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        folders.sort();
        pairs.extend(folders.into_iter().map(|folder| (folder, "/cargo/registry".to_owned())));
    }
    let folder = found.folder();
    let sysroot = rustc(&folder, &["--print", "sysroot"])?;
    let version = rustc(&folder, &["-vV"])?;
    if let Some(hash) = version.lines().find_map(|line| line.strip_prefix("commit-hash: ")) {
        // Where the standard library's source is installed, rustc names it; otherwise it says this.
        let library = Path::new(sysroot.trim()).join("lib/rustlib/src/rust");
        pairs.push((library, format!("/rustc/{hash}")));
    }
    Ok(pairs)
}

fn cargo_home() -> Option<PathBuf> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    home.or_else(|| env::home_dir().map(|home| home.join(".cargo")))
}

fn rustc(folder: &Path, arguments: &[&str]) -> Result<String, BuildError> {
    let output = Command::new("rustc")
        .args(arguments)
        .current_dir(folder)
        .output()
        .map_err(|source| BuildError::Tool { tool: "rustc".to_owned(), source })?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
