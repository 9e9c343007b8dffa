//! Which functions can be reached from the exports that stay, the start function, tables and globals.

use std::collections::BTreeSet;

use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{CodeSection, ExportSection, ImportSection, Module};
use wasmparser_of_encoder::{
    CodeSectionReader, CustomSectionReader, Export, ExternalKind, FunctionBody, ImportSectionReader, Parser,
    Payload, TypeRef,
};

use super::SlimError;

/// The functions of a module.
pub(super) struct Functions<'w> {
    /// How many are imported; they come first in the order of indices.
    pub(super) imported: usize,
    pub(super) bodies: Vec<FunctionBody<'w>>,
}

impl<'w> Functions<'w> {
    pub(super) fn of(wasm: &'w [u8]) -> Result<Self, SlimError> {
        let mut found = Self { imported: 0, bodies: Vec::new() };
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        found.imported = found.imported.saturating_add(usize::from(is_function(import?.ty)));
                    }
                }
                Payload::CodeSectionEntry(body) => found.bodies.push(body),
                _ => {}
            }
        }
        Ok(found)
    }

    /// The body of the function with an index; `None` for an imported one.
    pub(super) fn body(&self, index: usize) -> Option<&FunctionBody<'w>> {
        self.bodies.get(index.checked_sub(self.imported)?)
    }
}

pub(super) fn is_function(ty: TypeRef) -> bool {
    matches!(ty, TypeRef::Func(_) | TypeRef::FuncExact(_))
}

/// The new index of every function by its old one; `None`: nobody reaches it.
pub(super) fn renumbered(wasm: &[u8], kept: &BTreeSet<String>) -> Result<Vec<Option<u32>>, SlimError> {
    let functions = Functions::of(wasm)?;
    let mut marks = Marks { kept, met: Vec::new() };
    marks.parse_core_module(&mut Module::new(), Parser::new(0), wasm)?;
    let mut reached = vec![false; functions.imported.saturating_add(functions.bodies.len())];
    while let Some(index) = marks.met.pop() {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        let Some(reached) = reached.get_mut(index).filter(|reached| !**reached) else { continue };
        *reached = true;
        if let Some(body) = functions.body(index) {
            utils::parse_function_body(&mut marks, &mut CodeSection::new(), body.clone())?;
        }
    }
    let mut next = 0_u32;
    let number = |reached: bool| {
        let index = next;
        next = next.saturating_add(u32::from(reached));
        reached.then_some(index)
    };
    Ok(reached.into_iter().map(number).collect())
}

/// Notes every function that is referred to. Passes over imports, exports that go, custom sections, and bodies, which are read one by one.
struct Marks<'k> {
    kept: &'k BTreeSet<String>,
    met: Vec<u32>,
}

impl Reencode for Marks<'_> {
    type Error = std::convert::Infallible;

    fn function_index(&mut self, index: u32) -> Result<u32, Error> {
        self.met.push(index);
        Ok(index)
    }

    fn parse_import_section(
        &mut self,
        _: &mut ImportSection,
        _: ImportSectionReader<'_>,
    ) -> Result<(), Error> {
        Ok(())
    }

    fn parse_export(&mut self, _: &mut ExportSection, export: Export<'_>) -> Result<(), Error> {
        let is_function = matches!(export.kind, ExternalKind::Func | ExternalKind::FuncExact);
        if is_function && self.kept.contains(export.name) {
            self.met.push(export.index);
        }
        Ok(())
    }

    fn parse_code_section(&mut self, _: &mut CodeSection, _: CodeSectionReader<'_>) -> Result<(), Error> {
        Ok(())
    }

    fn parse_custom_section(&mut self, _: &mut Module, _: CustomSectionReader<'_>) -> Result<(), Error> {
        Ok(())
    }
}
