//! Every case of every filter and example: in the harness, in a real Envoy, and the outcomes are equal. One test a case.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use conformance::{cases, run, tools};
use libtest_mimic::{Arguments, Failed, Trial};
use weir_harness::case::Case;
use weir_harness::envoy::cases::Ready;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let folders = match cases::all(tools::workspace()) {
        Ok(folders) if !folders.is_empty() => folders,
        other => {
            eprintln!("error: no cases: {other:?}");
            return ExitCode::FAILURE;
        }
    };
    let trials = folders.into_iter().map(|folder| {
        let name = folder.strip_prefix(tools::workspace()).unwrap_or(&folder).display().to_string();
        let label = name.clone();
        Trial::test(name, move || test(&label, &folder).map_err(|error| Failed::from(format!("{error:#}"))))
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn test(name: &str, folder: &Path) -> Result<()> {
    let loaded = Case::load(folder)?;
    let case = Ready::new(&loaded)?;
    let harness = case.in_harness(&mut run::modules())?;
    if let Some(failure) = case.check(&harness).first() {
        bail!("in the harness: {}: {}", failure.exchange.as_deref().unwrap_or("at the end"), failure.failure);
    }
    if let Some(reason) = case.skipped_in_envoy() {
        tools::say(&format!("harness only: `{name}`: {reason}"));
        return Ok(());
    }
    let Some(envoy) = tools::envoy_or_skip(name)? else { return Ok(()) };
    let both = case.in_envoy(envoy, harness)?;
    case.verdict(&both).map_or(Ok(()), |wrong| bail!("{wrong}"))
}
