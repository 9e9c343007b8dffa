//! The rules of the house, as tests: what is deliberately absent (ARCHITECTURE.md, "Invariants").

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A text file that git tracks or would track.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path.starts_with(place))
    }

    /// Numbered lines that are code of the product: no comments, no test files, nothing from `#[cfg(test)]` on.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let is_test = self.path.ends_with("/tests.rs") || self.path.contains("/tests/");
        self.text
            .lines()
            .zip(1..)
            .take_while(move |(line, _)| !is_test && !line.trim_start().starts_with("#[cfg(test)]"))
            .map(|(line, number)| (number, line.trim_start()))
            .filter(|(_, line)| !line.starts_with("//"))
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn read(path: &str) -> String {
    let text = fs::read_to_string(root().join(path));
    assert!(text.is_ok(), "{path}: {text:?}");
    text.unwrap_or_default()
}

fn sources() -> Vec<Source> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git lists the files");
    assert!(output.status.success(), "git: {}", String::from_utf8_lossy(&output.stderr));
    let listing = String::from_utf8(output.stdout).expect("paths are UTF-8");
    let sources: Vec<Source> = listing
        .lines()
        .filter_map(|path| {
            Some(Source { path: path.into(), text: fs::read_to_string(root().join(path)).ok()? })
        })
        .collect();
    assert!(sources.len() > 50, "only {} files found", sources.len());
    sources
}

fn rust(sources: &[Source]) -> impl Iterator<Item = &Source> {
    sources.iter().filter(|source| source.path.ends_with(".rs"))
}

fn filters() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(root().join("filters"))
        .expect("the filters")
        .map(|entry| entry.expect("a folder").file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort();
    assert!(!names.is_empty());
    names
}

/// Whether `word` stands in `line`, not as a part of a longer name.
fn has_word(line: &str, word: &str) -> bool {
    let is_name = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let bytes = line.as_bytes();
    line.match_indices(word).any(|(start, _)| {
        let before = start.checked_sub(1).and_then(|index| bytes.get(index));
        let after = bytes.get(start + word.len());
        let goes_on_before = is_name(word.as_bytes().first()) && is_name(before);
        let goes_on_after = is_name(word.as_bytes().last()) && is_name(after);
        !goes_on_before && !goes_on_after
    })
}

/// Fails with every place where one of `words` stands in the code of `scope` outside `allowed`.
#[track_caller]
fn absent(scope: &[&str], allowed: &[&str], words: &[&str], why: &str) {
    let mut found = String::new();
    let sources = sources();
    for source in rust(&sources).filter(|source| source.is_in(scope) && !source.is_in(allowed)) {
        for (number, line) in source.code() {
            for word in words.iter().filter(|word| has_word(line, word)) {
                found.push_str(&format!("{}:{number}: `{word}`: {line}\n", source.path));
            }
        }
    }
    assert!(found.is_empty(), "{why}:\n{found}");
}

#[test]
fn only_the_shell_speaks_to_the_host() {
    absent(&["sdk/", "filters/", "examples/"], &["sdk/src/host"], &["proxy_wasm"], "invariant 1");
    for filter in filters() {
        let manifest = read(&format!("filters/{filter}/Cargo.toml"));
        assert!(!manifest.contains("proxy-wasm"), "invariant 1: filters/{filter} depends on the ABI crate");
    }
}

#[test]
fn policies_know_no_host_no_clock_and_no_dice() {
    let sources = sources();
    let pure = |source: &&Source| {
        source.is_in(&["filters/"]) && (source.path.contains("/policy") || source.path.contains("/config"))
    };
    let places: Vec<&str> = rust(&sources).filter(pure).map(|source| source.path.as_str()).collect();
    assert!(!places.is_empty());
    let words = ["Request", "Response", "PluginHost", "HostError", "Counter", "SystemTime::now", "Instant"];
    absent(&places, &[], &words, "invariant 2");
    let shell = ["sdk/src/host", "sdk/src/testing", "sdk/src/filter.rs", "sdk/src/lib.rs"];
    absent(&["sdk/src/"], &shell, &["PluginHost", "SystemTime::now", "Instant"], "invariant 2");
}

