//! The modules that are shipped: small, the same from any folder, and saying what they are.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use conformance::tools;
use weir_harness::build;
use weir_harness::inspect::inspect;
use weir_harness::oci::{Contents, Image};

/// What `clusters` of a filter's metadata finds in a configuration is what the filter calls.
#[test]
fn metadata_is_of_the_crate() {
    let path = build::named("mirror", tools::workspace()).unwrap();
    let found = inspect(&fs::read(path).unwrap()).unwrap();
    let metadata = found.metadata.clone().unwrap();
    assert_eq!((metadata.name.as_str(), metadata.license.as_deref()), ("mirror", Some("Apache-2.0")));
    assert!(metadata.hostcalls.iter().any(|name| name == "proxy_http_call"), "{:?}", metadata.hostcalls);
    let config =
        serde_json::json!({"targets": [{"cluster": "a"}, {"cluster": "b", "control": {"cluster": "c"}}]});
    let clusters = metadata.clusters_in(&config);
    assert_eq!(clusters.into_iter().map(|(_, name)| name).collect::<Vec<_>>(), ["a", "b", "c"]);
    let schema = metadata.schema.unwrap();
    assert!(
        schema.pointer("/properties/targets").is_some() && !schema.to_string().contains("\"description\":\"")
    );
}

/// The largest module of a filter, in bytes.
const MODULE: u64 = 200_000;

/// What may be pulled for a filter: bytes of the image's layer.
const LAYER: usize = 110_000;

/// The budgets are `max_bytes` in the Cargo.toml of each filter.
#[test]
fn every_module_keeps_its_budget_and_has_no_names() {
    let crates = build::workspace_filters(tools::workspace()).unwrap();
    assert!(crates.len() >= 6, "{crates:?}");
    let mut over = Vec::new();
    for found in crates {
        let built = build::build(&found).unwrap();
        let Some(most) = built.max_bytes else {
            over.push(format!("{}: no `max_bytes` in [package.metadata.weir] of its Cargo.toml", built.name));
            continue;
        };
        let inspection = inspect(&fs::read(&built.path).unwrap()).unwrap();
        assert!(inspection.problems.is_empty(), "{}: {:?}", built.name, inspection.problems);
        assert!(inspection.sections.iter().all(|section| section.name != "\"name\""), "{}", built.name);
        assert!(fs::read(&built.named).unwrap().starts_with(&fs::read(&built.path).unwrap()));
        let contents = Contents { wasm: fs::read(&built.path).unwrap(), ..Contents::default() };
        let layer = Image::compat(&contents).unwrap().blobs.pop().unwrap().bytes.len();
        if layer > LAYER {
            over.push(format!("{}: {layer} bytes to pull, allowed are {LAYER}", built.name));
        }
        if built.bytes > most.min(MODULE) {
            over.push(format!("{}: {} bytes, allowed are {most} and {MODULE}", built.name, built.bytes));
        }
    }
    assert!(over.is_empty(), "too large: {over:#?}");
}

/// `panics = "trap"`, on a module as cargo and its linker make it.
#[test]
fn what_a_panic_would_say_is_not_in_a_module_that_traps() {
    let path = build::named("hello-filter", tools::workspace()).unwrap();
    let named = fs::read(path.with_extension("named.wasm")).unwrap();
    let has = |text: &str| named.windows(text.len()).any(|bytes| bytes == text.as_bytes());
    for gone in ["rust_begin_unwind", "panic_bounds_check", "panicked at", "library/core/src"] {
        assert!(!has(gone), "{gone}");
    }
    // What it does say is still there.
    assert!(has("configuration refused"));
}

#[test]
fn the_same_source_gives_the_same_bytes_in_another_folder() {
    let here = tools::workspace();
    let elsewhere = tempfile::tempdir().unwrap();
    let there = elsewhere.path().join("a folder of another length");
    for part in ["sdk", "examples/hello-filter"] {
        copy(&here.join(part), &there.join(part));
    }
    let manifest = fs::read_to_string(here.join("Cargo.toml")).unwrap();
    let members: Vec<String> = manifest
        .lines()
        .filter(|line| !line.starts_with("weir-harness"))
        .map(|line| match line.starts_with("members = ") {
            true => "members = [\"sdk\", \"examples/hello-filter\"]".to_owned(),
            false => line.to_owned(),
        })
        .collect();
    fs::write(there.join("Cargo.toml"), members.join("\n")).unwrap();
    fs::copy(here.join("Cargo.lock"), there.join("Cargo.lock")).unwrap();
    let [one, other] =
        [here, &there].map(|base| fs::read(build::named("examples/hello-filter", base).unwrap()).unwrap());
    assert!(one == other, "{} and {} bytes, and they differ", one.len(), other.len());
    let folder = here.to_str().unwrap();
    assert!(!String::from_utf8_lossy(&one).contains(folder), "a module names {folder}");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true if entry.file_name() == "target" => {}
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}
