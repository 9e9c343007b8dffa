//! `weir envoy`: a scenario in a real Envoy in the foreground, to be tried by hand.

mod banner;
mod lines;
mod signals;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::Args;

use super::{Exit, Failure, Run, Terminal, chain, check};
use crate::envoy::bootstrap::Ports;
use crate::envoy::find::{self, Found};
use crate::envoy::foreground::{Behind, Foreground, Hosts, Stand};
use crate::envoy::process::{self, LAST, Line};
use crate::scenario::MAX_WORKERS;
use crate::yaml;

/// Run a scenario in a real Envoy in the foreground, to try it with curl
///
/// Envoy listens on loopback with the scenario's filters and routes. Behind its clusters stand servers that answer as the scenario scripts
/// them; where it says nothing they answer with what they received: the cluster, the method, the path, the headers. Shown are log lines of
/// filters and a line for each request. Ctrl-C ends all of it.
#[derive(Args)]
#[command(after_help = "Examples:
  weir envoy examples/bookinfo                         then: curl -H 'host: reviews:9080' -H 'end-user: jack' http://127.0.0.1:10000/reviews/0
  weir envoy --filter ./my.wasm=my.yaml                one filter, everything to the cluster `upstream`
  weir envoy --filter canary=canary.yaml --routes routes.yaml
  weir envoy examples/bookinfo --upstream reviews-v2=127.0.0.1:9080
  weir envoy examples/bookinfo --print-config >envoy.yaml

The Envoy is --envoy-path, else $WEIR_ENVOY, else `envoy` on the PATH.

Exit codes: 129, 130, 143 ended by a signal (HUP, INT, TERM); 2 wrong usage, no Envoy, a port that is taken, or Envoy ended by itself;
3 a filter refused its configuration")]
pub(super) struct EnvoyCommand {
    /// A scenario: a folder with scenario.yaml, or a .yaml file
    #[arg(value_name = "SCENARIO", required_unless_present_any = ["filters", "routes"])]
    scenario: Option<PathBuf>,
    /// A filter, with the file of its configuration; several make a chain. Beside a scenario: another configuration for its filter NAME
    #[arg(long = "filter", value_name = "NAME[=CONFIG]")]
    filters: Vec<String>,
    /// Envoy's `route_config` as YAML or JSON, in place of the scenario's
    #[arg(long, value_name = "FILE")]
    routes: Option<PathBuf>,
    /// A real server for a cluster, in place of a simulated one; may be repeated
    #[arg(long = "upstream", value_name = "CLUSTER=HOST:PORT")]
    upstreams: Vec<String>,
    /// The listener's port on 127.0.0.1; 0: any free one
    #[arg(long, default_value_t = 10_000)]
    port: u16,
    /// The admin interface's port on 127.0.0.1; 0: any free one
    #[arg(long, default_value_t = 0)]
    admin_port: u16,
    /// So many workers, in place of the scenario's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_WORKERS)))]
    concurrency: Option<u32>,
    /// What filters log from this level on is shown
    #[arg(long, value_name = "LEVEL", default_value = "debug", value_parser = ["trace", "debug", "info", "warning", "error", "critical"])]
    log_level: String,
    /// Print Envoy's bootstrap and run nothing; behind clusters without --upstream stands nobody then
    #[arg(long)]
    print_config: bool,
    /// The Envoy; default: $WEIR_ENVOY, else `envoy` on the PATH
    #[arg(long, value_name = "PATH")]
    envoy_path: Option<PathBuf>,
}

impl Run for EnvoyCommand {
    fn run(self, terminal: Terminal) -> Result<Exit, Failure> {
        let hosts = self.upstreams.iter().map(|text| host(text)).collect::<Result<Hosts, _>>()?;
        let mut loaded = match &self.scenario {
            Some(path) => chain::of_scenario(path, &self.filters)?,
            None => chain::of_filters(&self.filters)?,
        };
        let scenario = &mut loaded.scenario;
        if let Some(routes) = &self.routes {
            scenario.route_config = Some(yaml::read(routes)?);
        }
        scenario.workers = self.concurrency.unwrap_or(scenario.workers);
        // Whoever only wants the configuration needs no Envoy.
        let found = if self.print_config { None } else { Some(find(self.envoy_path.as_deref())?) };
        let stand = Stand::new(scenario, &loaded.base, hosts)?;
        check::warn(scenario);
        for name in stand.unused() {
            eprintln!("warning: --upstream: neither routes nor filters name the cluster `{name}`");
        }
        let ports = Ports { listener: self.port, admin: self.admin_port };
        let Some(found) = found else { return print_config(&stand, ports) };
        let title = scenario.description.as_deref();
        serve(&stand, &found, ports, &self.log_level, title, terminal)
    }
}

