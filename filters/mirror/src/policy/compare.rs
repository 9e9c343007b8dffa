//! Comparison of the answer to a copy with the primary's: what differs, what of that is noise, and a record of it.
//!
//! Pure. Knows no clock, no target and no counter. What differs between two answers of the primary's own cluster (primary and control) is noise:
//! at once, for this comparison, and for later ones as far as [`Noise`] has learned it.

use weir_sdk::{At, HeaderMap, Problems};

use super::answer::Answer;
use super::json_path::Paths;
use super::redact::is_json;
use crate::config::{Compare, CompareBody, CompareStatus, RecordValues};
use difference::Found;
use document::Node;
pub use noise::Noise;
pub use record::Context;

mod compile;
mod difference;
mod document;
mod noise;
mod record;

#[cfg(test)]
mod tests;

/// A checked [`Compare`], with what is compiled of it.
#[derive(Clone, Debug)]
pub struct Comparer {
    /// As it is written, but for names of headers, which are in lower case.
    config: Box<Compare>,
    documents: Documents,
}

/// How documents are compared.
#[derive(Clone, Debug, Default)]
struct Documents {
    /// First the places that are ignored, then those of unordered arrays.
    paths: Paths,
    /// How many are ignored.
    ignored: usize,
    /// Whether the document itself is an unordered array.
    unordered_root: bool,
    tolerance: f64,
    missing_is_null: bool,
}

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// The statuses of primary and copy.
    pub statuses: (u16, u16),
    /// What differs; at most [`Comparison::MAX_DIFFERENCES`].
    differences: Vec<Found>,
    /// How many more differences there are, of which nothing is known.
    more: usize,
    /// Whether the bodies were not compared, or not to the end, because one is only a beginning.
    pub body_skipped: bool,
}

/// What a comparison comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing differs.
    Equal,
    /// What differs is noise.
    Noise,
    /// Something differs that is no noise.
    Different,
}

impl Verdict {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Equal, Self::Noise, Self::Different];

    /// Its name in counters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Noise => "noise",
            Self::Different => "different",
        }
    }
}

/// A part of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The status.
    Status,
    /// A header.
    Header,
    /// The body, or a place in it.
    Body,
}

impl Part {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Status, Self::Header, Self::Body];

    /// Its name in counters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Header => "header",
            Self::Body => "body",
        }
    }
}

impl Comparison {
    /// Differences of which the place is known. More of them say nothing new, and a hostile answer could have any number.
    pub const MAX_DIFFERENCES: usize = 128;

    /// What it comes to. Differences beyond [`Self::MAX_DIFFERENCES`] are no noise.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if self.more > 0 || self.differences.iter().any(|found| !found.noise) {
            Verdict::Different
        } else if self.differences.is_empty() {
            Verdict::Equal
        } else {
            Verdict::Noise
        }
    }

    /// Whether something of this part differs that is no noise.
    #[must_use]
    pub fn differs(&self, part: Part) -> bool {
        let beyond = self.more > 0 && part == Part::Body;
        beyond || self.differences.iter().any(|found| !found.noise && found.part == part)
    }

    /// The places that differ and are no noise, such as `status`, `header.etag` and `body.items[3].price`.
    pub fn places(&self) -> impl Iterator<Item = String> {
        self.differences.iter().filter(|found| !found.noise).map(|found| found.place(true))
    }

    /// The places that differ, with `[*]` for every element.
    fn general_places(&self) -> Vec<String> {
        self.differences.iter().map(|found| found.place(false)).collect()
    }

    /// The places that differ and are noise.
    pub fn noise(&self) -> impl Iterator<Item = String> {
        self.differences.iter().filter(|found| found.noise).map(|found| found.place(true))
    }
}

impl Comparer {
    /// Checks and compiles what is configured at `at`. After a problem was noted the comparer is not to be used.
    pub fn compile(at: &At<'_>, config: Box<Compare>, problems: &mut Problems) -> Self {
        compile::compile(at, config, problems)
    }

    /// A state of knowledge in which nothing is known. One for each comparer.
    #[must_use]
    pub fn noise(&self) -> Noise {
        Noise::default()
    }

    /// Compares the answer to a copy with the primary's. `control` is a second answer of the primary's own cluster to the same request, when
    /// there is one; `noise` is what is known, and learns from it.
    pub fn compare(
        &self,
        primary: &Answer,
        copy: &Answer,
        control: Option<&Answer>,
        noise: &mut Noise,
    ) -> Comparison {
        let mut found = self.differences(primary, copy);
        let control = control.map(|control| self.differences(primary, control));
        let places = found.general_places();
        let controls = control.map(|control| control.general_places());
        let rules = self.config.noise.as_ref();
        if let Some(rules) = rules {
            noise.learn(rules, &places, controls.as_deref());
        }
        let controls = controls.unwrap_or_default();
        for (difference, place) in found.differences.iter_mut().zip(&places) {
            let now = controls.iter().any(|control| is_within(place, control));
            difference.noise = now || rules.is_some_and(|rules| noise.is_noisy(rules, place));
        }
        found
    }

    fn differences(&self, primary: &Answer, copy: &Answer) -> Comparison {
        let mut found = Comparison { statuses: (primary.status, copy.status), ..Comparison::default() };
        let class = |status: u16| status.checked_div(100);
        let differs = match self.config.status {
            CompareStatus::Exact => primary.status != copy.status,
            CompareStatus::Class => class(primary.status) != class(copy.status),
            CompareStatus::Ignore => false,
        };
        if differs {
            found.differences.push(Found::status(primary.status, copy.status));
        }
        for name in &self.config.headers {
            let (one, other) = (primary.headers.values(name), copy.headers.values(name));
            if !one.eq(other) {
                found.differences.push(Found::header(name, &primary.headers, &copy.headers));
            }
        }
        self.bodies(primary, copy, &mut found);
        found
    }

    fn bodies(&self, primary: &Answer, copy: &Answer, found: &mut Comparison) {
        if self.config.body == CompareBody::Ignore {
            return;
        }
        let truncated = primary.body_truncated || copy.body_truncated;
        let documents = match self.config.body {
            CompareBody::Json => true,
            CompareBody::Auto => is_document(&primary.headers) && is_document(&copy.headers),
            _ => false,
        };
        if truncated && (documents || self.config.body == CompareBody::Length) {
            found.body_skipped = true;
            return;
        }
        if documents && let (Some(one), Some(other)) = (Node::parse(&primary.body), Node::parse(&copy.body)) {
            return self.documents.compare(
                &one,
                &other,
                self.config.record_values == RecordValues::Redacted,
                found,
            );
        }
        let (one, other) = (primary.body.as_slice(), copy.body.as_slice());
        let equal = match self.config.body {
            CompareBody::Length => one.len() == other.len(),
            _ if truncated => {
                let both = one.len().min(other.len());
                one.get(..both) == other.get(..both)
            }
            _ => one == other,
        };
        found.body_skipped = truncated && equal;
        if !equal {
            found.differences.push(Found::bytes(one, other));
        }
    }
}

/// Whether these are headers of a JSON document that is not compressed.
fn is_document(headers: &HeaderMap) -> bool {
    let plain = headers.values("content-encoding").all(|coding| coding.eq_ignore_ascii_case(b"identity"));
    let mut kinds = headers.values("content-type");
    plain && kinds.next().is_some_and(is_json)
}

/// Whether a place is another one, or within it.
fn is_within(place: &str, other: &str) -> bool {
    let rest = place.as_bytes().strip_prefix(other.as_bytes());
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'.' | b'[')))
}
