//! `weir replay --envoy`: the same scenario in a real Envoy, compared exchange by exchange.

use std::io::Write;
use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;

use crate::commands::progress::Progress;
use crate::commands::{Exit, Failure, Terminal, check, envoy, output};
use crate::envoy::find::Found;
use crate::envoy::process;
use crate::envoy::versus::{self, Task, Versus};
use crate::exchange::Exchange;
use crate::outcome::End;
use crate::report::comparison;
use crate::scenario::{Loaded, Scenario};
use crate::setup::Modules;
use crate::traffic;

use super::{Destination, ReplayArgs};

/// Which Envoy, of every command that runs one.
#[derive(Args, Clone, Debug)]
pub(in crate::commands) struct EnvoyArgs {
    /// Run in a real Envoy as well, and compare
    #[arg(long)]
    pub(in crate::commands) envoy: bool,
    /// The Envoy; default: $WEIR_ENVOY, else `envoy` on the PATH
    #[arg(long, value_name = "PATH", requires = "envoy")]
    envoy_path: Option<PathBuf>,
}

impl EnvoyArgs {
    /// The Envoy that is meant, or how to get one. From now on Ctrl-C ends it with this process.
    pub(in crate::commands) fn find(&self) -> Result<Found, Failure> {
        envoy::find(self.envoy_path.as_deref())
    }
}

pub(super) fn run(
    args: &ReplayArgs,
    loaded: &Loaded,
    recordings: &[PathBuf],
    terminal: Terminal,
) -> Result<Exit, Failure> {
    let found = args.envoy.find()?;
    let scenario = &loaded.scenario;
    check::warn(scenario);
    let exchanges = read(args, scenario, recordings)?;
    let count = exchanges.len() as u64;
    let task = Task { scenario, base: &loaded.base, binary: &found.path, real_time: args.real_time };
    let mut modules = Modules::default();
    let prepared = versus::prepare(task, exchanges, &mut modules)?;
    if prepared.at_least.as_secs() >= 1 {
        let seconds = prepared.at_least.as_secs_f64().ceil();
        eprintln!("{count} exchanges {}: {seconds} s at least", prepared.pace.say());
    }
    let mut progress = Progress::new(Some(count));
    let mut told = |done: usize| progress.at(done as u64, done as u64);
    let versus = versus::compare(task, prepared, &mut modules, &mut told);
    let versus = versus.inspect_err(|_| process::unless_ending())?;
    progress.finish();
    if let Some(exit) = refused(&versus) {
        return exit;
    }
    let Destination { color, limit, file } = args.destination(terminal);
    let options = crate::report::Options {
        title: scenario.description.clone(),
        color,
        limit,
        workers: scenario.workers,
    };
    let print = comparison::FORMATS.iter().find(|(name, _)| *name == args.format);
    let (_, print) = print.ok_or_else(|| anyhow!("there is no report format `{}`", args.format))?;
    let mut out: Box<dyn Write> = output(file)?;
    print(out.as_mut(), &versus, &found, &options)?;
    let trapped = |end| {
        [&versus.harness, &versus.envoy].iter().any(|run| run.outcomes.iter().any(|one| one.end == end))
    };
    Ok(if !versus.comparison.agrees() && !versus.comparison.is_explained() {
        Exit::Differs
    } else if trapped(End::Trapped) {
        Exit::Trapped
    } else {
        Exit::Done
    })
}

/// Nothing ran: both refuse the configuration, or one does, which is a difference.
fn refused(versus: &Versus) -> Option<Result<Exit, Failure>> {
    let (harness, envoy) = (&versus.harness, &versus.envoy);
    let who = match (harness.refused, envoy.refused) {
        (false, false) => return None,
        (true, true) => "the harness and Envoy both refuse the configuration",
        (true, false) => "the harness refuses the configuration, and Envoy takes it",
        (false, true) => "Envoy refuses the configuration, and the harness takes it",
    };
    let log = if harness.refused { &harness.start_log } else { &envoy.start_log };
    let error = anyhow!("{who}{}", check::said(log));
    Some(Err(Failure { exit: Exit::Refused, error, hint: None }))
}

/// All exchanges of the recordings: an Envoy is given them in real time, so there cannot be too many to hold.
fn read(args: &ReplayArgs, scenario: &Scenario, recordings: &[PathBuf]) -> Result<Vec<Exchange>, Failure> {
    let options = args.traffic.options(scenario.access_log_format.as_ref());
    let mut exchanges = Vec::new();
    for path in recordings {
        let mut recording = traffic::open(path, &options)?;
        for exchange in recording.by_ref() {
            match exchange {
                Ok(exchange) => exchanges.push(exchange),
                Err(error) if args.traffic.keep_going => eprintln!("warning: left out: {error}"),
                Err(error) => return Err(crate::commands::broken_recording(error)),
            }
        }
        for note in recording.take_notes() {
            eprintln!("note: {note}");
        }
    }
    Ok(exchanges)
}
