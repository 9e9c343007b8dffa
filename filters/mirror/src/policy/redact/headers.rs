//! Header lines, one by one: pseudo headers, cookies, headers by name, and what their values hold.

use std::borrow::Cow;

use weir_sdk::HeaderMap;

use super::{Pass, percent};
use crate::config::{Action, Place};
use crate::policy::bytes::{joined, lossy};
use crate::policy::fold::fold;

/// Whether two names of headers are one to servers that hand them over as variables: `x_api_key` is `x-api-key`.
fn is_same(known: &[u8], name: &[u8]) -> bool {
    let plain = |byte: &u8| if *byte == b'_' { b'-' } else { *byte };
    known.iter().map(plain).eq(name.iter().map(plain))
}

impl Pass<'_> {
    /// Writes what may be told of a line.
    pub(super) fn header(&mut self, name: &[u8], value: &[u8], out: &mut HeaderMap) {
        if name == b":path" {
            self.place = Place::Path;
            let path = self.path(value);
            self.place = Place::Headers;
            return out.push(name, path);
        }
        if name.starts_with(b":") {
            let mut value = value;
            if name == b":authority"
                && self.rules.default_headers
                && let Some(at) = value.iter().rposition(|byte| *byte == b'@')
            {
                self.note();
                value = value.get(at.saturating_add(1)..).unwrap_or_default();
            }
            return out.push(name, value);
        }
        let is_cookie = name == b"cookie";
        if !self.rules.cookies.is_empty() && (is_cookie || name == b"set-cookie") {
            let line = lossy(value);
            let value = if is_cookie { self.cookies(&line) } else { self.set_cookie(&line) };
            if let Some(value) = value {
                out.push(name, value);
            }
            return;
        }
        let named = self.rules.headers.iter().find(|(known, _)| is_same(known.as_bytes(), name));
        match named.map(|(_, action)| *action).unwrap_or(Action::Keep) {
            Action::Keep => match self.plain_value(value) {
                Some(value) => out.push(name, value),
                None => self.note(),
            },
            action => {
                if let Some(instead) = self.instead(action, value) {
                    out.push(name, instead);
                }
            }
        }
    }

    /// A value without what must not be told; `None` when it cannot be looked through.
    fn plain_value<'v>(&mut self, value: &'v [u8]) -> Option<Cow<'v, [u8]>> {
        let Ok(text) = std::str::from_utf8(value) else {
            return if self.looks_into_text() { None } else { Some(Cow::Borrowed(value)) };
        };
        match self.text(text, 0, None) {
            Ok(None) => Some(Cow::Borrowed(value)),
            // No line may end where text was put together anew.
            Ok(Some(clean)) if clean.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) => None,
            Ok(Some(clean)) => Some(Cow::Owned(clean.into_bytes())),
            Err(_) => None,
        }
    }

    fn looks_into_text(&self) -> bool {
        let rules = self.rules;
        self.has_patterns() || !rules.json.is_empty() || !rules.query.is_empty() || !rules.form.is_empty()
    }

    /// What becomes of a cookie.
    fn cookie_action(&self, name: &str) -> Action {
        // Some servers decode names.
        let name = percent::decode(name.trim().as_bytes(), false);
        let name = String::from_utf8_lossy(&name);
        let name = if self.rules.fold { Cow::Owned(fold(&name)) } else { name };
        let action = |name: &str| self.rules.cookies.iter().find_map(|cookie| cookie.called(name));
        action(&name).or_else(|| action("*")).unwrap_or(Action::Drop)
    }

    /// A list of cookies; `None` when none is left.
    fn cookies(&mut self, line: &str) -> Option<String> {
        let mut kept: Option<String> = None;
        for pair in line.split(';').map(str::trim).filter(|pair| !pair.is_empty()) {
            match (self.cookie(pair), &mut kept) {
                (None, _) => {}
                (Some(pair), Some(kept)) => {
                    kept.push_str("; ");
                    kept.push_str(&pair);
                }
                (pair, None) => kept = pair,
            }
        }
        kept
    }

    fn cookie(&mut self, pair: &str) -> Option<String> {
        let (name, value) = pair.split_once('=').unwrap_or(("", pair));
        match self.cookie_action(name) {
            Action::Keep => {
                // A server that splits at commas sees more cookies here.
                let mut hidden = pair.split(',').skip(1).filter_map(|pair| pair.split_once('='));
                if hidden.any(|(name, _)| self.cookie_action(name) != Action::Keep) {
                    self.note();
                    return None;
                }
                let clean = self.plain_value(pair.as_bytes()).map(|clean| lossy(&clean));
                if clean.is_none() {
                    self.note();
                }
                clean
            }
            action => {
                let value = value.trim();
                let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
                let instead = self.instead(action, inner.unwrap_or(value).as_bytes())?;
                Some(joined(name.trim(), "=", &instead))
            }
        }
    }

    /// The cookie that a response sets, with its attributes.
    fn set_cookie(&mut self, line: &str) -> Option<String> {
        let (pair, attributes) = line.split_once(';').unwrap_or((line, ""));
        let pair = self.cookie(pair.trim())?;
        let attributes = self.plain_value(attributes.as_bytes())?;
        if attributes.is_empty() {
            return Some(pair);
        }
        Some(joined(&pair, ";", &lossy(&attributes)))
    }
}
