//! What ends this process from outside ends its Envoys first. Knows no command.

use std::io;
use std::sync::Mutex;

use crate::envoy::process;

/// Whether signals are listened for.
static LISTENING: Mutex<bool> = Mutex::new(false);

/// From now on INT, TERM and HUP end every Envoy, remove its files and end this process, with 128 and the signal's number as shells have it.
///
/// # Errors
/// When signals cannot be had.
pub(super) fn end_envoys() -> io::Result<()> {
    let mut listening = LISTENING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !*listening {
        listen()?;
        *listening = true;
    }
    Ok(())
}

#[cfg(unix)]
fn listen() -> io::Result<()> {
    use nix::sys::signal::Signal;

    let ending = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM];
    let mut signals = signal_hook::iterator::Signals::new(ending.map(|signal| signal as i32))?;
    let wait = move || {
        if let Some(signal) = signals.forever().next() {
            process::exit(128 + signal);
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(wait).map(drop)
}

#[cfg(not(unix))]
fn listen() -> io::Result<()> {
    ctrlc::set_handler(|| process::exit(130)).map_err(io::Error::other)
}
