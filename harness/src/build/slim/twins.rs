//! Functions that do the same become one: generic code is often the same for several types.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use wasm_encoder::CodeSection;
use wasm_encoder::reencode::{Error, Reencode};
use wasmparser_of_encoder::{Parser, Payload};

use super::SlimError;
use super::code::Code;

/// Who stands for each function: itself, or the first that does the same. Addresses of two such functions were different and still are, as each keeps its
/// place in the table.
pub(super) fn twins(wasm: &[u8], code: &Code<'_>) -> Result<Vec<u32>, SlimError> {
    let types = types(wasm)?;
    let mut writer = Writer { stands: (0..).take(code.len()).collect() };
    loop {
        let mut known = HashMap::new();
        let mut is_more = false;
        for (position, function) in code.functions.iter().enumerate() {
            let index = code.imported.saturating_add(position);
            let Ok(number) = u32::try_from(index) else { continue };
            if writer.stands.get(index) != Some(&number) {
                continue;
            }
            let mut written = writer.new_function_with_parsed_locals(&function.body)?;
            for step in &function.steps {
                written.instruction(&writer.instruction(step.operator.clone())?);
            }
            let mut section = CodeSection::new();
            section.function(&written);
            let mut bytes = Vec::new();
            wasm_encoder::Encode::encode(&section, &mut bytes);
            match known.entry((types.get(position).copied(), bytes)) {
                Entry::Vacant(first) => {
                    first.insert(number);
                }
                Entry::Occupied(first) => {
                    if let Some(stands) = writer.stands.get_mut(index) {
                        *stands = *first.get();
                        is_more = true;
                    }
                }
            }
        }
        if !is_more {
            break;
        }
    }
    Ok(writer.stands)
}

/// The types of the functions that are not imported.
fn types(wasm: &[u8]) -> Result<Vec<u32>, SlimError> {
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::FunctionSection(section) = payload? {
            return Ok(section.into_iter().collect::<Result<_, _>>()?);
        }
    }
    Ok(Vec::new())
}

/// Writes calls as those of who stands for the function.
struct Writer {
    stands: Vec<u32>,
}

impl Reencode for Writer {
    type Error = std::convert::Infallible;

    fn function_index(&mut self, index: u32) -> Result<u32, Error> {
        let found = usize::try_from(index).ok().and_then(|index| self.stands.get(index).copied());
        Ok(found.unwrap_or(index))
    }
}
