//! Redaction of a copy: what must not reach a target is taken out, and what cannot be looked through with certainty is not sent.
//!
//! Pure. Knows no target and no percentage. Everything a value may be wrapped in is taken off before it is looked at: percent-encoding (up to
//! four times over), JSON's escapes, JSON within strings, URLs within headers and strings. Where a rule and a doubt meet, the doubt loses:
//! a header is dropped, a parameter is replaced, a body makes a [`Refusal`].

use std::borrow::Cow;
use std::rc::Rc;

use weir_sdk::{At, HeaderMap, Problems};

use super::bytes::lossy;
use super::copy::Copy;
use super::json::Tokens;
use super::json_path::{Enter, Paths};
use crate::config::{Action, Place, Redact, UnreadableBody};
pub(super) use body::is_json;
use parameters::Parameter;
use pattern::Finder;
use value::Values;

mod body;
mod compile;
mod headers;
mod json;
mod multipart;
mod parameters;
mod path;
mod pattern;
mod percent;
mod text;
mod value;

#[cfg(test)]
mod tests;

/// A compiled [`Redact`].
#[derive(Clone, Debug)]
pub struct Redactor {
    headers: Vec<(Rc<str>, Action)>,
    default_headers: bool,
    /// In order; none when cookies are headers like others. The name `*` is every cookie.
    cookies: Vec<Parameter>,
    query: Vec<Parameter>,
    form: Vec<Parameter>,
    segments: Vec<Parameter>,
    json: Paths,
    json_actions: Vec<Action>,
    patterns: Vec<Pattern>,
    fold: bool,
    values: Values,
    unreadable: UnreadableBody,
    text_types: Vec<String>,
    max_body_bytes: usize,
}

#[derive(Clone, Debug)]
struct Pattern {
    finder: Finder,
    action: Action,
    places: Vec<Place>,
}

/// What was done to a copy that may be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Redacted {
    /// How many values were changed or taken out.
    pub changes: usize,
    /// Why the body was dropped; only with `unreadable_body: DROP_BODY`.
    pub dropped_body: Option<Refusal>,
}

/// Why a body cannot be looked through, and so the copy is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Only the beginning of it is there.
    Truncated,
    /// More bytes than `max_body_bytes`, or more work than a copy may make.
    TooLarge,
    /// It has a `content-encoding`, or a part of it has.
    Encoded,
    /// Its `content-type` is missing, there twice, or none that can be looked through.
    ContentType,
    /// Another charset than UTF-8, a byte order mark, or bytes that are no UTF-8.
    Charset,
    /// It is not what its content type says: no JSON, no form, no multipart form.
    Broken,
    /// Arrays and objects, or documents within strings, are nested too deeply.
    TooDeep,
    /// A string within the JSON looks like JSON, is none, and may name a key that must be redacted.
    Nested,
}

impl Refusal {
    /// All of them, in order.
    pub const ALL: [Self; 8] = [
        Self::Truncated,
        Self::TooLarge,
        Self::Encoded,
        Self::ContentType,
        Self::Charset,
        Self::Broken,
        Self::TooDeep,
        Self::Nested,
    ];

    /// Its name in counters and explanations.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::TooLarge => "too_large",
            Self::Encoded => "encoded",
            Self::ContentType => "content_type",
            Self::Charset => "charset",
            Self::Broken => "broken",
            Self::TooDeep => "too_deep",
            Self::Nested => "nested",
        }
    }
}

/// Units of work for the body of a copy, and as many for its headers: up to some hundred instructions of wasm each, so a
/// second at the very worst. A unit is two bytes of text that are looked through once, or the 16th part of one for a regular expression of a kilobyte, compiled.
const BUDGET: u64 = 12 << 20;

/// Headers that are computed from a body, and would tell something of what was taken out of it.
const BODY_DIGESTS: [&str; 5] = ["content-length", "content-md5", "content-digest", "repr-digest", "digest"];

impl Redactor {
    /// Checks and compiles what is configured at `at`. After a problem was noted the redactor is not to be used.
    pub fn compile(at: &At<'_>, config: &Redact, problems: &mut Problems) -> Self {
        compile::compile(at, config, problems)
    }

