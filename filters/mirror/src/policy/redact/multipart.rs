//! `multipart/form-data` (RFC 7578), read strictly and written anew from what was understood.
//!
//! Whatever two readers could take differently is refused: a preamble, folded or unknown headers, a boundary within a part, names twice.

use super::body::{self, Kind};
use super::percent::find;
use super::{Pass, Refusal, parameters};
use crate::config::Action;

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
        let delimiter = ["--", boundary].concat();
        let between = ["\r\n--", boundary].concat();
        let mut out = Vec::with_capacity(bytes.len());
        let mut rest = bytes.strip_prefix(delimiter.as_bytes()).ok_or(Refusal::Broken)?;
        for _ in 0..MAX_PARTS {
            if let Some(end) = rest.strip_prefix(b"--") {
                if !matches!(end, b"" | b"\r\n") {
                    return Err(Refusal::Broken);
                }
                out.extend_from_slice(delimiter.as_bytes());
                out.extend_from_slice(b"--\r\n");
                return Ok((self.changes != before).then_some(out));
            }
            let part = rest.strip_prefix(b"\r\n").ok_or(Refusal::Broken)?;
            let end = find(part, between.as_bytes()).ok_or(Refusal::Broken)?;
            let (part, after) = part.split_at_checked(end).ok_or(Refusal::Broken)?;
            rest = after.strip_prefix(between.as_bytes()).ok_or(Refusal::Broken)?;
            if find(part, delimiter.as_bytes()).is_some() {
                return Err(Refusal::Broken);
            }
            let head = find(part, b"\r\n\r\n").ok_or(Refusal::Broken)?;
            let (head, content) = part.split_at_checked(head).ok_or(Refusal::Broken)?;
            let content = content.strip_prefix(b"\r\n\r\n").ok_or(Refusal::Broken)?;
            let part = headers(body::utf8(head)?)?;
            if let Some(content) = self.part(&part, content)? {
                out.extend_from_slice(delimiter.as_bytes());
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
            Some(kind) => match body::kind(kind.as_bytes(), &[String::from("text/plain")])? {
                Kind::Multipart(_) => return Err(Refusal::ContentType),
                kind => kind,
            },
        };
        let clean = self.content(content, &kind)?;
        Ok(Some(clean.unwrap_or_else(|| content.to_vec())))
    }

    fn head(&mut self, part: &Part<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        out.extend_from_slice(b"\r\ncontent-disposition: form-data");
        for (field, value) in [("name", Some(part.name)), ("filename", part.filename)] {
            let Some(value) = value else { continue };
            let clean = self.text(value, 0, None)?;
            let value = clean.as_deref().unwrap_or(value);
            if value.contains(['"', '\r', '\n']) {
                return Err(Refusal::Broken);
            }
            for part in ["; ", field, "=\"", value, "\""] {
                out.extend_from_slice(part.as_bytes());
            }
        }
        if let Some(kind) = part.content_type {
            out.extend_from_slice(b"\r\ncontent-type: ");
            out.extend_from_slice(kind.as_bytes());
        }
        out.extend_from_slice(b"\r\n\r\n");
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
        let twice = match name.to_ascii_lowercase().as_str() {
            "content-disposition" => disposition.replace(value.trim()).is_some(),
            "content-type" => content_type.replace(value.trim()).is_some(),
            "content-transfer-encoding" => {
                let plain = ["7bit", "8bit", "binary"];
                if !plain.iter().any(|plain| value.trim().eq_ignore_ascii_case(plain)) {
                    return Err(Refusal::Encoded);
                }
                false
            }
            _ => true,
        };
        if twice {
            return Err(Refusal::Broken);
        }
    }
    let (mut name, mut filename) = (None, None);
    let mut rest =
        disposition.and_then(|value| value.strip_prefix("form-data")).ok_or(Refusal::Broken)?.trim();
    while !rest.is_empty() {
        let field = rest.strip_prefix(';').ok_or(Refusal::Broken)?.trim_start();
        let (key, value) = field.split_once('=').ok_or(Refusal::Broken)?;
        let value = value.strip_prefix('"').ok_or(Refusal::Broken)?;
        let (value, after) = value.split_once('"').ok_or(Refusal::Broken)?;
        let twice = match key.to_ascii_lowercase().as_str() {
            "name" => name.replace(value).is_some(),
            "filename" => filename.replace(value).is_some(),
            _ => true,
        };
        if twice || value.contains('\\') {
            return Err(Refusal::Broken);
        }
        rest = after.trim();
    }
    Ok(Part { name: name.ok_or(Refusal::Broken)?, filename, content_type })
}
