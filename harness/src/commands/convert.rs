//! `weir convert`: recordings of any format to Weir's JSON lines.

use std::path::PathBuf;

use clap::Args;

use super::progress::Progress;
use super::{Exit, Failure, Run, Terminal, output};
use crate::traffic::{self, Options};

/// Convert recordings to Weir's JSON lines
///
/// JSON lines lose nothing, can be cut and joined by line, and replay fastest. RECORDINGS.md describes every format.
#[derive(Args)]
#[command(after_help = "Examples:
  weir convert day.har > day.jsonl
  weir convert access.log --access-log-format '%START_TIME% %REQ(:METHOD)% %REQ(:PATH)%' -o day.jsonl
  zcat day.log.gz | weir convert - --authority shop.example

Exit codes: 0 converted, 2 a recording is broken or cannot be read (with --keep-going: 0)")]
pub(super) struct Convert {
    /// Recordings in any format; `-` is standard input
    #[arg(value_name = "RECORDING", required = true)]
    recordings: Vec<PathBuf>,
    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    traffic: TrafficArgs,
}

/// How recordings are read; of every command that reads some.
#[derive(Args, Clone, Debug)]
pub(super) struct TrafficArgs {
    /// Take what is whole of a broken recording; what is not is counted and listed
    #[arg(long)]
    pub(super) keep_going: bool,
    /// The format string that an access log was written with
    #[arg(long, value_name = "FORMAT")]
    pub(super) access_log_format: Option<String>,
    /// The authority of requests that were recorded without one
    #[arg(long, value_name = "HOST")]
    pub(super) authority: Option<String>,
}

impl TrafficArgs {
    pub(super) fn options(&self, access_log_format: Option<&String>) -> Options {
        Options {
            access_log_format: self.access_log_format.as_ref().or(access_log_format).cloned(),
            authority: self.authority.clone(),
        }
    }
}

impl Run for Convert {
    fn run(self, _: Terminal) -> Result<Exit, Failure> {
        let mut out = output(self.output.as_deref())?;
        let options = self.traffic.options(None);
        let (mut exchanges, mut broken) = (0_u64, 0_u64);
        for path in &self.recordings {
            let mut recording = traffic::open(path, &options)?;
            let mut progress = Progress::new(recording.size());
            while let Some(exchange) = recording.next() {
                match exchange {
                    Ok(exchange) => {
                        traffic::write_jsonl(&exchange, &mut out)?;
                        exchanges += 1;
                    }
                    Err(error) if self.traffic.keep_going => {
                        eprintln!("left out: {error}");
                        broken += 1;
                    }
                    Err(error) => {
                        out.flush()?;
                        return Err(super::broken_recording(error));
                    }
                }
                if exchanges.is_multiple_of(256) {
                    progress.at(recording.position(), exchanges);
                }
            }
            progress.finish();
        }
        out.flush()?;
        if broken > 0 {
            eprintln!("{exchanges} exchanges converted, {broken} left out");
        }
        Ok(Exit::Done)
    }
}
