//! Runs cargo: what packages there are, and a module out of one. Knows no scenario.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde::Deserialize;

use super::finish::{self, Finished};
use super::remap;
use super::slim;
use super::{BuildError, Built, Crate, Manifest, TARGET};
use crate::files;

/// What a release of a filter needs; the command line goes before every manifest.
///
/// `opt-level` is `z`: modules are a tenth smaller than with `s`, and Envoy's time to start and the memory of every worker grow with their size.
/// The harness's compiler inlines nothing, and a request through canary takes 19 µs of it and not 14; in Envoy, where V8 inlines what is hot, the two
/// cannot be told apart (`tests/benches/cost.rs`).
const PROFILE: [&str; 7] = [
    "profile.release.opt-level=\"z\"",
    "profile.release.lto=\"fat\"",
    "profile.release.codegen-units=1",
    "profile.release.panic=\"abort\"",
    "profile.release.debug=false",
    "profile.release.strip=\"debuginfo\"",
    "profile.release.incremental=false",
];

/// How long cargo may be silent before a line says what it does.
const PATIENCE: Duration = Duration::from_millis(700);

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    description: Option<String>,
    metadata: Option<Tables>,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

/// `[package.metadata]`; other tools have tables there, too.
#[derive(Deserialize)]
struct Tables {
    #[serde(default)]
    weir: Manifest,
}

#[derive(Deserialize)]
struct Target {
    crate_types: Vec<String>,
}

/// A line of `--message-format=json`; other lines have other fields and are passed over.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// The packages of a manifest's workspace.
pub(super) fn metadata(manifest: &Path) -> Result<Vec<Crate>, BuildError> {
    let folder = manifest.parent().unwrap_or(Path::new("."));
    let output = command(folder)
        .args(["metadata", "--no-deps", "--format-version=1", "--manifest-path"])
        .arg(manifest)
        .output()
        .map_err(tool_error)?;
    let failed = |output: String| BuildError::Cargo { package: folder.display().to_string(), output };
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout)
        .map_err(|error| failed(format!("`cargo metadata` answers what is not understood: {error}")))?;
    let workspace = metadata.workspace_root;
    let found = metadata.packages.into_iter().map(|package| Crate {
        is_module: package
            .targets
            .iter()
            .any(|target| target.crate_types.iter().any(|crate_type| crate_type == "cdylib")),
        weir: package.metadata.map(|tables| tables.weir).unwrap_or_default(),
        name: package.name,
        version: package.version,
        license: package.license,
        description: package.description,
        manifest: package.manifest_path,
        workspace: workspace.clone(),
    });
    Ok(found.collect())
}

/// Builds a package's module to its stable path.
pub(super) fn build(found: &Crate) -> Result<Built, BuildError> {
    if !found.is_module {
        return Err(BuildError::NoModule { package: found.name.clone() });
    }
    let target_folder = found.workspace.join("target").join("weir");
    fs::create_dir_all(&target_folder).map_err(io_error(&target_folder))?;
    let _lock = lock(&target_folder.join(".lock")).map_err(io_error(&target_folder.join(".lock")))?;
    let linked = run(found, &target_folder)?;
    let linked = fs::read(&linked).map_err(io_error(&linked))?;
    let built = store(&found.name, &target_folder, linked.len(), finish::of_crate(found, &linked)?)?;
    Ok(Built { max_bytes: found.weir.max_bytes, ..built })
}

