//! The SDK's core passes its own tests as what filters are: 32-bit Wasm.

use anyhow::{Result, ensure};
use conformance::node::Runner;

#[test]
fn the_core_passes_its_tests_as_wasm() -> Result<()> {
    let Some(runner) = Runner::get_or_skip("the_core_passes_its_tests_as_wasm")? else { return Ok(()) };
    let output = runner.test("weir-sdk")?;
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{stdout}\n{stderr}");
    // A runner that finds no test is content as well.
    for test in ["config::tests::", "matcher::tests::", "fraction::tests::", "attributes::tests::"] {
        ensure!(stdout.contains(&format!("test {test}")), "no test of `{test}` ran:\n{stdout}\n{stderr}");
    }
    Ok(())
}
