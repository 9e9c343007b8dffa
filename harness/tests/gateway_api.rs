//! The Gateway API's own examples against `weir check`: every valid HTTPRoute and Gateway is accepted, every invalid one refused. The data is not in this
//! repository: git fetches it once, from `$GATEWAY_API_REPOSITORY` or github.com. Where it cannot be had the test says so on standard error, and passes.

#![expect(clippy::unwrap_used, reason = "helpers of tests are outside of `#[test]`")]

#[path = "published/git.rs"]
mod published;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use published::{Published, check};

/// The release whose schemas are in `src/check/crds`: 1.6.1.
const EXAMPLES: Published = Published {
    name: "gateway-api",
    repository: "https://github.com/kubernetes-sigs/gateway-api",
    variable: "GATEWAY_API_REPOSITORY",
    commit: "8bb74df00e56ec8f944d48c25e6c1c9c2f6848e3",
    folders: &[VALID, INVALID],
};
const VALID: &str = "examples/standard";
const INVALID: &str = "hack/invalid-examples/standard";

/// All files in a folder and below.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// The objects of a file that are of these kinds.
fn objects(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let documents = text.split("\n---").map(|document| document.trim_start_matches("---").to_owned());
    let is_ours = |document: &String| {
        document.lines().any(|line| matches!(line.trim_end(), "kind: HTTPRoute" | "kind: Gateway"))
    };
    documents.filter(is_ours).collect()
}

#[test]
fn gateway_api_and_weir_agree() {
    let folder = match EXAMPLES.get() {
        Ok(folder) => folder,
        Err(reason) => {
            // Also where the test passes and its output is kept back.
            let _ = writeln!(io::stderr(), "skipped `gateway_api_and_weir_agree`: no examples: {reason}");
            return;
        }
    };
    let scratch = tempfile::tempdir().unwrap();
    let mut wrong = String::new();
    for (part, code, count) in [(VALID, 0, 70), (INVALID, 3, 26)] {
        let mut paths = Vec::new();
        files(&folder.join(part), &mut paths);
        let mut found = 0;
        for path in paths {
            for object in objects(&path) {
                found += 1;
                let (got, said) = check(scratch.path(), &object);
                if got != Some(code) {
                    wrong.push_str(&format!("{}: {got:?}, not {code}\n{object}\n{said}\n", path.display()));
                }
            }
        }
        if found != count {
            wrong.push_str(&format!("{part}: {found} objects, not {count}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
