//! Writes a module again without what goes.

use std::collections::BTreeSet;

use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{
    CodeSection, ConstExpr, DataSection, ExportSection, FunctionSection, ImportSection, Module,
};
use wasmparser_of_encoder::{
    CodeSectionReader, CustomSectionReader, DataSectionReader, Export, FunctionSectionReader, Imports, Parser,
};

use super::SlimError;
use super::code::{Code, is_function};
use super::reach::Reached;

/// The module with the exports in `kept` and what is reached.
pub(super) fn rewrite(
    wasm: &[u8],
    kept: &BTreeSet<String>,
    code: &Code<'_>,
    reached: &Reached,
) -> Result<Vec<u8>, SlimError> {
    let mut map = vec![None; code.len()];
    for (new, old) in (0_u32..).zip(&reached.functions) {
        if let Some(place) = map.get_mut(*old) {
            *place = Some(new);
        }
    }
    let mut module = Module::new();
    let mut writer = Writer { kept, code, reached, map, imported: 0 };
    writer.parse_core_module(&mut module, Parser::new(0), wasm)?;
    Ok(module.finish())
}

struct Writer<'m> {
    kept: &'m BTreeSet<String>,
    code: &'m Code<'m>,
    reached: &'m Reached,
    /// New indices by old ones.
    map: Vec<Option<u32>>,
    /// Imported functions so far.
    imported: usize,
}

impl Writer<'_> {
    /// The functions that are not imported, by their old place among such.
    fn places(&self) -> Vec<usize> {
        self.reached.functions.iter().filter_map(|index| index.checked_sub(self.code.imported)).collect()
    }
}

impl Reencode for Writer<'_> {
    type Error = std::convert::Infallible;

    /// Whoever refers to a function is written only if it is reached, and so is the function: but for a table's places that nobody has the number of,
    /// where any function may stand.
    fn function_index(&mut self, index: u32) -> Result<u32, Error> {
        let found = usize::try_from(self.code.stands_for(index))
            .ok()
            .and_then(|index| self.map.get(index).copied().flatten());
        Ok(found.unwrap_or(0))
    }

    fn data_count(&mut self, count: u32) -> Result<u32, Error> {
        let parts = self.reached.data.as_ref().map(Vec::len);
        Ok(parts.map_or(count, |parts| u32::try_from(parts).unwrap_or(u32::MAX)))
    }

    fn parse_data_section(
        &mut self,
        section: &mut DataSection,
        data: DataSectionReader<'_>,
    ) -> Result<(), Error> {
        let Some(parts) = &self.reached.data else {
            return utils::parse_data_section(self, section, data);
        };
        for part in parts {
            let address = ConstExpr::i32_const(part.address.cast_signed());
            section.active(0, &address, part.bytes.iter().copied());
        }
        Ok(())
    }

    fn parse_imports(&mut self, section: &mut ImportSection, imports: Imports<'_>) -> Result<(), Error> {
        for import in imports {
            let (_, import) = import?;
            if is_function(import.ty) {
                let index = self.imported;
                self.imported = index.saturating_add(1);
                if self.map.get(index).is_none_or(Option::is_none) {
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
        let types = functions.into_iter().collect::<Result<Vec<_>, _>>()?;
        for place in self.places() {
            if let Some(ty) = types.get(place) {
                section.function(self.type_index(*ty)?);
            }
        }
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        section: &mut CodeSection,
        _: CodeSectionReader<'_>,
    ) -> Result<(), Error> {
        for place in self.places() {
            let Some(function) = self.code.functions.get(place) else { continue };
            let mut written = self.new_function_with_parsed_locals(&function.body)?;
            for step in &function.steps {
                written.instruction(&self.instruction(step.operator.clone())?);
            }
            section.function(&written);
        }
        Ok(())
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