#[test]
fn the_harness_knows_only_the_abi() {
    let manifest = read("harness/Cargo.toml");
    for name in filters().into_iter().chain(["weir-sdk".to_owned()]) {
        let depends = manifest.lines().any(|line| line.split(['.', ' ', '=']).next() == Some(&name));
        assert!(!depends, "invariant 3: the harness depends on {name}");
    }
    let engine = ["harness/src/vm", "harness/src/abi", "harness/src/driver"];
    absent(&["harness/src/"], &engine, &["wasmtime"], "invariant 4");
}

#[test]
fn a_replay_has_no_clock_no_network_and_no_dice_of_its_own() {
    let words = [
        "SystemTime::now",
        "Instant::now",
        "TcpStream",
        "TcpListener",
        "UdpSocket",
        "getrandom",
        "thread_rng",
    ];
    let others = ["harness/src/commands", "harness/src/build", "harness/src/envoy", "harness/src/oci"];
    absent(&["harness/src/"], &others, &words, "invariant 5");
}

#[test]
fn nothing_in_wasm_panics() {
    let words = [
        ".unwrap()",
        ".expect(",
        "panic!",
        "unreachable!",
        "todo!",
        "unimplemented!",
        "assert!",
        "assert_eq!",
    ];
    absent(
        &["sdk/src/", "filters/", "examples/hello-filter/src/"],
        &["sdk/src/testing"],
        &words,
        "invariant 6",
    );
    let denied = ["arithmetic_side_effects", "expect_used", "indexing_slicing", "panic", "unwrap_used"];
    for path in filters()
        .into_iter()
        .map(|name| format!("filters/{name}/src/lib.rs"))
        .chain(["sdk/src/lib.rs".into()])
    {
        let text = read(&path);
        for lint in denied {
            assert!(
                text.contains(&format!("clippy::{lint}")),
                "invariant 6: {path} does not deny clippy::{lint}"
            );
        }
    }
}

#[test]
fn configurations_refuse_what_they_do_not_know() {
    let sources = sources();
    let mut found = String::new();
    for source in
        rust(&sources).filter(|source| source.is_in(&["sdk/src/", "filters/", "harness/src/", "examples/"]))
    {
        let mut derives = "";
        for (number, line) in source.code() {
            derives = if line.starts_with("#[derive") { line } else { derives };
            let untagged = line.contains("untagged")
                && (derives.contains("Deserialize") || derives.contains("FromConfig"));
            if line.starts_with("#[serde") && (line.contains("flatten") || untagged) {
                found.push_str(&format!("{}:{number}: {line}\n", source.path));
            }
        }
        if !source.is_in(&["filters/", "harness/src/scenario", "harness/src/case", "sdk/src/matcher"]) {
            continue;
        }
        let lines: Vec<&str> = source.text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            if !line.starts_with("pub struct") || !line.ends_with('{') {
                continue;
            }
            let above = lines[..index]
                .iter()
                .rev()
                .take_while(|line| line.starts_with('#') || line.starts_with("///"));
            let attributes: String = above.copied().collect();
            if (attributes.contains("Deserialize") || attributes.contains("FromConfig"))
                && !attributes.contains("deny_unknown_fields")
            {
                found.push_str(&format!("{}:{}: {line} lacks deny_unknown_fields\n", source.path, index + 1));
            }
        }
    }
    assert!(found.is_empty(), "DESIGN §5:\n{found}");
}

#[test]
fn unsafe_stands_in_one_file() {
    let sources = sources();
    let is_unsafe = |line: &str| has_word(line, "unsafe") && !line.contains("#[unsafe(no_mangle)]");
    let found: Vec<&str> = rust(&sources)
        .filter(|source| !source.is_in(&["tests/"]) && source.code().any(|(_, line)| is_unsafe(line)))
        .map(|source| source.path.as_str())
        .collect();
    assert_eq!(found, ["sdk/src/host/abi.rs"], "invariant 11");
}

#[test]
fn filters_do_not_know_each_other() {
    for filter in filters() {
        let manifest = read(&format!("filters/{filter}/Cargo.toml"));
        for other in filters().iter().filter(|other| **other != filter) {
            let depends = manifest.lines().any(|line| line.split(['.', ' ', '=']).next() == Some(other));
            assert!(!depends, "invariant 10: {filter} depends on {other}");
        }
    }
}

