//! The report for a reader: a line an exchange up to a limit, failures, totals with bars, metrics.

use std::io::{self, Write};
use std::time::Duration;

use super::{Options, Report, Summary, Tally, Totals};
use crate::exchange::Exchange;
use crate::outcome::{CalloutEnd, CalloutOutcome, End, Outcome};
use crate::style::{Style, paint, printable, shorten};

/// So many lines are looked at before the widths of the columns are fixed.
const LINES_FOR_WIDTHS: usize = 100;

/// So many failures are shown one by one.
const MAX_FAULTS: usize = 20;

/// So many names of a total are shown; the rest is summed up.
const MAX_NAMES: usize = 20;

/// The widest a column gets; the last column is never cut.
const MAX_WIDTHS: [usize; COLUMNS] = [10, 12, 6, 8, 44, 6, 12, 11, 24, 52, 52, usize::MAX];
const COLUMNS: usize = 12;
const TITLES: [&str; COLUMNS] = [
    "#",
    "time",
    "worker",
    "method",
    "request",
    "status",
    "delay",
    "end",
    "arm",
    "route → cluster",
    "callouts",
    "why",
];
/// Numbers stand to the right.
const RIGHT: [bool; COLUMNS] =
    [true, true, true, false, false, true, true, false, false, false, false, false];

/// Cells of a bar.
const BAR: u64 = 24;

type Row = [String; COLUMNS];

struct Table {
    out: Box<dyn Write>,
    options: Options,
    totals: Totals,
    start_ns: Option<u64>,
    waiting: Vec<(End, Row)>,
    widths: Option<[usize; COLUMNS]>,
    faults: Vec<String>,
}

pub(super) fn begin(out: Box<dyn Write>, options: Options) -> Box<dyn Report> {
    Box::new(Table {
        out,
        options,
        totals: Totals::default(),
        start_ns: None,
        waiting: Vec::new(),
        widths: None,
        faults: Vec::new(),
    })
}

impl Report for Table {
    fn exchange(&mut self, number: u64, exchange: &Exchange, outcome: &Outcome) -> io::Result<()> {
        self.totals.add(outcome);
        self.start_ns = self.start_ns.or(exchange.start_ns);
        for fault in &outcome.faults {
            if self.faults.len() < MAX_FAULTS {
                let origin = printable(exchange.origin.as_bytes());
                self.faults.push(format!("exchange {number} ({origin}): {}", printable(fault.as_bytes())));
            }
        }
        if self.options.limit.is_some_and(|limit| self.totals.exchanges > limit) {
            return Ok(());
        }
        let row = self.row(number, exchange, outcome);
        if self.widths.is_some() {
            return self.write_row(outcome.end, &row);
        }
        self.waiting.push((outcome.end, row));
        if self.waiting.len() >= LINES_FOR_WIDTHS { self.write_waiting() } else { Ok(()) }
    }

    fn finish(&mut self, end: &Summary) -> io::Result<()> {
        self.write_waiting()?;
        let shown = self.options.limit.unwrap_or(u64::MAX).min(self.totals.exchanges);
        if shown < self.totals.exchanges {
            let more = format!("… {} more, `--all` shows them", self.totals.exchanges - shown);
            writeln!(self.out, "{}", self.paint(Style::Dim, &more))?;
        }
        self.write_faults()?;
        self.write_totals()?;
        self.write_end(end)?;
        self.out.flush()
    }
}

impl Table {
    fn paint(&self, style: Style, text: &str) -> String {
        paint(self.options.color, style, text)
    }

    fn row(&self, number: u64, exchange: &Exchange, outcome: &Outcome) -> Row {
        let text = |name: &[u8]| exchange.request.headers.get(name).map(printable).unwrap_or_default();
        let time = match (exchange.start_ns, self.start_ns) {
            (Some(now), Some(start)) => offset(i128::from(now) - i128::from(start)),
            _ => String::new(),
        };
        let status = outcome.response.as_ref().and_then(super::status);
        let mut way = printable(outcome.route.as_deref().unwrap_or_default().as_bytes());
        if let Some(cluster) = &outcome.cluster {
            way.push_str(if way.is_empty() { "→ " } else { " → " });
            way.push_str(&printable(cluster.as_bytes()));
        }
        let mut why = super::why_in_short(outcome).unwrap_or_default();
        if why.is_empty() && outcome.end != End::Forwarded {
            why = format!("{} {}", outcome.flags, outcome.details).trim().to_owned();
        }
        [
            number.to_string(),
            time,
            if self.options.workers > 1 { outcome.worker.to_string() } else { String::new() },
            text(b":method"),
            text(b":authority") + &text(b":path"),
            status.map(|status| status.to_string()).unwrap_or_default(),
            delay(outcome.delay),
            outcome.end.name().to_owned(),
            printable(super::arm(outcome).unwrap_or_default().as_bytes()),
            way,
            outcome.callouts.iter().map(callout).collect::<Vec<_>>().join(", "),
            printable(why.as_bytes()),
        ]
    }

