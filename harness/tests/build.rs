//! Crates become modules: with the house's profile, whatever the caller's environment and the crate's own profile say.

#![expect(clippy::unwrap_used, reason = "helpers of tests are outside of `#[test]`")]

use std::fs;
use std::path::Path;

use weir_harness::build::{self, BuildError};

fn write_crate(folder: &Path, manifest: &str, source: &str) {
    fs::create_dir_all(folder.join("src")).unwrap();
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    fs::write(folder.join("src/lib.rs"), source).unwrap();
}

const MANIFEST: &str =
    "[package]\nname = \"tiny\"\nedition = \"2024\"\n[workspace]\n[profile.release]\npanic = \"unwind\"\n";

#[test]
fn a_crate_of_its_own_workspace_is_built() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = format!("{MANIFEST}[lib]\ncrate-type = [\"cdylib\", \"rlib\"]\n");
    write_crate(
        folder.path(),
        &manifest,
        "#[unsafe(no_mangle)]\npub extern \"C\" fn proxy_abi_version_0_2_1() {}\n",
    );
    let module = build::named(".", folder.path()).unwrap();
    assert!(module.ends_with("target/weir/tiny.wasm"), "{}", module.display());
    let wasm = fs::read(&module).unwrap();
    assert!(wasm.starts_with(b"\0asm") && wasm.len() < 10_000, "{} bytes", wasm.len());
    assert_eq!(build::named(module.to_str().unwrap(), Path::new("/")).unwrap(), module);
}

#[test]
fn what_cannot_be_built_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let check = |name: &str, want: &str| {
        let error: BuildError = build::named(name, folder.path()).unwrap_err();
        assert!(error.to_string().contains(want), "{error}");
    };
    write_crate(&folder.path().join("plain"), MANIFEST, "");
    check("plain", "`tiny` is no filter: its Cargo.toml lacks `[lib] crate-type = [\"cdylib\"]`");
    let manifest = format!("{MANIFEST}[lib]\ncrate-type = [\"cdylib\"]\n");
    write_crate(&folder.path().join("broken"), &manifest, "fn broken( {}");
    check("broken", "`tiny` does not build:\nerror: ");
    write_crate(&folder.path().join("empty"), "", "");
    check("empty", "Cargo.toml");
    check("none.wasm", "`none.wasm`: there is no such file");
    check("weir-harnes", "neither a `.wasm` file nor a crate's folder");
}