#[test]
fn no_test_sleeps_to_wait() {
    let sources = sources();
    let word = ["thread::", "sleep"].concat();
    let mut found = String::new();
    // Another process is looked at until it is ready, with a deadline; what a real Envoy is asked begins when it is due.
    let real_time = [
        "harness/src/envoy/process.rs",
        "harness/src/envoy/run/live.rs",
        "harness/src/oci/credentials/helper.rs",
    ];
    for source in rust(&sources).filter(|source| !real_time.contains(&source.path.as_str())) {
        for (line, number) in source.text.lines().zip(1..).filter(|(line, _)| line.contains(&word)) {
            found.push_str(&format!("{}:{number}: {line}\n", source.path));
        }
    }
    assert!(found.is_empty(), "invariant 9:\n{found}");
}

#[test]
fn every_filter_has_its_parts() {
    let readme = read("README.md");
    let parts = [
        "Cargo.toml",
        "README.md",
        "config.schema.json",
        "src/config.rs",
        "src/policy.rs",
        "src/lib.rs",
        "cases",
    ];
    for filter in filters() {
        for part in parts {
            assert!(
                root().join("filters").join(&filter).join(part).exists(),
                "filters/{filter}/{part} is missing"
            );
        }
        assert!(
            readme.contains(&format!("(filters/{filter}/README.md)")),
            "README.md's table of filters lacks {filter}"
        );
    }
}

#[test]
fn the_smallest_filter_is_small() {
    let manifest = read("examples/hello-filter/Cargo.toml");
    // What `cargo new` does not write: `[lib]` and its type, and the dependencies.
    let added = manifest.lines().filter(|line| line.starts_with("[lib]") || line.starts_with("crate-type"));
    let dependencies = manifest.lines().skip_while(|line| *line != "[dependencies]").skip(1);
    let lines = added.count() + dependencies.take_while(|line| !line.is_empty()).count();
    let written = ["src/lib.rs", "cases/greets/case.yaml"];
    let lines = lines
        + written
            .map(|path| read(&format!("examples/hello-filter/{path}")).lines().count())
            .iter()
            .sum::<usize>();
    assert!(lines < 40, "from `cargo new` to a passing case: {lines} lines");
}

#[test]
fn files_are_short_and_say_their_job() {
    let sources = sources();
    let mut found = String::new();
    for source in rust(&sources) {
        let lines = source.text.lines().count();
        if lines > 500 {
            found.push_str(&format!("{}: {lines} lines; over 500 is split\n", source.path));
        }
        if !source.text.starts_with("//!") && !source.text.starts_with("#![doc") {
            found.push_str(&format!("{}: does not begin with `//!`\n", source.path));
        }
        if source.path.ends_with("/mod.rs") {
            found.push_str(&format!("{}: name.rs + name/, not mod.rs\n", source.path));
        }
    }
    assert!(found.is_empty(), "DESIGN §1:\n{found}");
}

#[test]
fn nothing_names_this_machine() {
    // Put together here, so that this file does not name them itself.
    let words = [["/wo", "rk/"].concat(), ["/ro", "ot/"].concat(), ["artifac", "tory"].concat()];
    let mut found = String::new();
    for source in sources() {
        for (line, number) in source.text.lines().zip(1..) {
            if words.iter().any(|word| line.contains(word)) {
                let line: String = line.chars().take(120).collect();
                found.push_str(&format!("{}:{number}: {line}\n", source.path));
            }
        }
    }
    assert!(found.is_empty(), "local paths and hosts:\n{found}");
}

#[test]
fn the_tree_is_the_one_that_is_written() {
    let architecture = read("ARCHITECTURE.md");
    let sources = sources();
    for source in rust(&sources) {
        let module = ["sdk/src/", "harness/src/"].iter().find_map(|crate_| source.path.strip_prefix(crate_));
        let Some(module) =
            module.filter(|path| !path.contains('/') && !matches!(*path, "lib.rs" | "main.rs"))
        else {
            continue;
        };
        assert!(architecture.contains(module), "ARCHITECTURE.md does not name {}", source.path);
    }
    for package in ["sdk/", "harness/", "tests/", "filters/", "examples/"] {
        assert!(
            root().join(package).is_dir() && architecture.contains(package),
            "ARCHITECTURE.md lacks {package}"
        );
    }
}