    fn write_waiting(&mut self) -> io::Result<()> {
        if self.widths.is_some() {
            return Ok(());
        }
        let waiting = std::mem::take(&mut self.waiting);
        // A column that nothing stands in is left out, with its title.
        let mut widths = [0; COLUMNS];
        for (column, width) in widths.iter_mut().enumerate() {
            let widest = waiting.iter().map(|(_, row)| row[column].chars().count()).max().unwrap_or(0);
            if widest > 0 {
                *width = widest.max(TITLES[column].chars().count()).min(MAX_WIDTHS[column]);
            }
        }
        self.widths = Some(widths);
        if let Some(title) = &self.options.title {
            let title = printable(title.trim().as_bytes());
            writeln!(self.out, "{}\n", paint(self.options.color, Style::Bold, &title))?;
        }
        if !waiting.is_empty() {
            let titles = self.line(&TITLES.map(str::to_owned), widths);
            writeln!(self.out, "{}", self.paint(Style::Bold, &titles))?;
        }
        for (end, row) in &waiting {
            self.write_row(*end, row)?;
        }
        Ok(())
    }

    fn write_row(&mut self, end: End, row: &Row) -> io::Result<()> {
        let line = self.line(row, self.widths.unwrap_or_default());
        let line = match end {
            End::Forwarded | End::Direct => line,
            End::LocalReply => self.paint(Style::Cyan, &line),
            End::Refused | End::Stalled | End::Reset | End::Aborted => self.paint(Style::Yellow, &line),
            End::Trapped => self.paint(Style::Red, &line),
        };
        writeln!(self.out, "{line}")
    }

    fn line(&self, row: &Row, widths: [usize; COLUMNS]) -> String {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            if width == 0 {
                continue;
            }
            if !line.is_empty() {
                line.push_str("  ");
            }
            let cell = shorten(cell, MAX_WIDTHS[column]);
            let blanks = " ".repeat(width.saturating_sub(cell.chars().count()));
            let (before, after) = if RIGHT[column] { (blanks.as_str(), "") } else { ("", blanks.as_str()) };
            line.push_str(before);
            line.push_str(&cell);
            line.push_str(after);
        }
        line.trim_end().to_owned()
    }

    fn write_faults(&mut self) -> io::Result<()> {
        if self.totals.faults == 0 {
            return Ok(());
        }
        let title =
            format!("filters failed in {} of {} exchanges", self.totals.faults, self.totals.exchanges);
        writeln!(self.out, "\n{}", self.paint(Style::Red, &title))?;
        for fault in &self.faults {
            writeln!(self.out, "  {fault}")?;
        }
        if self.faults.len() >= MAX_FAULTS {
            writeln!(self.out, "  … only the first {MAX_FAULTS} are shown")?;
        }
        Ok(())
    }

    fn write_totals(&mut self) -> io::Result<()> {
        let (exchanges, s) = (self.totals.exchanges, if self.totals.exchanges == 1 { "" } else { "s" });
        writeln!(self.out, "\n{}", self.paint(Style::Bold, &format!("{exchanges} exchange{s}")))?;
        let ends: Vec<_> = self.totals.ends().collect();
        let totals = self.totals.clone();
        let sorted = |tally: &Tally| {
            let names: Vec<_> = tally.iter().map(|(name, count)| (name.to_owned(), count)).collect();
            names
        };
        let ends = ends.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
        if self.options.workers > 1 {
            let workers =
                totals.workers.iter().map(|(worker, served)| (worker.to_string(), served.exchanges));
            self.write_total("worker", workers.collect())?;
            for (worker, served) in totals.workers.iter().filter(|(_, served)| served.faults > 0) {
                let text = format!("  filters failed in {} exchanges of worker {worker}", served.faults);
                writeln!(self.out, "{}", self.paint(Style::Red, &text))?;
            }
        }
        for (title, names) in [
            ("end", ends),
            ("arm", sorted(&totals.arms)),
            ("route", sorted(&totals.routes)),
            ("cluster", sorted(&totals.clusters)),
            ("status", sorted(&totals.statuses)),
        ] {
            self.write_total(title, names)?;
        }
        Ok(())
    }

    fn write_total(&mut self, title: &str, mut names: Vec<(String, u64)>) -> io::Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        if names.len() > MAX_NAMES {
            names.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
            let rest = names.split_off(MAX_NAMES);
            names.push((format!("({} others)", rest.len()), rest.iter().map(|(_, count)| count).sum()));
        }
        writeln!(self.out, "\n{}", self.paint(Style::Bold, &format!("by {title}")))?;
        let all = self.totals.exchanges.max(1);
        let names: Vec<_> = names
            .into_iter()
            .map(|(name, count)| (shorten(&printable(name.as_bytes()), 48), count))
            .collect();
        let width = names.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let digits = names.iter().map(|(_, count)| count.to_string().len()).max().unwrap_or(0);
        for (name, count) in names {
            let blanks = " ".repeat(width - name.chars().count());
            let bar = self.paint(Style::Cyan, &bar(count, all));
            writeln!(self.out, "  {name}{blanks}  {count:>digits$}  {:>6}  {bar}", percent(count, all))?;
        }
        Ok(())
    }

    fn write_end(&mut self, end: &Summary) -> io::Result<()> {
        if !end.metrics.is_empty() {
            writeln!(self.out, "\n{}", self.paint(Style::Bold, "metrics"))?;
        }
        let (moved, still): (Vec<_>, Vec<_>) = end.metrics.iter().partition(|(_, _, value)| *value > 0);
        let width = moved.iter().map(|(name, ..)| name.chars().count()).max().unwrap_or(0);
        for (name, kind, value) in moved {
            let blanks = " ".repeat(width - name.chars().count());
            let kind = if *kind == "histogram" { "  values" } else { "" };
            writeln!(self.out, "  {}{blanks}  {value}{kind}", printable(name.as_bytes()))?;
        }
        if !still.is_empty() {
            let mut names: Vec<_> =
                still.iter().take(MAX_NAMES).map(|(name, ..)| printable(name.as_bytes())).collect();
            if still.len() > MAX_NAMES {
                names.push(format!("({} others)", still.len() - MAX_NAMES));
            }
            writeln!(self.out, "  still at 0: {}", names.join(", "))?;
        }
        let apart = &end.apart;
        if !(apart.faults.is_empty() && apart.log.is_empty() && apart.callouts.is_empty()) {
            writeln!(self.out, "\n{}", self.paint(Style::Bold, "in no exchange"))?;
            let (lines, calls) = (apart.log.len(), apart.callouts.len());
            writeln!(self.out, "  log lines {lines}, callouts {calls}, faults {}", apart.faults.len())?;
        }
        for fault in apart.faults.iter().take(MAX_FAULTS) {
            writeln!(self.out, "  {}", self.paint(Style::Red, &printable(fault.as_bytes())))?;
        }
        if !end.broken.is_empty() {
            let title = format!("left out: {} broken", end.broken.len());
            writeln!(self.out, "\n{}", self.paint(Style::Yellow, &title))?;
        }
        for broken in end.broken.iter().take(MAX_FAULTS) {
            writeln!(self.out, "  {}", printable(broken.as_bytes()))?;
        }
        Ok(())
    }
}

