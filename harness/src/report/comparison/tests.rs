//! How a comparison looks.

use std::path::PathBuf;

use serde_json::Value;

use super::*;
use crate::driver::Begin;
use crate::envoy::carry::Left;
use crate::envoy::compare::{Comparison, Difference, Other};
use crate::envoy::run::{Planned, Run};
use crate::exchange::{Exchange, Message};
use crate::outcome::Outcome;

fn planned(origin: &str) -> Planned {
    let lines = [(":method", "GET"), (":authority", "shop"), (":path", "/a")];
    let request = Message { headers: lines.into_iter().collect(), ..Message::default() };
    Planned {
        exchange: Exchange { origin: origin.to_owned(), request, ..Exchange::default() },
        begin: Begin::Next,
    }
}

fn outcome(status: &str) -> Outcome {
    let response = Message { headers: [(":status", status)].into_iter().collect(), ..Message::default() };
    Outcome { cluster: Some("v1".to_owned()), response: Some(response), ..Outcome::default() }
}

/// Agrees, differs for a reason, differs.
fn versus() -> Versus {
    let differs = |because: Option<&str>| Difference {
        diff: "--- harness\n+++ envoy\n@@ -1 +1 @@\n-:status: 200\n+:status: 503\n".to_owned(),
        because: because.map(str::to_owned),
    };
    Versus {
        planned: ["one", "two", "three"].map(planned).to_vec(),
        harness: Run { outcomes: vec![outcome("200"); 3], ..Run::default() },
        envoy: Run { outcomes: ["200", "503", "503"].map(outcome).to_vec(), ..Run::default() },
        comparison: Comparison {
            exchanges: vec![None, Some(differs(Some("random: with seed 7"))), Some(differs(None))],
            others: vec![
                Other::Metric { name: "fault.abort".to_owned(), harness: 0, envoy: 2 },
                Other::Lines { what: "calls of filters", diff: "-shadow\n".to_owned() },
            ],
        },
        left: vec![Left { what: "`start`".to_owned(), why: "the clock".to_owned(), exchanges: None }],
        ..Versus::default()
    }
}

fn printed(format: &str, limit: Option<u64>) -> String {
    let found = Found { path: PathBuf::from("bin/envoy"), version: "1.40.0".to_owned() };
    let options = Options { limit, ..Options::default() };
    let (_, print) = FORMATS.iter().find(|(name, _)| *name == format).unwrap();
    let mut out = Vec::new();
    print(&mut out, &versus(), &found, &options).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_table_shows_what_differs() {
    let want = "\
#  method  request  harness             envoy
1  GET     shop/a   200 forwarded → v1  200 forwarded → v1  agrees
2  GET     shop/a   200 forwarded → v1  503 forwarded → v1  differs (explained)
… 1 more, `--all` shows them

exchange 3 (three)
  --- harness
  +++ envoy
  @@ -1 +1 @@
  -:status: 200
  +:status: 503

exchange 2 (two)
  random: with seed 7
  --- harness
  +++ envoy
  @@ -1 +1 @@
  -:status: 200
  +:status: 503

metrics that differ
  fault.abort  harness 0, envoy 2

calls of filters
  -shadow

not carried over
  `start`: the clock

3 exchanges one after another in Envoy 1.40.0: 1 agree, 1 differ for a reason that is given, 1 differ
";
    assert_eq!(printed("table", Some(2)), want);
}

#[test]
fn json_lines_are_of_the_schema() {
    let schema = jsonschema::validator_for(&Value::from(crate::report::schema())).unwrap();
    let lines: Vec<Value> =
        printed("jsonl", None).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for line in &lines {
        assert!(schema.is_valid(line), "{line}");
    }
    let agrees: Vec<_> = lines.iter().map(|line| (line["kind"].as_str(), line["agrees"].as_bool())).collect();
    let of = |agrees| (Some("comparison"), Some(agrees));
    assert_eq!(agrees, [of(true), of(false), of(false), (Some("comparison_summary"), Some(false))]);
    assert_eq!((&lines[1]["because"], &lines[2]["because"]), (&"random: with seed 7".into(), &Value::Null));
    assert_eq!(lines[3]["not_carried_over"][0]["what"], "`start`");
}

#[test]
fn the_formats_are_those_of_a_replay() {
    let names: Vec<&str> = FORMATS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, crate::report::FORMATS.iter().map(|(name, ..)| *name).collect::<Vec<_>>());
}