/// Writes a module and its named twin.
pub(super) fn store(
    name: &str,
    folder: &Path,
    linked: usize,
    finished: Finished,
) -> Result<Built, BuildError> {
    let Finished { wasm, names, removed } = finished;
    let file = |extension: &str| folder.join(format!("{name}.{extension}"));
    let (path, named) = (file("wasm"), file("named.wasm"));
    files::replace(&named, &slim::with_names(&wasm, &names)).map_err(io_error(&named))?;
    files::replace(&path, &wasm).map_err(io_error(&path))?;
    Ok(Built {
        name: name.to_owned(),
        path,
        named,
        linked_bytes: linked as u64,
        bytes: wasm.len() as u64,
        sha256: hmac_sha256::Hash::hash(&wasm).iter().map(|byte| format!("{byte:02x}")).collect(),
        removed,
        max_bytes: None,
    })
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> BuildError + use<> {
    let path = path.to_owned();
    move |source| BuildError::Io { path, source }
}

/// Holds the lock until it is dropped; says so when it has to wait.
fn lock(path: &Path) -> io::Result<File> {
    let file = File::options().create(true).truncate(false).write(true).open(path)?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => eprintln!("waiting for another process that builds filters …"),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    file.lock()?;
    Ok(file)
}

fn run(found: &Crate, target_folder: &Path) -> Result<PathBuf, BuildError> {
    let mut cargo = command(&found.folder());
    // `cargo rustc --crate-type`: cargo does no LTO for a library that is an `rlib` as well.
    cargo.args(["rustc", "--quiet", "--lib", "--crate-type=cdylib", "--release", "--target", TARGET]);
    cargo.arg("--message-format=json-render-diagnostics");
    cargo.arg("--manifest-path").arg(&found.manifest).arg("--target-dir").arg(target_folder);
    for setting in PROFILE {
        cargo.arg("--config").arg(setting);
    }
    cargo.arg("--config").arg(remap::setting(found)?);
    let mut child = cargo
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(tool_error)?;
    let (said, heard) = mpsc::channel();
    let mut stderr = child.stderr.take();
    let stderr = thread::spawn(move || read_all(stderr.as_mut()));
    let mut stdout = child.stdout.take();
    thread::spawn(move || said.send(read_all(stdout.as_mut())));
    let messages = heard.recv_timeout(PATIENCE).or_else(|_| {
        eprintln!("building `{}` …", found.name);
        heard.recv()
    });
    let status = child.wait().map_err(tool_error)?;
    let output = stderr.join().unwrap_or_default();
    let failed = |output: String| BuildError::Cargo { package: found.name.clone(), output };
    if !status.success() {
        return Err(failed(String::from_utf8_lossy(&output).trim_end().to_owned()));
    }
    let messages = messages.unwrap_or_default();
    messages
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Message>(line).ok())
        .filter(|message| message.reason == "compiler-artifact" && message.manifest_path == found.manifest)
        .flat_map(|message| message.filenames)
        .find(|file| file.extension().is_some_and(|extension| extension == "wasm"))
        .ok_or_else(|| failed("cargo names no `.wasm` file among the artifacts".to_owned()))
}

fn read_all(from: Option<&mut impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        // What was read until the pipe broke is all there is to say.
        let _ = from.read_to_end(&mut bytes);
    }
    bytes
}

fn tool_error(source: io::Error) -> BuildError {
    BuildError::Tool { tool: "cargo".to_owned(), source }
}

/// Cargo in a folder, as if it were called from a fresh shell: `cargo run`, `cargo test` and CI set variables that are about the caller's
/// build (`RUSTFLAGS`, profiles, another target directory), not about the filter's.
fn command(folder: &Path) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    cargo.current_dir(folder);
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(is_about_the_caller) {
            cargo.env_remove(name);
        }
    }
    cargo
}

fn is_about_the_caller(name: &str) -> bool {
    const NAMES: [&str; 7] = [
        "RUSTFLAGS",
        "RUSTDOCFLAGS",
        "RUSTC_WORKSPACE_WRAPPER",
        "MAKEFLAGS",
        "MFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_MAKEFLAGS",
    ];
    const PREFIXES: [&str; 8] = [
        "CARGO_BIN_",
        "CARGO_BUILD_",
        "CARGO_CFG_",
        "CARGO_FEATURE_",
        "CARGO_MANIFEST_",
        "CARGO_PKG_",
        "CARGO_PROFILE_",
        "CARGO_TARGET_",
    ];
    NAMES.contains(&name)
        || (name != "CARGO_BUILD_JOBS" && PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_build_is_forgotten() {
        for name in ["RUSTFLAGS", "CARGO_TARGET_DIR", "CARGO_PROFILE_RELEASE_LTO", "CARGO_BUILD_TARGET"] {
            assert!(is_about_the_caller(name), "{name}");
        }
        for name in
            ["PATH", "CARGO_HOME", "CARGO_NET_OFFLINE", "RUSTUP_TOOLCHAIN", "CARGO_BUILD_JOBS", "CARGO"]
        {
            assert!(!is_about_the_caller(name), "{name}");
        }
    }
}
