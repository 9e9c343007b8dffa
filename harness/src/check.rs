//! Manifests and Envoy configurations, checked without a cluster and without Envoy: text in, findings out. Reads no file and runs no module;
//! who calls it does ([`crate::commands`]).
//!
//! What is checked, rule by rule, is in `CHECKS.md`; the rules are in [`rules`].

mod cel;
mod configuration;
mod crd;
mod document;
mod envoy;
mod envoy_filter;
mod findings;
mod gateway;
mod image;
mod istio;
pub mod output;
mod patch_policy;
mod pattern;
pub mod plugin;
mod proto;
pub mod rules;
mod schema;
mod set;
mod strategy;
mod url;
mod validate;

use serde::Serialize;
use serde_json::Value;

pub use configuration::configuration;
pub use document::{Document, Place};
pub use findings::{Finding, Findings};
pub use plugin::{NoRunner, Plugin, Runner, Trial, Verdict};
pub use rules::{Rule, Severity};
pub use validate::{Answer, Question};

use crate::yaml;

/// A file to be checked.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name in findings: the path as it was given, with `/`.
    pub file: String,
    /// What stands in it.
    pub text: String,
    /// It was named itself, not found in a folder: what is not known in it is an error then.
    pub is_named: bool,
}

/// What came of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// By file and place.
    pub findings: Vec<Finding>,
    /// How many documents were checked.
    pub checked: usize,
    /// The kinds of documents that are not checked, each once.
    pub skipped: Vec<String>,
}

impl Report {
    /// How many findings are so bad.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }
}

/// What a document is.
#[derive(Clone, Debug, PartialEq)]
enum Kind {
    /// A custom resource whose schema is known: group and kind.
    Custom { api_version: String, kind: String },
    /// A configuration of Envoy: the message it is.
    Envoy(&'static str),
    /// Something that is not checked, by its name.
    Other(String),
}

impl Kind {
    fn of(value: &Value) -> Self {
        let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        if crd::find(&api_version, &kind).is_some() {
            return Self::Custom { api_version, kind };
        }
        if let Some(message) = envoy::message(value) {
            return Self::Envoy(message);
        }
        if !kind.is_empty() {
            return Self::Other(format!("{api_version} {kind}"));
        }
        Self::Other("a document without `kind`".to_owned())
    }
}

/// Whether a text is something that [`check`] checks: a Kubernetes manifest or an Envoy configuration.
#[must_use]
pub fn is_checked(text: &str) -> bool {
    let Ok(documents) = document::read(text) else {
        // What is broken is still meant to be something.
        let is = |line: &str| ["apiVersion", "static_resources"].iter().any(|key| line.starts_with(key));
        return text.lines().any(|line| is(line.trim_start_matches(['{', ' ', '"'])));
    };
    documents.iter().any(|document| match Kind::of(&document.value) {
        Kind::Custom { .. } | Kind::Envoy(_) => true,
        Kind::Other(_) => document.value.get("apiVersion").is_some() && document.value.get("kind").is_some(),
    })
}

/// Checks files, together: what one of them defines, others may name. `runner` tries plugins out.
#[must_use]
pub fn check(sources: &[Source], runner: &mut dyn Runner) -> Report {
    let mut report = Report::default();
    let mut read: Vec<(&Source, Document)> = Vec::new();
    for source in sources {
        match document::read(&source.text) {
            Ok(documents) => {
                let resources = documents.into_iter().flat_map(Document::resources);
                read.extend(resources.map(|document| (source, document)));
            }
            Err(_) if !source.is_named && source.text.contains("{{") => {
                report.skipped.push("a template".to_owned());
            }
            Err(error) => {
                let nothing = Document::default();
                let mut findings = Findings::new(&source.file, String::new(), &nothing);
                findings.push(&rules::YAML, "", error.location, error.reason);
                report.findings.extend(findings.into_found());
            }
        }
    }
    let set = set::Set::of(read.iter().map(|(_, document)| &document.value));
    for (index, (source, document)) in read.iter().enumerate() {
        let mut findings = Findings::new(&source.file, object(&document.value), document);
        match Kind::of(&document.value) {
            Kind::Custom { api_version, kind } => {
                report.checked += 1;
                if let Some(crd) = crd::find(&api_version, &kind) {
                    crd.check(&document.value, &mut findings);
                }
                set.check(index, &kind, source, document, runner, &mut findings);
                if runner.asks_envoy() {
                    let errors = findings.error_places();
                    validate::check_patches(&kind, document, &errors, runner, &mut findings);
                }
            }
            Kind::Envoy(message) => {
                report.checked += 1;
                envoy::check(message, &document.value, &mut findings);
                set.check_envoy(source, document, runner, &mut findings);
                if runner.asks_envoy() {
                    let errors = findings.error_places();
                    validate::check(message, source, document, &errors, runner, &mut findings);
                }
            }
            Kind::Other(what) if source.is_named => {
                let finding = findings.add(&rules::KIND, "", format!("{what} is not checked"));
                finding.hint(known_kinds(&document.value));
            }
            // Folders hold other things, too.
            Kind::Other(_) if document.value.get("kind").is_none() => {}
            Kind::Other(what) => report.skipped.push(what),
        }
        report.findings.extend(findings.into_found());
    }
    report.findings.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    report.findings.dedup();
    report.skipped.sort();
    report.skipped.dedup();
    report
}

/// The kinds that are checked, and what is probably meant.
fn known_kinds(value: &Value) -> String {
    let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default();
    if let Some((group, _)) = crd::kinds().find(|(_, known)| *known == kind) {
        return format!("{kind} is of `apiVersion: {group}/…`");
    }
    let kinds: Vec<&str> = crd::kinds().map(|(_, kind)| kind).collect();
    let nearest = yaml::nearest(kind, kinds.iter().copied());
    let nearest = nearest.map(|nearest| format!("did you mean `{nearest}`? ")).unwrap_or_default();
    format!("{nearest}checked are {} and Envoy's configuration", kinds.join(", "))
}

/// A resource as a reader knows it: `WasmPlugin demo/filter`.
fn object(value: &Value) -> String {
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (kind, namespace, name) = (text("/kind"), text("/metadata/namespace"), text("/metadata/name"));
    match (kind, namespace, name) {
        ("", ..) => String::new(),
        (kind, _, "") => kind.to_owned(),
        (kind, "", name) => format!("{kind} {name}"),
        (kind, namespace, name) => format!("{kind} {namespace}/{name}"),
    }
}

#[cfg(test)]
mod tests;
