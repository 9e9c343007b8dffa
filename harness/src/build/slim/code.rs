//! The functions of a module, operator by operator.

use std::ops::Range;

use wasmparser_of_encoder::{FunctionBody, Operator, Parser, Payload, TypeRef};

use super::SlimError;

/// The code of a module.
pub(super) struct Code<'w> {
    /// How many functions are imported; they come first in the order of indices.
    pub(super) imported: usize,
    /// The others, in their order.
    pub(super) functions: Vec<Function<'w>>,
    /// Who stands for each function, by index; empty: everybody for itself.
    pub(super) stands: Vec<u32>,
}

/// A function that is not imported.
pub(super) struct Function<'w> {
    /// As it was read: its locals are taken from here.
    pub(super) body: FunctionBody<'w>,
    /// What it does; the last is its `end`.
    pub(super) steps: Vec<Step<'w>>,
}

/// An operator, and where in the module it was.
#[derive(Clone, Debug)]
pub(super) struct Step<'w> {
    pub(super) operator: Operator<'w>,
    pub(super) place: Range<u64>,
}

impl<'w> Step<'w> {
    /// One that was nowhere.
    pub(super) fn new(operator: Operator<'w>) -> Self {
        Self { operator, place: 0..0 }
    }
}

impl<'w> Code<'w> {
    pub(super) fn of(wasm: &'w [u8]) -> Result<Self, SlimError> {
        let mut found = Self { imported: 0, functions: Vec::new(), stands: Vec::new() };
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        found.imported = found.imported.saturating_add(usize::from(is_function(import?.ty)));
                    }
                }
                Payload::CodeSectionEntry(body) => {
                    let mut reader = body.get_operators_reader()?;
                    let mut steps = Vec::new();
                    while !reader.eof() {
                        let begin = reader.original_position();
                        let operator = reader.read()?;
                        steps.push(Step { operator, place: begin..reader.original_position() });
                    }
                    found.functions.push(Function { body, steps });
                }
                _ => {}
            }
        }
        Ok(found)
    }

    /// How many functions there are.
    pub(super) fn len(&self) -> usize {
        self.imported.saturating_add(self.functions.len())
    }

    /// Who stands for a function.
    pub(super) fn stands_for(&self, index: u32) -> u32 {
        usize::try_from(index).ok().and_then(|index| self.stands.get(index).copied()).unwrap_or(index)
    }

    /// The function with an index; `None` for an imported one.
    pub(super) fn function(&self, index: usize) -> Option<&Function<'w>> {
        self.functions.get(index.checked_sub(self.imported)?)
    }
}

pub(super) fn is_function(ty: TypeRef) -> bool {
    matches!(ty, TypeRef::Func(_) | TypeRef::FuncExact(_))
}
