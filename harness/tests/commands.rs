//! The command line: what is typed or written wrongly gives one clear error and the documented exit code.

#![expect(clippy::unwrap_used, reason = "helpers of tests are outside of `#[test]`")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const LINE: &str = "{\"weir\":1,\"request\":{\"headers\":[[\":method\",\"GET\"],[\":path\",\"/\"],[\":authority\",\"a\"]]},\
                    \"response\":{\"headers\":[[\":status\",\"200\"]]}}\n";

fn weir(folder: &Path, arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weir")).args(arguments.split(' ')).current_dir(folder).output().unwrap()
}

/// Runs `weir` beside a good recording `a.jsonl` and a file `s.yaml`.
#[track_caller]
fn check(scenario: &str, arguments: &str, code: i32, says: &str) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.jsonl"), LINE).unwrap();
    fs::write(folder.path().join("s.yaml"), scenario).unwrap();
    let output = weir(folder.path(), arguments);
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(text.contains(says), "{text}");
    assert!(!text.contains("panicked"), "{text}");
    assert_eq!(output.status.code(), Some(code), "{text}");
}

#[test]
fn what_is_replayed() {
    check("", "replay a.jsonl", 0, "1 exchange\n");
    check(
        "recordings: [a.jsonl]",
        "replay s.yaml --format jsonl",
        0,
        "{\"kind\":\"summary\",\"exchanges\":1,",
    );
    check("{}", "replay s.yaml a.jsonl a.jsonl", 0, "2 exchanges\n");
}

#[test]
fn scenarios_that_are_broken() {
    check(
        "filters: [\n",
        "replay s.yaml",
        2,
        "error: s.yaml: line 1, column 10: `filters`: unclosed bracket",
    );
    check("recording: [a]", "replay s.yaml", 2, "unknown field `recording`; did you mean `recordings`?");
    check("recordings: [b.har]", "replay s.yaml", 2, "`recordings[0]`: `b.har`: there is no such file");
    check("start: yesterday", "replay s.yaml", 2, "`start`: expected a time such as `2026-05-04T09:00:00Z`");
    check("{}", "replay s.yaml", 2, "the scenario names no recording");
    check(
        "filters: [{name: no-such}]",
        "check s.yaml",
        2,
        "s.yaml: filter `no-such`: `no-such`: neither a `.wasm` file",
    );
    let both = "filters: [{name: a, config: 1, config_file: a.jsonl}]";
    check(both, "check s.yaml", 2, "`filters[0].config_file`: stands beside `config`");
    let routes = "route_config: {virtual_hosts: [{name: a, domains: ['*'], routs: []}]}";
    check(routes, "check s.yaml", 2, "s.yaml: `route_config`: `virtual_hosts[0].routs`");
}

#[test]
fn what_is_typed_wrongly() {
    check("", "replay", 2, "required arguments were not provided");
    check("", "replay a.jsonl --formt table", 2, "'--format'");
    check("", "replay b.jsonl", 2, "cannot read `b.jsonl`");
    check("", "replay .", 2, "`.` has no scenario.yaml");
    check("", "replay a.jsonl --filter =x", 2, "expected NAME or NAME=CONFIG");
    check("", "replay a.jsonl --filter a.jsonl", 2, "Envoy would not load");
    check("{}", "replay s.yaml a.jsonl --filter x=a.jsonl", 2, "s.yaml: unknown filter `x`");
    check("", "inspect a.jsonl", 2, "`./a.jsonl` is no WebAssembly module: it does not begin with `\\0asm`");
    check("", "test .", 2, "there is no case.yaml");
    check("", "frobnicate", 2, "unrecognized subcommand");
}

#[test]
fn cases_are_told_by_the_exit_code() {
    let case = |status: u16| {
        format!("description: d\nscenario: {{}}\nexchanges:\n- expect: {{response: {{status: {status}}}}}\n")
    };
    check(&case(200), "test s.yaml", 0, "1 case: 1 ok");
    check(&case(404), "test s.yaml", 1, "expected 404\n");
    check("description: d\n", "test s.yaml", 2, "the field `scenario` is missing");
}

#[test]
fn a_recording_converts_to_itself() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.jsonl"), LINE).unwrap();
    let once = weir(folder.path(), "convert a.jsonl").stdout;
    fs::write(folder.path().join("b.jsonl"), &once).unwrap();
    assert_eq!(weir(folder.path(), "convert b.jsonl").stdout, once);
}
