//! Findings as SARIF 2.1.0, which code scanning of GitHub, GitLab and Azure reads.

use serde_json::{Value, json};

use super::super::rules::{self, Severity};
use super::super::{Finding, Report};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

pub(super) fn render(report: &Report) -> Value {
    let mut used: Vec<&rules::Rule> =
        report.findings.iter().filter_map(|finding| rules::find(finding.rule)).collect();
    used.sort_by_key(|rule| rule.id);
    used.dedup();
    let rules: Vec<Value> = used
        .iter()
        .map(|rule| {
            json!({
                "id": rule.id,
                "shortDescription": {"text": rule.says},
                "defaultConfiguration": {"level": level(rule.severity)},
            })
        })
        .collect();
    let results: Vec<Value> = report
        .findings
        .iter()
        .map(|finding| {
            let index = used.iter().position(|rule| rule.id == finding.rule);
            result(finding, index)
        })
        .collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "weir",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn result(finding: &Finding, index: Option<usize>) -> Value {
    let mut location = json!({"artifactLocation": {"uri": uri(&finding.file)}});
    if let Some(line) = finding.line {
        location["region"] = json!({"startLine": line, "startColumn": finding.column.unwrap_or(1)});
    }
    let path = if finding.path.is_empty() { String::new() } else { format!("`{}`: ", finding.path) };
    let hint = finding.hint.as_ref().map(|hint| format!("\n{hint}")).unwrap_or_default();
    let mut result = json!({
        "ruleId": finding.rule,
        "level": level(finding.severity),
        "message": {"text": format!("{path}{}{hint}", finding.message)},
        "locations": [{"physicalLocation": location}],
    });
    if let Some(index) = index {
        result["ruleIndex"] = json!(index);
    }
    if !finding.object.is_empty() {
        result["locations"][0]["logicalLocations"] = json!([{"fullyQualifiedName": format!("{} {}", finding.object, finding.path).trim_end(), "kind": "member"}]);
    }
    result
}

fn level(severity: Severity) -> &'static str {
    severity.name()
}

/// A path as a reference of a URI.
fn uri(path: &str) -> String {
    let mut uri = String::new();
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z'
            | b'A'..=b'Z'
            | b'0'..=b'9'
            | b'/'
            | b'.'
            | b'_'
            | b'-'
            | b'~'
            | b'+'
            | b'@'
            | b'=' => {
                uri.push(char::from(byte));
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}
