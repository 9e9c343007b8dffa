//! Long constants that come often become globals that never change: reading one takes two bytes, where Rust's word for "nothing here" takes six.

use std::collections::{BTreeMap, HashMap};

use wasm_encoder::reencode::{Error, Reencode, RoundtripReencoder, utils};
use wasm_encoder::{CodeSection, ConstExpr, GlobalSection, GlobalType, Instruction, Module, ValType};
use wasmparser_of_encoder::{
    CodeSectionReader, FunctionBody, GlobalSectionReader, Operator, Parser, Payload, TypeRef,
};

use super::slim::SlimError;

/// Globals whose index takes one byte.
const SHORT: usize = 128;

/// The bytes of reading one of these.
const READ: usize = 2;

/// The bytes of a global beside its constant: type, whether it changes, end.
const GLOBAL: usize = 3;

/// A constant; floats by their bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Constant {
    I32(i32),
    I64(i64),
    F64(u64),
}

impl Constant {
    fn of(operator: &Operator<'_>) -> Option<Self> {
        match operator {
            Operator::I32Const { value } => Some(Self::I32(*value)),
            Operator::I64Const { value } => Some(Self::I64(*value)),
            Operator::F64Const { value } => Some(Self::F64(value.bits())),
            _ => None,
        }
    }

    fn global(self) -> (ValType, ConstExpr) {
        match self {
            Self::I32(value) => (ValType::I32, ConstExpr::i32_const(value)),
            Self::I64(value) => (ValType::I64, ConstExpr::i64_const(value)),
            Self::F64(bits) => (ValType::F64, ConstExpr::f64_const(f64::from_bits(bits).into())),
        }
    }
}

/// The module with its long constants as globals, or as it is when that saves nothing.
///
/// # Errors
/// When it cannot be read.
pub(super) fn constants(wasm: &[u8]) -> Result<Vec<u8>, SlimError> {
    let mut known = 0_usize;
    let mut has_section = false;
    // How often each comes, and its bytes.
    let mut uses: HashMap<Constant, (usize, usize)> = HashMap::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    known = known.saturating_add(usize::from(matches!(import?.ty, TypeRef::Global(_))));
                }
            }
            Payload::GlobalSection(section) => {
                has_section = true;
                known = known.saturating_add(usize::try_from(section.count()).unwrap_or(usize::MAX));
            }
            Payload::CodeSectionEntry(body) => {
                for (operator, size) in operators(&body)? {
                    if let Some(constant) = Constant::of(&operator) {
                        let (count, _) = *uses.entry(constant).or_default();
                        uses.insert(constant, (count.saturating_add(1), size));
                    }
                }
            }
            _ => {}
        }
    }
    let saved = |(count, size): &(usize, usize)| {
        let each = size.saturating_sub(READ);
        each.saturating_mul(*count).checked_sub(size.saturating_add(GLOBAL)).filter(|saved| *saved > 0)
    };
    let worth = uses.iter().filter_map(|(constant, uses)| Some((saved(uses)?, *constant)));
    let mut worth: Vec<(usize, Constant)> = worth.collect();
    worth.sort_unstable_by(|a, b| b.cmp(a));
    worth.truncate(SHORT.saturating_sub(known));
    if worth.is_empty() || !has_section {
        return Ok(wasm.to_vec());
    }
    let first = u32::try_from(known).unwrap_or(u32::MAX);
    let globals = (first..).zip(worth).map(|(index, (_, constant))| (constant, index)).collect();
    let mut module = Module::new();
    Writer { globals }.parse_core_module(&mut module, Parser::new(0), wasm)?;
    Ok(module.finish())
}

/// The operators of a body, and the bytes of each.
fn operators<'w>(body: &FunctionBody<'w>) -> Result<Vec<(Operator<'w>, usize)>, SlimError> {
    let mut reader = body.get_operators_reader()?;
    let mut found = Vec::new();
    while !reader.eof() {
        let begin = reader.original_position();
        let operator = reader.read()?;
        let size = reader.original_position().saturating_sub(begin);
        found.push((operator, usize::try_from(size).unwrap_or(usize::MAX)));
    }
    Ok(found)
}

struct Writer {
    globals: BTreeMap<Constant, u32>,
}

impl Reencode for Writer {
    type Error = std::convert::Infallible;

    fn parse_global_section(
        &mut self,
        globals: &mut GlobalSection,
        section: GlobalSectionReader<'_>,
    ) -> Result<(), Error> {
        utils::parse_global_section(&mut RoundtripReencoder, globals, section)?;
        let mut new: Vec<(u32, Constant)> =
            self.globals.iter().map(|(constant, index)| (*index, *constant)).collect();
        new.sort_unstable();
        for (_, constant) in new {
            let (val_type, value) = constant.global();
            globals.global(GlobalType { val_type, mutable: false, shared: false }, &value);
        }
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: CodeSectionReader<'_>,
    ) -> Result<(), Error> {
        for body in section {
            let body = body?;
            let mut written = self.new_function_with_parsed_locals(&body)?;
            for operator in body.get_operators_reader()? {
                let operator = operator?;
                let global = Constant::of(&operator).and_then(|constant| self.globals.get(&constant));
                written.instruction(&match global {
                    Some(index) => Instruction::GlobalGet(*index),
                    None => self.instruction(operator)?,
                });
            }
            code.function(&written);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The operators of the only function of a module, and of its globals.
    fn constants_of(body: &str) -> (Vec<String>, usize) {
        let module = format!("(module (global (mut i32) (i32.const 7)) (func (param i32) {body}))");
        let wasm = constants(&wat::parse_str(module).unwrap()).unwrap();
        wasmparser_of_encoder::Validator::new().validate_all(&wasm).unwrap();
        let (mut found, mut globals) = (Vec::new(), 0);
        for payload in Parser::new(0).parse_all(&wasm) {
            match payload.unwrap() {
                Payload::GlobalSection(section) => globals = section.count() as usize,
                Payload::CodeSectionEntry(body) => {
                    let operators = operators(&body).unwrap();
                    found = operators.iter().map(|(operator, _)| format!("{operator:?}")).collect();
                }
                _ => {}
            }
        }
        (
            found
                .into_iter()
                .filter(|operator| operator.contains("Const") || operator.contains("Global"))
                .collect(),
            globals,
        )
    }

    #[test]
    fn what_is_long_and_often_is_a_global() {
        let nothing = "(drop (i32.const 0x80000000))";
        let (found, globals) = constants_of(&nothing.repeat(4));
        assert_eq!((found, globals), (vec!["GlobalGet { global_index: 1 }".to_owned(); 4], 2));
        let (found, globals) =
            constants_of(&["(drop (i64.const 0x4_0000_0000))", "(drop (f64.const -0.5))"].concat().repeat(3));
        let expected = ["GlobalGet { global_index: 2 }", "GlobalGet { global_index: 1 }"].concat().repeat(3);
        assert_eq!((found.concat(), globals), (expected, 3));
    }

    #[test]
    fn what_is_short_or_rare_stays() {
        assert_eq!(constants_of(&"(drop (i32.const 5))".repeat(100)).1, 1);
        assert_eq!(constants_of(&"(drop (i32.const 0x80000000))".repeat(2)).1, 1);
    }
}
