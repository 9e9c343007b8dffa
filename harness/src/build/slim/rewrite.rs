//! Writes a module again without what goes.

use std::collections::BTreeSet;

use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{CodeSection, ExportSection, FunctionSection, ImportSection, Module};
use wasmparser_of_encoder::{
    CustomSectionReader, Export, FunctionBody, FunctionSectionReader, Imports, Parser,
};

use super::SlimError;
use super::reach::is_function;

/// The module with the exports in `kept` and the functions that `map` gives a new index.
pub(super) fn rewrite(
    wasm: &[u8],
    kept: &BTreeSet<String>,
    map: &[Option<u32>],
) -> Result<Vec<u8>, SlimError> {
    let mut module = Module::new();
    let mut writer = Writer { kept, map, imported: 0, bodies: 0 };
    writer.parse_core_module(&mut module, Parser::new(0), wasm)?;
    Ok(module.finish())
}

struct Writer<'m> {
    kept: &'m BTreeSet<String>,
    map: &'m [Option<u32>],
    /// Imported functions so far.
    imported: usize,
    /// Bodies so far.
    bodies: usize,
}

impl Writer<'_> {
    fn is_kept(&self, index: usize) -> bool {
        self.map.get(index).is_some_and(Option::is_some)
    }
}

impl Reencode for Writer<'_> {
    type Error = std::convert::Infallible;

    /// Whoever refers to a function is written only if it is reached, and so is the function.
    fn function_index(&mut self, index: u32) -> Result<u32, Error> {
        let found = usize::try_from(index).ok().and_then(|index| self.map.get(index).copied().flatten());
        Ok(found.unwrap_or(index))
    }

    fn parse_imports(&mut self, section: &mut ImportSection, imports: Imports<'_>) -> Result<(), Error> {
        for import in imports {
            let (_, import) = import?;
            if is_function(import.ty) {
                let index = self.imported;
                self.imported = index.saturating_add(1);
                if !self.is_kept(index) {
                    continue;
                }
            }
            let ty = self.entity_type(import.ty)?;
            section.import(import.module, import.name, ty);
        }
        Ok(())
    }

    fn parse_function_section(
        &mut self,
        section: &mut FunctionSection,
        functions: FunctionSectionReader<'_>,
    ) -> Result<(), Error> {
        for (position, ty) in functions.into_iter().enumerate() {
            let ty = self.type_index(ty?)?;
            if self.is_kept(self.imported.saturating_add(position)) {
                section.function(ty);
            }
        }
        Ok(())
    }

    fn parse_function_body(&mut self, code: &mut CodeSection, body: FunctionBody<'_>) -> Result<(), Error> {
        let index = self.imported.saturating_add(self.bodies);
        self.bodies = self.bodies.saturating_add(1);
        if self.is_kept(index) { utils::parse_function_body(self, code, body) } else { Ok(()) }
    }

    fn parse_export(&mut self, section: &mut ExportSection, export: Export<'_>) -> Result<(), Error> {
        if self.kept.contains(export.name) { utils::parse_export(self, section, export) } else { Ok(()) }
    }

    /// Names and debug information go, and what only a linker reads; what an unknown tool wrote stays.
    fn parse_custom_section(
        &mut self,
        module: &mut Module,
        section: CustomSectionReader<'_>,
    ) -> Result<(), Error> {
        const GONE: [&str; 7] = [
            "name",
            "linking",
            "target_features",
            "dylink",
            "dylink.0",
            "sourceMappingURL",
            crate::inspect::METADATA_SECTION,
        ];
        let name = section.name();
        if GONE.contains(&name) || name.starts_with(".debug") || name.starts_with("reloc.") {
            return Ok(());
        }
        module.section(&self.custom_section(section)?);
        Ok(())
    }
}
