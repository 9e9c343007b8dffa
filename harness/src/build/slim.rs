//! A linked module made smaller: exports that nobody calls, functions that nobody reaches, names and debug information go. What is left is
//! in the order it was in, so the same module in gives the same bytes out. Knows no crate and no cargo.

mod code;
mod data;
mod idle;
mod reach;
mod relocations;
mod rewrite;
mod traps;
mod twins;

use std::collections::{BTreeMap, BTreeSet};

use wasm_encoder::reencode::Error;
use wasmparser_of_encoder::{KnownCustom, Name, Parser, Payload};

use super::facts::Panics;
use crate::inspect::{InspectError, inspect};
use code::Code;

/// A module that was made smaller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slim {
    /// The module.
    pub wasm: Vec<u8>,
    /// Names of its functions by their indices, for [`with_names`].
    pub names: BTreeMap<u32, String>,
    /// Exports that are gone, in the order they stood in.
    pub removed: Vec<String>,
}

/// What cannot be made smaller.
#[derive(Debug, thiserror::Error)]
pub enum SlimError {
    /// It is no module.
    #[error("{0}")]
    Foreign(#[from] InspectError),
    /// It is broken, or uses what is newer than this program.
    #[error("cannot be read: {0}")]
    Broken(#[from] Error),
    /// `callbacks` names what the module does not export.
    #[error("`callbacks` names `{0}`, which the module does not export")]
    NoSuchCallback(String),
    /// `panics` is for modules of Rust, before their names are gone.
    #[error("`panics = \"trap\"`: the module has no function `rust_begin_unwind`, where Rust's panics end")]
    NoPanics,
}

impl From<wasmparser_of_encoder::BinaryReaderError> for SlimError {
    fn from(error: wasmparser_of_encoder::BinaryReaderError) -> Self {
        Self::Broken(error.into())
    }
}

/// What else may go.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// When given, the only exports `proxy_on_…` that stay, for an SDK that exports all of them; what Envoy needs to load and start a module stays in any
    /// case.
    pub callbacks: Option<&'a BTreeSet<String>>,
    /// What a panic does.
    pub panics: Panics,
}

/// Removes what Envoy does not need.
///
/// # Errors
/// When it is no module, or has nothing of what is wanted.
pub fn slim(wasm: &[u8], wanted: Wanted<'_>) -> Result<Slim, SlimError> {
    let callbacks = wanted.callbacks;
    let found = inspect(wasm)?;
    for name in callbacks.into_iter().flatten() {
        if !found.exports.iter().any(|export| export.is_callback && export.name == *name) {
            return Err(SlimError::NoSuchCallback(name.clone()));
        }
    }
    let mut code = Code::of(wasm)?;
    let linked = reach::linked(wasm, &code)?;
    let names = names(wasm)?;
    if wanted.panics == Panics::Trap && !traps::trap(&mut code, &names) {
        return Err(SlimError::NoPanics);
    }
    code.stands = twins::twins(wasm, &code)?;
    let idle = idle::idle(wasm, &code)?;
    let mut kept = BTreeSet::new();
    let mut removed = Vec::new();
    for export in found.exports {
        let stays = match export.kind {
            "memory" => true,
            "function" if export.name.starts_with("proxy_abi_version_") => true,
            "function" if !export.is_callback || idle.contains(&export.name) => false,
            "function" => callbacks.is_none_or(|callbacks| {
                !export.name.starts_with("proxy_on_")
                    || export.name == "proxy_on_memory_allocate"
                    || callbacks.contains(&export.name)
            }),
            _ => false,
        };
        if stays {
            kept.insert(export.name);
        } else {
            removed.push(export.name);
        }
    }
    let reached = reach::reached(wasm, &kept, &code, &linked)?;
    let named = |(new, old): (u32, &usize)| Some((new, names.get(&u32::try_from(*old).ok()?)?.clone()));
    let names = (0..).zip(&reached.functions).filter_map(named).collect();
    Ok(Slim { wasm: rewrite::rewrite(wasm, &kept, &code, &reached)?, names, removed })
}

/// The module with a name section at its end. The code stands where it stood, so an offset in one is an offset in the other.
#[must_use]
pub fn with_names(wasm: &[u8], names: &BTreeMap<u32, String>) -> Vec<u8> {
    let mut map = wasm_encoder::NameMap::new();
    for (index, name) in names {
        map.append(*index, name);
    }
    let mut section = wasm_encoder::NameSection::new();
    section.functions(&map);
    with_section(wasm, &section)
}

/// The module with a custom section at its end.
#[must_use]
pub fn with_custom(wasm: &[u8], name: &str, data: &[u8]) -> Vec<u8> {
    with_section(wasm, &wasm_encoder::CustomSection { name: name.into(), data: data.into() })
}

fn with_section(wasm: &[u8], section: &impl wasm_encoder::Section) -> Vec<u8> {
    let mut whole = wasm.to_vec();
    section.append_to(&mut whole);
    whole
}

fn names(wasm: &[u8]) -> Result<BTreeMap<u32, String>, SlimError> {
    let mut found = BTreeMap::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let Payload::CustomSection(section) = payload? else { continue };
        let KnownCustom::Name(names) = section.as_known() else { continue };
        // Names that are broken stop nobody from running the module.
        for name in names.into_iter().flatten() {
            let Name::Function(map) = name else { continue };
            found.extend(map.into_iter().flatten().map(|naming| (naming.index, naming.name.to_owned())));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
