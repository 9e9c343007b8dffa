//! A comparison for a reader: a line an exchange up to a limit, the first differences, metrics, what was not carried over, a verdict.

use std::io::{self, Write};

use crate::envoy::compare::{Difference, Other};
use crate::envoy::find::Found;
use crate::envoy::versus::Versus;
use crate::exchange::Exchange;
use crate::outcome::Outcome;
use crate::report::{Options, status};
use crate::style::{Style, paint, printable, shorten};

/// So many differences are shown one by one.
const MAX_DIFFERENCES: usize = 5;
/// The widest a column gets.
const MAX_WIDTHS: [usize; COLUMNS] = [10, 8, 44, 40, 40, 40];
const COLUMNS: usize = 6;
const TITLES: [&str; COLUMNS] = ["#", "method", "request", "harness", "envoy", ""];

type Row = [String; COLUMNS];

pub(super) fn print(
    out: &mut dyn Write,
    versus: &Versus,
    found: &Found,
    options: &Options,
) -> io::Result<()> {
    if let Some(title) = &options.title {
        let title = printable(title.trim().as_bytes());
        writeln!(out, "{}\n", paint(options.color, Style::Bold, &title))?;
    }
    rows(out, versus, options)?;
    differences(out, versus, options)?;
    others(out, versus, options)?;
    left(out, versus, options)?;
    verdict(out, versus, found, options)?;
    out.flush()
}

fn rows(out: &mut dyn Write, versus: &Versus, options: &Options) -> io::Result<()> {
    let comparison = &versus.comparison;
    let limit = options.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let all = versus.planned.iter().zip(&comparison.exchanges).enumerate();
    let shown: Vec<(Row, Option<&Difference>)> = all
        .take(limit)
        .filter_map(|(index, (one, difference))| {
            let pair = (versus.harness.outcomes.get(index)?, versus.envoy.outcomes.get(index)?);
            Some((row(index, &one.exchange, pair, difference.as_ref()), difference.as_ref()))
        })
        .collect();
    if shown.is_empty() {
        return Ok(());
    }
    let mut widths = TITLES.map(|title| title.chars().count());
    for (row, _) in &shown {
        for ((cell, width), most) in row.iter().zip(&mut widths).zip(MAX_WIDTHS) {
            *width = (*width).max(cell.chars().count()).min(most);
        }
    }
    writeln!(out, "{}", paint(options.color, Style::Bold, &line(&TITLES.map(str::to_owned), widths)))?;
    for (row, difference) in &shown {
        let text = line(row, widths);
        let text = match difference {
            None => text,
            Some(Difference { because: Some(_), .. }) => paint(options.color, Style::Yellow, &text),
            Some(_) => paint(options.color, Style::Red, &text),
        };
        writeln!(out, "{text}")?;
    }
    if shown.len() < comparison.exchanges.len() {
        let more = format!("… {} more, `--all` shows them", comparison.exchanges.len() - shown.len());
        writeln!(out, "{}", paint(options.color, Style::Dim, &more))?;
    }
    Ok(())
}

fn row(
    index: usize,
    exchange: &Exchange,
    (harness, envoy): (&Outcome, &Outcome),
    difference: Option<&Difference>,
) -> Row {
    let text = |name: &[u8]| exchange.request.headers.get(name).map(printable).unwrap_or_default();
    let verdict = match difference {
        None => "agrees",
        Some(Difference { because: Some(_), .. }) => "differs (explained)",
        Some(_) => "DIFFERS",
    };
    [
        (index + 1).to_string(),
        text(b":method"),
        text(b":authority") + &text(b":path"),
        short(harness),
        short(envoy),
        verdict.to_owned(),
    ]
}

/// An outcome in a few words.
fn short(outcome: &Outcome) -> String {
    let status = outcome.response.as_ref().and_then(status).map(|status| format!("{status} "));
    let cluster = outcome.cluster.as_ref().map(|cluster| format!(" → {}", printable(cluster.as_bytes())));
    format!("{}{}{}", status.unwrap_or_default(), outcome.end.name(), cluster.unwrap_or_default())
}

