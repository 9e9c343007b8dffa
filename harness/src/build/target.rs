//! Sees to it that the Rust target is there: asks rustc, has rustup add it. Builds nothing.

use std::path::Path;
use std::process::Command;

use super::{BuildError, TARGET};

/// Adds the target to the toolchain that is in force in `folder` when it is missing, saying so.
pub(super) fn ensure(folder: &Path) -> Result<(), BuildError> {
    let output = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .current_dir(folder)
        .output()
        .map_err(|source| BuildError::Tool { tool: "rustc".to_owned(), source })?;
    let folder_of_target = String::from_utf8_lossy(&output.stdout);
    if output.status.success() && Path::new(folder_of_target.trim()).is_dir() {
        return Ok(());
    }
    eprintln!("adding the Rust target {TARGET}: rustup target add {TARGET}");
    let status = Command::new("rustup")
        .args(["target", "add", TARGET])
        .current_dir(folder)
        .status()
        .map_err(|error| BuildError::Target {
            reason: format!(
                "cannot run `rustup`: {error}; add the target's standard library to this Rust installation"
            ),
        })?;
    if status.success() {
        return Ok(());
    }
    Err(BuildError::Target { reason: format!("`rustup target add {TARGET}` failed") })
}
