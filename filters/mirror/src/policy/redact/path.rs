//! `:path`: its segments and its query.

use super::parameters::{self, Syntax};
use super::text::MAX_LEVELS;
use super::{Pass, percent};
use crate::config::Action;
use crate::policy::bytes::{joined, lossy};

impl Pass<'_> {
    /// The path without what must not be told.
    pub(super) fn path(&mut self, raw: &[u8]) -> Vec<u8> {
        let start = raw.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(raw.len());
        let (path, query) = raw.split_at_checked(start).unwrap_or((raw, &[]));
        let mut out = self.segments(path);
        match self.text(&lossy(&out), 0, None) {
            Ok(None) => {}
            // A path cannot hold spaces and the like; what was found in it may have left some.
            Ok(Some(clean)) => out = percent::encode_others(clean.as_bytes(), |byte| byte.is_ascii_graphic()),
            Err(_) => out = joined("/", &self.doubtful(), "").into_bytes(),
        }
        match self.parameters(query, Syntax::Query, 0) {
            Ok(None) => out.extend_from_slice(query),
            Ok(Some(clean)) if clean == b"?" => {}
            Ok(Some(clean)) => out.extend_from_slice(&clean),
            Err(_) => {
                out.push(b'?');
                out.extend_from_slice(self.doubtful().as_bytes());
            }
        }
        out
    }

    /// Segments that follow a named one; empty ones and `.` do not come between.
    fn segments(&mut self, path: &[u8]) -> Vec<u8> {
        if self.rules.segments.is_empty() {
            return path.to_vec();
        }
        let mut out: Vec<u8> = Vec::with_capacity(path.len());
        let mut before: &[u8] = &[];
        for (index, segment) in path.split(|byte| *byte == b'/').enumerate() {
            let slash: &[u8] = if index > 0 { b"/" } else { b"" };
            let follows = self.follows(before);
            let mut stays = true;
            if !matches!(segment, b"" | b".") {
                let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
                let action = follows.or_else(|| self.hidden_segment(before, segment));
                if let Some(action) = action.filter(|action| *action != Action::Keep) {
                    stays = false;
                    let plain = percent::decode(segment, false);
                    if let Some(instead) = self.instead(action, &plain) {
                        out.extend_from_slice(slash);
                        out.extend_from_slice(instead.as_bytes());
                    }
                }
                before = name;
            }
            if stays {
                out.extend_from_slice(slash);
                out.extend_from_slice(segment);
            }
        }
        if out.is_empty() {
            out.push(b'/');
        }
        out
    }

    /// What becomes of a segment behind this one.
    fn follows(&self, before: &[u8]) -> Option<Action> {
        parameters::action([&self.rules.segments, &[]], before)
    }

    /// What becomes of a segment that is several to a server that decodes before it splits: `reset%2Fabc`.
    fn hidden_segment(&self, before: &[u8], segment: &[u8]) -> Option<Action> {
        let mut plain = segment.to_vec();
        // What is encoded more often is refused as text.
        for _ in 0..MAX_LEVELS {
            if !percent::is_encoded(&plain) {
                break;
            }
            plain = percent::decode(&plain, false).into_owned();
            let mut last = before;
            for part in plain.split(|byte| matches!(byte, b'/' | b'\\')) {
                let found = self.follows(last);
                if part != plain && found.is_some_and(|action| action != Action::Keep) {
                    return found;
                }
                last = part;
            }
        }
        None
    }
}
