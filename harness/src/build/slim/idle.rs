//! Callbacks that do nothing: Envoy does the same when they are not exported, and saves the call.

use std::collections::BTreeSet;

use wasmparser_of_encoder::{ExternalKind, Operator, Parser, Payload};

use super::SlimError;
use super::code::{Code, Step};

/// What Envoy takes for the answer of a callback that is not there; 0 is `Continue`.
fn absent(name: &str) -> i32 {
    match name {
        "proxy_on_vm_start" | "proxy_on_configure" | "proxy_on_done" | "proxy_validate_configuration" => 1,
        _ => 0,
    }
}

/// Exported callbacks `proxy_on_…` whose whole body is the answer that Envoy takes when they are absent.
pub(super) fn idle(wasm: &[u8], code: &Code<'_>) -> Result<BTreeSet<String>, SlimError> {
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
            if let Some(function) = code.function(index)
                && only_answers(&function.steps, absent(export.name))
            {
                found.insert(export.name.to_owned());
            }
        }
    }
    Ok(found)
}

/// Whether a body is empty, or nothing but this number.
fn only_answers(body: &[Step<'_>], answer: i32) -> bool {
    match body {
        [step] => matches!(step.operator, Operator::End),
        [step, _] => matches!(step.operator, Operator::I32Const { value } if value == answer),
        _ => false,
    }
}
