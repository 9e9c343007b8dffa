//! Keys and their values, as they stand in queries, forms and texts with URLs in them.
//!
//! A key ends what stands before it wherever some server would say so (`&` and `;`), but a value that must not be told reaches as far as any
//! server would read it: `password=a;b` goes to the `&`.

use std::borrow::Cow;

use super::percent;
use super::text::{MARKS, MAX_LEVELS};
use super::{Pass, Refusal};
use crate::config::Action;
use crate::policy::fold::fold;

/// A key, and what becomes of its values.
#[derive(Clone, Debug)]
pub(super) struct Parameter {
    key: String,
    fold: bool,
    action: Action,
}

impl Parameter {
    pub(super) fn new(key: &str, ignore_case: bool, action: Action) -> Self {
        Self { key: if ignore_case { fold(key) } else { String::from(key) }, fold: ignore_case, action }
    }

    /// Whether it is called so, and what becomes of it then.
    pub(super) fn called(&self, name: &str) -> Option<Action> {
        if self.key == name { Some(self.action) } else { None }
    }

    /// Whether a decoded key is this one, or has it as a part: `user[password]`, `user.password`, `password[]`.
    fn is(&self, plain: &str, folded: &str) -> bool {
        let name = if self.fold { folded } else { plain };
        let key = self.key.as_bytes();
        name == self.key || name.as_bytes().split(|byte| b"[].".contains(byte)).any(|part| part == key)
    }
}

/// What becomes of the values of a key, however often it is encoded; the first of the lists counts.
pub(super) fn action(lists: [&[Parameter]; 2], raw: &[u8]) -> Option<Action> {
    if lists.iter().all(|list| list.is_empty()) {
        return None;
    }
    let mut key = Cow::Borrowed(raw);
    for _ in 0..=MAX_LEVELS {
        let plain = String::from_utf8_lossy(&key);
        let folded = fold(&plain);
        for list in lists {
            if let Some(found) = list.iter().find(|parameter| parameter.is(&plain, &folded)) {
                return Some(found.action);
            }
        }
        drop(plain);
        if !percent::unwrap(&mut key) {
            break;
        }
    }
    None
}

/// Whether a piece is, decoded, the beginning of a JSON document.
fn begins_like_json(raw: &[u8]) -> bool {
    let mut text = Cow::Borrowed(raw);
    for _ in 0..=MAX_LEVELS {
        if matches!(text.trim_ascii_start().first(), Some(b'{' | b'[' | b'"')) {
            return true;
        }
        if !percent::unwrap(&mut text) {
            break;
        }
    }
    false
}

/// Where parameters stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    /// A query: what is behind the first `?` of `:path`.
    Query,
    /// The body of a form.
    Form,
    /// Text that may hold URLs.
    Text,
}

impl Syntax {
    /// What stands between parameters.
    fn separates(self, byte: u8) -> bool {
        match self {
            Self::Form => matches!(byte, b'&' | b';'),
            Self::Query => matches!(byte, b'&' | b';' | b'?' | b'#'),
            Self::Text => b"&;?#\"'<>()[]{},| \t\r\n\\".contains(&byte),
        }
    }

    /// What stands before the end of a value that must not be told, and the rest. In a text it may be quoted.
    fn value(self, behind: &[u8]) -> (&[u8], &[u8]) {
        let quote = match behind.first() {
            Some(first @ (b'"' | b'\'')) if self == Self::Text => Some(*first),
            _ => None,
        };
        let mut escaped = false;
        for (at, byte) in behind.iter().enumerate() {
            let ends = match quote {
                // Whatever it begins with is a part of it, unless it is empty.
                _ if at == 0 => self.ends(*byte) && !matches!(byte, b'"' | b'<' | b'>'),
                Some(_) if escaped => {
                    escaped = false;
                    false
                }
                Some(quote) => {
                    escaped = *byte == b'\\';
                    *byte == quote
                }
                None => self.ends(*byte),
            };
            if ends {
                return behind.split_at_checked(at).unwrap_or((behind, &[]));
            }
        }
        (behind, &[])
    }

    /// Writes what is not as it was, marked where the text as a whole is looked at once more.
    fn write(self, parts: &[&[u8]], out: &mut Vec<u8>) {
        let [open, close] = if self == Self::Text { MARKS } else { [""; 2] };
        out.extend_from_slice(open.as_bytes());
        parts.iter().for_each(|part| out.extend_from_slice(part));
        out.extend_from_slice(close.as_bytes());
    }

    /// What ends a value that must not be told.
    fn ends(self, byte: u8) -> bool {
        match self {
            Self::Form | Self::Query => byte == b'&',
            Self::Text => b"&#\"<> \t\r\n".contains(&byte),
        }
    }
}

