//! What several places of a module do alike, step by step, becomes a function that they call.
//!
//! Only straight code that sets no local, and nothing in a loop that calls nothing: a call costs a nanosecond or two, and such a loop has its
//! work in its few steps.

mod read;
mod repeats;
mod write;

use super::slim::SlimError;

/// A module with repeated code made functions, which come last.
pub(super) struct Outlined {
    pub(super) wasm: Vec<u8>,
    /// How many functions are new.
    pub(super) added: usize,
    /// How many functions there are.
    pub(super) functions: usize,
}

/// Makes the functions that save bytes.
///
/// # Errors
/// When the module is not valid.
pub(super) fn outline(wasm: &[u8]) -> Result<Outlined, SlimError> {
    let module = read::read(wasm)?;
    let repeats = repeats::repeats(&module);
    let wasm = if repeats.is_empty() { wasm.to_vec() } else { write::write(wasm, &module, &repeats)? };
    Ok(Outlined { wasm, added: repeats.len(), functions: module.functions.saturating_add(repeats.len()) })
}

#[cfg(test)]
mod tests;
