//! What a body is, and whether it can be looked through with certainty.
//!
//! Knows no rule but that there are some.

use super::parameters::Syntax;
use super::{Pass, Refusal};
use crate::policy::copy::Copy;
use crate::policy::json::Tokens;

/// How a body is looked through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Json,
    /// A document on each line.
    JsonLines,
    Form,
    /// The boundary.
    Multipart(String),
    Text,
}

/// The kind of a content type without parameters that is looked through without being named; the boundary is still missing.
fn known(kind: &str) -> Option<Kind> {
    match kind {
        "application/json" | "text/json" | "application/csp-report" => Some(Kind::Json),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Some(Kind::JsonLines),
        "application/x-www-form-urlencoded" => Some(Kind::Form),
        "multipart/form-data" => Some(Kind::Multipart(String::new())),
        kind if kind.strip_suffix("+json").is_some_and(|kind| kind.contains('/')) => Some(Kind::Json),
        _ => None,
    }
}

/// Whether bodies of this content type are looked through without being named.
pub(super) fn is_known(kind: &str) -> bool {
    known(&kind.to_ascii_lowercase()).is_some()
}

/// Whether a `content-type` says that a body is one JSON document.
pub(in crate::policy) fn is_json(value: &[u8]) -> bool {
    kind(value, &[]) == Ok(Kind::Json)
}

/// The kind that a `content-type` says.
pub(super) fn kind(value: &[u8], text_types: &[String]) -> Result<Kind, Refusal> {
    let value = std::str::from_utf8(value).map_err(|_| Refusal::ContentType)?;
    let (essence, parameters) = value.split_once(';').unwrap_or((value, ""));
    let essence = essence.trim().to_ascii_lowercase();
    let kind = match known(&essence) {
        Some(kind) => kind,
        None if text_types.contains(&essence) => Kind::Text,
        None => return Err(Refusal::ContentType),
    };
    let mut boundary = None;
    for parameter in parameters.split(';').map(str::trim).filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').ok_or(Refusal::ContentType)?;
        let value = value.trim();
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
        if !value.bytes().all(plain) {
            return Err(Refusal::ContentType);
        }
        match name.trim().to_ascii_lowercase().as_str() {
            "charset"
                if !["utf-8", "utf8", "us-ascii"].iter().any(|known| value.eq_ignore_ascii_case(known)) =>
            {
                return Err(Refusal::Charset);
            }
            "boundary" if boundary.replace(value.to_owned()).is_some() => return Err(Refusal::ContentType),
            name if name.contains('*') => return Err(Refusal::ContentType),
            _ => {}
        }
    }
    match (kind, boundary) {
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

/// The text that bytes are, when they can be nothing else: UTF-8 without a byte order mark.
pub(super) fn utf8(bytes: &[u8]) -> Result<&str, Refusal> {
    let text = std::str::from_utf8(bytes).map_err(|_| Refusal::Charset)?;
    // A zero byte is how UTF-16 of ASCII looks.
    if text.starts_with('\u{feff}') || text.contains('\0') {
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
        let kind = self::kind(kind, &self.rules.text_types)?;
        self.content(&copy.body, &kind)
    }

    /// A body, or a part of one.
    pub(super) fn content(&mut self, bytes: &[u8], kind: &Kind) -> Result<Option<Vec<u8>>, Refusal> {
        match kind {
            Kind::Json => self.json(Tokens::new(utf8(bytes)?), self.rules.json.walk(), 0),
            Kind::JsonLines => self.json(Tokens::of_lines(utf8(bytes)?), self.rules.json.walk(), 0),
            Kind::Form => {
                // What begins like JSON or XML was sent under a false name.
                if matches!(utf8(bytes)?.trim_ascii_start().bytes().next(), Some(b'{' | b'[' | b'"' | b'<')) {
                    return Err(Refusal::Broken);
                }
                self.parameters(bytes, Syntax::Form, 0)
            }
            Kind::Multipart(boundary) => self.multipart(bytes, boundary),
            Kind::Text => Ok(self.text(utf8(bytes)?, 0, None)?.map(String::into_bytes)),
        }
    }
}
