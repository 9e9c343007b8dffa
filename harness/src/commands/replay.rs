//! `weir replay`: recorded traffic through filters and routes.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::Args;

mod envoy;

pub(super) use envoy::EnvoyArgs;

use super::convert::TrafficArgs;
use super::progress::Progress;
use super::{Exit, Failure, Run, Terminal, chain, check, output};
use crate::driver::{Begin, Replay};
use crate::exchange::Exchange;
use crate::outcome::Outcome;
use crate::report::{self, Report, Summary};
use crate::scenario::{Loaded, MAX_WORKERS, Scenario};
use crate::traffic;
use crate::yaml;

/// How many exchanges a table shows when nothing is said.
const LIMIT: u64 = 40;

/// Replay recorded traffic and report what Envoy would have done
///
/// The first argument is a scenario when it is a folder with a scenario.yaml, or a .yaml file; everything else is a recording (HAR, Envoy tap,
/// access log, JSON lines: detected). Recordings beside a scenario take the place of its own. Without any filter it shows what the routes
/// alone do.
#[derive(Args)]
#[command(after_help = "Examples:
  weir replay examples/bookinfo
  weir replay examples/bookinfo today.har                    the scenario on other traffic
  weir replay examples/bookinfo --filter canary=next.yaml    the scenario with another configuration
  weir replay day.har --filter canary=canary.yaml --routes routes.yaml
  weir replay examples/bookinfo --envoy                      the same in a real Envoy: does it agree?
  weir replay examples/bookinfo --workers 4 --seed 7         four workers, interleaved by the seed
  weir replay day.har --filter ./my.wasm --format jsonl | jq 'select(.end == \"local_reply\")'

Arms are counters named `….arm.<name>` that grow; reasons are log lines `decision: …` and
`left alone: …`.

With --envoy both are given what can be carried over, and what cannot is listed with its reason: exchanges come one after another (25 ms
apart where that would take long), from HTTP/1.1 clients, at the machine's time.

Exit codes: 0 done; 1 Envoy comes to other outcomes; 2 wrong usage, or input that cannot be read (broken recordings too, unless --keep-going);
3 a filter refused its configuration; 4 a filter trapped")]
pub(super) struct ReplayArgs {
    /// A scenario, or recordings; `-` is a recording on standard input
    #[arg(value_name = "SCENARIO|RECORDING", required = true)]
    inputs: Vec<PathBuf>,
    /// A filter, with the file of its configuration; several make a chain. Beside a scenario: another configuration for its filter NAME
    #[arg(long = "filter", value_name = "NAME[=CONFIG]")]
    filters: Vec<String>,
    /// Envoy's `route_config` as YAML or JSON, in place of the scenario's
    #[arg(long, value_name = "FILE")]
    routes: Option<PathBuf>,
    /// Seed of everything random, in place of the scenario's
    #[arg(long)]
    seed: Option<u64>,
    /// So many workers, as Envoy's --concurrency, in place of the scenario's; what they do at one moment interleaves by the seed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_WORKERS)))]
    workers: Option<u32>,
    /// How to report: a readable table, or JSON lines (`weir schema report`)
    #[arg(long, value_parser = ["table", "jsonl"], default_value = "table")]
    format: String,
    /// Write the report to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How many exchanges the table shows; totals are of all
    #[arg(long, value_name = "N", default_value_t = LIMIT)]
    limit: u64,
    /// Show all exchanges
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    #[command(flatten)]
    traffic: TrafficArgs,
    #[command(flatten)]
    envoy: EnvoyArgs,
    /// With --envoy: wait for the times of the recording, in order of the begins
    #[arg(long, requires = "envoy")]
    real_time: bool,
}

/// Where a report goes and how it looks.
struct Destination<'a> {
    color: bool,
    limit: Option<u64>,
    file: Option<&'a Path>,
}

impl Run for ReplayArgs {
    fn run(self, terminal: Terminal) -> Result<Exit, Failure> {
        let (loaded, recordings) = self.scenario()?;
        let scenario = &loaded.scenario;
        if self.envoy.envoy {
            return envoy::run(&self, &loaded, &recordings, terminal);
        }
        let setup = check::ready(&loaded)?;
        check::warn(scenario);
        let mut replay = Replay::start(setup).map_err(check::start_failure)?;
        let Destination { color, limit, file } = self.destination(terminal);
        let options =
            report::Options { title: scenario.description.clone(), color, limit, workers: scenario.workers };
        let begin = report::FORMATS.iter().find(|(name, ..)| *name == self.format);
        let (.., begin) = begin.ok_or_else(|| anyhow!("there is no report format `{}`", self.format))?;
        let mut report = begin(output(file)?, options);
        let read = self.read(scenario, &recordings, &mut replay, report.as_mut())?;
        replay.finish();
        let apart = replay.apart();
        let trapped = read.trapped || !apart.faults.is_empty();
        let mut metrics: Vec<_> =
            replay.metrics().into_iter().map(|metric| (metric.name, metric.kind, metric.value)).collect();
        metrics.sort();
        let start_log = replay.start_log().to_vec();
        report.finish(&Summary { metrics, start_log, broken: read.broken, apart })?;
        Ok(if trapped { Exit::Trapped } else { Exit::Done })
    }
}

