//! `multipart/form-data` (RFC 7578), read strictly and written anew from what was understood.
//!
//! Whatever two readers could take differently is refused: a preamble, folded or unknown headers, a boundary within a part, names twice.

use super::body::{self, Kind};
use super::{Pass, Refusal, parameters};
use crate::config::Action;
use crate::policy::bytes::{find, joined, push};

/// Most parts of one body.
const MAX_PARTS: usize = 1024;

/// What the headers of a part say.
struct Part<'b> {
    name: &'b str,
    filename: Option<&'b str>,
    content_type: Option<&'b str>,
}

impl Pass<'_> {
    /// The body without what must not be told; `None` when it can stay.
    pub(super) fn multipart(&mut self, bytes: &[u8], boundary: &str) -> Result<Option<Vec<u8>>, Refusal> {
        let before = self.changes;
        let between = joined("\r\n--", boundary, "").into_bytes();
        let delimiter = between.get(2..).unwrap_or_default();
        let mut out = Vec::with_capacity(bytes.len());
        let mut rest = bytes.strip_prefix(delimiter).ok_or(Refusal::Broken)?;
        for _ in 0..MAX_PARTS {
            if let Some(end) = rest.strip_prefix(b"--") {
                if !matches!(end, b"" | b"\r\n") {
                    return Err(Refusal::Broken);
                }
                out.extend_from_slice(delimiter);
                out.extend_from_slice(b"--\r\n");
                return Ok((self.changes != before).then_some(out));
            }
            let (head, content, after) = next_part(rest, &between).ok_or(Refusal::Broken)?;
            rest = after;
            let part = headers(body::utf8(head)?)?;
            if let Some(content) = self.part(&part, content)? {
                out.extend_from_slice(delimiter);
                self.head(&part, &mut out)?;
                out.extend_from_slice(&content);
                out.extend_from_slice(b"\r\n");
            }
        }
        Err(Refusal::TooLarge)
    }

    /// The content of a part; `None` when the part goes.
    fn part(&mut self, part: &Part<'_>, content: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
        // It names the charset of the others.
        if part.name == "_charset_" {
            return Err(Refusal::Charset);
        }
        let action = parameters::action([&self.rules.form, &[]], part.name.as_bytes());
        if let Some(action) = action.filter(|action| *action != Action::Keep) {
            return Ok(self.instead(action, content).map(String::into_bytes));
        }
        let kind = match part.content_type {
            None => Kind::Text,
            Some(kind) => body::kind(kind.as_bytes(), &|kind| kind == "text/plain")?,
        };
        if let Kind::Multipart(_) = kind {
            return Err(Refusal::ContentType);
        }
        let clean = self.content(content, kind)?;
        Ok(Some(clean.unwrap_or_else(|| content.to_vec())))
    }

    fn head(&mut self, part: &Part<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        push(out, &["\r\ncontent-disposition: form-data"]);
        for (field, value) in [("name", Some(part.name)), ("filename", part.filename)] {
            let Some(value) = value else { continue };
            let clean = self.text(value, 0, None)?;
            let value = clean.as_deref().unwrap_or(value);
            if value.bytes().any(|byte| matches!(byte, b'"' | b'\r' | b'\n')) {
                return Err(Refusal::Broken);
            }
            push(out, &["; ", field, "=\"", value, "\""]);
        }
        if let Some(kind) = part.content_type {
            push(out, &["\r\ncontent-type: ", kind]);
        }
        push(out, &["\r\n\r\n"]);
        Ok(())
    }
}

fn headers(head: &str) -> Result<Part<'_>, Refusal> {
    let mut disposition = None;
    let mut content_type = None;
    let mut rest = Some(head);
    while let Some(lines) = rest {
        let end = find(lines.as_bytes(), b"\r\n").unwrap_or(lines.len());
        let line = lines.get(..end).unwrap_or_default();
        rest = lines.get(end.saturating_add(2)..);
        if line.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
            return Err(Refusal::Broken);
        }
        let (name, value) = line.split_once(':').ok_or(Refusal::Broken)?;
        let value = value.trim();
        let is_one_of =
            |text: &str, known: &[&str]| known.iter().any(|known| text.eq_ignore_ascii_case(known));
        if is_one_of(name, &["content-transfer-encoding"]) {
            if !is_one_of(value, &["7bit", "8bit", "binary"]) {
                return Err(Refusal::Encoded);
            }
            continue;
        }
        let place = if is_one_of(name, &["content-disposition"]) {
            &mut disposition
        } else if is_one_of(name, &["content-type"]) {
            &mut content_type
        } else {
            return Err(Refusal::Broken);
        };
        if place.replace(value).is_some() {
            return Err(Refusal::Broken);
        }
    }
    let (name, filename) = names(disposition.unwrap_or_default()).ok_or(Refusal::Broken)?;
    Ok(Part { name, filename, content_type })
}

/// The names that a `content-disposition` says.
fn names(disposition: &str) -> Option<(&str, Option<&str>)> {
    let (mut name, mut filename) = (None, None);
    let mut rest = disposition.strip_prefix("form-data")?.trim();
    while !rest.is_empty() {
        let (key, value) = rest.strip_prefix(';')?.trim_start().split_once('=')?;
        let (value, after) = value.strip_prefix('"')?.split_once('"')?;
        let place = if key.eq_ignore_ascii_case("name") {
            &mut name
        } else if key.eq_ignore_ascii_case("filename") {
            &mut filename
        } else {
            return None;
        };
        if place.replace(value).is_some() || value.as_bytes().contains(&b'\\') {
            return None;
        }
        rest = after.trim();
    }
    Some((name?, filename))
}

/// The headers and the content of the part that comes next, and what is behind its end, which is `between` two parts.
fn next_part<'b>(rest: &'b [u8], between: &[u8]) -> Option<(&'b [u8], &'b [u8], &'b [u8])> {
    let part = rest.strip_prefix(b"\r\n")?;
    let (part, after) = part.split_at_checked(find(part, between)?)?;
    // A boundary within a part.
    if find(part, between.get(2..)?).is_some() {
        return None;
    }
    let (head, content) = part.split_at_checked(find(part, b"\r\n\r\n")?)?;
    Some((head, content.get(4..)?, after.get(between.len()..)?))
}
