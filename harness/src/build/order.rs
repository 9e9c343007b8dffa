//! The functions that are called from the most places come first: their numbers are the shortest, and a call is little more than a number.

use std::cmp::Reverse;

use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{CodeSection, FunctionSection, Module};
use wasmparser_of_encoder::{CodeSectionReader, FunctionSectionReader, Operator, Parser, Payload, TypeRef};

use super::slim::SlimError;

/// A module with its functions in another order.
#[derive(Clone, Debug)]
pub struct Ordered {
    /// The module.
    pub wasm: Vec<u8>,
    /// The new number of each function by its old one. Those that are imported have the numbers they had.
    pub numbers: Vec<u32>,
}

/// Puts the functions in order, in a module without names.
///
/// # Errors
/// When the module cannot be read.
pub fn order(wasm: &[u8]) -> Result<Ordered, SlimError> {
    let (mut imported, mut uses) = (0_usize, Vec::new());
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let is_function = matches!(import?.ty, TypeRef::Func(_) | TypeRef::FuncExact(_));
                    imported = imported.saturating_add(usize::from(is_function));
                }
            }
            Payload::FunctionSection(section) => {
                let all = imported.saturating_add(usize::try_from(section.count()).unwrap_or(usize::MAX));
                uses = vec![0_usize; all];
            }
            Payload::CodeSectionEntry(body) => {
                for operator in body.get_operators_reader()? {
                    let called = match operator? {
                        Operator::Call { function_index } | Operator::RefFunc { function_index } => {
                            function_index
                        }
                        _ => continue,
                    };
                    let uses = usize::try_from(called).ok().and_then(|called| uses.get_mut(called));
                    if let Some(uses) = uses {
                        *uses = uses.saturating_add(1);
                    }
                }
            }
            _ => {}
        }
    }
    let mut places: Vec<usize> = (imported..uses.len()).collect();
    // Equal ones as they were: the same module gives the same bytes.
    places.sort_by_key(|place| Reverse(uses.get(*place).copied()));
    let mut numbers: Vec<u32> = (0..).take(uses.len()).collect();
    for (new, old) in (imported..).zip(&places) {
        if let (Some(number), Ok(new)) = (numbers.get_mut(*old), u32::try_from(new)) {
            *number = new;
        }
    }
    for place in &mut places {
        *place = place.saturating_sub(imported);
    }
    let mut module = Module::new();
    let mut writer = Writer { numbers, places };
    writer.parse_core_module(&mut module, Parser::new(0), wasm)?;
    Ok(Ordered { wasm: module.finish(), numbers: writer.numbers })
}

struct Writer {
    /// New numbers by old ones.
    numbers: Vec<u32>,
    /// The functions that are not imported, by their old places among such, in their new order.
    places: Vec<usize>,
}

impl Reencode for Writer {
    type Error = std::convert::Infallible;

    fn function_index(&mut self, index: u32) -> Result<u32, Error> {
        let found = usize::try_from(index).ok().and_then(|index| self.numbers.get(index).copied());
        Ok(found.unwrap_or(index))
    }

    fn parse_function_section(
        &mut self,
        section: &mut FunctionSection,
        functions: FunctionSectionReader<'_>,
    ) -> Result<(), Error> {
        let types = functions.into_iter().collect::<Result<Vec<_>, _>>()?;
        for ty in self.places.clone().into_iter().filter_map(|place| types.get(place)) {
            section.function(self.type_index(*ty)?);
        }
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        section: &mut CodeSection,
        code: CodeSectionReader<'_>,
    ) -> Result<(), Error> {
        let bodies = code.into_iter().collect::<Result<Vec<_>, _>>()?;
        for body in self.places.clone().into_iter().filter_map(|place| bodies.get(place)) {
            self.parse_function_body(section, body.clone())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_called_most_comes_first() {
        let wasm = wat::parse_str(
            "(module (import \"env\" \"f\" (func))
              (func (export \"a\")) (func (param i32)) (func (param i64) (call 2 (i32.const 1)))
              (func (export \"d\") (call 3 (i64.const 1)) (call 3 (i64.const 2)) (call 0))
              (table funcref (elem 2 3)))",
        )
        .unwrap();
        let ordered = order(&wasm).unwrap();
        assert_eq!(ordered.numbers, [0, 3, 2, 1, 4]);
        wasmparser_of_encoder::Validator::new().validate_all(&ordered.wasm).unwrap();
        assert_eq!(order(&ordered.wasm).unwrap().wasm, ordered.wasm);
        assert!(order(b"\0asm\x01\0\0\0").unwrap().numbers.is_empty());
        assert!(order(b"no module").is_err());
    }
}
