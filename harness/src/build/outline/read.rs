//! The straight code of a module: its steps, and what is on the stack between them.

use std::collections::HashMap;
use std::hash::Hash;
use std::ops::Range;

use wasmparser_of_encoder::{
    FuncToValidate, FuncValidatorAllocations, FunctionBody, Operator, Parser, ValType, ValidPayload,
    Validator, ValidatorResources,
};

use super::live;
use crate::build::slim::SlimError;

/// The bodies of a module.
pub(super) struct Code<'w> {
    pub(super) bodies: Vec<Body<'w>>,
    /// How many functions there are, with those that are imported.
    pub(super) functions: usize,
}

/// The body of a function.
pub(super) struct Body<'w> {
    /// All of it, with its locals.
    pub(super) bytes: &'w [u8],
    pub(super) steps: Vec<Step>,
}

/// A step, an operator of a body.
pub(super) struct Step {
    /// The same for all that do the same, whichever local they read.
    pub(super) token: u32,
    /// The same for all that do the same, whichever constant they have, too.
    pub(super) form: u32,
    /// Which local it reads or sets, and what that holds.
    pub(super) local: Option<(u32, ValType)>,
    /// Whether it is a constant, of 32 or 64 bits.
    pub(super) is_constant: bool,
    /// Where in the body.
    pub(super) place: Range<usize>,
    /// Whether it may go elsewhere.
    pub(super) may_move: bool,
    /// What it does with the local.
    pub(super) access: Option<Access>,
    /// What it does to the nesting of blocks: 1 begins one, -1 ends one.
    pub(super) nests: isize,
    /// How many blocks it has to have around it: 1 is the innermost.
    pub(super) needs: u32,
    /// Locals that may be read before they are set, from here on; a bit each.
    pub(super) live: Vec<u64>,
    /// What is on the stack before it, the top last.
    pub(super) stack: Vec<ValType>,
    /// How many of these it does not touch.
    pub(super) untouched: usize,
}

/// The numbers of tokens.
#[derive(Default)]
struct Tokens<'w> {
    operators: HashMap<&'w [u8], u32>,
    locals: HashMap<(Access, ValType), u32>,
    constants: HashMap<ValType, u32>,
    last: u32,
}

/// The number of a key, which is new when the key is.
fn number<K: Eq + Hash>(numbers: &mut HashMap<K, u32>, key: K, last: &mut u32) -> u32 {
    *numbers.entry(key).or_insert_with(|| {
        *last = last.saturating_add(1);
        *last
    })
}

pub(super) fn read(wasm: &[u8]) -> Result<Code<'_>, SlimError> {
    let mut validator = Validator::new();
    let mut tokens = Tokens::default();
    let mut code = Code { bodies: Vec::new(), functions: 0 };
    let mut memory = FuncValidatorAllocations::default();
    for payload in Parser::new(0).parse_all(wasm) {
        if let ValidPayload::Func(function, body) = validator.payload(&payload?)? {
            code.functions = usize::try_from(function.index).unwrap_or(usize::MAX).saturating_add(1);
            let (body, unused) = read_body(function, &body, &mut tokens, memory)?;
            code.bodies.push(body);
            memory = unused;
        }
    }
    Ok(code)
}

