//! Finds the cases of the workspace.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The folders of all cases: `filters/*/cases/*` and `examples/*/cases/*`, sorted.
///
/// # Errors
/// When a folder cannot be read.
pub fn all(workspace: &Path) -> Result<Vec<PathBuf>> {
    let mut found = BTreeSet::new();
    for group in ["filters", "examples"] {
        for package in folders(&workspace.join(group))? {
            let cases = package.join("cases");
            if cases.is_dir() {
                found.extend(folders(&cases)?.into_iter().filter(|case| case.join("case.yaml").is_file()));
            }
        }
    }
    Ok(found.into_iter().collect())
}

fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    Ok(paths.into_iter().filter(|path| path.is_dir()).collect())
}