/// What came of reading and replaying.
#[derive(Default)]
struct Read {
    exchanges: u64,
    broken: Vec<String>,
    trapped: bool,
}

impl Read {
    fn tell(&mut self, report: &mut dyn Report, (exchange, outcome): &(Exchange, Outcome)) -> io::Result<()> {
        self.exchanges += 1;
        self.trapped |= !outcome.faults.is_empty();
        report.exchange(self.exchanges, exchange, outcome)
    }
}

impl ReplayArgs {
    fn destination(&self, terminal: Terminal) -> Destination<'_> {
        let to_terminal = self.output.is_none() && terminal.color.is_on(&io::stdout());
        Destination {
            color: to_terminal || (self.output.is_some() && terminal.color == crate::style::Color::Always),
            limit: (!self.all).then_some(self.limit),
            file: self.output.as_deref(),
        }
    }

    /// The scenario that is meant and the recordings to replay.
    fn scenario(&self) -> Result<(Loaded, Vec<PathBuf>), Failure> {
        let (first, rest) = self.inputs.split_first().ok_or_else(|| anyhow!("nothing to replay"))?;
        let mut loaded = if check::is_scenario(first) {
            chain::of_scenario(first, &self.filters)?
        } else {
            refuse_folder_of_scenarios(first)?;
            chain::of_filters(&self.filters)?
        };
        let recordings = match (check::is_scenario(first), rest) {
            (false, _) => self.inputs.clone(),
            (true, []) => loaded.scenario.recordings.iter().map(|path| loaded.base.join(path)).collect(),
            (true, rest) => rest.to_vec(),
        };
        if let Some(scenario) = recordings.iter().find(|path| check::is_scenario(path)) {
            return Err(anyhow!(
                "`{}` is a scenario; only the first argument may be one",
                scenario.display()
            )
            .into());
        }
        if recordings.is_empty() {
            let error = anyhow!("{}: the scenario names no recording", loaded.file.display());
            let hint = Some("give one: weir replay SCENARIO RECORDING".to_owned());
            return Err(Failure { exit: Exit::Usage, error, hint });
        }
        if let Some(routes) = &self.routes {
            loaded.scenario.route_config = Some(yaml::read(routes)?);
        }
        loaded.scenario.seed = self.seed.unwrap_or(loaded.scenario.seed);
        loaded.scenario.workers = self.workers.unwrap_or(loaded.scenario.workers);
        Ok((loaded, recordings))
    }

    fn read(
        &self,
        scenario: &Scenario,
        recordings: &[PathBuf],
        replay: &mut Replay,
        report: &mut dyn Report,
    ) -> Result<Read, Failure> {
        let options = self.traffic.options(scenario.access_log_format.as_ref());
        let mut read = Read::default();
        for path in recordings {
            let mut recording = traffic::open(path, &options)?;
            // A bar would run into a report on the same terminal; a table is short and comes at the end.
            let quiet = self.output.is_none() && self.format != "table" && io::stdout().is_terminal();
            let mut progress = Progress::new(recording.size());
            replay.begin_recording();
            while let Some(exchange) = recording.next() {
                match exchange {
                    Ok(exchange) => {
                        replay.begin(exchange, Begin::Recorded);
                        while let Some(over) = replay.next_ready() {
                            read.tell(report, &over)?;
                        }
                    }
                    Err(error) if self.traffic.keep_going => read.broken.push(error.to_string()),
                    Err(error) => {
                        // What was whole before it is told.
                        while let Some(over) = replay.next_outcome() {
                            read.tell(report, &over)?;
                        }
                        progress.finish();
                        return Err(super::broken_recording(error));
                    }
                }
                if !quiet && read.exchanges.is_multiple_of(256) {
                    progress.at(recording.position(), read.exchanges);
                }
            }
            progress.finish();
            for note in recording.take_notes() {
                eprintln!("note: {note}");
            }
        }
        while let Some(over) = replay.next_outcome() {
            read.tell(report, &over)?;
        }
        Ok(read)
    }
}

/// A folder of YAML files without a `scenario.yaml` is not meant as a folder of recordings.
fn refuse_folder_of_scenarios(folder: &Path) -> Result<(), Failure> {
    let Ok(files) = std::fs::read_dir(folder) else { return Ok(()) };
    let names = files.flatten().map(|file| file.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names
        .filter(|name| Path::new(name).extension().is_some_and(|end| end == "yaml" || end == "yml"))
        .collect();
    if names.is_empty() {
        return Ok(());
    }
    names.sort();
    let error = anyhow!("`{}` has no scenario.yaml", folder.display());
    let hint = Some(format!("name one of its files: {}", names.join(", ")));
    Err(Failure { exit: Exit::Usage, error, hint })
}