/// The Envoy that is meant, or how to get one. From now on INT, TERM and HUP end it with this process.
pub(super) fn find(path: Option<&Path>) -> Result<Found, Failure> {
    let found = find::find(path).map_err(|error| Failure {
        exit: Exit::Usage,
        error: error.into(),
        hint: Some(find::hint()),
    })?;
    signals::end_envoys()?;
    eprintln!("Envoy {} ({})", found.version, found.path.display());
    Ok(found)
}

/// `CLUSTER=HOST:PORT`.
fn host(text: &str) -> Result<(String, (String, u16)), anyhow::Error> {
    let parsed = || {
        let (cluster, address) = text.split_once('=')?;
        let (host, port) = address.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
        let whole = !cluster.is_empty() && !host.is_empty() && !host.contains(['/', '@']);
        whole.then(|| (cluster.to_owned(), (host.to_owned(), port)))
    };
    parsed()
        .ok_or_else(|| anyhow!("--upstream `{text}`: expected CLUSTER=HOST:PORT, such as v2=127.0.0.1:9080"))
}

fn print_config(stand: &Stand, ports: Ports) -> Result<Exit, Failure> {
    let simulated = stand.clusters().filter(|(_, behind)| *behind == Behind::Script).map(|(name, _)| name);
    let simulated: Vec<&str> = simulated.collect();
    if !simulated.is_empty() {
        eprintln!(
            "note: nobody stands behind {}: --upstream CLUSTER=HOST:PORT names a server",
            simulated.join(", ")
        );
    }
    let mut out = io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string_pretty(&stand.bootstrap(ports))?)?;
    Ok(Exit::Done)
}

/// Runs until Envoy or whoever reads has ended; a signal ends the process elsewhere.
fn serve(
    stand: &Stand,
    found: &Found,
    ports: Ports,
    level: &str,
    title: Option<&str>,
    terminal: Terminal,
) -> Result<Exit, Failure> {
    let started = stand.start(&found.path, ports, level).inspect_err(|_| process::unless_ending())?;
    let foreground = started.map_err(|log| Failure {
        exit: Exit::Refused,
        error: anyhow!("a filter refused its configuration{}", check::said(&log)),
        hint: None,
    })?;
    let mut out = io::stdout().lock();
    let color = terminal.color.is_on(&out);
    let banner = banner::render(stand, foreground.listener()?, foreground.admin(), title, color);
    out.write_all(banner.as_bytes())?;
    out.flush()?;
    let lines = lines::Lines::new(stand.plugins(), color);
    let mut last: Vec<String> = Vec::new();
    while let Some(line) = foreground.next_line() {
        let text = match &line {
            Line::Log(text) => lines.log(text),
            Line::Access(text) => lines.access(text),
        };
        if let Line::Log(text) = line {
            last.drain(..(last.len() + 1).saturating_sub(LAST));
            last.push(text);
        }
        out.write_all(text.as_bytes())?;
        out.flush()?;
    }
    Err(ended(&foreground, &last)?)
}

fn ended(foreground: &Foreground, last: &[String]) -> Result<Failure, Failure> {
    process::unless_ending();
    let how = foreground.ended()?;
    let lines = process::last(last.iter().map(String::as_str));
    Ok(anyhow!("Envoy ended by itself ({how}){lines}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read() {
        for (text, want) in [
            ("v2=127.0.0.1:9080", Some(("v2", "127.0.0.1", 9080))),
            ("outbound|80||a.b=localhost:80", Some(("outbound|80||a.b", "localhost", 80))),
            ("v6=[::1]:80", Some(("v6", "::1", 80))),
            ("v2", None),
            ("v2=host", None),
            ("v2=host:0", None),
            ("v2=host:99999", None),
            ("=host:80", None),
            ("v2=http://host:80", None),
        ] {
            let want = want.map(|(cluster, host, port)| (cluster.to_owned(), (host.to_owned(), port)));
            assert_eq!(host(text).ok(), want, "{text}");
        }
    }
}
