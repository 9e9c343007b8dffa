//! The straight code of a module: its steps, and what is on the stack between them.

use std::collections::HashMap;
use std::hash::Hash;
use std::ops::Range;

use wasmparser_of_encoder::{
    FuncToValidate, FuncValidatorAllocations, FunctionBody, Operator, Parser, ValType, ValidPayload,
    Validator, ValidatorResources,
};

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
    /// Which local it reads.
    pub(super) local: Option<u32>,
    /// Whether it is a constant, of 32 or 64 bits.
    pub(super) is_constant: bool,
    /// Where in the body.
    pub(super) place: Range<usize>,
    /// Whether it may go elsewhere.
    pub(super) may_move: bool,
    /// What is on the stack before it, the top last.
    pub(super) stack: Vec<ValType>,
    /// How many of these it does not touch.
    pub(super) untouched: usize,
}

/// The numbers of tokens.
#[derive(Default)]
struct Tokens<'w> {
    operators: HashMap<&'w [u8], u32>,
    locals: HashMap<ValType, u32>,
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
        let local = match operator {
            Operator::LocalGet { local_index } => Some(local_index),
            _ => None,
        };
        let token = match local.and_then(|local| validator.get_local_type(local)) {
            Some(ty) => number(&mut tokens.locals, ty, &mut tokens.last),
            None => {
                let operator = bytes.get(place.clone()).unwrap_or_default();
                number(&mut tokens.operators, operator, &mut tokens.last)
            }
        };
        let form = match constant {
            Some(ty) => number(&mut tokens.constants, ty, &mut tokens.last),
            None => token,
        };
        let may_move = is_reached && stack.is_some() && pops.is_some() && is_straight(&operator);
        let untouched = height.saturating_sub(pops.unwrap_or(0));
        validator.op(offset, &operator)?;
        steps.push(Step {
            token,
            form,
            local,
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

/// Whether it goes on at the next, sets no local, and means the same in another function. What is newer than WebAssembly 2.0 is left where it is.
fn is_straight(operator: &Operator<'_>) -> bool {
    use Operator::{
        Block, Br, BrIf, BrTable, Else, End, If, LocalSet, LocalTee, Loop, Nop, Return, Unreachable,
    };
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
    let stays = matches!(
        operator,
        Block { .. }
            | Loop { .. }
            | If { .. }
            | Else
            | End
            | Br { .. }
            | BrIf { .. }
            | BrTable { .. }
            | Return
            | Unreachable
            | Nop
            | LocalSet { .. }
            | LocalTee { .. }
    );
    !stays && wasmparser_of_encoder::for_each_operator!(is_old)
}
