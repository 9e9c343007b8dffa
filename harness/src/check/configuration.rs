//! A plugin's configuration in a file of its own, checked as inside of a manifest.

use serde_json::Value;

use super::plugin::{self, Plugin, Runner};
use super::{Document, Findings, Report, Source, document, rules};

/// Checks the configuration of one plugin; `plugin` says which, and with which bytes it is run.
#[must_use]
pub fn configuration(source: &Source, plugin: Plugin, runner: &mut dyn Runner) -> Report {
    let mut report = Report { checked: 1, ..Report::default() };
    let read = document::read(&source.text).map(|documents| documents.into_iter().next().unwrap_or_default());
    let document = read.unwrap_or_else(|error| {
        // A text that is no YAML is handed over as it is: only the module can say what it makes of it.
        let mut nothing = Document::default();
        nothing.value = Value::String(source.text.clone());
        if is_yaml(&source.file) {
            let mut findings = Findings::new(&source.file, String::new(), &nothing);
            findings.push(&rules::YAML, "", error.location, error.reason);
            report.findings.extend(findings.into_found());
        }
        nothing
    });
    if !report.findings.is_empty() {
        return report;
    }
    let mut findings = Findings::new(&source.file, String::new(), &document);
    let plugin = Plugin { pointer: String::new(), is_text: false, is_http: true, ..plugin };
    plugin::check(&plugin, &document, &source.text, runner, &mut findings);
    report.findings = findings.into_found();
    report
}

fn is_yaml(file: &str) -> bool {
    [".yaml", ".yml", ".json"].iter().any(|extension| file.ends_with(extension))
}
