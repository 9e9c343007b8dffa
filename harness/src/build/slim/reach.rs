//! What can be reached from the exports that stay, the start function and globals; without the linker's word also from tables, and all data.

use std::collections::BTreeSet;

use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{CodeSection, ElementSection, ExportSection, ImportSection, Module};
use wasmparser_of_encoder::{
    CodeSectionReader, CustomSectionReader, ElementSectionReader, Export, ExternalKind, ImportSectionReader,
    Parser,
};

use super::SlimError;
use super::code::Code;
use super::data::{Part, Segments};
use super::relocations::{Relocations, Target};

/// What stays.
pub(super) struct Reached {
    /// The functions, in the order they were in.
    pub(super) functions: Vec<usize>,
    /// The data; `None`: as it is.
    pub(super) data: Option<Vec<Part>>,
}

/// What the linker says of addresses, and the data that they are of; `None` when it says nothing, or what is not known here.
pub(super) type Linked<'w> = Option<(Relocations, Segments<'w>)>;

pub(super) fn linked<'w>(wasm: &'w [u8], code: &Code<'_>) -> Result<Linked<'w>, SlimError> {
    let Some(segments) = Segments::of(wasm, code)? else { return Ok(None) };
    Ok(Relocations::of(wasm, code)?.map(|relocations| (relocations, segments)))
}

pub(super) fn reached(
    wasm: &[u8],
    kept: &BTreeSet<String>,
    code: &Code<'_>,
    linked: &Linked<'_>,
) -> Result<Reached, SlimError> {
    let mut marks = Marks { kept, tables: linked.is_none(), met: Vec::new() };
    marks.parse_core_module(&mut Module::new(), Parser::new(0), wasm)?;
    let mut reached = vec![false; code.len()];
    let mut data = Data::of(linked.as_ref());
    loop {
        while let Some(index) = marks.met.pop() {
            let index = usize::try_from(code.stands_for(index)).unwrap_or(usize::MAX);
            if reached.get_mut(index).is_none_or(|reached| std::mem::replace(reached, true)) {
                continue;
            }
            for step in code.function(index).into_iter().flat_map(|function| &function.steps) {
                utils::instruction(&mut marks, step.operator.clone())?;
                data.look(step.place.clone());
            }
        }
        match data.next() {
            None => break,
            Some(Target::Data(symbol)) => data.enter(symbol),
            Some(Target::Function(index)) => marks.met.push(index),
        }
    }
    let functions = (0..code.len()).filter(|index| reached.get(*index) == Some(&true)).collect();
    let data = linked.as_ref().map(|(relocations, segments)| segments.parts(relocations, &data.used));
    Ok(Reached { functions, data })
}

/// Which data is used.
struct Data<'l> {
    linked: Option<&'l (Relocations, Segments<'l>)>,
    /// By symbol.
    used: Vec<bool>,
    met: Vec<Target>,
}

impl<'l> Data<'l> {
    fn of(linked: Option<&'l (Relocations, Segments<'l>)>) -> Self {
        let mut data = Self { linked, used: Vec::new(), met: Vec::new() };
        let Some((relocations, segments)) = linked else { return data };
        data.used = vec![false; relocations.symbols.len()];
        let roots = relocations.symbols.iter().enumerate().filter(|(_, symbol)| symbol.is_root);
        data.met.extend(roots.map(|(place, _)| Target::Data(place)));
        // Addresses in bytes that are of no symbol.
        for (index, segment) in segments.all.iter().enumerate() {
            let end = segment.place.saturating_add(segment.bytes.len() as u64);
            for (place, target) in relocations.within(segment.place..end) {
                let at = usize::try_from(place.saturating_sub(segment.place)).unwrap_or(usize::MAX);
                let is_of = |symbol: &super::relocations::Symbol| {
                    symbol.segment == index && symbol.bytes.contains(&at)
                };
                if !relocations.symbols.iter().any(is_of) {
                    data.met.push(target);
                }
            }
        }
        data
    }

    /// Notes the addresses in these bytes of the module.
    fn look(&mut self, place: std::ops::Range<u64>) {
        if let Some((relocations, _)) = self.linked.filter(|_| !place.is_empty()) {
            self.met.extend(relocations.within(place).map(|(_, target)| target));
        }
    }

    /// A symbol is used, and so is what it has the addresses of.
    fn enter(&mut self, symbol: usize) {
        let Some((relocations, segments)) = self.linked else { return };
        let Some(used) = self.used.get_mut(symbol).filter(|used| !**used) else { return };
        *used = true;
        if let Some(symbol) = relocations.symbols.get(symbol)
            && let Some(segment) = segments.all.get(symbol.segment)
        {
            let at = |at: usize| segment.place.saturating_add(at as u64);
            self.look(at(symbol.bytes.start)..at(symbol.bytes.end));
        }
    }

    fn next(&mut self) -> Option<Target> {
        self.met.pop()
    }
}

/// Notes every function that is referred to. Passes over imports, exports that go, custom sections, and bodies, which are read one by one.
struct Marks<'k> {
    kept: &'k BTreeSet<String>,
    /// What is in a table may be called.
    tables: bool,
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

    fn parse_element_section(
        &mut self,
        section: &mut ElementSection,
        elements: ElementSectionReader<'_>,
    ) -> Result<(), Error> {
        if self.tables { utils::parse_element_section(self, section, elements) } else { Ok(()) }
    }

    fn parse_code_section(&mut self, _: &mut CodeSection, _: CodeSectionReader<'_>) -> Result<(), Error> {
        Ok(())
    }

    fn parse_custom_section(&mut self, _: &mut Module, _: CustomSectionReader<'_>) -> Result<(), Error> {
        Ok(())
    }
}
