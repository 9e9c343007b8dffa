//! The `log` crate's macros, wired to the host's log. Formats nothing that the host would drop.

use std::fmt;

use log::{Level, LevelFilter, Log, Metadata, Record};

use super::{HostError, abi};
use crate::config::joined;

struct Logger;

static LOGGER: Logger = Logger;

/// Makes `log::info!` and the others write to the host's log. Once is enough; a logger that is there already stays.
pub(crate) fn install() {
    if log::set_logger(&LOGGER).is_ok() {
        log::set_max_level(LevelFilter::Trace);
    }
}

/// The ABI's number of a level (`LOG-02`).
fn number(level: Level) -> u32 {
    match level {
        Level::Trace => 0,
        Level::Debug => 1,
        Level::Info => 2,
        Level::Warn => 3,
        Level::Error => 4,
    }
}

/// Whether the host writes lines of this level; asking costs a tenth of writing one that is dropped. A host that does not say gets
/// everything from `info` on.
pub(crate) fn is_enabled(level: Level) -> bool {
    abi::log_level().map_or(level <= Level::Info, |lowest| number(level) >= lowest)
}

/// Writes a line to the host's log, where the host writes lines of this level; otherwise it is not even made. What `log::info!` and the
/// others do, without the code that formats, which is some 3 kB of a module that has it.
///
/// ```
/// use weir_sdk::log::Level;
///
/// let name = "checkout";
/// weir_sdk::say(Level::Info, || ["target `", name, "` is back"].concat());
/// ```
pub fn say(level: Level, line: impl FnOnce() -> String) {
    if is_enabled(level) {
        write(level, &line());
    }
}

#[inline(never)]
fn write(level: Level, line: &str) {
    // A line the host refuses has nowhere else to go.
    let _ = abi::log(number(level), line.as_bytes());
}

/// What has failed, and with what.
#[cold]
#[inline(never)]
pub(crate) fn failed(what: &str, error: &HostError) {
    say(Level::Error, || joined(what, ": ", &error.text()));
}

/// A line that is being formatted: a third of the code that a `String` brings for it.
#[derive(Default)]
struct Line(String);

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.push_str(text);
        Ok(())
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_enabled(metadata.level())
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        match record.args().as_str() {
            Some(text) => write(record.level(), text),
            None => {
                let mut line = Line::default();
                let _ = fmt::write(&mut line, *record.args());
                write(record.level(), &line.0);
            }
        }
    }

    fn flush(&self) {}
}
