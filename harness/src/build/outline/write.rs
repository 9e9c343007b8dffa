//! Writes a module with repeated code made functions.

use std::collections::BTreeMap;

use wasm_encoder::reencode::{Error, Reencode, RoundtripReencoder, utils};
use wasm_encoder::{CodeSection, Function, FunctionSection, Instruction, Module, TypeSection, ValType};
use wasmparser_of_encoder::{CodeSectionReader, FunctionSectionReader, Parser, TypeSectionReader};

use super::read::{Access, Body, Code, Step};
use super::repeats::Repeat;
use crate::build::slim::SlimError;

pub(super) fn write(wasm: &[u8], code: &Code<'_>, repeats: &[Repeat]) -> Result<Vec<u8>, SlimError> {
    let mut calls = BTreeMap::new();
    for (number, repeat) in repeats.iter().enumerate() {
        calls.extend(repeat.places.iter().map(|place| (place.at(), number)));
    }
    let arguments = repeats.iter().map(|repeat| repeat.arguments(code)).collect();
    let mut writer = Writer { code, repeats, arguments, calls, types: Vec::new() };
    let mut module = Module::new();
    writer.parse_core_module(&mut module, Parser::new(0), wasm)?;
    Ok(module.finish())
}

struct Writer<'m> {
    code: &'m Code<'m>,
    repeats: &'m [Repeat],
    /// The arguments of each.
    arguments: Vec<Vec<usize>>,
    /// By body and step, which repeat is called there.
    calls: BTreeMap<(usize, usize), usize>,
    /// The type of each repeat.
    types: Vec<u32>,
}

impl Writer<'_> {
    /// The index of the function of a repeat.
    fn index(&self, number: usize) -> u32 {
        u32::try_from(self.code.functions.saturating_add(number)).unwrap_or(u32::MAX)
    }

    /// A body with calls instead of what is repeated.
    fn body(&self, number: usize, body: &Body<'_>) -> Vec<u8> {
        let mut written = Vec::new();
        let mut copied = 0_usize;
        let calls = self.calls.range((number, 0)..(number.saturating_add(1), 0));
        for ((_, step), repeat) in calls {
            let (Some(found), Some(arguments)) = (self.repeats.get(*repeat), self.arguments.get(*repeat))
            else {
                continue;
            };
            let steps = body.steps.get(*step..step.saturating_add(found.length)).unwrap_or_default();
            let (Some(first), Some(last)) = (steps.first(), steps.last()) else { continue };
            written.extend_from_slice(body.bytes.get(copied..first.place.start).unwrap_or_default());
            for step in arguments.iter().filter_map(|at| steps.get(*at)) {
                match step.local {
                    Some((local, _)) => encode(&Instruction::LocalGet(local), &mut written),
                    None => written.extend_from_slice(body.bytes.get(step.place.clone()).unwrap_or_default()),
                }
            }
            encode(&Instruction::Call(self.index(*repeat)), &mut written);
            for step in found.kept.iter().rev().filter_map(|at| steps.get(*at)) {
                if let Some((local, _)) = step.local {
                    encode(&Instruction::LocalSet(local), &mut written);
                }
            }
            copied = last.place.end;
        }
        written.extend_from_slice(body.bytes.get(copied..).unwrap_or_default());
        written
    }

    /// The function of a repeat: its operands go to the stack again, and what its arguments are come from there.
    fn function(&self, repeat: &Repeat, arguments: &[usize]) -> Option<Function> {
        let place = repeat.places.first()?;
        let steps = place.steps(self.code, repeat.length)?;
        let own = repeat.own(self.code);
        let types = repeat.types(self.code, &own);
        let types = types.iter().map(|ty| RoundtripReencoder.val_type(*ty)).collect::<Result<Vec<_>, _>>();
        let mut written = Function::new_with_locals_types(types.ok()?);
        let operands = u32::try_from(repeat.operands.len()).ok()?;
        for operand in 0..operands {
            written.instruction(&Instruction::LocalGet(operand));
        }
        // The local of the function that a step's local or constant is.
        let place_of = |at: usize, step: &Step| {
            let is_same = |first: &usize| {
                *first == at
                    || (step.local.is_some()
                        && steps.get(*first).is_some_and(|first| first.local == step.local))
            };
            let local = arguments.iter().chain(&own).position(is_same)?;
            u32::try_from(local).ok()?.checked_add(operands)
        };
        for (at, step) in steps.iter().enumerate() {
            let Some(local) = place_of(at, step) else {
                written.raw(place.bytes(self.code).get(step.place.clone())?.iter().copied());
                continue;
            };
            written.instruction(&match step.access {
                Some(Access::Set) => Instruction::LocalSet(local),
                Some(Access::Tee) => Instruction::LocalTee(local),
                _ => Instruction::LocalGet(local),
            });
        }
        for at in &repeat.kept {
            written.instruction(&Instruction::LocalGet(place_of(*at, steps.get(*at)?)?));
        }
        written.instruction(&Instruction::End);
        Some(written)
    }
}

fn encode(instruction: &Instruction<'_>, written: &mut Vec<u8>) {
    wasm_encoder::Encode::encode(instruction, written);
}

impl Reencode for Writer<'_> {
    type Error = std::convert::Infallible;

    fn parse_type_section(
        &mut self,
        types: &mut TypeSection,
        section: TypeSectionReader<'_>,
    ) -> Result<(), Error> {
        utils::parse_type_section(self, types, section)?;
        let mut known: Vec<(Vec<ValType>, Vec<ValType>)> = Vec::new();
        let before = types.len();
        for (repeat, arguments) in self.repeats.iter().zip(&self.arguments) {
            let arguments = repeat.types(self.code, arguments);
            let parameters = repeat.operands.iter().chain(&arguments);
            let parameters =
                parameters.map(|ty| RoundtripReencoder.val_type(*ty)).collect::<Result<Vec<_>, _>>()?;
            let kept = repeat.types(self.code, &repeat.kept);
            let results = repeat.results.iter().chain(&kept);
            let results =
                results.map(|ty| RoundtripReencoder.val_type(*ty)).collect::<Result<Vec<_>, _>>()?;
            let ty = (parameters, results);
            let place = known.iter().position(|known| *known == ty).unwrap_or_else(|| {
                types.ty().function(ty.0.iter().copied(), ty.1.iter().copied());
                known.push(ty);
                known.len().saturating_sub(1)
            });
            self.types.push(before.saturating_add(u32::try_from(place).unwrap_or(u32::MAX)));
        }
        Ok(())
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: FunctionSectionReader<'_>,
    ) -> Result<(), Error> {
        utils::parse_function_section(self, functions, section)?;
        for ty in &self.types {
            functions.function(*ty);
        }
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        section: &mut CodeSection,
        _: CodeSectionReader<'_>,
    ) -> Result<(), Error> {
        for (number, body) in self.code.bodies.iter().enumerate() {
            section.raw(&self.body(number, body));
        }
        for (repeat, arguments) in self.repeats.iter().zip(&self.arguments) {
            if let Some(function) = self.function(repeat, arguments) {
                section.function(&function);
            }
        }
        Ok(())
    }
}
