//! The files that `weir check` is given: which of its meanings is meant, and their texts.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};

use crate::check::{self, Source};

/// Whether manifests are meant: the first is a folder of neither a scenario nor a crate, or a file that holds such.
pub(super) fn are_manifests(what: &[String]) -> bool {
    let Some(first) = what.first() else { return false };
    let path = Path::new(first);
    if first == "-" {
        return true;
    }
    if path.is_dir() {
        return !path.join("scenario.yaml").is_file() && !path.join("Cargo.toml").is_file();
    }
    // A scenario is no JSON, and what is no file is read once.
    let is_json = path.extension().is_some_and(|extension| extension == "json");
    is_manifest_name(path)
        && path.exists()
        && (is_json
            || !path.is_file()
            || fs::read_to_string(path).is_ok_and(|text| is_blank(&text) || check::is_checked(&text)))
}

/// Whether a file has nothing but comments and marks between documents.
fn is_blank(text: &str) -> bool {
    let mut lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    lines.all(|line| line.is_empty() || line.starts_with('#') || line == "---" || line == "...")
}

fn is_manifest_name(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("yaml" | "yml" | "json"))
}

/// Reads all of them; `-` is standard input.
pub(super) fn read(what: &[String]) -> Result<Vec<Source>, anyhow::Error> {
    let mut sources: Vec<Source> = Vec::new();
    for name in what {
        let path = Path::new(name);
        if name == "-" {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
            sources.push(Source { file: "-".to_owned(), text, is_named: true });
        } else if path.is_dir() {
            let mut files = Vec::new();
            walk(path, &mut BTreeSet::new(), &mut files)?;
            for file in files {
                sources.push(source(&file, false)?);
            }
        } else {
            sources.push(source(path, true)?);
        }
    }
    let mut seen: Vec<&str> = Vec::new();
    for source in &sources {
        if seen.contains(&source.file.as_str()) {
            return Err(anyhow!("`{}` is given twice", source.file));
        }
        seen.push(&source.file);
    }
    Ok(sources)
}

fn source(path: &Path, is_named: bool) -> Result<Source, anyhow::Error> {
    // A pipe without a writer would never end.
    if fs::metadata(path).is_ok_and(|about| !about.is_file()) {
        return Err(anyhow!("`{}` is no file; `-` reads standard input", path.display()));
    }
    let bytes = fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        anyhow!("{}: not UTF-8 from byte {} on", path.display(), error.utf8_error().valid_up_to())
    })?;
    let file = path.to_string_lossy().replace('\\', "/");
    Ok(Source { file: file.strip_prefix("./").unwrap_or(&file).to_owned(), text, is_named })
}

/// The YAML and JSON files below a folder, by name; hidden folders and those of builds are left out, and each folder is looked at once, however many links
/// lead to it.
fn walk(folder: &Path, seen: &mut BTreeSet<PathBuf>, files: &mut Vec<PathBuf>) -> Result<(), anyhow::Error> {
    let place = folder.canonicalize().with_context(|| format!("cannot read `{}`", folder.display()))?;
    if !seen.insert(place) {
        return Ok(());
    }
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read `{}`", folder.display()))?;
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| Ok(entry?.path())).collect::<Result<_, std::io::Error>>()?;
    paths.sort();
    for path in paths {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with('.') || matches!(name, "target" | "node_modules") {
            continue;
        }
        if path.is_dir() {
            walk(&path, seen, files)?;
        } else if is_manifest_name(&path) && fs::metadata(&path).map_or(true, |about| about.is_file()) {
            files.push(path);
        }
    }
    Ok(())
}
