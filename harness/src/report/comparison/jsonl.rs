//! A comparison as JSON lines: one object an exchange, in order, and the summary last.

use std::io::{self, Write};

use super::record::{ComparisonRecord, ComparisonSummaryRecord};
use crate::envoy::find::Found;
use crate::envoy::versus::Versus;
use crate::report::Options;
use crate::report::record::Record;

pub(super) fn print(out: &mut dyn Write, versus: &Versus, found: &Found, _: &Options) -> io::Result<()> {
    for (index, one) in versus.planned.iter().enumerate() {
        if let Some(record) = ComparisonRecord::new(index, &one.exchange, versus) {
            line(out, &Record::Comparison(Box::new(record)))?;
        }
    }
    let summary = ComparisonSummaryRecord::new(versus, found);
    line(out, &Record::ComparisonSummary(Box::new(summary)))?;
    out.flush()
}

fn line(out: &mut dyn Write, record: &Record<'_>) -> io::Result<()> {
    serde_json::to_writer(&mut *out, record)?;
    out.write_all(b"\n")
}
