//! What the linker says of addresses in code and data, when it was told to (`--emit-relocs`): which are of functions, which of data, and of what. The form is
//! the tool conventions' (<https://github.com/WebAssembly/tool-conventions/blob/main/Linking.md>).

use std::collections::BTreeMap;
use std::ops::Range;

use wasmparser_of_encoder::{
    KnownCustom, Linking, Parser, Payload, RelocationEntry, RelocationType, SymbolFlags, SymbolInfo,
};

use super::SlimError;
use super::code::Code;

/// What an address is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The function with this index: its place in the table.
    Function(u32),
    /// The symbol with this place in [`Relocations::symbols`].
    Data(usize),
}

/// A piece of data: whoever has an address in it may see all of it, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Symbol {
    /// The data segment, and which bytes of it.
    pub(super) segment: usize,
    pub(super) bytes: Range<usize>,
    /// Somebody outside may look for it.
    pub(super) is_root: bool,
}

/// All addresses in a module.
#[derive(Debug)]
pub(super) struct Relocations {
    /// By where they are written, in bytes from the module's first.
    addresses: BTreeMap<u64, Target>,
    pub(super) symbols: Vec<Symbol>,
}

impl Relocations {
    /// `None` when the linker has not said, or has said what is not known here. `code` is all that the module has.
    pub(super) fn of(wasm: &[u8], code: &Code<'_>) -> Result<Option<Self>, SlimError> {
        let found = Self::read(wasm)?;
        Ok(found.filter(|found| found.is_of(code)))
    }

    /// Whether every address in the code stands where an operator has an operand: else places are counted otherwise than is thought here.
    fn is_of(&self, code: &Code<'_>) -> bool {
        let (Some(first), Some(last)) = (code.functions.first(), code.functions.last()) else { return true };
        let within = first.body.range().start..last.body.range().end;
        let steps = || code.functions.iter().flat_map(|function| &function.steps);
        let operands = steps().map(|step| {
            let operand = step.place.start.saturating_add(1)..step.place.end;
            self.addresses.range(operand).count()
        });
        operands.sum::<usize>() == self.addresses.range(within).count()
    }

    fn read(wasm: &[u8]) -> Result<Option<Self>, SlimError> {
        let (mut code, mut data) = (None, None);
        let (mut of_code, mut of_data) = (None, None);
        let mut table = Vec::new();
        let mut symbols = Vec::new();
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::CodeSectionStart { unchecked_range, .. } => code = Some(unchecked_range.start),
                Payload::DataSection(section) => data = Some(section.range().start),
                Payload::CustomSection(section) => match (section.name(), section.as_known()) {
                    ("reloc.CODE", KnownCustom::Reloc(found)) => of_code = Some(found.entries()),
                    ("reloc.DATA", KnownCustom::Reloc(found)) => of_data = Some(found.entries()),
                    (_, KnownCustom::Linking(found)) => {
                        for part in found.subsections() {
                            let Linking::SymbolTable(found) = part? else { continue };
                            for symbol in found {
                                table.push(target(&symbol?, &mut symbols));
                            }
                        }
                    }
                    _ => {}
                },
                _ => {}
            }
        }
        let (Some(code), Some(of_code)) = (code, of_code) else { return Ok(None) };
        let mut addresses = BTreeMap::new();
        let places = of_code.into_iter().map(|entry| (code, entry));
        let places = places.chain(of_data.into_iter().flatten().map(|entry| (data.unwrap_or(0), entry)));
        for (begin, entry) in places {
            let entry: RelocationEntry = entry?;
            match entry.ty {
                RelocationType::FunctionIndexLeb
                | RelocationType::TypeIndexLeb
                | RelocationType::GlobalIndexLeb
                | RelocationType::TableNumberLeb => {}
                RelocationType::TableIndexSleb
                | RelocationType::TableIndexI32
                | RelocationType::MemoryAddrLeb
                | RelocationType::MemoryAddrSleb
                | RelocationType::MemoryAddrI32 => {
                    let Some(found) = usize::try_from(entry.index).ok().and_then(|index| table.get(index))
                    else {
                        return Ok(None);
                    };
                    // What is declared and not defined has no address.
                    if let Some(found) = found {
                        addresses.insert(begin.saturating_add(entry.offset.into()), *found);
                    }
                }
                _ => return Ok(None),
            }
        }
        Ok(Some(Self { addresses, symbols }))
    }

    /// The addresses that are written in these bytes of the module.
    pub(super) fn within(&self, bytes: Range<u64>) -> impl Iterator<Item = (u64, Target)> {
        self.addresses.range(bytes).map(|(place, target)| (*place, *target))
    }
}

/// What a symbol of the linker's table is; data is added to `symbols`.
fn target(symbol: &SymbolInfo<'_>, symbols: &mut Vec<Symbol>) -> Option<Target> {
    match symbol {
        SymbolInfo::Func { index, .. } => Some(Target::Function(*index)),
        SymbolInfo::Data { flags, symbol: Some(found), .. } => {
            let place = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
            let begin = place(found.offset);
            symbols.push(Symbol {
                segment: place(found.index),
                bytes: begin..begin.saturating_add(place(found.size)),
                is_root: flags.intersects(SymbolFlags::NO_STRIP | SymbolFlags::EXPORTED),
            });
            Some(Target::Data(symbols.len().saturating_sub(1)))
        }
        _ => None,
    }
}
