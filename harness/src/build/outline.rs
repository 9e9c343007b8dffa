//! What several places of a module do alike, step by step, becomes a function that they call.
//!
//! Whole blocks and what is between them; jumps only within. What it reads of the function's locals it is given, and what it sets and is read
//! behind it, it returns.
//! Nothing in a loop that calls nothing: a call costs a nanosecond or two, and such a loop has its work in its few steps.

mod live;
mod read;
mod repeats;
mod write;

use super::slim::SlimError;

pub(in crate::build) use read::is_known;

/// The largest code that is searched, in bytes: it takes a second or two then, and memory of some hundred times its size.
const LARGEST: usize = 1 << 19;

/// A module with repeated code made functions, which come last.
#[derive(Clone, Debug)]
pub struct Outlined {
    /// The module; the one that was given where nothing is saved.
    pub wasm: Vec<u8>,
    /// How many functions are new.
    pub added: usize,
    /// How many functions there are.
    pub functions: usize,
}

/// Makes the functions that save bytes; none in modules of more than 512 KiB of code.
///
/// # Errors
/// When the module is not valid.
pub fn outline(wasm: &[u8]) -> Result<Outlined, SlimError> {
    let module = read::read(wasm)?;
    let size: usize = module.bodies.iter().map(|body| body.bytes.len()).sum();
    let repeats = if size > LARGEST { Vec::new() } else { repeats::repeats(&module) };
    let wasm = if repeats.is_empty() { wasm.to_vec() } else { write::write(wasm, &module, &repeats)? };
    Ok(Outlined { wasm, added: repeats.len(), functions: module.functions.saturating_add(repeats.len()) })
}

#[cfg(test)]
mod tests;
