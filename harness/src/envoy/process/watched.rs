//! An Envoy whose output is read as it is written, line by line.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use serde_json::Value;

use super::{Envoy, Process, command, folder, lock};
use crate::envoy::EnvoyError;
use crate::style::printable;

/// Of Envoy's own loggers, what is worth a look.
const LEVEL: &str = "warning";

/// So many lines of an Envoy that ended are shown.
pub const LAST: usize = 12;

/// A line that an Envoy wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// To standard error: its log.
    Log(String),
    /// To standard output: its access log.
    Access(String),
}

/// An Envoy and what it writes.
#[derive(Debug)]
pub struct Watched {
    /// The Envoy.
    pub envoy: Envoy,
    /// What it writes; ends when it does.
    pub lines: Receiver<Line>,
}

impl Watched {
    /// Starts it and waits until it serves; its log when it refuses its configuration and ends. A signal of the terminal goes to this
    /// process only, which ends the Envoy.
    ///
    /// # Errors
    /// When it cannot be started or does neither in time.
    pub fn start(
        binary: &Path,
        config: &Value,
        workers: u32,
        wasm_level: &str,
    ) -> Result<Result<Self, String>, EnvoyError> {
        let folder = folder()?;
        let mut command = command(binary, workers, wasm_level, &folder);
        command.args(["--log-level", LEVEL]).stdout(Stdio::piped()).stderr(Stdio::piped());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let process = Process::spawn(command, config, folder)?;
        let (out, err) = {
            let mut child = lock(&process.child);
            (child.stdout.take(), child.stderr.take())
        };
        let (sender, lines) = mpsc::channel();
        let log = sender.clone();
        out.into_iter().for_each(|pipe| read(pipe, sender.clone(), Line::Access));
        err.into_iter().for_each(|pipe| read(pipe, log.clone(), Line::Log));
        drop((sender, log));
        let mut envoy = Envoy::of(process);
        if envoy.comes_up()? {
            return Ok(Ok(Self { envoy, lines }));
        }
        let said = lines.iter().filter_map(|line| match line {
            Line::Log(line) => Some(line + "\n"),
            Line::Access(_) => None,
        });
        let said: String = said.collect();
        let status = Self { envoy, lines }.ended()?;
        // With 1 it ends by its own judgement of what it was given.
        if status.code() == Some(1) {
            return Ok(Err(said));
        }
        let what = format!("ended by itself while it started ({status}){}", last(said.lines()));
        Err(EnvoyError::Unexpected { what })
    }

    /// How it ended; waits for that.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn ended(&self) -> Result<ExitStatus, EnvoyError> {
        lock(&self.envoy.process.child).wait().map_err(EnvoyError::io("cannot look after envoy"))
    }
}

/// The last of the lines that an Envoy wrote which has ended, to be shown behind how it did.
#[must_use]
pub fn last<'a>(lines: impl DoubleEndedIterator<Item = &'a str>) -> String {
    let mut last: Vec<String> =
        lines.rev().take(LAST).map(|line| format!("\n  {}", printable(line.as_bytes()))).collect();
    last.reverse();
    if last.is_empty() {
        " and wrote nothing".to_owned()
    } else {
        format!("; the last it wrote:{}", last.concat())
    }
}

/// Reads a pipe in a thread of its own, to its end. What is no UTF-8 is replaced.
fn read(pipe: impl Read + Send + 'static, sender: Sender<Line>, line: fn(String) -> Line) {
    thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut bytes = Vec::new();
        while reader.read_until(b'\n', &mut bytes).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(bytes.trim_ascii_end()).into_owned();
            // Nobody listens any more: what comes is still taken, or Envoy would wait for room.
            let _ = sender.send(line(text));
            bytes.clear();
        }
    });
}
