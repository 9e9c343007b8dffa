//! The binary on broken input: one clear error that names the file and the place in it, the documented exit code, never a panic.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::process::{Command, Output, Stdio};

use conformance::tools;

/// The configuration was refused.
const REFUSED: i32 = 3;
/// Usage, or input that cannot be read.
const UNREADABLE: i32 = 2;

fn weir(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-under-test"));
    command.args(arguments).current_dir(tools::workspace()).stdin(Stdio::null()).output().expect("weir runs")
}

/// Runs it on a file of that name and content; the error must say each of `says`.
#[track_caller]
fn check(name: &str, content: &[u8], arguments: impl Fn(&str) -> Vec<String>, code: i32, says: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    let arguments = arguments(path.to_str().unwrap());
    let output = weir(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let stderr = String::from_utf8(output.stderr).expect("UTF-8 on standard error");
    let context =
        format!("{arguments:?}\nstderr: {stderr}\nstdout: {}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(output.status.code(), Some(code), "{context}");
    assert!(!stderr.contains("panicked") && !stderr.contains("RUST_BACKTRACE"), "{context}");
    assert_eq!(stderr.lines().filter(|line| line.starts_with("error:")).count(), 1, "{context}");
    for text in says {
        assert!(stderr.contains(text), "does not say `{text}`: {context}");
    }
}

/// A configuration of the canary filter, as YAML.
#[track_caller]
fn configuration(content: &str, code: i32, says: &[&str]) {
    check(
        "policy.yaml",
        content.as_bytes(),
        |path| vec!["check".into(), "canary".into(), path.into()],
        code,
        says,
    );
}

/// A recording.
#[track_caller]
fn recording(name: &str, content: &[u8], says: &[&str]) {
    let says: Vec<&str> = says.iter().copied().chain([name]).collect();
    check(name, content, |path| vec!["replay".into(), path.into()], UNREADABLE, &says);
}

#[test]
fn a_good_configuration_is_accepted() {
    let path = tools::workspace().join("examples/bookinfo/policies/request-routing.yaml");
    let output = weir(&["check", "canary", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_field_that_does_not_exist() {
    configuration("ruls: [{arm: v1}]", REFUSED, &["`ruls`", "`rules`"]);
}

#[test]
fn a_number_where_a_text_must_be() {
    let config = "rules: [{arm: v1}, {match: {headers: [{name: a, exact: 3}]}, arm: v2}]";
    configuration(
        config,
        REFUSED,
        &["`rules[1].match.headers[0].exact`", "expected a string, found 3", "\"3\""],
    );
}

#[test]
fn a_rule_without_an_outcome() {
    configuration("rules: [{name: nothing}]", REFUSED, &["`rules[0]`"]);
}

#[test]
fn a_rule_with_two_outcomes() {
    configuration("rules: [{arm: v1, split: [{arm: v2, weight: 1}]}]", REFUSED, &["`rules[0]"]);
}

#[test]
fn weights_that_are_all_nothing() {
    configuration(
        "rules: [{split: [{arm: v1, weight: 0}, {arm: v2, weight: 0}]}]",
        REFUSED,
        &["`rules[0].split`"],
    );
}

#[test]
fn a_weight_below_nothing() {
    configuration(
        "rules: [{split: [{arm: v1, weight: -1}]}]",
        REFUSED,
        &["`rules[0].split[0].weight`", "-1"],
    );
}

#[test]
fn a_regular_expression_that_is_none() {
    let config = "rules: [{match: {headers: [{name: a, regex: '('}]}, arm: v1}]";
    configuration(config, REFUSED, &["`rules[0].match.headers[0].regex`"]);
}

#[test]
fn a_time_that_is_none() {
    let config = "rules: [{ramp: {from: v1, to: v2, start: tomorrow}}]";
    configuration(config, REFUSED, &["`rules[0].ramp.start`", "tomorrow"]);
}

#[test]
fn a_duration_without_a_unit() {
    let config = "rules: [{ramp: {from: v1, to: v2, start: '2026-05-04T09:00:00Z', duration: 90}}]";
    configuration(config, REFUSED, &["`rules[0].ramp.duration`", "90"]);
}

#[test]
fn an_arm_that_is_not_listed() {
    configuration("{arms: [{name: v1}], rules: [{arm: v2}]}", REFUSED, &["`rules[0].arm`", "v2"]);
}

#[test]
fn a_pseudo_header_to_carry() {
    let config = "{rules: [{arm: v1}], carry: [{request_header: ':path'}]}";
    configuration(config, REFUSED, &["`carry[0].request_header`", ":path"]);
}

#[test]
fn a_file_that_is_no_yaml() {
    configuration("rules: [{arm: v1}", UNREADABLE, &["policy.yaml", "line 1"]);
}

#[test]
fn a_configuration_that_is_not_there() {
    let output = weir(&["check", "canary", "no-such-file.yaml"]);
    assert_eq!(output.status.code(), Some(UNREADABLE));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no-such-file.yaml"));
}

const LINE: &str = r#"{"weir":1,"request":{"headers":[[":method","GET"],[":path","/"],[":authority","a"]]}}"#;

#[test]
fn an_empty_recording() {
    recording("empty.har", b"", &[]);
}

#[test]
fn a_recording_of_something_else() {
    recording("picture.har", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x01\0", &[]);
}

#[test]
fn json_that_is_no_recording() {
    recording("other.json", br#"{"name": "weir", "version": 1}"#, &[]);
}

#[test]
fn a_har_that_is_cut_off() {
    let har = br#"{"log":{"version":"1.2","entries":[{"startedDateTime":"2026-05-04T09:00:00Z","request":{"method":"GET","url":"http://a/"#;
    recording("cut.har", har, &["entry 1"]);
}

#[test]
fn a_har_entry_without_a_request() {
    let har = br#"{"log":{"version":"1.2","entries":[{"request":{"method":"GET","url":"http://a/","headers":[]}},{"response":{}}]}}"#;
    recording("norequest.har", har, &["entry 2", "request"]);
}

#[test]
fn a_har_with_a_number_for_an_url() {
    let har = br#"{"log":{"version":"1.2","entries":[{"request":{"method":"GET","url":7,"headers":[]}}]}}"#;
    recording("url.har", har, &["entry 1", "url"]);
}

#[test]
fn a_line_that_is_no_json() {
    recording("garbage.jsonl", format!("{LINE}\nnonsense\n").as_bytes(), &["line 2"]);
}

#[test]
fn a_line_of_another_version() {
    let other = LINE.replace("\"weir\":1", "\"weir\":9");
    recording("version.jsonl", format!("{LINE}\n{other}\n").as_bytes(), &["line 2", "9"]);
}

#[test]
fn a_line_without_a_request() {
    recording("norequest.jsonl", format!("{LINE}\n{{\"weir\":1}}\n").as_bytes(), &["line 2", "request"]);
}

#[test]
fn a_line_that_is_cut_off() {
    let cut = LINE.get(..40).unwrap();
    recording("cut.jsonl", format!("{LINE}\n{cut}").as_bytes(), &["line 2"]);
}

/// The first lines of Bookinfo's recording, the last of them cut.
fn bookinfo(lines: usize, last: impl Fn(&str) -> String) -> Vec<u8> {
    let text = fs::read_to_string(tools::workspace().join("examples/bookinfo/traffic.tap.jsonl")).unwrap();
    let mut lines: Vec<String> = text.lines().take(lines).map(str::to_owned).collect();
    if let Some(line) = lines.last_mut() {
        *line = last(line);
    }
    lines.join("\n").into_bytes()
}

#[test]
fn a_tap_trace_that_is_cut_off() {
    recording(
        "cut.tap.jsonl",
        &bookinfo(3, |line| line.get(..line.len() / 2).unwrap().to_owned()),
        &["trace 3"],
    );
}

#[test]
fn a_tap_trace_without_a_method() {
    let without = |line: &str| line.replace(r#"":method""#, r#"":nothing""#);
    recording("nomethod.tap.jsonl", &bookinfo(2, without), &["trace 2", "method"]);
}

#[test]
fn an_access_log_line_of_another_format() {
    let log = concat!(
        "[2026-05-04T09:00:00.000Z] \"GET /a HTTP/1.1\" 200 - 0 5 3 2 \"-\" \"curl\" \"id\" \"a\" \"10.0.0.1:80\"\n",
        "and then a line that is none\n",
    );
    recording("broken.log", log.as_bytes(), &["line 2"]);
}

#[test]
fn a_recording_that_is_not_there() {
    let output = weir(&["replay", "no-such-file.har"]);
    assert_eq!(output.status.code(), Some(UNREADABLE));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no-such-file.har"));
}

#[test]
fn what_is_whole_is_replayed_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.jsonl");
    fs::write(&path, format!("{LINE}\nnonsense\n{LINE}\n")).unwrap();
    let output = weir(&["replay", "--keep-going", "--format", "jsonl", path.to_str().unwrap()]);
    let stdout = String::from_utf8(output.stdout).unwrap();
    let context = format!("{stdout}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{context}");
    let exchanges = stdout.lines().filter(|line| line.contains("\"kind\":\"exchange\""));
    assert_eq!(exchanges.count(), 2, "{context}");
    assert!(stdout.lines().last().is_some_and(|summary| summary.contains("line 2")), "{context}");
}

#[test]
fn the_example_replays_and_says_the_same_twice() {
    let report = || {
        let output = weir(&["replay", "examples/bookinfo"]);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let first = report();
    assert!(first.contains("reviews-v2") && first.contains("rule `jack`"), "{first}");
    assert_eq!(first, report());
}

#[test]
fn a_case_that_fails_is_told_by_the_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let case = |cluster: &str| {
        let canary = tools::workspace().join("filters/canary");
        format!(
            "{{description: one arm, scenario: {{filters: [{{name: canary, module: {}, config: {{rules: [{{arm: v1}}]}}}}]}}, \
             exchanges: [{{request: {{}}, expect: {{cluster: {cluster}}}}}]}}",
            canary.display()
        )
    };
    for (cluster, code) in [("upstream", 0), ("elsewhere", 1)] {
        fs::write(folder.path().join("case.yaml"), case(cluster)).unwrap();
        let output = weir(&["test", folder.path().to_str().unwrap()]);
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(said.contains("elsewhere"), code == 1, "{said}");
    }
}

#[test]
fn a_filter_that_traps_is_told_by_the_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd.jsonl");
    let odd = LINE.replace("]]}}", r#"],["x-name",{"base64":"/w=="}]]}}"#);
    fs::write(&path, format!("{LINE}\n{odd}\n{LINE}\n")).unwrap();
    let output = weir(&["replay", path.to_str().unwrap(), "--filter", "tests/guests/stock"]);
    let context =
        format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(4), "{context}");
    assert!(!context.contains("panicked at harness"), "{context}");
}
