//! `weir pull`: the module out of an image.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;

use super::artifact::{AccessArgs, METADATA_FILE, SCHEMA_FILE, failure, open};
use super::{Exit, Failure, Run, Terminal};
use crate::files;
use crate::oci::{Asked, MODULE_FILE, Place, judge};
use crate::style::printable;

/// The first bytes of every module.
const MAGIC: &[u8] = b"\0asm";

/// Pull a module out of an image, as Istio's agent does
///
/// Every digest and size is checked. Takes the images that Istio and Envoy Gateway take, and the CNCF's Wasm artifact. With `--all` the files beside the
/// module come, too. A module that is there already is replaced, and that is said; another file only with `--force`.
#[derive(Args)]
#[command(after_help = "Examples:
  weir pull registry.example/weir/canary:1.4                 plugin.wasm
  weir pull registry.example/weir/canary@sha256:… --out canary.wasm
  weir pull oci:target/weir/canary.oci --all --out canary/   into a folder
Prints `sha256:… <bytes> <file>` for each file: of the module, not of the image.

Exit codes: 0 pulled, 2 not found, refused, tampered with, or no module in it")]
pub(super) struct Pull {
    /// host/repository:tag, host/repository@sha256:…, or oci:FOLDER[:TAG]
    reference: String,
    /// The file, or with `--all` the folder, to write to. Default: plugin.wasm, or the current folder
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    /// All files of the layer
    #[arg(long)]
    all: bool,
    /// Replace files that are there and are no modules
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    access: AccessArgs,
}

impl Run for Pull {
    fn run(self, _: Terminal) -> Result<Exit, Failure> {
        let place = Place::parse(&self.reference).map_err(failure)?;
        let opened = open(&place, &self.access)?;
        let report = judge(opened.store(), &Asked::default()).map_err(failure)?;
        let Some(module) = report.module else {
            let reason =
                report.verdicts.into_iter().next().map_or_else(String::new, |verdict| verdict.reason);
            let reason = printable(reason.as_bytes());
            return Err(anyhow!("`{}` holds no module: {reason}", self.reference).into());
        };
        if !module.bytes.starts_with(MAGIC) {
            let what = module.path.map_or_else(|| "layer".to_owned(), |path| printable(path.as_bytes()));
            return Err(anyhow!(
                "`{what}` in `{}` is no module: it does not begin with `\\0asm`",
                self.reference
            )
            .into());
        }
        let mut files = vec![(self.file(), module.bytes)];
        if self.all {
            files.extend(beside(&self.folder(), module.files));
        }
        // Before anything is written.
        for (path, bytes) in &files {
            check(path, bytes, self.force)?;
        }
        if self.all {
            let folder = self.folder();
            std::fs::create_dir_all(&folder)
                .with_context(|| format!("cannot make `{}`", folder.display()))?;
        }
        // The module last, as ever.
        for (path, bytes) in files.iter().skip(1).chain(files.first()) {
            write(path, bytes)?;
        }
        Ok(Exit::Done)
    }
}

impl Pull {
    /// With `--all`: where all go.
    fn folder(&self) -> PathBuf {
        self.out.clone().unwrap_or_else(|| PathBuf::from("."))
    }

    /// Where the module goes.
    fn file(&self) -> PathBuf {
        match (&self.out, self.all) {
            (Some(folder), true) => folder.join(MODULE_FILE),
            (Some(file), false) => file.clone(),
            (None, _) => PathBuf::from(MODULE_FILE),
        }
    }
}

/// Where the files beside the module go. An archive of somebody else's may name any path: only its last part counts, and what is hidden, or is there
/// twice, stays out.
fn beside(folder: &Path, files: Vec<(String, Vec<u8>)>) -> Vec<(PathBuf, Vec<u8>)> {
    let mut taken: Vec<(PathBuf, Vec<u8>)> = Vec::new();
    for (path, bytes) in files {
        let name = Path::new(&path).file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let place = folder.join(name);
        let is_there = name == MODULE_FILE || taken.iter().any(|(known, _)| *known == place);
        let why = match name {
            "" => "it has no name",
            hidden if hidden.starts_with('.') => "it would be hidden",
            odd if odd.contains(char::is_control) => "its name is no text",
            _ if is_there => "another file of that name came first",
            _ => {
                taken.push((place, bytes));
                continue;
            }
        };
        eprintln!("left out `{}`: {why}", printable(path.as_bytes()));
    }
    taken
}

/// Whether a file may be written: what is there and is not ours is lost only when that is asked for.
fn check(path: &Path, bytes: &[u8], force: bool) -> Result<(), Failure> {
    let Ok(about) = std::fs::metadata(path) else { return Ok(()) };
    if about.is_dir() {
        let hint = Some("`--out` names a file; with `--all` a folder".to_owned());
        let error = anyhow!("cannot write `{}`: it is a folder", path.display());
        return Err(Failure { exit: Exit::Usage, error, hint });
    }
    if force || !about.is_file() || about.len() == 0 {
        return Ok(());
    }
    let old = std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let is_ours = [METADATA_FILE, SCHEMA_FILE].iter().any(|name| path.file_name() == Some(OsStr::new(name)));
    let is_module = old.starts_with(MAGIC) && bytes.starts_with(MAGIC);
    if old == bytes || is_module || is_ours {
        return Ok(());
    }
    let error = anyhow!("`{}` is there, and is no module: it is not replaced", path.display());
    Err(Failure { exit: Exit::Usage, error, hint: Some("--force replaces it".to_owned()) })
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    if std::fs::metadata(path).is_ok_and(|about| about.is_file() && about.len() > 0)
        && std::fs::read(path).is_ok_and(|old| old != bytes)
    {
        eprintln!("replacing `{}`, which was another one", path.display());
    }
    files::replace(path, bytes).with_context(|| format!("cannot write `{}`", path.display()))?;
    writeln!(io::stdout(), "{}  {}  {}", crate::oci::digest(bytes), bytes.len(), path.display())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_strangers_lead_nowhere_else() {
        let names = [
            "weir.json",
            "../../up",
            "/etc/passwd",
            "a/weir.json",
            ".envrc",
            "b/plugin.wasm",
            "..",
            "a\u{1b}",
        ];
        let files = names.iter().map(|name| ((*name).to_owned(), name.as_bytes().to_vec())).collect();
        let taken = beside(Path::new("out"), files);
        let taken: Vec<(&str, &[u8])> =
            taken.iter().map(|(path, bytes)| (path.to_str().unwrap(), bytes.as_slice())).collect();
        let want: [(&str, &[u8]); 3] =
            [("out/weir.json", b"weir.json"), ("out/up", b"../../up"), ("out/passwd", b"/etc/passwd")];
        assert_eq!(taken, want);
    }
}
