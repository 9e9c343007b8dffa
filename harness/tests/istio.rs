//! Istio's own validation test data against `weir check`: `ISTIO_TESTDATA` names the folder `pkg/config/validation/testdata/crds` of a clone
//! of github.com/istio/istio. Without it nothing is compared; the data is not in this repository.

#![expect(clippy::unwrap_used, reason = "helpers of tests are outside of `#[test]`")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The files that concern kinds that are checked.
const FILES: &[&str] = &[
    "wasm-invalid.yaml",
    "wasm-valid.yaml",
    "envoyfilter-invalid.yaml",
    "envoyfilter-valid.yaml",
    "destinationrule-invalid.yaml",
    "destinationrule-valid.yaml",
];

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
    let Some(folder) = std::env::var_os("ISTIO_TESTDATA").map(PathBuf::from) else {
        println!("ISTIO_TESTDATA is not set: nothing compared");
        return;
    };
    let scratch = tempfile::tempdir().unwrap();
    let mut wrong = String::new();
    for name in FILES {
        let objects = objects(&folder.join(name));
        assert!(!objects.is_empty(), "{name} has no objects");
        let mut refused = 0;
        for (index, (error, text)) in objects.iter().enumerate() {
            let file = scratch.path().join("object.yaml");
            fs::write(&file, text).unwrap();
            let output = Command::new(env!("CARGO_BIN_EXE_weir"))
                .arg("check")
                .arg(&file)
                .current_dir(&scratch)
                .output()
                .unwrap();
            refused += usize::from(output.status.code() == Some(3));
            let want = if error.is_some() { 3 } else { 0 };
            if output.status.code() != Some(want) {
                let said = String::from_utf8_lossy(&output.stdout);
                wrong.push_str(&format!(
                    "{name}, object {}: Istio says {error:?}\n{text}\n{said}\n",
                    index + 1
                ));
            }
        }
        println!("{name}: {} objects, {refused} refused", objects.len());
    }
    assert!(wrong.is_empty(), "{wrong}");
}
