//! A comparison as a JSON line for a collector: where the answers differ, and as much of the values as may be told.
//!
//! Bounded: what does not fit is counted. Values are told only when the configuration says so, and then only after the target's own redaction;
//! keys and header names in places always pass its patterns.

use super::difference::{Found, Side, Step};
use super::{Comparer, Comparison, Part};
use crate::config::RecordValues;
use crate::policy::bytes::{lossy, push};
use crate::policy::json::{push_key, push_number, push_string};
use crate::policy::redact::Redactor;

/// Longest value in a record, in bytes.
const MAX_VALUE: usize = 256;

/// Bytes that the end of a record may need: `],"more":<20 digits>}` and a line break.
const END: usize = 40;

/// What is said of the exchange beside the comparison: names and texts, which must be fit to be told.
pub type Context<'c> = [(&'c str, String)];

impl Comparer {
    /// The record of a comparison: one line of JSON, without a line break, of at most `record_bytes`. `redactor` is the target's.
    #[must_use]
    pub fn record(&self, comparison: &Comparison, context: &Context<'_>, redactor: &Redactor) -> Vec<u8> {
        let room = self.config.record_bytes.saturating_sub(END);
        let mut out = Vec::from(*b"{");
        for (name, text) in context {
            let before = out.len();
            push_string(&mut out, name);
            out.push(b':');
            push_string(&mut out, text);
            out.push(b',');
            // Half of the room is for what differs.
            if out.len() > room / 2 {
                out.truncate(before);
            }
        }
        let (primary, copy) = comparison.statuses;
        let (primary, copy) = (u32::from(primary).to_string(), u32::from(copy).to_string());
        let skipped = if comparison.body_skipped { ",\"body\":\"truncated\"" } else { "" };
        push(
            &mut out,
            &[
                "\"verdict\":\"",
                comparison.verdict().name(),
                "\",\"status\":[",
                &primary,
                ",",
                &copy,
                "]",
                skipped,
                ",\"differences\":[",
            ],
        );
        let mut left = comparison.differences.len().saturating_add(comparison.more);
        let mut filled = false;
        // Those first that are no noise.
        'all: for noise in [false, true] {
            for found in comparison.differences.iter().filter(|found| found.noise == noise) {
                let before = out.len();
                if filled {
                    out.push(b',');
                }
                self.difference(found, redactor, &mut out);
                if out.len() > room {
                    out.truncate(before);
                    break 'all;
                }
                filled = true;
                left = left.saturating_sub(1);
            }
        }
        out.push(b']');
        push_number(&mut out, "more", if left > 0 { u64::try_from(left).ok() } else { None });
        out.push(b'}');
        out
    }

    fn difference(&self, found: &Found, redactor: &Redactor, out: &mut Vec<u8>) {
        // Keys can be secrets too.
        let place = redactor.plain(&found.place(true));
        push(out, &["{\"at\":"]);
        push_string(out, place.as_deref().unwrap_or(found.part.name()));
        push_key(out, "kind");
        push_string(out, found.kind.name());
        if found.noise {
            push(out, &[",\"noise\":true"]);
        }
        self.side("primary", found, &found.primary, redactor, out);
        self.side("copy", found, &found.copy, redactor, out);
        out.push(b'}');
    }

    fn side(&self, name: &str, found: &Found, side: &Side, redactor: &Redactor, out: &mut Vec<u8>) {
        let Some(kind) = side.kind.filter(|_| self.config.record_values != RecordValues::None) else {
            return;
        };
        push_key(out, name);
        push(out, &["{\"type\":\"", kind, "\""]);
        push_number(out, "length", side.length.and_then(|length| u64::try_from(length).ok()));
        if self.config.record_values == RecordValues::Redacted
            && let Some(told) = told(found, side, redactor).filter(|told| told.len() <= MAX_VALUE)
        {
            push_key(out, "value");
            push_string(out, &told);
        }
        out.push(b'}');
    }
}

/// A value as it may be told: JSON text, or a header's lines; `None` when it may not.
fn told(found: &Found, side: &Side, redactor: &Redactor) -> Option<String> {
    let value = side.values.first()?;
    match (found.part, found.steps.first()) {
        (Part::Status, _) => Some(lossy(value)),
        (Part::Header, Some(Step::Key(name))) => {
            let mut lines = String::new();
            for (index, value) in side.values.iter().enumerate() {
                if index > 0 {
                    lines.push_str(", ");
                }
                lines.push_str(&redactor.header_value(name, value)?);
            }
            Some(lines)
        }
        (Part::Header, _) => None,
        (Part::Body, _) => {
            let mut steps = found.steps.iter().map(|step| match step {
                Step::Key(key) => crate::policy::json_path::Enter::Key(key),
                Step::Element(index) => crate::policy::json_path::Enter::Element(*index),
            });
            redactor.json_value(&mut steps, std::str::from_utf8(value).ok()?)
        }
    }
}
