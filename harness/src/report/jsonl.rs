//! The report as JSON lines: one object an exchange, in order, and the summary last.

use std::io::{self, Write};

use super::record::{ExchangeRecord, Record, SummaryRecord};
use super::{Options, Report, Summary, Totals};
use crate::exchange::Exchange;
use crate::outcome::Outcome;

struct JsonLines {
    out: Box<dyn Write>,
    totals: Totals,
}

pub(super) fn begin(out: Box<dyn Write>, _: Options) -> Box<dyn Report> {
    Box::new(JsonLines { out, totals: Totals::default() })
}

impl Report for JsonLines {
    fn exchange(&mut self, number: u64, exchange: &Exchange, outcome: &Outcome) -> io::Result<()> {
        self.totals.add(outcome);
        let record = ExchangeRecord::new(number, exchange, outcome);
        serde_json::to_writer(&mut self.out, &Record::Exchange(Box::new(record)))?;
        self.out.write_all(b"\n")
    }

    fn finish(&mut self, end: &Summary) -> io::Result<()> {
        let record = SummaryRecord::new(&self.totals, end);
        serde_json::to_writer(&mut self.out, &Record::Summary(Box::new(record)))?;
        self.out.write_all(b"\n")?;
        self.out.flush()
    }
}