fn read_body<'w>(
    function: FuncToValidate<ValidatorResources>,
    body: &FunctionBody<'w>,
    tokens: &mut Tokens<'w>,
    memory: FuncValidatorAllocations,
) -> Result<(Body<'w>, FuncValidatorAllocations), SlimError> {
    let mut validator = function.into_validator(memory);
    validator.read_locals(&mut body.get_binary_reader())?;
    let bytes = body.as_bytes();
    let mut reader = body.get_operators_reader()?;
    let start = body.range().start;
    let within = |at: u64| usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX);
    let mut steps: Vec<Step> = Vec::new();
    let mut operators = Vec::new();
    let mut loops = Loops::default();
    while !reader.eof() {
        let offset = reader.original_position();
        let operator = reader.read()?;
        let place = within(offset)..within(reader.original_position());
        let is_reached = validator.get_control_frame(0).is_some_and(|frame| !frame.unreachable);
        loops.enter(validator.control_stack_height(), &operator, steps.len());
        let height = usize::try_from(validator.operand_stack_height()).unwrap_or(0);
        let stack: Option<Vec<ValType>> =
            (0..height).rev().map(|depth| validator.get_operand_type(depth).flatten()).collect();
        let pops = operator.operator_arity(&validator).map(|(pops, _)| pops as usize);
        let constant = match operator {
            Operator::I32Const { .. } => Some(ValType::I32),
            Operator::I64Const { .. } => Some(ValType::I64),
            _ => None,
        };
        let access = Access::of(&operator);
        let local = access.and_then(|(_, local)| Some((local, validator.get_local_type(local)?)));
        let access = access.map(|(access, _)| access);
        let token = match access.zip(local) {
            Some((access, (_, ty))) => number(&mut tokens.locals, (access, ty), &mut tokens.last),
            None => {
                let operator = bytes.get(place.clone()).unwrap_or_default();
                number(&mut tokens.operators, operator, &mut tokens.last)
            }
        };
        let form = match constant {
            Some(ty) => number(&mut tokens.constants, ty, &mut tokens.last),
            None => token,
        };
        let (nests, needs) = nesting(&operator);
        // Behind a jump there is nothing but the end of a block.
        let is_end = matches!(operator, Operator::End | Operator::Else);
        let may_move = (is_reached || is_end) && stack.is_some() && pops.is_some() && is_known(&operator);
        let untouched = if is_reached { height.saturating_sub(pops.unwrap_or(0)) } else { height };
        validator.op(offset, &operator)?;
        operators.push(operator);
        steps.push(Step {
            token,
            form,
            local,
            access,
            nests,
            needs,
            live: Vec::new(),
            place,
            may_move,
            stack: stack.unwrap_or_default(),
            untouched,
            is_constant: constant.is_some(),
        });
    }
    for (step, is_tight) in steps.iter_mut().zip(loops.tight) {
        step.may_move &= !is_tight;
    }
    for (step, live) in steps.iter_mut().zip(live::live(&operators, validator.len_locals())) {
        step.live = live;
    }
    Ok((Body { bytes, steps }, validator.into_allocations()))
}

/// The loops around a step.
#[derive(Default)]
struct Loops {
    /// How deep in the body each begins, its first step, and whether something is called in it.
    open: Vec<(u32, usize, bool)>,
    /// By step: whether the innermost loop around it calls nothing.
    tight: Vec<bool>,
}

impl Loops {
    /// Takes the next step.
    fn enter(&mut self, depth: u32, operator: &Operator<'_>, step: usize) {
        while let Some((_, first, calls)) = self.open.pop_if(|(begin, ..)| *begin >= depth) {
            // What is in a loop within is decided already.
            if !calls {
                self.tight.get_mut(first..).unwrap_or_default().fill(true);
            }
        }
        self.tight.push(false);
        match operator {
            Operator::Loop { .. } => self.open.push((depth, step, false)),
            Operator::Call { .. } | Operator::CallIndirect { .. } => {
                self.open.iter_mut().for_each(|(_, _, calls)| *calls = true);
            }
            _ => {}
        }
    }
}

/// What is done with a local.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Access {
    Get,
    Set,
    Tee,
}

impl Access {
    /// What an operator does, and with which local.
    pub(super) fn of(operator: &Operator<'_>) -> Option<(Self, u32)> {
        match operator {
            Operator::LocalGet { local_index } => Some((Self::Get, *local_index)),
            Operator::LocalSet { local_index } => Some((Self::Set, *local_index)),
            Operator::LocalTee { local_index } => Some((Self::Tee, *local_index)),
            _ => None,
        }
    }
}

/// What an operator does to the nesting of blocks, and how many have to be around it in the same piece of code.
fn nesting(operator: &Operator<'_>) -> (isize, u32) {
    match operator {
        Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => (1, 0),
        Operator::End => (-1, 1),
        Operator::Else | Operator::Unreachable => (0, 1),
        Operator::Br { relative_depth } | Operator::BrIf { relative_depth } => {
            (0, relative_depth.saturating_add(1))
        }
        Operator::BrTable { targets } => {
            let furthest = targets.targets().flatten().chain([targets.default()]).max();
            (0, furthest.unwrap_or(u32::MAX).saturating_add(1))
        }
        _ => (0, 0),
    }
}

/// Whether it means the same in another function, its jumps aside. What is newer than WebAssembly 2.0 is left where it is.
pub(in crate::build) fn is_known(operator: &Operator<'_>) -> bool {
    macro_rules! is_old {
        ($( @$proposal:ident $op:ident $({ $($arg:ident: $argty:ty),* })? => $visit:ident ($($ann:tt)*))*) => {
            match operator {
                $( Operator::$op { .. } => is_old!(@$proposal), )*
                _ => false,
            }
        };
        (@mvp) => { true };
        (@sign_extension) => { true };
        (@saturating_float_to_int) => { true };
        (@bulk_memory) => { true };
        (@$proposal:ident) => { false };
    }
    !matches!(operator, Operator::Return | Operator::Nop) && wasmparser_of_encoder::for_each_operator!(is_old)
}
