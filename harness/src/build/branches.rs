//! Jumps that a block's end does as well go: LLVM writes `if` and `else` as blocks that are left early, which takes twice the bytes.
//!
//! Only blocks without parameters and results are touched, of functions that use nothing newer than WebAssembly 2.0.

mod read;
mod shorten;

use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{CodeSection, Function, Instruction, Module};
use wasmparser_of_encoder::{BlockType, CodeSectionReader, Operator, Parser};

use super::slim::SlimError;

/// Where a jump goes: the number of a block of the function, in the order they begin; 0 is the function.
type Label = usize;

/// The label of the function.
const FUNCTION: Label = 0;

/// A part of a body. Heights are of the whole stack of operands: what is on it before a block, and behind the condition of a jump.
#[derive(Clone, Debug)]
enum Item<'w> {
    /// Anything else.
    Operator(Operator<'w>),
    /// `br`, and `return` where the function has no results.
    Jump { to: Label, height: usize },
    /// `br_if`
    JumpIf { to: Label, height: usize },
    /// `br_table`, its default last.
    Table(Vec<Label>),
    /// `block`
    Block(Inner<'w>),
    /// `loop`
    Loop(Inner<'w>),
    /// `if`, and what is behind its `else`.
    If(Inner<'w>, Option<Vec<Item<'w>>>),
}

/// A block and what is in it.
#[derive(Clone, Debug)]
struct Inner<'w> {
    label: Label,
    ty: BlockType,
    height: usize,
    items: Vec<Item<'w>>,
}

impl Inner<'_> {
    fn is_plain(&self) -> bool {
        self.ty == BlockType::Empty
    }
}

impl Item<'_> {
    /// Whether nothing comes behind it.
    fn is_end(&self) -> bool {
        matches!(
            self,
            Item::Jump { .. } | Item::Table(_) | Item::Operator(Operator::Return | Operator::Unreachable)
        )
    }
}

/// The module with fewer jumps.
///
/// # Errors
/// When it is not valid.
pub fn branches(wasm: &[u8]) -> Result<Vec<u8>, SlimError> {
    let mut bodies = read::read(wasm)?;
    for body in bodies.iter_mut().flatten() {
        shorten::shorten(body);
    }
    let mut module = Module::new();
    Writer { bodies }.parse_core_module(&mut module, Parser::new(0), wasm)?;
    Ok(module.finish())
}

/// The body of a function.
struct Body<'w> {
    items: Vec<Item<'w>>,
    /// How many jumps there are to each label.
    jumps: Vec<usize>,
    has_results: bool,
}

struct Writer<'w> {
    /// `None` is left as it is.
    bodies: Vec<Option<Body<'w>>>,
}

impl Reencode for Writer<'_> {
    type Error = std::convert::Infallible;

    fn parse_code_section(
        &mut self,
        section: &mut CodeSection,
        code: CodeSectionReader<'_>,
    ) -> Result<(), Error> {
        for (body, read) in code.into_iter().zip(std::mem::take(&mut self.bodies)) {
            let body = body?;
            let Some(read) = read else {
                self.parse_function_body(section, body)?;
                continue;
            };
            let mut written = self.new_function_with_parsed_locals(&body)?;
            let mut labels = vec![FUNCTION];
            self.write(&read.items, &mut labels, &mut written)?;
            written.instruction(&Instruction::End);
            section.function(&written);
        }
        Ok(())
    }
}

impl Writer<'_> {
    fn write(
        &mut self,
        items: &[Item<'_>],
        labels: &mut Vec<Label>,
        written: &mut Function,
    ) -> Result<(), Error> {
        for item in items {
            match item {
                Item::Operator(operator) => {
                    written.instruction(&self.instruction(operator.clone())?);
                }
                Item::Jump { to: FUNCTION, .. } => {
                    written.instruction(&Instruction::Return);
                }
                Item::Jump { to, .. } => {
                    written.instruction(&Instruction::Br(depth(labels, *to)));
                }
                Item::JumpIf { to, .. } => {
                    written.instruction(&Instruction::BrIf(depth(labels, *to)));
                }
                Item::Table(targets) => {
                    let mut targets: Vec<u32> = targets.iter().map(|to| depth(labels, *to)).collect();
                    let default = targets.pop().unwrap_or(0);
                    written.instruction(&Instruction::BrTable(targets.into(), default));
                }
                Item::Block(inner) => {
                    written.instruction(&Instruction::Block(self.block_type(inner.ty)?));
                    self.write_inner(inner, labels, written)?;
                    written.instruction(&Instruction::End);
                }
                Item::Loop(inner) => {
                    written.instruction(&Instruction::Loop(self.block_type(inner.ty)?));
                    self.write_inner(inner, labels, written)?;
                    written.instruction(&Instruction::End);
                }
                Item::If(inner, other) => {
                    written.instruction(&Instruction::If(self.block_type(inner.ty)?));
                    self.write_inner(inner, labels, written)?;
                    if let Some(other) = other {
                        written.instruction(&Instruction::Else);
                        labels.push(inner.label);
                        self.write(other, labels, written)?;
                        labels.pop();
                    }
                    written.instruction(&Instruction::End);
                }
            }
        }
        Ok(())
    }

    fn write_inner(
        &mut self,
        inner: &Inner<'_>,
        labels: &mut Vec<Label>,
        written: &mut Function,
    ) -> Result<(), Error> {
        labels.push(inner.label);
        self.write(&inner.items, labels, written)?;
        labels.pop();
        Ok(())
    }
}

/// How many blocks a jump leaves, of those around it.
fn depth(labels: &[Label], to: Label) -> u32 {
    let depth = labels.iter().rev().position(|label| *label == to);
    depth.and_then(|depth| u32::try_from(depth).ok()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
