//! An arm that an earlier hop decided, and W3C `baggage`, in which it may travel.

use std::rc::Rc;

use weir_sdk::names::cut;
use weir_sdk::{At, Problems, RequestMatcher, RequestView};

use crate::config;
use crate::policy::arms::{ArmId, Arms};
use crate::policy::{names, text};

/// A compiled [`config::Follow`].
#[derive(Clone, Debug)]
pub(crate) struct Follow {
    source: Source,
    when: RequestMatcher,
    /// Whether the arm must be signed.
    pub(crate) signed: bool,
    why: Rc<str>,
}

#[derive(Clone, Debug)]
enum Source {
    Header(Rc<str>),
    Baggage(String),
}

impl Follow {
    /// Checks and compiles.
    pub(crate) fn compile(follow: &config::Follow, problems: &mut Problems) -> Option<Self> {
        let when = RequestMatcher::compile(&follow.when, &At::of("follow.when"), problems);
        let (source, why) = match (&follow.header, &follow.baggage) {
            (Some(header), None) => {
                let name = names::header_at(&At::of("follow.header"), header, problems)?;
                let why = text(&["followed header `", &name, "`"]);
                (Source::Header(name), why)
            }
            (None, Some(key)) => {
                names::baggage(key).map_err(|reason| problems.add("follow.baggage", reason)).ok()?;
                (Source::Baggage(key.clone()), text(&["followed baggage `", key, "`"]))
            }
            _ => {
                problems.add("follow", "expected exactly one of `header` and `baggage`");
                return None;
            }
        };
        Some(Self { source, when: when?, signed: follow.signed, why })
    }

    /// The arm that the request brings, where it is trusted.
    pub(crate) fn arm(&self, request: &dyn RequestView, arms: &Arms) -> Option<(ArmId, &Rc<str>)> {
        if !self.when.is_match(request) {
            return None;
        }
        let arm = match &self.source {
            Source::Header(name) => arms.of_value(request.get(name)?)?,
            Source::Baggage(key) => arms.of_value(baggage(&request.joined("baggage")?, key)?)?,
        };
        Some((arm, &self.why))
    }
}

/// The value of `key`, without its properties.
fn baggage<'a>(header: &'a [u8], key: &str) -> Option<&'a [u8]> {
    let mut rest = Some(header);
    while let Some(members) = rest {
        let (member, others) = cut(members, b',');
        rest = others;
        let (member, _) = cut(member, b';');
        let (name, value) = cut(member, b'=');
        if let Some(value) = value
            && name.trim_ascii() == key.as_bytes()
        {
            return Some(value.trim_ascii());
        }
    }
    None
}

/// The header with `key` set to `value` at its end, or removed.
pub(crate) fn with_baggage(header: Option<&[u8]>, key: &str, value: Option<&str>) -> Vec<u8> {
    let mut text = Vec::new();
    let mut add = |parts: &[&[u8]]| {
        if !text.is_empty() {
            text.push(b',');
        }
        parts.iter().for_each(|part| text.extend_from_slice(part));
    };
    let mut rest = header;
    while let Some(members) = rest {
        let (member, others) = cut(members, b',');
        rest = others;
        let member = member.trim_ascii();
        if !member.is_empty() && name_of(member) != key.as_bytes() {
            add(&[member]);
        }
    }
    if let Some(value) = value {
        add(&[key.as_bytes(), b"=", value.as_bytes()]);
    }
    text
}

/// Whether the header has `key`.
pub(crate) fn has_baggage(header: &[u8], key: &str) -> bool {
    let mut rest = Some(header);
    while let Some(members) = rest {
        let (member, others) = cut(members, b',');
        if name_of(member) == key.as_bytes() {
            return true;
        }
        rest = others;
    }
    false
}

fn name_of(member: &[u8]) -> &[u8] {
    let (member, _) = cut(member, b';');
    cut(member, b'=').0.trim_ascii()
}
