//! Text as one value: a JSON string, a header's value, a field of a form. What it may itself be (JSON, a URL, something encoded) is looked into.

use std::borrow::Cow;
use std::ops::Range;

use super::parameters::Syntax;
use super::pattern::Finder;
use super::{Pass, Refusal, percent};
use crate::config::Action;
use crate::policy::fold::fold;
use crate::policy::json_path::Walk;
use crate::policy::number::Decimal;
use crate::policy::sort::sort_by;

/// How often a text may be wrapped in another: encoded, or JSON within a string. A proxy, a framework and a handler may each unwrap once.
pub(super) const MAX_LEVELS: usize = 4;

/// Digits of the largest integer that is spelled out to look for a number that is written as `4.1e15`.
const MAX_DIGITS: usize = 40;

/// While a text is worked on, what was written into it stands between these: two of Unicode's noncharacters, which no text has.
pub(super) const OPEN: char = '\u{fdd0}';
/// The end of what [`OPEN`] begins.
pub(super) const CLOSE: char = '\u{fdd1}';

/// The text with a space for each piece that was written into it.
fn untouched(text: &str) -> Cow<'_, str> {
    if !text.contains(OPEN) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(OPEN) {
        out.push_str(before);
        // What a pattern took half of counts as not written.
        rest = after.split_once(CLOSE).map_or(after, |(_, after)| after);
        out.push(' ');
    }
    out.push_str(rest);
    Cow::Owned(out)
}

impl Pass<'_> {
    /// The text without what must not be told; `None` when it can stay. `outer` is where it stands in a JSON document.
    pub(super) fn text(
        &mut self,
        text: &str,
        level: usize,
        outer: Option<&Walk>,
    ) -> Result<Option<String>, Refusal> {
        let rules = self.rules;
        if rules.json.is_empty() && rules.query.is_empty() && rules.form.is_empty() && !self.has_patterns() {
            return Ok(None);
        }
        self.spend((text.len() / 2).saturating_add(rules.patterns.len()).saturating_add(8))?;
        if text.contains([OPEN, CLOSE]) {
            return Err(Refusal::Charset);
        }
        let json = text.trim_ascii_start().starts_with(['{', '[', '"']);
        let encoded = percent::is_encoded(text.as_bytes());
        if level >= MAX_LEVELS && (json || encoded) {
            return Err(Refusal::TooDeep);
        }
        if json {
            let walk = match outer {
                Some(outer) => rules.json.walk_within(outer),
                None => rules.json.walk(),
            };
            let before = self.changes;
            match self.document(text, walk, level.saturating_add(1)) {
                Err(Refusal::Broken) if self.may_name_a_key(text) => return Err(Refusal::Nested),
                // Text that begins like JSON.
                Err(Refusal::Broken) => self.changes = before,
                looked => return looked,
            }
        }
        let mut clean = Cow::Borrowed(text);
        if let Some(bytes) = self.parameters(text.as_bytes(), Syntax::Text, level)? {
            clean = Cow::Owned(String::from_utf8_lossy(&bytes).into_owned());
        }
        if let Some(found) = self.patterns(&clean) {
            clean = Cow::Owned(found);
        }
        self.spend(0)?;
        if encoded {
            // Decoded as a whole, there may be more in it than in its parts.
            let rest = untouched(&clean);
            let decoded = percent::decode(rest.as_bytes(), false);
            if let Some(found) =
                self.text(&String::from_utf8_lossy(&decoded), level.saturating_add(1), None)?
            {
                let alone = matches!(clean, Cow::Borrowed(_));
                let encoded = percent::encode(found.as_bytes());
                let whole =
                    if alone { String::from_utf8_lossy(&encoded).into_owned() } else { self.doubtful() };
                return Ok(Some(whole));
            }
        }
        Ok(match clean {
            Cow::Borrowed(_) => None,
            Cow::Owned(clean) => Some(clean.replace([OPEN, CLOSE], "")),
        })
    }

    /// Whether a text that is no JSON may all the same say a key that matters to whoever reads it more kindly.
    fn may_name_a_key(&self, text: &str) -> bool {
        if self.rules.json.is_empty() {
            return false;
        }
        let escaped = text.contains("\\u") || text.contains("\\x") || text.contains("\\U");
        let plain = if self.rules.fold { Cow::Owned(fold(text)) } else { Cow::Borrowed(text) };
        escaped
            || !self.rules.json.ends_in_keys()
            || self.rules.json.last_keys().any(|key| plain.contains(key))
    }

    fn has_patterns(&self) -> bool {
        self.rules.patterns.iter().any(|pattern| pattern.places.contains(&self.place))
    }

    /// The text without what the patterns find, marked; `None` when they find nothing.
    fn patterns(&mut self, text: &str) -> Option<String> {
        self.patterns_of(text, |_| true)
    }

    /// What stands in place of a number in which a pattern is found: an integer is looked at spelled out, and the point of another is no gap
    /// between groups of digits.
    pub(super) fn number(&mut self, text: &str) -> Result<Option<String>, Refusal> {
        if !self.has_patterns() {
            return Ok(None);
        }
        self.spend((text.len() / 2).saturating_add(self.rules.patterns.len()))?;
        let integer = Decimal::parse(text).and_then(|number| number.integer(MAX_DIGITS));
        let found = integer.and_then(|integer| self.patterns(&integer));
        let found = found.or_else(|| self.patterns_of(text, |finder| matches!(finder, Finder::Regex(..))));
        self.spend(0)?;
        Ok(found.map(|found| found.replace([OPEN, CLOSE], "")))
    }

    #[inline(never)]
    fn patterns_of(&mut self, text: &str, wanted: fn(&Finder) -> bool) -> Option<String> {
        let mut found: Vec<(Range<usize>, usize, Action)> = Vec::new();
        let mut ranges = Vec::new();
        for pattern in &self.rules.patterns {
            if pattern.places.contains(&self.place) && wanted(&pattern.finder) {
                pattern.finder.find(text, &mut self.budget, &mut ranges);
                for range in ranges.drain(..) {
                    found.push((range, found.len(), pattern.action));
                }
            }
        }
        if found.is_empty() {
            return None;
        }
        // Of what begins at one place, the first pattern comes first.
        sort_by(&mut found, |(one, first, _), (other, second, _)| (one.start, first) < (other.start, second));
        let mut out = String::with_capacity(text.len());
        let mut end = 0usize;
        let mut found = found.into_iter().peekable();
        while let Some((mut range, _, mut action)) = found.next() {
            while let Some((other, _, second)) = found.next_if(|(other, ..)| other.start < range.end) {
                // What overlaps is one; the last characters of it may be another's.
                if other.end > range.end {
                    range.end = other.end;
                    let masked = action == Action::Mask || second == Action::Mask;
                    action = if masked { Action::Replace } else { action };
                }
            }
            out.push_str(text.get(end..range.start).unwrap_or_default());
            out.push(OPEN);
            if let Some(instead) = self.instead(action, text.get(range.clone()).unwrap_or_default()) {
                out.push_str(&instead);
            }
            out.push(CLOSE);
            end = range.end;
        }
        out.push_str(text.get(end..).unwrap_or_default());
        Some(out)
    }
}
