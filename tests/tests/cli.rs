//! The binary on broken input: one clear error that names the file and the place in it, the documented exit code, never a panic.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use conformance::tools;

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

/// A recording.
#[track_caller]
fn recording(name: &str, content: &[u8], says: &[&str]) {
    let says: Vec<&str> = says.iter().copied().chain([name]).collect();
    check(name, content, |path| vec!["convert".into(), path.into()], UNREADABLE, &says);
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
