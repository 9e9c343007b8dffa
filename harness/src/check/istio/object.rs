//! Reading an object that may be anything: what is missing or of another kind is as if it were not there, for a schema says that.

use serde_json::Value;

use crate::check::document::step;
use crate::check::findings::Findings;
use crate::check::rules::{self, Rule};

/// A part of an object, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Part<'v> {
    value: &'v Value,
    pointer: String,
}

impl<'v> Part<'v> {
    /// The part at `pointer`.
    pub(super) fn of(value: &'v Value, pointer: &str) -> Option<Self> {
        let value = value.pointer(pointer).filter(|value| !value.is_null())?;
        Some(Self { value, pointer: pointer.to_owned() })
    }

    pub(super) fn value(&self) -> &'v Value {
        self.value
    }

    /// Where it stands.
    pub(super) fn at(&self) -> &str {
        &self.pointer
    }

    /// Where a field of it stands, or would.
    pub(super) fn at_field(&self, name: &str) -> String {
        format!("{}{}", self.pointer, step(name))
    }

    pub(super) fn field(&self, name: &str) -> Option<Part<'v>> {
        let value = self.value.get(name).filter(|value| !value.is_null())?;
        Some(Part { value, pointer: self.at_field(name) })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.value.get(name).is_some_and(|value| !value.is_null())
    }

    /// Its text, or an empty one.
    pub(super) fn as_text(&self) -> &'v str {
        self.value.as_str().unwrap_or_default()
    }

    /// The text of a field, or an empty one.
    pub(super) fn text(&self, name: &str) -> &'v str {
        self.value.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// The number of a field, or 0.
    pub(super) fn number(&self, name: &str) -> f64 {
        self.value.get(name).and_then(Value::as_f64).unwrap_or_default()
    }

    /// Whether a field says so.
    pub(super) fn is(&self, name: &str) -> bool {
        self.value.get(name) == Some(&Value::Bool(true))
    }

    /// The elements of a list in a field.
    pub(super) fn list(&self, name: &str) -> Vec<Part<'v>> {
        let at = self.at_field(name);
        let values = self.value.get(name).and_then(Value::as_array).into_iter().flatten().enumerate();
        values.map(|(index, value)| Part { value, pointer: format!("{at}/{index}") }).collect()
    }

    /// The entries of an object in a field.
    pub(super) fn entries(&self, name: &str) -> Vec<(&'v str, Part<'v>)> {
        let at = self.at_field(name);
        let fields = self.value.get(name).and_then(Value::as_object).into_iter().flatten();
        fields
            .map(|(key, value)| (key.as_str(), Part { value, pointer: format!("{at}{}", step(key)) }))
            .collect()
    }
}

/// What Istio's webhook says of an object of one kind.
pub(super) struct Webhook<'f, 'd> {
    pub(super) findings: &'f mut Findings<'d>,
    /// What an object breaks that is refused.
    pub(super) rule: &'static Rule,
}

impl Webhook<'_, '_> {
    /// It refuses what stands at `at`.
    #[track_caller]
    pub(super) fn refuse(&mut self, at: &str, reason: impl Into<String>) {
        self.findings.add(self.rule, at, reason);
    }

    /// It refuses what stands at `at` if there is a reason.
    #[track_caller]
    pub(super) fn refuse_for(&mut self, at: &str, reason: Option<String>) {
        if let Some(reason) = reason {
            self.findings.add(self.rule, at, reason);
        }
    }

    /// It refuses the name of the field at `at` if there is a reason.
    #[track_caller]
    pub(super) fn refuse_key_for(&mut self, at: &str, reason: Option<String>) {
        if let Some(reason) = reason {
            self.findings.at_key(self.rule, at, reason);
        }
    }

    /// It takes what stands at `at`, with a warning.
    #[track_caller]
    pub(super) fn warn(&mut self, at: &str, reason: impl Into<String>) {
        self.findings.add(&rules::ISTIO_WARNS, at, reason);
    }
}
