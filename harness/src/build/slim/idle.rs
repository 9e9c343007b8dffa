//! Callbacks that do nothing: Envoy does the same when they are not exported, and saves the call.

use std::collections::BTreeSet;

use wasmparser_of_encoder::{ExternalKind, FunctionBody, Operator, Parser, Payload};

use super::SlimError;
use super::reach::Functions;

/// What Envoy takes for the answer of a callback that is not there; 0 is `Continue`.
fn absent(name: &str) -> i32 {
    match name {
        "proxy_on_vm_start" | "proxy_on_configure" | "proxy_on_done" | "proxy_validate_configuration" => 1,
        _ => 0,
    }
}

/// Exported callbacks `proxy_on_…` whose whole body is the answer that Envoy takes when they are absent.
pub(super) fn idle(wasm: &[u8]) -> Result<BTreeSet<String>, SlimError> {
    let functions = Functions::of(wasm)?;
    let mut found = BTreeSet::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let Payload::ExportSection(section) = payload? else { continue };
        for export in section {
            let export = export?;
            let is_callback =
                export.name.starts_with("proxy_on_") && export.name != "proxy_on_memory_allocate";
            let index = usize::try_from(export.index).unwrap_or(usize::MAX);
            if !is_callback || !matches!(export.kind, ExternalKind::Func | ExternalKind::FuncExact) {
                continue;
            }
            if let Some(body) = functions.body(index)
                && only_answers(body, absent(export.name))?
            {
                found.insert(export.name.to_owned());
            }
        }
    }
    Ok(found)
}

/// Whether a body is empty, or nothing but this number.
fn only_answers(body: &FunctionBody<'_>, answer: i32) -> Result<bool, SlimError> {
    let mut operators = body.get_operators_reader()?;
    let mut first = operators.read()?;
    if let Operator::I32Const { value } = first {
        if value != answer {
            return Ok(false);
        }
        first = operators.read()?;
    }
    Ok(matches!(first, Operator::End) && operators.eof())
}
