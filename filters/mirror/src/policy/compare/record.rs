//! A comparison as a JSON line for a collector: where the answers differ, and as much of the values as may be told.
//!
//! Bounded: what does not fit is counted. Values are told only when the configuration says so, and then only after the target's own redaction;
//! keys and header names in places always pass its patterns.

use super::difference::{Found, Side, Step};
use super::{Comparer, Comparison, Part};
use crate::config::RecordValues;
use crate::policy::json::push_string;
use crate::policy::redact::Redactor;

/// Longest value in a record, in bytes.
const MAX_VALUE: usize = 256;

/// Bytes that the end of a record may need: `],"more":<20 digits>}` and a line break.
const END: usize = 40;

/// What is said of the exchange beside the comparison: names and texts, which must be fit to be told.
pub type Context<'c> = [(&'c str, &'c str)];

impl Comparer {
    /// The record of a comparison: one line of JSON, without a line break, of at most `record_bytes`. `redactor` is the target's.
    #[must_use]
    pub fn record(&self, comparison: &Comparison, context: &Context<'_>, redactor: &Redactor) -> Vec<u8> {
        let room = self.record_bytes.saturating_sub(END);
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
        let statuses =
            ["\"verdict\":\"", comparison.verdict().name(), "\",\"status\":[", &primary.to_string(), ","];
        statuses.iter().for_each(|text| out.extend_from_slice(text.as_bytes()));
        out.extend_from_slice(copy.to_string().as_bytes());
        out.push(b']');
        if comparison.body_skipped {
            out.extend_from_slice(b",\"body\":\"truncated\"");
        }
        out.extend_from_slice(b",\"differences\":[");
        let mut left = comparison.differences.len().saturating_add(comparison.more);
        let mut filled = false;
        let real_first = [false, true];
        let all = real_first
            .iter()
            .flat_map(|noise| comparison.differences.iter().filter(|found| found.noise == *noise));
        for found in all {
            let before = out.len();
            if filled {
                out.push(b',');
            }
            self.difference(found, redactor, &mut out);
            if out.len() > room {
                out.truncate(before);
                break;
            }
            filled = true;
            left = left.saturating_sub(1);
        }
        out.push(b']');
        if left > 0 {
            out.extend_from_slice(b",\"more\":");
            out.extend_from_slice(left.to_string().as_bytes());
        }
        out.push(b'}');
        out
    }

    fn difference(&self, found: &Found, redactor: &Redactor, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"at\":");
        // Keys can be secrets too.
        match redactor.plain(&found.place(true)) {
            Some(place) => push_string(out, &place),
            None => push_string(out, found.part.name()),
        }
        out.extend_from_slice(b",\"kind\":");
        push_string(out, found.kind.name());
        if found.noise {
            out.extend_from_slice(b",\"noise\":true");
        }
        for (name, side) in [(&b",\"primary\":"[..], &found.primary), (b",\"copy\":", &found.copy)] {
            let told = match self.record_values {
                RecordValues::None => continue,
                RecordValues::Types => None,
                RecordValues::Redacted => told(found, side, redactor),
            };
            if side.kind.is_some() {
                out.extend_from_slice(name);
                write_side(side, told.filter(|told| told.len() <= MAX_VALUE), out);
            }
        }
        out.push(b'}');
    }
}

fn write_side(side: &Side, told: Option<String>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"type\":");
    push_string(out, side.kind.unwrap_or_default());
    if let Some(length) = side.length {
        out.extend_from_slice(b",\"length\":");
        out.extend_from_slice(length.to_string().as_bytes());
    }
    if let Some(told) = told {
        out.extend_from_slice(b",\"value\":");
        push_string(out, &told);
    }
    out.push(b'}');
}

/// A value as it may be told: JSON text, or a header's lines; `None` when it may not.
fn told(found: &Found, side: &Side, redactor: &Redactor) -> Option<String> {
    let value = side.values.first()?;
    match (found.part, found.steps.first()) {
        (Part::Status, _) => Some(String::from_utf8_lossy(value).into_owned()),
        (Part::Header, Some(Step::Key(name))) => {
            let lines = side.values.iter().filter_map(|value| redactor.header_value(name, value));
            let lines: Vec<String> = lines.collect();
            (lines.len() == side.values.len()).then(|| lines.join(", "))
        }
        (Part::Header, _) => None,
        (Part::Body, _) => {
            let steps = found.steps.iter().map(|step| match step {
                Step::Key(key) => crate::policy::json_path::Enter::Key(key),
                Step::Element(index) => crate::policy::json_path::Enter::Element(*index),
            });
            redactor.json_value(steps, std::str::from_utf8(value).ok()?)
        }
    }
}
