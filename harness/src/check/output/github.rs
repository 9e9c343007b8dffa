//! Findings as commands of GitHub Actions, which shows them beside the lines of a change.

use super::super::{Report, Severity};

pub(super) fn render(report: &Report) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        let command = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "notice",
        };
        let mut properties = format!("file={}", property(&finding.file));
        for (name, number) in [("line", finding.line), ("col", finding.column)] {
            if let Some(number) = number {
                properties.push_str(&format!(",{name}={number}"));
            }
        }
        let path = if finding.path.is_empty() { String::new() } else { format!("`{}`: ", finding.path) };
        let hint = finding.hint.as_ref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
        let message = data(&format!("{path}{}{hint}", finding.message));
        text.push_str(&format!("::{command} {properties},title={}::{message}\n", property(finding.rule)));
    }
    text
}

/// What ends a message is escaped as GitHub's toolkit does.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
