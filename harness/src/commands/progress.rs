//! A progress bar on standard error: only on a terminal, and only for what takes longer than a second.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How long work may take before it gets a bar.
const PATIENCE: Duration = Duration::from_secs(1);

/// Progress through bytes of a known size, or an unknown one.
pub(super) struct Progress {
    begun: Instant,
    total: Option<u64>,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Begins now; nothing is shown yet.
    pub(super) fn new(total: Option<u64>) -> Self {
        Self { begun: Instant::now(), total, bar: None }
    }

    /// Says how far the work is; cheap enough for a few times a millisecond.
    pub(super) fn at(&mut self, bytes: u64, exchanges: u64) {
        if self.bar.is_none() {
            if self.begun.elapsed() < PATIENCE || !io::stderr().is_terminal() {
                return;
            }
            self.bar = Some(bar(self.total));
        }
        if let Some(bar) = &self.bar {
            bar.set_position(bytes);
            bar.set_message(format!("{exchanges} exchanges"));
        }
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => {
            (ProgressBar::new(total), "{bar:30} {percent:>3} %  {msg}  {elapsed} of about {duration}")
        }
        None => (ProgressBar::new_spinner(), "{spinner} {bytes}  {msg}  {elapsed}"),
    };
    // The templates are constants; a wrong one would leave indicatif's own look.
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
