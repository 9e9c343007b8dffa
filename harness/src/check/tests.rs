//! The cases in `cases/`: each finding is expected by a comment `#! rule` on its line, or `#! LINE rule` where no comment can stand; `rule:COLUMN`
//! expects it in that column, too.

pub(super) mod coverage;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use serde_json::json;

use super::*;
use crate::inspect::Metadata;

/// Knows four modules: `picky` takes a `level` of at most 3, `trap` traps, `gone` is not there, and `knows` says of itself that its `peers` are
/// clusters.
struct Bench;

impl Runner for Bench {
    fn try_out(&mut self, plugin: &Plugin) -> Option<Trial> {
        let is = |name: &str| plugin.names.iter().any(|known| known == name);
        let verdict = if is("trap") {
            Verdict::Trapped("unreachable".to_owned())
        } else if is("knows") {
            Verdict::Accepted
        } else if is("gone") {
            Verdict::NotLoaded("there is no such file".to_owned())
        } else if is("picky") {
            let config: Option<Value> = serde_json::from_slice(plugin.configuration.as_deref()?).ok();
            let level = config.filter(|config| config.as_object().is_some_and(|fields| fields.len() == 1));
            match level.and_then(|config| config["level"].as_u64()) {
                Some(0..=3) => Verdict::Accepted,
                _ => Verdict::Refused(": `level` is too high".to_owned()),
            }
        } else {
            return None;
        };
        let level = json!({"type": "integer", "maximum": 3});
        let schema = json!({"type": "object", "properties": {"level": level}, "additionalProperties": false});
        let clusters = vec!["/peers/*".to_owned()];
        let metadata = is("knows").then(|| Metadata { clusters, ..Metadata::default() });
        Some(Trial { schema: is("picky").then_some(schema), metadata, verdict })
    }

    fn asks_envoy(&self) -> bool {
        true
    }

    fn locate(&mut self, plugin: &Plugin) -> Option<String> {
        (!plugin.names.iter().any(|name| name == "gone")).then(|| plugin.module.clone())
    }

    /// Is asked of what says by its `node` what it comes to: `refused`, for which its `cluster` is the reason, or `accepted`; so of what has a text
    /// in it that begins so, with the reason behind it.
    fn ask_envoy(&mut self, question: &Question) -> Option<Answer> {
        let value: Value = crate::yaml::parse(&question.text).ok()?;
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        match text("/node/id") {
            "refused" => Some(Answer::Refuses(format!(
                "error initializing configuration 'x': {}",
                text("/node/cluster")
            ))),
            "accepted" => Some(Answer::Accepts),
            _ => said(&value),
        }
    }
}

fn said(value: &Value) -> Option<Answer> {
    match value {
        Value::String(text) if text == "accepted:" => Some(Answer::Accepts),
        Value::String(text) => {
            let words = text.strip_prefix("refused: ")?;
            Some(Answer::Refuses(format!("error initializing configuration 'x': {words}")))
        }
        Value::Array(values) => values.iter().find_map(said),
        Value::Object(fields) => fields.values().find_map(said),
        _ => None,
    }
}

/// Lines and rules, with columns where they are told.
type Expected = Vec<(u64, String)>;

/// The cases, checked.
struct Checked {
    /// Each with what is found in it.
    reports: Vec<(Source, Report)>,
    /// Where in the code that was.
    sites: BTreeSet<coverage::Site>,
}

static CHECKED: LazyLock<Checked> = LazyLock::new(|| {
    let check = |source| {
        let report = check(std::slice::from_ref(&source), &mut Bench);
        (source, report)
    };
    let _ = coverage::made();
    let reports = cases().into_iter().map(check).collect();
    Checked { reports, sites: coverage::made() }
});

fn cases() -> Vec<Source> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/check/cases");
    let mut sources: Vec<Source> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let file = path.file_name().unwrap().to_str().unwrap().to_owned();
            Source { file, text: fs::read_to_string(path).unwrap(), is_named: true }
        })
        .collect();
    sources.sort_by(|a, b| a.file.cmp(&b.file));
    sources
}

fn expected(text: &str) -> Expected {
    let mut expected = Expected::new();
    for (line, number) in text.lines().zip(1..) {
        let Some((_, comment)) = line.split_once("#! ") else { continue };
        let (number, rules) = match comment.split_once(' ') {
            Some((at, rules)) if at.parse::<u64>().is_ok() => (at.parse().unwrap(), rules),
            _ => (number, comment),
        };
        expected.extend(rules.split(", ").map(|rule| (number, rule.trim().to_owned())));
    }
    expected.sort();
    expected
}

/// A rule without its column.
fn plain(rule: &str) -> String {
    rule.split(':').next().unwrap_or_default().to_owned()
}

#[test]
fn every_case_gives_what_it_says() {
    let mut wrong = String::new();
    for (source, report) in &CHECKED.reports {
        let want = expected(&source.text);
        let told = |line: u64, rule: &str| want.contains(&(line, rule.to_owned()));
        let found = report.findings.iter().map(|finding| {
            let (line, column) = (finding.line.unwrap_or(0), finding.column.unwrap_or(0));
            let exact = format!("{}:{column}", finding.rule);
            (line, if told(line, &exact) { exact } else { finding.rule.to_owned() })
        });
        let mut got: Expected = found.collect();
        got.sort();
        if got != want {
            let shown = output::render(report, std::slice::from_ref(source), output::Format::Text, false);
            let missing: Expected = want.iter().filter(|one| !got.contains(one)).cloned().collect();
            let more: Expected = got.iter().filter(|one| !want.contains(one)).cloned().collect();
            wrong.push_str(&format!("{}: missing {missing:?}, more {more:?}\n{shown}\n", source.file));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_rule_has_a_case() {
    let covered: BTreeSet<String> =
        cases().iter().flat_map(|source| expected(&source.text)).map(|(_, rule)| plain(&rule)).collect();
    let missing: Vec<&str> =
        rules::ALL.iter().map(|rule| rule.id).filter(|id| !covered.contains(*id)).collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
}

#[test]
fn the_table_of_rules_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("CHECKS.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once("<!-- rules -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- end of rules -->\n").unwrap();
    let mut table = "| rule | severity | what is wrong |\n|---|---|---|\n".to_owned();
    for rule in rules::ALL {
        table.push_str(&format!("| `{}` | {} | {} |\n", rule.id, rule.severity.name(), rule.says));
    }
    let want = format!("{before}<!-- rules -->\n{table}<!-- end of rules -->\n{after}");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &want).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap() == want,
        "CHECKS.md is not current; write it anew with BLESS=1"
    );
}

#[test]
fn several_files_are_one_report_in_order() {
    let source =
        |file: &str, text: &str| Source { file: file.to_owned(), text: text.to_owned(), is_named: false };
    let sources = [source("b.yaml", "a: [\n"), source("a.yaml", "kind: Pod\napiVersion: v1\n---\nx: 1\n")];
    let report = check(&sources, &mut NoRunner);
    assert_eq!(report.findings.len(), 1);
    assert_eq!((report.findings[0].file.as_str(), report.findings[0].rule), ("b.yaml", "yaml-syntax"));
    assert_eq!(report.skipped, ["v1 Pod"]);
}
