//! What was found: a rule that is broken, where, and what can be done. Finds nothing itself.

use serde::Serialize;

use super::document::{Document, Place, readable};
use super::rules::{Rule, Severity};

/// A rule that is broken somewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule's name.
    pub rule: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The file.
    pub file: String,
    /// The line, from 1; absent where the whole file is meant.
    pub line: Option<u64>,
    /// The column in characters, from 1.
    pub column: Option<u64>,
    /// The resource, such as `WasmPlugin demo/filter`; empty for what is none.
    pub object: String,
    /// The path of the field; empty for the whole document.
    pub path: String,
    /// What is wrong, and what would be accepted.
    pub message: String,
    /// What can be done.
    pub hint: Option<String>,
}

/// Findings in one document of a file.
pub struct Findings<'a> {
    file: &'a str,
    object: String,
    document: &'a Document,
    /// Where a document inside of a text stands in its file's document: before its own paths.
    prefix: String,
    found: Vec<Finding>,
    /// Where errors are.
    errors: Vec<String>,
}

impl<'a> Findings<'a> {
    /// None yet.
    #[must_use]
    pub fn new(file: &'a str, object: String, document: &'a Document) -> Self {
        Self { file, object, document, prefix: String::new(), found: Vec::new(), errors: Vec::new() }
    }

    /// None yet, in a document inside of a text at `prefix`.
    #[must_use]
    pub fn inside(&self, prefix: &str, document: &'a Document) -> Self {
        Self { prefix: prefix.to_owned(), ..Self::new(self.file, self.object.clone(), document) }
    }

    /// Says that the value at `pointer` breaks a rule.
    #[track_caller]
    pub fn add(&mut self, rule: &'static Rule, pointer: &str, message: impl Into<String>) -> &mut Finding {
        let place = self.document.shown_place(pointer);
        self.push(rule, pointer, place, message.into())
    }

    /// Says that there should be no field as at `pointer`, or that its name is meant.
    #[track_caller]
    pub fn at_key(&mut self, rule: &'static Rule, pointer: &str, message: impl Into<String>) -> &mut Finding {
        let place = self.document.key_place(pointer);
        self.push(rule, pointer, place, message.into())
    }

    /// Says that a rule is broken at a place of the file.
    #[track_caller]
    pub fn push(
        &mut self,
        rule: &'static Rule,
        pointer: &str,
        place: Option<Place>,
        message: String,
    ) -> &mut Finding {
        #[cfg(test)]
        super::tests::coverage::note(std::panic::Location::caller());
        let index = self.found.len();
        if rule.severity == Severity::Error {
            self.errors.push(pointer.to_owned());
        }
        self.found.push(Finding {
            rule: rule.id,
            severity: rule.severity,
            file: self.file.to_owned(),
            line: place.map(|place| place.0),
            column: place.map(|place| place.1),
            object: self.object.clone(),
            path: readable(&format!("{}{pointer}", self.prefix)),
            message,
            hint: None,
        });
        &mut self.found[index]
    }

    /// Where the errors are that were found so far: pointers in the document.
    #[must_use]
    pub fn error_places(&self) -> Vec<String> {
        self.errors.clone()
    }

    /// All that was found, in the order of the file.
    #[must_use]
    pub fn into_found(self) -> Vec<Finding> {
        self.found
    }

    /// Takes what was found elsewhere: inside of a text of the document.
    pub fn extend(&mut self, found: Vec<Finding>) {
        let is_error = |finding: &Finding| finding.severity == Severity::Error;
        self.errors.extend(found.iter().filter(|finding| is_error(finding)).map(|_| String::new()));
        self.found.extend(found);
    }
}

impl Finding {
    /// What can be done.
    pub fn hint(&mut self, hint: impl Into<String>) {
        self.hint = Some(hint.into());
    }
}
