//! Runs exchanges in the harness and in a real Envoy, as `weir replay --envoy` does. Each module is compiled once for all tests of this process.

use std::path::Path;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use weir_harness::driver::Replay;
use weir_harness::envoy::run;
use weir_harness::exchange::Exchange;
use weir_harness::outcome::LogLine;
use weir_harness::scenario::Scenario;
use weir_harness::setup::Modules;

pub use weir_harness::envoy::run::Run;

/// The compiled modules of this process.
pub fn modules() -> MutexGuard<'static, Modules> {
    static MODULES: LazyLock<Mutex<Modules>> = LazyLock::new(Mutex::default);
    MODULES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A replay of a scenario in the harness; the log when a plugin refuses its configuration.
///
/// # Errors
/// When a module does not build, load or start, or the routes make no sense.
pub fn replay(scenario: &Scenario, base: &Path) -> Result<Result<Replay, Vec<LogLine>>> {
    Ok(run::replay(scenario, base, &mut modules())?)
}

/// Runs exchanges in the harness.
///
/// # Errors
/// As [`replay`].
pub fn in_harness(scenario: &Scenario, base: &Path, exchanges: &[Exchange]) -> Result<Run> {
    let planned = run::in_turn(exchanges.iter().cloned());
    Ok(run::in_harness(scenario, base, &mut modules(), &planned)?)
}

/// Runs exchanges in a real Envoy, one after another; `harness` is what came of them there.
///
/// # Errors
/// When it does not start, ends, or stops answering.
pub fn in_envoy(
    binary: &Path,
    scenario: &Scenario,
    base: &Path,
    exchanges: &[Exchange],
    harness: &Run,
) -> Result<Run> {
    let planned = run::in_turn(exchanges.iter().cloned());
    Ok(run::in_envoy(binary, scenario, base, &planned, harness, &mut |_| ())?)
}
