//! What the name of a module means: a file, a crate's folder, or a filter of a workspace. Builds nothing.

use std::path::{Path, PathBuf};

use super::{BuildError, Manifest, cargo};
use crate::yaml;

/// A package that cargo knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Crate {
    /// The package's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its licence, an SPDX expression.
    pub license: Option<String>,
    /// What it does, in a sentence.
    pub description: Option<String>,
    /// `[package.metadata.weir]` of its Cargo.toml.
    pub weir: Manifest,
    /// Its Cargo.toml.
    pub manifest: PathBuf,
    /// The root of its workspace: its own folder where it has none.
    pub workspace: PathBuf,
    /// Whether it makes a module: has a `cdylib`.
    pub is_module: bool,
}

impl Crate {
    /// The package's folder.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.manifest.parent().map_or_else(PathBuf::new, Path::to_path_buf)
    }

    /// Whether it is meant when nothing is named: it makes a module, and is none of the modules below `tests/` that tests are made with.
    #[must_use]
    pub fn is_filter(&self) -> bool {
        self.is_module && !self.manifest.starts_with(self.workspace.join("tests"))
    }
}

pub(super) enum Found {
    File(PathBuf),
    Crate(Box<Crate>),
}

/// Looks for a file, then a folder, then a package of the workspaces around `base` and the current folder.
pub(super) fn find(name: &str, base: &Path) -> Result<Found, BuildError> {
    let not_found = |reason: String| BuildError::NotFound { module: name.to_owned(), reason };
    let path = base.join(name);
    if path.is_file() && path.file_name().is_some_and(|file| file != "Cargo.toml") {
        return Ok(Found::File(path));
    }
    if Path::new(name).extension().is_some_and(|extension| extension == "wasm") {
        return Err(not_found(format!("there is no such file (looked in {})", base.display())));
    }
    if path.is_dir() && path.join("Cargo.toml").is_file() {
        let manifest = absolute(&path.join("Cargo.toml"))?;
        let packages = cargo::metadata(&manifest)?;
        let found = packages.into_iter().find(|package| package.manifest == manifest);
        return found
            .map(|package| Found::Crate(Box::new(package)))
            .ok_or_else(|| not_found("its Cargo.toml is no package, or another workspace's".to_owned()));
    }
    let mut known = Vec::new();
    for start in [base, Path::new(".")] {
        let Some(manifest) = manifest_above(start) else { continue };
        for package in cargo::metadata(&manifest)? {
            if package.name == name {
                return Ok(Found::Crate(Box::new(package)));
            }
            if package.is_filter() {
                known.push(package.name);
            }
        }
    }
    known.sort();
    known.dedup();
    let mut reason = format!(
        "neither a `.wasm` file nor a crate's folder in {}, nor a filter of a workspace around it",
        base.display()
    );
    if let Some(nearest) = yaml::nearest(name, known.iter().map(String::as_str)) {
        reason.push_str(&format!("; did you mean `{nearest}`?"));
    } else if !known.is_empty() {
        reason.push_str(&format!("; the workspace has `{}`", known.join("`, `")));
    }
    Err(not_found(reason))
}

/// The nearest Cargo.toml at or above a folder.
pub(super) fn manifest_above(folder: &Path) -> Option<PathBuf> {
    let folder = absolute(folder).ok()?;
    folder.ancestors().map(|ancestor| ancestor.join("Cargo.toml")).find(|manifest| manifest.is_file())
}

fn absolute(path: &Path) -> Result<PathBuf, BuildError> {
    path.canonicalize().map_err(|source| BuildError::Io { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(manifest: &str, is_module: bool, want: bool) {
        let (name, workspace) = ("x".to_owned(), PathBuf::from("/w"));
        let found = Crate { name, manifest: manifest.into(), workspace, is_module, ..Crate::default() };
        assert_eq!(found.is_filter(), want, "{manifest}");
    }

    #[test]
    fn modules_of_tests_are_no_filters() {
        check("/w/filters/canary/Cargo.toml", true, true);
        check("/w/Cargo.toml", true, true);
        check("/w/sdk/Cargo.toml", false, false);
        check("/w/tests/guests/stock/Cargo.toml", true, false);
        check("/w/tests-of-mine/Cargo.toml", true, true);
    }
}
