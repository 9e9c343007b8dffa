//! Findings for a reader: rule, place, what and why, the line of the file, a hint.

use super::super::{Finding, Report, Severity, Source};
use crate::style::{Style, paint, printable};

/// Longer lines are cut around the column.
const WIDTH: usize = 100;

pub(super) fn render(report: &Report, sources: &[Source], color: bool) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        render_one(&mut text, finding, sources, color);
    }
    let style = match report.findings.iter().map(|finding| finding.severity).max() {
        Some(Severity::Error) => Style::Red,
        Some(Severity::Warning) => Style::Yellow,
        Some(Severity::Note) | None => Style::Green,
    };
    text.push_str(&format!("{}\n", paint(color, style, &summary(report))));
    if !report.skipped.is_empty() {
        let skipped = format!("not checked: {}", report.skipped.join(", "));
        text.push_str(&format!("{}\n", paint(color, Style::Dim, &printable(skipped.as_bytes()))));
    }
    text
}

fn summary(report: &Report) -> String {
    let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let mut parts: Vec<String> = Vec::new();
    for severity in [Severity::Error, Severity::Warning, Severity::Note] {
        let count = report.count(severity);
        if count > 0 {
            parts.push(plural(count, severity.name()));
        }
    }
    let found = if parts.is_empty() { "nothing found".to_owned() } else { parts.join(", ") };
    format!("{} checked: {found}", plural(report.checked, "document"))
}

fn render_one(text: &mut String, finding: &Finding, sources: &[Source], color: bool) {
    let style = match finding.severity {
        Severity::Error => Style::Red,
        Severity::Warning => Style::Yellow,
        Severity::Note => Style::Cyan,
    };
    let head = paint(color, style, &format!("{}[{}]", finding.severity.name(), finding.rule));
    let mut place = finding.file.clone();
    for number in [finding.line, finding.column].into_iter().flatten() {
        place.push_str(&format!(":{number}"));
    }
    let object = if finding.object.is_empty() { String::new() } else { format!("{}: ", finding.object) };
    let path = if finding.path.is_empty() { String::new() } else { format!("`{}`: ", finding.path) };
    let said = format!("{place}: {object}{path}{}", finding.message);
    text.push_str(&format!("{head} {}\n", lines(&said)));
    let source = sources.iter().find(|source| source.file == finding.file);
    if let (Some(source), Some(line), Some(column)) = (source, finding.line, finding.column) {
        let index = usize::try_from(line).unwrap_or(usize::MAX).saturating_sub(1);
        if let Some(shown) = source.text.lines().nth(index) {
            let (shown, caret) = cut(shown, usize::try_from(column).unwrap_or(1).saturating_sub(1));
            let number = format!("{line:>5} | ");
            let caret = format!("{}{}", " ".repeat(caret), paint(color, style, "^"));
            text.push_str(&format!("{}{}\n", paint(color, Style::Dim, &number), printable(shown.as_bytes())));
            text.push_str(&format!("{}{caret}\n", paint(color, Style::Dim, "      | ")));
        }
    }
    if let Some(hint) = &finding.hint {
        text.push_str(&format!("  {} {}\n", paint(color, Style::Cyan, "hint:"), lines(hint)));
    }
    text.push('\n');
}

/// Safe for a terminal; lines after the first are indented.
fn lines(text: &str) -> String {
    text.lines().map(|line| printable(line.as_bytes()).to_string()).collect::<Vec<_>>().join("\n    ")
}

/// The part of a line around a column, and where the column is in it.
fn cut(line: &str, column: usize) -> (String, usize) {
    let line = line.trim_end();
    // A line may be a whole file of JSON, with findings by the thousand: a character of ASCII is found without counting.
    let is_ascii = line.is_ascii();
    let byte = |character: usize| match is_ascii {
        true => character.min(line.len()),
        false => line.char_indices().nth(character).map_or(line.len(), |(byte, _)| byte),
    };
    let part = |start: usize| line[byte(start)..].chars().take(WIDTH);
    let shown = |start: usize| part(start).map(|c| if c == '\t' { ' ' } else { c }).collect();
    if byte(WIDTH) == line.len() {
        return (shown(0), column);
    }
    let wanted = column.saturating_sub(WIDTH / 2);
    let start = wanted.saturating_sub(WIDTH - part(wanted).count());
    (shown(start), column.saturating_sub(start))
}