impl Pass<'_> {
    /// The parameters without what must not be told; `None` when nothing is changed.
    pub(super) fn parameters(
        &mut self,
        raw: &[u8],
        syntax: Syntax,
        level: usize,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        let (query, form) = (&self.rules.query, &self.rules.form);
        let (first, second) = match syntax {
            Syntax::Form => (form.as_slice(), [].as_slice()),
            Syntax::Query => (query.as_slice(), [].as_slice()),
            Syntax::Text => (query.as_slice(), form.as_slice()),
        };
        let before = self.changes;
        let mut out = Vec::with_capacity(raw.len());
        let mut rest = raw;
        while let Some(byte) = rest.first() {
            if syntax.separates(*byte) || *byte == b'=' {
                out.push(*byte);
                rest = rest.get(1..).unwrap_or_default();
                continue;
            }
            // Each byte is looked at once: a text of nothing but `a=` is as many keys.
            let ends = |byte: &u8| *byte == b'=' || syntax.separates(*byte);
            let end = rest.iter().position(ends).unwrap_or(rest.len());
            let (key, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            // To most servers a `;` does not end what begins like JSON.
            let (piece, next, behind) = if syntax != Syntax::Text && begins_like_json(key) {
                let (document, next) = syntax.value(rest);
                (document, next, None)
            } else {
                (key, after, after.strip_prefix(b"="))
            };
            let Some(behind) = behind else {
                self.written(piece, syntax, level, &mut out)?;
                rest = next;
                continue;
            };
            let known = first.len().saturating_add(second.len());
            self.spend((known / 4).saturating_add(key.len().saturating_mul(known) / 16).saturating_add(8))?;
            match action([first, second], key).filter(|action| *action != Action::Keep) {
                Some(action) => {
                    let (value, after) = syntax.value(behind);
                    let value = percent::decode(value, syntax != Syntax::Text);
                    match self.instead(action, &value) {
                        Some(instead) => {
                            let key = self.component(key, syntax, level)?;
                            syntax.write(&[&key, b"=", instead.as_bytes()], &mut out);
                            rest = after;
                        }
                        None => {
                            syntax.write(&[], &mut out);
                            rest = after.strip_prefix(b"&").unwrap_or(after);
                        }
                    }
                }
                None => {
                    self.written(key, syntax, level, &mut out)?;
                    out.push(b'=');
                    // In a text, what follows may again be a key: `u=https://x/?a=b`.
                    rest = behind;
                    if syntax != Syntax::Text {
                        let end = behind.iter().position(|byte| syntax.separates(*byte));
                        let end = end.unwrap_or(behind.len());
                        let (mut value, mut after) = behind.split_at_checked(end).unwrap_or((behind, &[]));
                        if begins_like_json(value) {
                            (value, after) = syntax.value(behind);
                        }
                        self.written(value, syntax, level, &mut out)?;
                        rest = after;
                    }
                }
            }
        }
        if self.changes == before {
            return Ok(None);
        }
        // A parameter that went from the end leaves what separated it.
        if syntax != Syntax::Text && out.last() == Some(&b'&') && raw.last() != Some(&b'&') {
            out.pop();
        }
        Ok(Some(out))
    }

    /// Writes a key or a value.
    fn written(
        &mut self,
        raw: &[u8],
        syntax: Syntax,
        level: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        match self.component(raw, syntax, level)? {
            Cow::Borrowed(same) => out.extend_from_slice(same),
            Cow::Owned(clean) => syntax.write(&[&clean], out),
        }
        Ok(())
    }

    /// A key or a value, looked through decoded.
    fn component<'c>(
        &mut self,
        raw: &'c [u8],
        syntax: Syntax,
        level: usize,
    ) -> Result<Cow<'c, [u8]>, Refusal> {
        if syntax == Syntax::Text && !percent::is_encoded(raw) {
            // The text as a whole is looked through elsewhere.
            return Ok(Cow::Borrowed(raw));
        }
        let decoded = percent::decode(raw, syntax != Syntax::Text);
        let text = match std::str::from_utf8(&decoded) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) if syntax == Syntax::Form => return Err(Refusal::Charset),
            Err(_) => String::from_utf8_lossy(&decoded),
        };
        let level = level.saturating_add(usize::from(matches!(decoded, Cow::Owned(_))));
        Ok(match self.text(&text, level, None) {
            Ok(None) => Cow::Borrowed(raw),
            Ok(Some(clean)) => Cow::Owned(percent::encode(clean.as_bytes())),
            Err(refusal) if syntax == Syntax::Form || refusal == Refusal::TooLarge => return Err(refusal),
            Err(_) => Cow::Owned(percent::encode(self.doubtful().as_bytes())),
        })
    }
}
