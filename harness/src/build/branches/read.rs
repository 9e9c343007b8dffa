//! Bodies of functions as blocks in blocks.

use wasmparser_of_encoder::{
    BlockType, FuncToValidate, FuncValidator, FuncValidatorAllocations, FunctionBody, Operator, Parser,
    ValidPayload, Validator, ValidatorResources, WasmModuleResources,
};

use super::{Body, FUNCTION, Inner, Item, Label};
use crate::build::outline::is_known;
use crate::build::slim::SlimError;

/// The bodies of a module; `None` for those that are to be left as they are.
pub(super) fn read(wasm: &[u8]) -> Result<Vec<Option<Body<'_>>>, SlimError> {
    let mut validator = Validator::new();
    let mut bodies = Vec::new();
    let mut memory = FuncValidatorAllocations::default();
    for payload in Parser::new(0).parse_all(wasm) {
        if let ValidPayload::Func(function, body) = validator.payload(&payload?)? {
            let (body, unused) = read_body(function, &body, memory)?;
            bodies.push(body);
            memory = unused;
        }
    }
    Ok(bodies)
}

/// A block whose end has not come.
struct Open<'w> {
    /// `block`, `loop` or `if`.
    kind: Operator<'w>,
    inner: Inner<'w>,
    /// What is before an `else`.
    then: Option<Vec<Item<'w>>>,
}

fn read_body<'w>(
    function: FuncToValidate<ValidatorResources>,
    body: &FunctionBody<'w>,
    memory: FuncValidatorAllocations,
) -> Result<(Option<Body<'w>>, FuncValidatorAllocations), SlimError> {
    let results =
        function.resources.sub_type_at(function.ty).map_or(1, |ty| ty.unwrap_func().results().len());
    let mut validator = function.into_validator(memory);
    validator.read_locals(&mut body.get_binary_reader())?;
    let mut reader = body.get_operators_reader()?;
    let mut found = Body { items: Vec::new(), jumps: vec![0], has_results: results > 0 };
    let mut open: Vec<Open<'w>> = Vec::new();
    let mut is_known_body = true;
    while !reader.eof() {
        let offset = reader.original_position();
        let operator = reader.read()?;
        let height = usize::try_from(validator.operand_stack_height()).unwrap_or(usize::MAX);
        is_known_body &= is_known(&operator) || matches!(operator, Operator::Return | Operator::Nop);
        if is_known_body {
            is_known_body = step(&mut found, &mut open, &operator, height, &validator).is_some();
        }
        validator.op(offset, &operator)?;
    }
    Ok((is_known_body.then_some(found), validator.into_allocations()))
}

/// Takes the next operator; `None` where the function is to be left as it is.
fn step<'w>(
    body: &mut Body<'w>,
    open: &mut Vec<Open<'w>>,
    operator: &Operator<'w>,
    height: usize,
    validator: &FuncValidator<ValidatorResources>,
) -> Option<()> {
    // Without a condition, which is on top.
    let below = height.saturating_sub(1);
    // Code that nobody reaches goes, but for its blocks, which are closed again.
    let is_reached = validator.get_control_frame(0).is_some_and(|frame| !frame.unreachable);
    let has_results = body.has_results;
    let mut jump = |depth: u32| label(open, &mut body.jumps, depth, is_reached);
    let item = match operator {
        Operator::Block { blockty } | Operator::Loop { blockty } | Operator::If { blockty } => {
            if let BlockType::FuncType(_) = blockty {
                return None;
            }
            let label = body.jumps.len();
            body.jumps.push(0);
            let height = if matches!(operator, Operator::If { .. }) { below } else { height };
            let inner = Inner { label, ty: *blockty, height, items: Vec::new() };
            open.push(Open { kind: operator.clone(), inner, then: None });
            return Some(());
        }
        Operator::Else => {
            let block = open.last_mut()?;
            block.then = Some(std::mem::take(&mut block.inner.items));
            return Some(());
        }
        Operator::End => {
            let Some(Open { kind, mut inner, then }) = open.pop() else { return Some(()) };
            match (kind, then) {
                (Operator::Block { .. }, _) => Item::Block(inner),
                (Operator::Loop { .. }, _) => Item::Loop(inner),
                (_, None) => Item::If(inner, None),
                (_, Some(then)) => {
                    let other = std::mem::replace(&mut inner.items, then);
                    Item::If(inner, Some(other))
                }
            }
        }
        Operator::Br { relative_depth } => Item::Jump { to: jump(*relative_depth)?, height },
        Operator::BrIf { relative_depth } => Item::JumpIf { to: jump(*relative_depth)?, height: below },
        Operator::BrTable { targets } => {
            let targets = targets.targets().flatten().chain([targets.default()]);
            Item::Table(targets.map(&mut jump).collect::<Option<_>>()?)
        }
        Operator::Return if !has_results => Item::Jump { to: jump(u32::try_from(open.len()).ok()?)?, height },
        Operator::Nop => return Some(()),
        operator => Item::Operator(operator.clone()),
    };
    let items = open.last_mut().map_or(&mut body.items, |block| &mut block.inner.items);
    if !items.last().is_some_and(Item::is_end) {
        items.push(item);
    }
    Some(())
}

/// The label of a jump, which is counted.
fn label(open: &[Open<'_>], jumps: &mut [usize], depth: u32, is_reached: bool) -> Option<Label> {
    let depth = usize::try_from(depth).ok()?;
    let label = match open.len().checked_sub(depth)?.checked_sub(1) {
        Some(place) => open.get(place)?.inner.label,
        None => FUNCTION,
    };
    if is_reached {
        let jumps = jumps.get_mut(label)?;
        *jumps = jumps.saturating_add(1);
    }
    Some(label)
}
