//! Text as one value: a JSON string, a header's value, a field of a form. What it may itself be (JSON, a URL, something encoded) is looked into.

use std::ops::Range;

use super::parameters::Syntax;
use super::pattern::Finder;
use super::percent;
use super::{Pass, Refusal};
use crate::config::Action;
use crate::policy::bytes::{find, lossy};
use crate::policy::fold::fold;
use crate::policy::json::Tokens;
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

/// [`OPEN`] and [`CLOSE`] as they are written.
pub(super) const MARKS: [&str; 2] = ["\u{fdd0}", "\u{fdd1}"];

fn is_marked(text: &str) -> bool {
    MARKS.iter().any(|mark| find(text.as_bytes(), mark.as_bytes()).is_some())
}

/// The text with a space for each piece that was written into it.
fn untouched(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(OPEN) {
        out.push_str(before);
        // What a pattern took half of counts as not written.
        rest = after.split_once(CLOSE).map_or(after, |(_, after)| after);
        out.push(' ');
    }
    out.push_str(rest);
    out
}

/// The text without the marks.
#[inline(never)]
fn unmarked(text: &str) -> String {
    text.chars().filter(|char| !matches!(*char, OPEN | CLOSE)).collect()
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
        if is_marked(text) {
            return Err(Refusal::Charset);
        }
        let json = matches!(text.as_bytes().trim_ascii_start().first(), Some(b'{' | b'[' | b'"'));
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
            match self.json(Tokens::new(text), walk, level.saturating_add(1)) {
                Err(Refusal::Broken) if self.may_name_a_key(text) => return Err(Refusal::Nested),
                // Text that begins like JSON.
                Err(Refusal::Broken) => self.changes = before,
                Err(refusal) => return Err(refusal),
                Ok(clean) => return Ok(clean.map(|clean| lossy(&clean))),
            }
        }
        let written = self.parameters(text.as_bytes(), Syntax::Text, level)?.map(|bytes| lossy(&bytes));
        let found = self.patterns(written.as_deref().unwrap_or(text));
        let clean = found.or(written);
        self.spend(0)?;
        if encoded {
            // Decoded as a whole, there may be more in it than in its parts.
            let rest = clean.as_deref().map(untouched);
            let decoded = percent::decode(rest.as_deref().unwrap_or(text).as_bytes(), false);
            let decoded = String::from_utf8_lossy(&decoded);
            if let Some(found) = self.text(&decoded, level.saturating_add(1), None)? {
                return Ok(Some(match clean {
                    None => lossy(&percent::encode(found.as_bytes())),
                    Some(_) => self.doubtful(),
                }));
            }
        }
        Ok(clean.map(|clean| unmarked(&clean)))
    }

    /// Whether a text that is no JSON may all the same say a key that matters to whoever reads it more kindly.
    fn may_name_a_key(&self, text: &str) -> bool {
        if self.rules.json.is_empty() {
            return false;
        }
        let has = |text: &str, part: &str| find(text.as_bytes(), part.as_bytes()).is_some();
        let folded = if self.rules.fold { Some(fold(text)) } else { None };
        let plain = folded.as_deref().unwrap_or(text);
        ["\\u", "\\x", "\\U"].iter().any(|escape| has(text, escape))
            || !self.rules.json.ends_in_keys()
            || self.rules.json.last_keys().any(|key| has(plain, key))
    }

    pub(super) fn has_patterns(&self) -> bool {
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
        Ok(found.map(|found| unmarked(&found)))
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
        let mut written = 0usize;
        let mut found = found.iter().peekable();
        while let Some((range, _, action)) = found.next() {
            let (mut end, mut action) = (range.end, *action);
            while let Some((other, _, second)) = found.next_if(|(other, ..)| other.start < end) {
                // What overlaps is one; the last characters of it may be another's.
                if other.end > end {
                    end = other.end;
                    let masked = action == Action::Mask || *second == Action::Mask;
                    action = if masked { Action::Replace } else { action };
                }
            }
            out.push_str(text.get(written..range.start).unwrap_or_default());
            out.push(OPEN);
            let value = text.get(range.start..end).unwrap_or_default();
            if let Some(instead) = self.instead(action, value.as_bytes()) {
                out.push_str(&instead);
            }
            out.push(CLOSE);
            written = end;
        }
        out.push_str(text.get(written..).unwrap_or_default());
        Some(out)
    }
}