fn line(row: &Row, widths: [usize; COLUMNS]) -> String {
    let mut line = String::new();
    for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
        if column > 0 {
            line.push_str("  ");
        }
        let cell = shorten(cell, width);
        let blanks = " ".repeat(width.saturating_sub(cell.chars().count()));
        let (before, after) = if column == 0 { (blanks.as_str(), "") } else { ("", blanks.as_str()) };
        line.push_str(&[before, &cell, after].concat());
    }
    line.trim_end().to_owned()
}

fn differences(out: &mut dyn Write, versus: &Versus, options: &Options) -> io::Result<()> {
    let all = versus.planned.iter().zip(&versus.comparison.exchanges).enumerate();
    let mut all: Vec<_> =
        all.filter_map(|(index, (one, found))| Some((index, one, found.as_ref()?))).collect();
    // Those that nothing explains come first.
    all.sort_by_key(|(_, _, difference)| difference.because.is_some());
    for (index, one, difference) in all.iter().take(MAX_DIFFERENCES) {
        let title = format!("exchange {} ({})", index + 1, printable(one.exchange.origin.as_bytes()));
        writeln!(out, "\n{}", paint(options.color, Style::Bold, &title))?;
        if let Some(because) = &difference.because {
            writeln!(out, "  {because}")?;
        }
        diff(out, &difference.diff, options)?;
    }
    if all.len() > MAX_DIFFERENCES {
        let more = format!("\n… {} more exchanges differ", all.len() - MAX_DIFFERENCES);
        writeln!(out, "{}", paint(options.color, Style::Dim, &more))?;
    }
    Ok(())
}

fn diff(out: &mut dyn Write, text: &str, options: &Options) -> io::Result<()> {
    for line in text.lines() {
        let style = match line.as_bytes().first() {
            Some(b'-') => Style::Green,
            Some(b'+') => Style::Red,
            _ => Style::Dim,
        };
        writeln!(out, "  {}", paint(options.color, style, &printable(line.as_bytes())))?;
    }
    Ok(())
}

fn others(out: &mut dyn Write, versus: &Versus, options: &Options) -> io::Result<()> {
    let others = &versus.comparison.others;
    let metrics = || {
        others.iter().filter_map(|other| match other {
            Other::Metric { name, harness, envoy } => Some((printable(name.as_bytes()), harness, envoy)),
            _ => None,
        })
    };
    let width = metrics().map(|(name, ..)| name.chars().count()).max();
    if let Some(width) = width {
        writeln!(out, "\n{}", paint(options.color, Style::Bold, "metrics that differ"))?;
        for (name, harness, envoy) in metrics() {
            writeln!(out, "  {name:width$}  harness {harness}, envoy {envoy}")?;
        }
    }
    for other in others {
        if let Other::Lines { what, diff: text } = other {
            writeln!(out, "\n{}", paint(options.color, Style::Bold, what))?;
            diff(out, text, options)?;
        }
    }
    Ok(())
}

fn left(out: &mut dyn Write, versus: &Versus, options: &Options) -> io::Result<()> {
    if versus.left.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{}", paint(options.color, Style::Bold, "not carried over"))?;
    for left in &versus.left {
        let s = if left.exchanges == Some(1) { "" } else { "s" };
        let count = left.exchanges.map(|count| format!(" of {count} exchange{s}")).unwrap_or_default();
        writeln!(out, "  {}{count}: {}", printable(left.what.as_bytes()), printable(left.why.as_bytes()))?;
    }
    Ok(())
}

fn verdict(out: &mut dyn Write, versus: &Versus, found: &Found, options: &Options) -> io::Result<()> {
    let comparison = &versus.comparison;
    let (agree, explained, differ) = comparison.counts();
    let total = agree + explained + differ;
    let s = if total == 1 { "" } else { "s" };
    let mut text =
        format!("{total} exchange{s} {} in Envoy {}: {agree} agree", versus.pace.say(), found.version);
    if explained > 0 {
        text.push_str(&format!(", {explained} differ for a reason that is given"));
    }
    if differ > 0 {
        text.push_str(&format!(", {differ} differ"));
    }
    let style = if comparison.agrees() || comparison.is_explained() { Style::Green } else { Style::Red };
    if style != Style::Green && differ == 0 {
        text.push_str(", but not all that belongs to none of them");
    }
    writeln!(out, "\n{}", paint(options.color, style, &text))
}
