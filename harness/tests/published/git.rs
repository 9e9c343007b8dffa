//! Test data that other projects publish. It is not in this repository: git fetches it once, into the build's folder.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Data of another project, at one commit.
pub(crate) struct Published {
    /// The project, in names of folders.
    pub(crate) name: &'static str,
    /// Where it is.
    pub(crate) repository: &'static str,
    /// The environment variable that names another place of the repository.
    pub(crate) variable: &'static str,
    /// The commit.
    pub(crate) commit: &'static str,
    /// The folders of it that are fetched.
    pub(crate) folders: &'static [&'static str],
}

impl Published {
    /// The folder that the repository's folders are in.
    ///
    /// # Errors
    /// The reason, where it cannot be had.
    pub(crate) fn get(&self) -> Result<PathBuf, String> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{}", self.name, self.commit));
        let failed = |error: io::Error| error.to_string();
        fs::create_dir_all(&folder).map_err(failed)?;
        let lock = File::create(folder.with_extension("lock")).map_err(failed)?;
        lock.lock().map_err(failed)?;
        if !self.folders.iter().all(|path| folder.join(path).is_dir()) {
            self.fetch(&folder)?;
        }
        Ok(folder)
    }

    /// Has git fetch the folders of the commit, and nothing else.
    fn fetch(&self, folder: &Path) -> Result<(), String> {
        let from = std::env::var(self.variable).unwrap_or(self.repository.to_owned());
        git(folder, &["init", "--quiet"])?;
        git(folder, &["config", "remote.origin.url", &from])?;
        git(folder, &["config", "remote.origin.promisor", "true"])?;
        git(folder, &["config", "remote.origin.partialCloneFilter", "blob:none"])?;
        git(folder, &[&["sparse-checkout", "set", "--no-cone"], self.folders].concat())?;
        git(folder, &["fetch", "--quiet", "--depth", "1", "--filter=blob:none", "origin", self.commit])?;
        git(folder, &["checkout", "--quiet", "FETCH_HEAD"])
    }
}

fn git(folder: &Path, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("git")
        // A network that is silent, and one that asks who we are, have no data for us.
        .args(["-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=20"])
        .args(arguments)
        .env("GIT_TERMINAL_PROMPT", "0")
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("git does not run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(said.lines().next_back().unwrap_or("git failed").to_owned())
}

/// The exit code of `weir check` for an object, and what was said of it.
#[expect(clippy::unwrap_used, reason = "helpers of tests are outside of `#[test]`")]
pub(crate) fn check(scratch: &Path, text: &str) -> (Option<i32>, String) {
    let file = scratch.join("object.yaml");
    fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    let output = command.arg("check").arg(&file).current_dir(scratch).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}
