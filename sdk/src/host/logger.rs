//! The `log` crate's macros, wired to the host's log. Formats nothing that the host would drop.

use std::fmt;

use log::{Level, LevelFilter, Log, Metadata, Record};

use super::abi;

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

/// What `log::error!` does, which is code of its own wherever it stands.
#[inline(never)]
pub(crate) fn error(line: fmt::Arguments<'_>) {
    log::error!("{line}");
}

/// As [`error`].
#[inline(never)]
pub(crate) fn debug(line: fmt::Arguments<'_>) {
    log::debug!("{line}");
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_enabled(metadata.level())
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = number(record.level());
        // A line the host refuses has nowhere else to go.
        let _ = match record.args().as_str() {
            Some(text) => abi::log(level, text.as_bytes()),
            None => abi::log(level, record.args().to_string().as_bytes()),
        };
    }

    fn flush(&self) {}
}
