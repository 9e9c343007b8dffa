//! Keys of several parts: what tells apart who has a limit of its own.

use weir_sdk::{At, Key, KeySource, Problems, RequestView};

use super::wrong;
use crate::config::{KeyPart, Override};

/// A compiled key.
#[derive(Clone, Debug)]
pub(crate) struct Parts(Vec<Part>);

#[derive(Clone, Debug)]
enum Part {
    Of(Key),
    Constant(Vec<u8>),
}

/// The key of a request: each part's length and bytes, so that no two keys are written alike; a missing part is as long as no part can be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_missing: bool,
}

const MISSING: u32 = u32::MAX;

impl Written {
    /// The parts' values, in order; nothing for one that is missing.
    pub(crate) fn values(&self) -> Values<'_> {
        Values(&self.bytes)
    }

    fn push(&mut self, value: Option<&[u8]>) {
        let length =
            value.map_or(MISSING, |value| u32::try_from(value.len()).unwrap_or(MISSING.wrapping_sub(1)));
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(value.unwrap_or_default());
        self.is_missing |= value.is_none();
    }
}

/// See [`Written::values`].
#[derive(Clone, Debug)]
pub(crate) struct Values<'a>(&'a [u8]);

impl<'a> Iterator for Values<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let (length, rest) = self.0.split_first_chunk()?;
        let length = u32::from_le_bytes(*length);
        let length = if length == MISSING { None } else { usize::try_from(length).ok() };
        let (value, rest) = rest.split_at_checked(length.unwrap_or(0))?;
        self.0 = rest;
        Some(length.map(|_| value))
    }
}

impl Parts {
    /// Checks and compiles what stands at a place.
    pub(crate) fn compile(at: &At<'_>, parts: &[KeyPart], problems: &mut Problems) -> Self {
        let mut compiled = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            let source = match part {
                KeyPart::Header(name) => KeySource::Header(name.clone()),
                KeyPart::Cookie(name) => KeySource::Cookie(name.clone()),
                KeyPart::QueryParameter(name) => KeySource::QueryParameter(name.clone()),
                KeyPart::SourceAddress(options) => KeySource::SourceAddress(options.clone()),
                KeyPart::Attribute(segments) => KeySource::Attribute(segments.clone()),
                KeyPart::Route(_) => KeySource::Attribute(vec!["xds".to_owned(), "route_name".to_owned()]),
                KeyPart::Constant(text) => {
                    compiled.push(Part::Constant(text.clone().into_bytes()));
                    continue;
                }
            };
            compiled.extend(Key::compile(&at.index(index), &source, problems).map(Part::Of));
        }
        Self(compiled)
    }

    /// Whether all requests have the same key.
    pub(crate) fn is_constant(&self) -> bool {
        self.0.iter().all(|part| matches!(part, Part::Constant(_)))
    }

    pub(crate) fn of(&self, request: &dyn RequestView) -> Written {
        let mut written = Written::default();
        for part in &self.0 {
            match part {
                Part::Of(key) => written.push(key.of(request).as_deref()),
                Part::Constant(value) => written.push(Some(value)),
            }
        }
        written
    }
}

/// The keys that an override is for: as a key is written, with `*` for what is missing.
#[derive(Clone, Debug)]
pub(crate) struct Pattern(Written);

impl Pattern {
    /// Checks and compiles what stands at a place.
    pub(crate) fn compile(at: &At<'_>, written: &Override, parts: usize, problems: &mut Problems) -> Self {
        if written.key.len() != parts || parts == 0 {
            let found = written.key.len();
            let reason = match parts {
                0 => "is of no use: the limit has no `key`".to_owned(),
                parts => {
                    format!("expected as many texts as the limit's `key` has parts, {parts}, found {found}")
                }
            };
            wrong(at, "key", &reason, problems);
        }
        let mut pattern = Written::default();
        for text in &written.key {
            pattern.push((text != "*").then_some(text.as_bytes()));
        }
        Self(pattern)
    }

    /// Whether it is for one key only.
    pub(crate) fn is_one(&self) -> bool {
        !self.0.is_missing
    }

    pub(crate) fn is_match(&self, written: &Written) -> bool {
        let mut values = written.values();
        for want in self.0.values() {
            match values.next() {
                Some(value) if want.is_none() || want == value => {}
                _ => return false,
            }
        }
        true
    }
}
