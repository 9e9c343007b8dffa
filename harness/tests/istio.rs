//! Istio's own validation test data against `weir check`: every object of these kinds that Istio's tests refuse is refused, every other one accepted.
//! The data is not in this repository: it is `$ISTIO_TESTDATA` (the folder `pkg/config/validation/testdata/crds` of a clone of
//! github.com/istio/istio), else fetched once into the build's folder with git, from `$ISTIO_REPOSITORY` or github.com. Where neither can be had
//! the test says so on standard error, and passes.

#![expect(clippy::unwrap_used, reason = "helpers of tests are outside of `#[test]`")]

#[path = "published/git.rs"]
mod published;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use published::{Published, check};

/// The commit is that of the schemas in `src/check/crds`.
const DATA: Published = Published {
    name: "istio",
    repository: "https://github.com/istio/istio",
    variable: "ISTIO_REPOSITORY",
    commit: "86c9f01fd735fb01d8192f5bcaf0d424afb7f14c",
    folders: &[FOLDER],
};

/// Where the data is in Istio's repository. That of github.com/istio/api, `tests/testdata`, is the same.
const FOLDER: &str = "pkg/config/validation/testdata/crds";

/// The files that concern kinds that are checked, with how many objects of theirs are refused and accepted.
const FILES: &[(&str, usize, usize)] = &[
    ("wasm-invalid.yaml", 15, 0),
    ("wasm-valid.yaml", 0, 4),
    ("envoyfilter-invalid.yaml", 3, 0),
    ("envoyfilter-valid.yaml", 0, 5),
    ("destinationrule-invalid.yaml", 3, 0),
    ("destinationrule-valid.yaml", 0, 4),
];

/// The folder with the data; the reason where it cannot be had.
fn data() -> Result<PathBuf, String> {
    if let Some(folder) = std::env::var_os("ISTIO_TESTDATA").map(PathBuf::from) {
        return if folder.is_dir() { Ok(folder) } else { Err("`$ISTIO_TESTDATA` is no folder".to_owned()) };
    }
    Ok(DATA.get()?.join(FOLDER))
}

/// The objects of a file, each with the error that Istio expects of it.
fn objects(file: &Path) -> Vec<(Option<String>, String)> {
    let text = fs::read_to_string(file).unwrap();
    let documents = text.split("\n---").map(|document| {
        let (errors, lines): (Vec<&str>, Vec<&str>) =
            document.lines().partition(|line| line.starts_with("_err:"));
        (errors.first().map(|line| line.trim_start_matches("_err:").trim().to_owned()), lines.join("\n"))
    });
    documents.filter(|(_, text)| text.contains("kind:")).collect()
}

#[test]
fn istio_and_weir_agree() {
    let folder = match data() {
        Ok(folder) => folder,
        Err(reason) => {
            // Also where the test passes and its output is kept back.
            let _ = writeln!(io::stderr(), "skipped `istio_and_weir_agree`: no data of Istio's: {reason}");
            return;
        }
    };
    let scratch = tempfile::tempdir().unwrap();
    let mut wrong = String::new();
    for (name, invalid, valid) in FILES {
        let objects = objects(&folder.join(name));
        let (mut refused, mut accepted) = (0, 0);
        for (index, (error, text)) in objects.iter().enumerate() {
            let (code, said) = check(scratch.path(), text);
            refused += usize::from(code == Some(3));
            accepted += usize::from(code == Some(0));
            if code != Some(if error.is_some() { 3 } else { 0 }) {
                let number = index + 1;
                wrong.push_str(&format!("{name}, object {number}: Istio says {error:?}\n{text}\n{said}\n"));
            }
        }
        if (refused, accepted) != (*invalid, *valid) {
            wrong.push_str(&format!(
                "{name}: {refused} refused, {accepted} accepted, not {invalid} and {valid}\n"
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
