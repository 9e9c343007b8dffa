//! Traps in Envoy's words (`FAULT-01`, `FAULT-02`).

use wasmtime::{Trap, WasmBacktrace};

/// A hostcall that may not be made now (`LOAD-08`).
#[derive(Debug, thiserror::Error)]
#[error("restricted_callback")]
pub(crate) struct Restricted;

/// Envoy's backtraces have this many frames at most.
const FRAMES: usize = 20;

/// What Envoy logs for a failed call of `function`, with where in the source it was when the module tells.
pub(super) fn describe(function: &str, error: &wasmtime::Error) -> String {
    let reason = if let Some(trap) = error.downcast_ref::<Trap>() {
        reason(*trap)
    } else if error.is::<Restricted>() {
        "Uncaught Error: restricted_callback".to_owned()
    } else {
        error.root_cause().to_string()
    };
    let mut text = format!("Function: {function} failed: {reason}");
    if let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() {
        for (index, frame) in backtrace.frames().iter().take(FRAMES).enumerate() {
            let offset = frame.module_offset().unwrap_or_default();
            let name = frame.func_name().map(|name| {
                frame.symbols().first().and_then(|symbol| symbol.name()).unwrap_or(name).to_owned()
            });
            let Some(name) = name else { continue };
            text.push_str(&format!("\n  {index}: {offset:#x} - {name}"));
            let place = frame.symbols().iter().find_map(|symbol| Some((symbol.file()?, symbol.line()?)));
            if let Some((file, line)) = place {
                text.push_str(&format!(" ({file}:{line})"));
            }
        }
    }
    text
}

fn reason(trap: Trap) -> String {
    let text = match trap {
        Trap::UnreachableCodeReached => "unreachable",
        Trap::MemoryOutOfBounds | Trap::HeapMisaligned => "memory access out of bounds",
        Trap::IntegerDivisionByZero => "divide by zero",
        Trap::IntegerOverflow => "divide result unrepresentable",
        Trap::BadConversionToInteger => "float unrepresentable in integer range",
        Trap::TableOutOfBounds => "table index is out of bounds",
        Trap::IndirectCallToNull | Trap::BadSignature => "function signature mismatch",
        Trap::StackOverflow => return "Uncaught RangeError: Maximum call stack size exceeded".to_owned(),
        Trap::OutOfFuel => {
            return format!(
                "this kills Envoy: it ran for {} instructions and would block the worker for ever (DIE-07)",
                super::FUEL
            );
        }
        other => return format!("Uncaught RuntimeError: {other}"),
    };
    format!("Uncaught RuntimeError: {text}")
}
