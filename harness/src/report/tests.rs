//! Reports against golden files.

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::*;
use crate::headers::Headers;
use crate::outcome::{Apart, CalloutEnd, CalloutOutcome, End, LogLine};

/// What a report wrote.
#[derive(Clone, Default)]
struct Written(Rc<RefCell<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn message(lines: &[(&str, &[u8])], body: &str) -> Message {
    let headers: Headers = lines.iter().copied().collect();
    Message { headers, body: body.as_bytes().to_vec(), ..Message::default() }
}

fn exchange(number: u64, path: &str) -> Exchange {
    Exchange {
        origin: format!("day.jsonl: line {number}"),
        start_ns: Some(1_767_225_600_000_000_000 + number * 1_500_000),
        request: message(
            &[(":method", b"GET"), (":authority", b"reviews"), (":path", path.as_bytes()), ("x-old", b"1")],
            "",
        ),
        response: Some(message(&[(":status", b"200"), ("server", b"istio")], "ok")),
        ..Exchange::default()
    }
}

fn exchanges() -> Vec<(Exchange, Outcome)> {
    let forwarded = Outcome {
        route: Some("reviews".to_owned()),
        cluster: Some("reviews-v2".to_owned()),
        upstream_request: Some(message(
            &[
                (":method", b"GET"),
                (":authority", b"reviews"),
                (":path", b"/reviews/0"),
                ("x-track", b"\xff"),
            ],
            "",
        )),
        response: Some(message(&[(":status", b"200"), ("server", b"envoy"), ("x-arm", b"v2")], "ok")),
        details: "via_upstream".to_owned(),
        log: vec![LogLine {
            plugin: "canary".to_owned(),
            level: "debug",
            message: "decision: jack sees v2".to_owned(),
        }],
        metric_deltas: vec![("canary.arm.v2".to_owned(), MetricDelta::Counter(1))],
        ..Outcome::default()
    };
    let reply = Outcome {
        end: End::LocalReply,
        response: Some(message(&[(":status", b"403")], "no")),
        details: "canary_denied".to_owned(),
        delay: Duration::from_millis(3),
        callouts: vec![CalloutOutcome {
            cluster: "auth".to_owned(),
            request: message(&[(":path", b"/check")], ""),
            at: Duration::from_millis(1),
            end: CalloutEnd::Answered,
            latency: Some(Duration::from_millis(2)),
            status: Some(401),
            ..CalloutOutcome::default()
        }],
        ..Outcome::default()
    };
    let trapped = Outcome {
        end: End::Trapped,
        response: Some(message(&[(":status", b"500")], "")),
        faults: vec!["canary: unreachable\n at x".to_owned()],
        flags: "WASM".to_owned(),
        ..Outcome::default()
    };
    vec![
        (exchange(1, "/reviews/0"), forwarded.clone()),
        (exchange(2, "/\u{1b}[2Jevil"), reply),
        (exchange(3, "/a/path/that/is/longer/than/any/column/of/a/table/can/be"), trapped),
        (exchange(4, "/reviews/1"), forwarded),
    ]
}

fn end() -> Summary {
    Summary {
        metrics: vec![("canary.arm.v2".to_owned(), "counter", 2), ("latency_ms".to_owned(), "histogram", 7)],
        start_log: Vec::new(),
        broken: vec!["`day.jsonl`: line 5: the recording is cut off here".to_owned()],
        apart: Apart {
            log: vec![LogLine { plugin: "m".to_owned(), level: "info", message: "late".to_owned() }],
            faults: vec!["`m`: Function: proxy_on_tick failed".to_owned()],
            ..Apart::default()
        },
    }
}

#[track_caller]
fn check(golden: &str, format: &str, options: Options) {
    let written = Written::default();
    let begin = FORMATS.iter().find(|(name, ..)| *name == format).unwrap().2;
    let mut report = begin(Box::new(written.clone()), options);
    for (number, (exchange, outcome)) in (1..).zip(exchanges()) {
        report.exchange(number, &exchange, &outcome).unwrap();
    }
    report.finish(&end()).unwrap();
    let got = String::from_utf8(written.0.borrow().clone()).unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/report/tests").join(golden);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &got).unwrap();
    }
    assert_eq!(got, fs::read_to_string(&path).unwrap(), "BLESS=1 rewrites {}", path.display());
}

#[test]
fn table() {
    check("all.txt", "table", Options { title: Some("A day".to_owned()), ..Options::default() });
    check("limited.txt", "table", Options { color: true, limit: Some(1), ..Options::default() });
}

#[test]
fn json_lines() {
    check("all.jsonl", "jsonl", Options::default());
}

#[test]
fn json_lines_are_of_the_published_schema() {
    let schema = serde_json::to_value(schema()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for line in include_str!("tests/all.jsonl").lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(validator.is_valid(&line), "{:?}", validator.iter_errors(&line).collect::<Vec<_>>());
    }
}

#[test]
fn a_tally_of_any_traffic_is_bounded() {
    let mut tally = Tally::default();
    for name in 0..2000 {
        tally.add(&name.to_string());
    }
    assert_eq!(tally.iter().count(), 1001);
    assert_eq!(tally.iter().last(), Some(("(other)", 1000)));
}

#[test]
fn why_nothing_was_done_is_told_where_nobody_did_anything() {
    let outcome = |lines: &[&str]| {
        let line =
            |text: &&str| LogLine { plugin: "p".to_owned(), level: "debug", message: (*text).to_owned() };
        Outcome { log: lines.iter().map(line).collect(), ..Outcome::default() }
    };
    let both = outcome(&["left alone: no match", "other", "decision: v2"]);
    assert_eq!(super::why(&both).as_deref(), Some("v2; no match"));
    assert_eq!(super::why_in_short(&both).as_deref(), Some("v2"));
    let nothing = outcome(&["left alone: no match", "left alone: method"]);
    assert_eq!(super::why_in_short(&nothing).as_deref(), Some("no match; method"));
    assert_eq!(super::why_in_short(&outcome(&[])), None);
}