/// Nanoseconds since the first exchange as seconds; the first may not be the earliest.
fn offset(ns: i128) -> String {
    let sign = if ns < 0 { '-' } else { '+' };
    let ms = ns.abs() / 1_000_000;
    format!("{sign}{}.{:03}s", ms / 1000, ms % 1000)
}

/// How long filters held an exchange, in whole microseconds; nothing where they did not.
fn delay(time: Duration) -> String {
    match u64::try_from(time.as_micros()).unwrap_or(u64::MAX) {
        0 => String::new(),
        us => format!("{:?}", Duration::from_micros(us)),
    }
}

/// A share with one decimal, rounded to nearest: integers only, so the same everywhere. `<0.1 %` is not nothing.
fn percent(count: u64, all: u64) -> String {
    let tenths = (u128::from(count) * 1000 + u128::from(all) / 2) / u128::from(all);
    if tenths == 0 && count > 0 {
        return "<0.1 %".to_owned();
    }
    format!("{}.{} %", tenths / 10, tenths % 10)
}

/// A bar in eighths of a cell; something for every share that is not nothing.
fn bar(count: u64, all: u64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = u128::from(count) * u128::from(BAR) * 8 / u128::from(all);
    let eighths = usize::try_from(eighths).unwrap_or(0).max(usize::from(count > 0));
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

/// A callout in a few words: `auth 200 in 20ms`, `auth timeout in 1s`, `shadow pending`.
fn callout(callout: &CalloutOutcome) -> String {
    let mut text = printable(callout.cluster.as_bytes());
    match (callout.end, callout.status, callout.grpc_status) {
        (CalloutEnd::Answered, _, Some(status)) => text.push_str(&format!(" grpc {status}")),
        (CalloutEnd::Answered, Some(status), None) => text.push_str(&format!(" {status}")),
        (end, _, _) => {
            text.push(' ');
            text.push_str(&end.name().replace('_', " "));
        }
    }
    if let Some(latency) = callout.latency.filter(|latency| !latency.is_zero()) {
        text.push_str(&format!(" in {latency:?}"));
    }
    text
}
