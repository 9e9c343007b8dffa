//! What a body is, and whether it can be looked through with certainty.
//!
//! Knows no rule but that there are some.

use super::parameters::Syntax;
use super::{Pass, Refusal};
use crate::policy::copy::Copy;
use crate::policy::json::Tokens;

/// How a body is looked through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind<'v> {
    Json,
    /// A document on each line.
    JsonLines,
    Form,
    /// The boundary.
    Multipart(&'v str),
    Text,
}

/// The content types without parameters that are looked through without being named; the boundary is still missing.
const KNOWN: [(&str, Kind<'static>); 8] = [
    ("application/json", Kind::Json),
    ("text/json", Kind::Json),
    ("application/csp-report", Kind::Json),
    ("application/x-ndjson", Kind::JsonLines),
    ("application/ndjson", Kind::JsonLines),
    ("application/jsonl", Kind::JsonLines),
    ("application/x-www-form-urlencoded", Kind::Form),
    ("multipart/form-data", Kind::Multipart("")),
];

fn known(kind: &str) -> Option<Kind<'static>> {
    match KNOWN.iter().find(|(name, _)| *name == kind) {
        Some((_, known)) => Some(*known),
        None => kind.strip_suffix("+json").filter(|kind| kind.as_bytes().contains(&b'/')).map(|_| Kind::Json),
    }
}

/// Whether bodies of this content type are looked through without being named.
pub(super) fn is_known(kind: &str) -> bool {
    known(&kind.to_ascii_lowercase()).is_some()
}

/// Whether a `content-type` says that a body is one JSON document.
pub(in crate::policy) fn is_json(value: &[u8]) -> bool {
    kind(value, &|_| false) == Ok(Kind::Json)
}

/// The kind that a `content-type` says; `is_text` tells which types are looked through as text.
pub(super) fn kind<'v>(value: &'v [u8], is_text: &dyn Fn(&str) -> bool) -> Result<Kind<'v>, Refusal> {
    let value = std::str::from_utf8(value).map_err(|_| Refusal::ContentType)?;
    let (essence, parameters) = value.split_once(';').unwrap_or((value, ""));
    let essence = essence.trim().to_ascii_lowercase();
    let kind = known(&essence).or_else(|| is_text(&essence).then_some(Kind::Text));
    match (kind.ok_or(Refusal::ContentType)?, boundary(parameters)?) {
        // RFC 2046 §5.1.1: 1 to 70 characters, of which the last is no space.
        (Kind::Multipart(_), Some(boundary))
            if (1..=70).contains(&boundary.len()) && !boundary.ends_with(' ') =>
        {
            Ok(Kind::Multipart(boundary))
        }
        (Kind::Multipart(_), _) => Err(Refusal::ContentType),
        (kind, _) => Ok(kind),
    }
}

/// The boundary among the parameters of a content type, where they say nothing else that matters.
fn boundary(parameters: &str) -> Result<Option<&str>, Refusal> {
    let mut boundary = None;
    for parameter in parameters.split(';').map(str::trim).filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').ok_or(Refusal::ContentType)?;
        let (name, value) = (name.trim(), value.trim());
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
        let is_charset = name.eq_ignore_ascii_case("charset");
        let is_boundary = name.eq_ignore_ascii_case("boundary");
        if !value.bytes().all(plain) || name.as_bytes().contains(&b'*') || is_boundary && boundary.is_some() {
            return Err(Refusal::ContentType);
        }
        if is_charset && !["utf-8", "utf8", "us-ascii"].iter().any(|known| value.eq_ignore_ascii_case(known))
        {
            return Err(Refusal::Charset);
        }
        if is_boundary {
            boundary = Some(value);
        }
    }
    Ok(boundary)
}

/// The text that bytes are, when they can be nothing else: UTF-8 without a byte order mark.
pub(super) fn utf8(bytes: &[u8]) -> Result<&str, Refusal> {
    let text = std::str::from_utf8(bytes).map_err(|_| Refusal::Charset)?;
    // A zero byte is how UTF-16 of ASCII looks.
    if text.starts_with('\u{feff}') || bytes.contains(&0) {
        return Err(Refusal::Charset);
    }
    Ok(text)
}

impl Pass<'_> {
    /// The body without what must not be told; `None` when it can stay.
    pub(super) fn body(&mut self, copy: &Copy) -> Result<Option<Vec<u8>>, Refusal> {
        if !self.rules.looks_into_bodies() || copy.body.is_empty() {
            return Ok(None);
        }
        if copy.body_truncated {
            return Err(Refusal::Truncated);
        }
        if copy.body.len() > self.rules.max_body_bytes {
            return Err(Refusal::TooLarge);
        }
        let encoded = |value: &[u8]| {
            !value.trim_ascii().is_empty() && !value.trim_ascii().eq_ignore_ascii_case(b"identity")
        };
        if copy.headers.values("content-encoding").any(encoded) {
            return Err(Refusal::Encoded);
        }
        let mut kinds = copy.headers.values("content-type");
        let (Some(kind), None) = (kinds.next(), kinds.next()) else { return Err(Refusal::ContentType) };
        let texts = &self.rules.text_types;
        let kind = self::kind(kind, &|kind| texts.iter().any(|text| text == kind))?;
        self.content(&copy.body, kind)
    }

    /// A body, or a part of one.
    pub(super) fn content(&mut self, bytes: &[u8], kind: Kind<'_>) -> Result<Option<Vec<u8>>, Refusal> {
        if let Kind::Multipart(boundary) = kind {
            return self.multipart(bytes, boundary);
        }
        let text = utf8(bytes)?;
        if let Kind::Text = kind {
            return Ok(self.text(text, 0, None)?.map(String::into_bytes));
        }
        if let Kind::Form = kind {
            // What begins like JSON or XML was sent under a false name.
            if matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'[' | b'"' | b'<')) {
                return Err(Refusal::Broken);
            }
            return self.parameters(bytes, Syntax::Form, 0);
        }
        let tokens = if kind == Kind::JsonLines { Tokens::of_lines(text) } else { Tokens::new(text) };
        self.json(tokens, self.rules.json.walk(), 0)
    }
}
