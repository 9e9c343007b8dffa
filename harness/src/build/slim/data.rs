//! The data of a module without what nobody has the address of, and without zeros: memory is zero at first.

use std::ops::Range;

use wasmparser_of_encoder::{Data, DataKind, Operator, Parser, Payload};

use super::SlimError;
use super::code::Code;
use super::relocations::Relocations;

/// The bytes of zeros that are worth a segment of its own behind them: its header has about so many.
const GAP: usize = 10;

/// The segments of a module whose data may be cut.
#[derive(Debug)]
pub(super) struct Segments<'w> {
    pub(super) all: Vec<Segment<'w>>,
}

/// A segment that is in memory from the beginning.
#[derive(Debug)]
pub(super) struct Segment<'w> {
    /// Where in memory.
    pub(super) address: u32,
    pub(super) bytes: &'w [u8],
    /// Where in the module.
    pub(super) place: u64,
}

/// A part of what is left.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) address: u32,
    pub(super) bytes: Vec<u8>,
}

impl<'w> Segments<'w> {
    /// `None` when there is more than the plain: a memory that was there before, segments that code asks for, or that overlap.
    pub(super) fn of(wasm: &'w [u8], code: &Code<'_>) -> Result<Option<Self>, SlimError> {
        let mut all: Vec<Segment<'w>> = Vec::new();
        let mut has_own_memory = false;
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::MemorySection(memories) => has_own_memory = memories.count() == 1,
                Payload::DataSection(section) => {
                    for data in section {
                        let Some(segment) = segment(&data?)? else { return Ok(None) };
                        let begins_behind = all.last().is_none_or(|before| {
                            u64::from(before.address).saturating_add(before.bytes.len() as u64)
                                <= segment.address.into()
                        });
                        if !begins_behind {
                            return Ok(None);
                        }
                        all.push(segment);
                    }
                }
                _ => {}
            }
        }
        let asks = code
            .functions
            .iter()
            .flat_map(|function| &function.steps)
            .any(|step| matches!(step.operator, Operator::MemoryInit { .. } | Operator::DataDrop { .. }));
        Ok((has_own_memory && !asks).then_some(Self { all }))
    }

    /// What is left when of the symbols only these are used. Bytes that are of no symbol stay.
    pub(super) fn parts(&self, relocations: &Relocations, is_used: &[bool]) -> Vec<Part> {
        let mut parts = Vec::new();
        for (index, segment) in self.all.iter().enumerate() {
            let mut bytes = segment.bytes.to_vec();
            let mut stays = vec![true; bytes.len()];
            let symbols =
                || relocations.symbols.iter().zip(is_used).filter(|(symbol, _)| symbol.segment == index);
            for wanted in [false, true] {
                for (symbol, _) in symbols().filter(|(_, used)| **used == wanted) {
                    stays
                        .get_mut(symbol.bytes.clone())
                        .into_iter()
                        .flatten()
                        .for_each(|stays| *stays = wanted);
                }
            }
            bytes.iter_mut().zip(&stays).filter(|(_, stays)| !**stays).for_each(|(byte, _)| *byte = 0);
            for range in runs(&bytes) {
                let address = u32::try_from(range.start).unwrap_or(u32::MAX).saturating_add(segment.address);
                parts.push(Part { address, bytes: bytes.get(range).unwrap_or_default().to_vec() });
            }
        }
        parts
    }
}

fn segment<'w>(data: &Data<'w>) -> Result<Option<Segment<'w>>, SlimError> {
    let DataKind::Active { memory_index: 0, offset_expr } = &data.kind else { return Ok(None) };
    let mut operators = offset_expr.get_operators_reader();
    let Operator::I32Const { value } = operators.read()? else { return Ok(None) };
    let place = data.range.end.saturating_sub(data.data.len() as u64);
    Ok(matches!(operators.read()?, Operator::End).then_some(Segment {
        address: value.cast_unsigned(),
        bytes: data.data,
        place,
    }))
}

/// Where there is something, with at most [`GAP`] zeros in between.
fn runs(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte != 0) {
        match runs.last_mut() {
            Some(run) if at.saturating_sub(run.end) <= GAP => run.end = at.saturating_add(1),
            _ => runs.push(at..at.saturating_add(1)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_between_what_is_there_are_left_out_when_there_are_many() {
        assert_eq!(runs(&[0; 30]), Vec::<Range<usize>>::new());
        let mut bytes = [0; 40];
        for at in [3, 13, 39] {
            bytes[at] = 1;
        }
        assert_eq!(runs(&bytes), [3..14, 39..40]);
    }
}