    /// Takes out of a copy what is configured.
    ///
    /// # Errors
    /// The copy must not be sent. It is left empty, so that sending it all the same would tell nothing.
    pub fn apply(&self, copy: &mut Copy) -> Result<Redacted, Refusal> {
        let mut pass = Pass { rules: self, place: Place::Body, changes: 0, budget: BUDGET };
        let mut dropped_body = None;
        match pass.body(copy) {
            Ok(None) => {}
            Ok(Some(body)) => {
                copy.body = body;
                without_digests(copy);
            }
            Err(refusal) => match self.unreadable {
                UnreadableBody::Refuse => {
                    *copy = Copy::default();
                    return Err(refusal);
                }
                UnreadableBody::DropBody => {
                    dropped_body = Some(refusal);
                    copy.body = Vec::new();
                    copy.body_truncated = false;
                    without_digests(copy);
                }
            },
        }
        pass.place = Place::Headers;
        pass.budget = BUDGET;
        copy.headers = pass.header_block(&copy.headers);
        copy.trailers = pass.header_block(&copy.trailers);
        Ok(Redacted { changes: pass.changes, dropped_body })
    }

    /// JSON text that stands at a place of a document, as it may be told; `None` when it may not.
    pub(super) fn json_value(
        &self,
        steps: &mut dyn Iterator<Item = Enter<'_>>,
        text: &str,
    ) -> Option<String> {
        let mut walk = self.json.walk();
        for step in steps {
            let path = walk.enter(&self.json, step);
            let action = path.and_then(|path| self.json_actions.get(path));
            if action.is_some_and(|action| *action != Action::Keep) {
                return None;
            }
        }
        let mut pass = Pass { rules: self, place: Place::Body, changes: 0, budget: BUDGET };
        let clean = pass.json(Tokens::new(text), walk, 0).ok()?;
        Some(clean.map_or_else(|| String::from(text), |clean| lossy(&clean)))
    }

    /// A header's value as it may be told; `None` when it may not.
    pub(super) fn header_value(&self, name: &str, value: &[u8]) -> Option<String> {
        let mut pass = Pass { rules: self, place: Place::Headers, changes: 0, budget: BUDGET };
        let mut out = HeaderMap::new();
        pass.header(name.as_bytes(), value, &mut out);
        let (_, value) = out.iter().next()?;
        std::str::from_utf8(value).ok().map(String::from)
    }

    /// A text as it may be told; `None` when it may not.
    pub(super) fn plain(&self, text: &str) -> Option<String> {
        let mut pass = Pass { rules: self, place: Place::Body, changes: 0, budget: BUDGET };
        let clean = pass.text(text, 0, None).ok()?;
        Some(clean.unwrap_or_else(|| String::from(text)))
    }

    /// Whether anything is said about bodies.
    fn looks_into_bodies(&self) -> bool {
        !self.json.is_empty()
            || !self.form.is_empty()
            || self.patterns.iter().any(|pattern| pattern.places.contains(&Place::Body))
    }
}

/// Takes out what was computed from a body that is another one now.
pub fn without_digests(copy: &mut Copy) {
    for name in &BODY_DIGESTS {
        copy.headers.remove(name);
        copy.trailers.remove(name);
    }
}

/// One copy on its way through the rules.
struct Pass<'r> {
    rules: &'r Redactor,
    /// Where the text that is looked at stands.
    place: Place,
    changes: usize,
    /// What is left of [`BUDGET`].
    budget: u64,
}

impl Pass<'_> {
    #[inline(never)]
    fn note(&mut self) {
        self.changes = self.changes.saturating_add(1);
    }

    /// Takes from what is left for this copy, before the work is done.
    #[inline(never)]
    fn spend(&mut self, units: usize) -> Result<(), Refusal> {
        let units = u64::try_from(units).unwrap_or(u64::MAX);
        self.budget = self.budget.saturating_sub(units);
        if self.budget == 0 { Err(Refusal::TooLarge) } else { Ok(()) }
    }

    /// What stands in place of a value; `None` when it goes with its name.
    #[inline(never)]
    fn instead(&mut self, action: Action, value: &[u8]) -> Option<String> {
        self.note();
        self.rules.values.instead(action, &String::from_utf8_lossy(value)).map(Cow::into_owned)
    }

    /// What stands where a doubtful value stood.
    fn doubtful(&mut self) -> String {
        self.note();
        self.rules.values.replacement().to_owned()
    }

    fn header_block(&mut self, block: &HeaderMap) -> HeaderMap {
        let mut out = HeaderMap::new();
        for (name, value) in block.iter() {
            self.header(name, value, &mut out);
        }
        out
    }
}
