//! What a replay tells: one record an exchange, a summary at the end. A format is a file below and a line in [`FORMATS`]. Formats keep
//! totals and the lines they still have to show, never the exchanges: a report of any length takes constant memory.

mod changes;
pub mod comparison;
mod jsonl;
mod record;
mod table;
mod tally;

use std::io::{self, Write};

use changes::HeaderChanges;
pub use tally::{Served, Tally, Totals};

use crate::exchange::{Exchange, Message};
use crate::outcome::{Apart, LogLine, MetricDelta, Outcome};

/// The formats: name, what it is, and how one is begun.
pub const FORMATS: &[(&str, &str, Begin)] = &[
    ("table", "a readable table", table::begin),
    ("jsonl", "JSON lines: one object an exchange, a summary last", jsonl::begin),
];

/// The JSON Schema of a line of the JSON lines.
#[must_use]
pub fn schema() -> schemars::Schema {
    schemars::schema_for!(record::Record<'_>)
}

/// Begins a report.
pub type Begin = fn(Box<dyn Write>, Options) -> Box<dyn Report>;

/// How a report is to look.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Printed above a table.
    pub title: Option<String>,
    /// Whether a table is coloured.
    pub color: bool,
    /// How many exchanges a table shows; all when absent. Totals are of all.
    pub limit: Option<u64>,
    /// How many workers there are: with more than one a table says which served each exchange, and what each came to.
    pub workers: u32,
}

/// A report that is being written.
pub trait Report {
    /// Tells of an exchange; `number` counts from 1.
    ///
    /// # Errors
    /// When it cannot be written.
    fn exchange(&mut self, number: u64, exchange: &Exchange, outcome: &Outcome) -> io::Result<()>;

    /// Tells what is known at the end.
    ///
    /// # Errors
    /// When it cannot be written.
    fn finish(&mut self, end: &Summary) -> io::Result<()>;
}

/// What is known when all exchanges are over.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Counters, gauges and histograms: name, kind and value (of a histogram: how many values it recorded), sorted by name.
    pub metrics: Vec<(String, &'static str, u64)>,
    /// Log lines of the start, that is of the configuration.
    pub start_log: Vec<LogLine>,
    /// What of the recordings could not be read and was left out.
    pub broken: Vec<String>,
    /// What belongs to no exchange.
    pub apart: Apart,
}

/// The arms an exchange was on: what follows `.arm.` in the names of the counters that grew, joined with `,`.
#[must_use]
pub fn arm(outcome: &Outcome) -> Option<String> {
    let arms = outcome.metric_deltas.iter().filter_map(|(name, delta)| match delta {
        MetricDelta::Counter(1..) => name.split_once(".arm.").map(|(_, arm)| arm),
        _ => None,
    });
    join(arms, ",")
}

/// Why: what filters say of their decisions in log lines `decision: …`, then why others did nothing, `left alone: …`; joined with `; `.
#[must_use]
pub fn why(outcome: &Outcome) -> Option<String> {
    join(said(outcome, DECISION).chain(said(outcome, LEFT_ALONE)), "; ")
}

/// The same for a reader of many lines: why nothing was done is said where nobody did anything.
#[must_use]
pub fn why_in_short(outcome: &Outcome) -> Option<String> {
    join(said(outcome, DECISION), "; ").or_else(|| join(said(outcome, LEFT_ALONE), "; "))
}

const DECISION: &str = "decision: ";
const LEFT_ALONE: &str = "left alone: ";

fn said<'a>(outcome: &'a Outcome, what: &'static str) -> impl Iterator<Item = &'a str> {
    outcome.log.iter().filter_map(move |line| line.message.strip_prefix(what))
}

/// The status of a response.
#[must_use]
pub fn status(response: &Message) -> Option<u16> {
    str::from_utf8(response.headers.get(b":status")?).ok()?.parse().ok()
}

fn join<'a>(mut parts: impl Iterator<Item = &'a str>, between: &str) -> Option<String> {
    let mut text = parts.next()?.to_owned();
    for part in parts {
        text.push_str(between);
        text.push_str(part);
    }
    Some(text)
}

#[cfg(test)]
mod tests;
