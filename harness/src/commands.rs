//! The command line: a subcommand is a file below and a line in `COMMANDS`. Reads arguments, prints, and says with which code the process
//! ends; what the commands do is in the library.

mod artifact;
mod build;
mod chain;
mod check;
mod completions;
mod convert;
mod envoy;
mod inspect;
mod manifest;
mod pack;
mod progress;
mod pull;
mod push;
mod release;
mod replay;
mod schema;
mod test;
mod verify;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{ArgMatches, Args, Command};

use crate::style::{Color, Style, paint};
use crate::traffic::TrafficError;

/// The subcommands, in the order of `--help`.
const COMMANDS: &[Entry] = &[
    Entry::of::<replay::ReplayArgs>("replay"),
    Entry::of::<test::Test>("test"),
    Entry::of::<envoy::EnvoyCommand>("envoy"),
    Entry::of::<check::Check>("check"),
    Entry::of::<inspect::Inspect>("inspect"),
    Entry::of::<build::Build>("build"),
    Entry::of::<pack::Pack>("pack"),
    Entry::of::<push::Push>("push"),
    Entry::of::<pull::Pull>("pull"),
    Entry::of::<verify::Verify>("verify"),
    Entry::of::<release::Release>("release"),
    Entry::of::<manifest::Manifest>("manifest"),
    Entry::of::<convert::Convert>("convert"),
    Entry::of::<schema::Schema>("schema"),
    Entry::of::<completions::Completions>("completions"),
];

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  outcomes differ, or a case failed
  2  wrong usage, or input that cannot be read
  3  a filter refused its configuration
  4  a filter trapped
";

/// How a process ends; the numbers are part of the command line's contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Outcomes differ, or a case failed.
    Differs = 1,
    /// Wrong usage, or input that cannot be read.
    Usage = 2,
    /// A filter refused its configuration.
    Refused = 3,
    /// A filter trapped.
    Trapped = 4,
}

/// Why a command ended early. Any error becomes one with [`Exit::Usage`].
#[derive(Debug)]
struct Failure {
    exit: Exit,
    error: anyhow::Error,
    hint: Option<String>,
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { exit: Exit::Usage, error: error.into(), hint: None }
    }
}

/// What every command knows of its surroundings.
#[derive(Clone, Copy, Debug)]
struct Terminal {
    color: Color,
}

/// A subcommand's arguments, and what it does.
trait Run: Args {
    fn run(self, terminal: Terminal) -> Result<Exit, Failure>;
}

struct Entry {
    name: &'static str,
    arguments: fn(Command) -> Command,
    run: fn(&ArgMatches, Terminal) -> Result<Exit, Failure>,
}

impl Entry {
    const fn of<R: Run>(name: &'static str) -> Self {
        Self {
            name,
            arguments: R::augment_args,
            run: |matches, terminal| R::from_arg_matches(matches)?.run(terminal),
        }
    }
}

/// The whole command line, as clap describes it.
#[must_use]
pub fn command() -> Command {
    let color = clap::Arg::new("color")
        .long("color")
        .value_name("WHEN")
        .value_parser(clap::value_parser!(Color))
        .default_value("auto")
        .global(true)
        .help("Whether to colour; `auto`: on a terminal, unless NO_COLOR is set");
    let command = Command::new("weir")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Runs proxy-wasm filters on recorded traffic, as Envoy would")
        .after_help(EXIT_CODES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .max_term_width(100)
        .arg(color);
    COMMANDS
        .iter()
        .fold(command, |command, entry| command.subcommand((entry.arguments)(Command::new(entry.name))))
}

/// Reads the process's arguments, does what they say, and prints what went wrong.
#[must_use]
pub fn main() -> ExitCode {
    // What clap itself prints follows `--color` too.
    let never = std::env::args_os().any(|argument| argument == "--color=never");
    let choice = if never { clap::ColorChoice::Never } else { clap::ColorChoice::Auto };
    let matches = match command().color(choice).try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            // Nobody is left to tell when this cannot be printed.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Usage as u8));
        }
    };
    let terminal = Terminal { color: matches.get_one::<Color>("color").copied().unwrap_or_default() };
    let entry = matches.subcommand().and_then(|(name, matches)| {
        COMMANDS.iter().find(|entry| entry.name == name).map(|entry| (entry, matches))
    });
    let Some((entry, matches)) = entry else { return ExitCode::from(Exit::Usage as u8) };
    let exit = (entry.run)(matches, terminal).unwrap_or_else(|failure| report_failure(&failure, terminal));
    ExitCode::from(exit as u8)
}

/// `error:`, causes, a hint. A reader that went away is no error.
fn report_failure(failure: &Failure, terminal: Terminal) -> Exit {
    let is_broken_pipe = failure.error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    });
    if is_broken_pipe {
        return Exit::Done;
    }
    let color = terminal.color.is_on(&io::stderr());
    let mut text = format!("{} {}\n", paint(color, Style::Red, "error:"), failure.error);
    let mut said = failure.error.to_string();
    for cause in failure.error.chain().skip(1).map(ToString::to_string) {
        // An error whose text holds its cause has said it.
        if !said.contains(&cause) {
            text.push_str(&format!("  cause: {cause}\n"));
        }
        said = cause;
    }
    if let Some(hint) = &failure.hint {
        text.push_str(&format!("{} {hint}\n", paint(color, Style::Cyan, "hint:")));
    }
    // Nobody is left to tell when this cannot be printed.
    let _ = io::stderr().write_all(text.as_bytes());
    failure.exit
}

/// A recording that is broken somewhere, and what can be done.
fn broken_recording(error: TrafficError) -> Failure {
    let hint = match error {
        TrafficError::Entry { .. } | TrafficError::CutOff { .. } => {
            Some("--keep-going takes what is whole and lists the rest".to_owned())
        }
        TrafficError::Read { .. } | TrafficError::NotARecording { .. } | TrafficError::AccessLogFormat(_) => {
            None
        }
    };
    Failure { exit: Exit::Usage, error: error.into(), hint }
}

/// Where output goes: a file, or standard output for none and `-`.
fn output(file: Option<&Path>) -> Result<Box<dyn Write>, anyhow::Error> {
    Ok(match file {
        Some(path) if path.as_os_str() != "-" => {
            let file = File::create(path).with_context(|| format!("cannot write `{}`", path.display()))?;
            Box::new(BufWriter::new(file))
        }
        _ => Box::new(BufWriter::new(io::stdout().lock())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_command_teaches() {
        for command in command().get_subcommands() {
            let name = command.get_name();
            assert!(command.get_about().is_some(), "{name}: what it does");
            let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(
                after.contains("Examples:") && after.contains(&format!("weir {name}")),
                "{name}: examples"
            );
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{name}: {}", argument.get_id());
            }
        }
    }
}
