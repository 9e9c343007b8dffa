//! Panics become traps: what a panic would say is not composed, and what composes it goes.
//!
//! Rust's panics all end in one function, which writes a message and aborts. It is made a trap, and then whatever leads there and nowhere else.
//! That changes nothing but the message: a trap ends the VM (`DIE-05`), so nobody sees the memory, globals and locals that are written before it. What
//! somebody sees, host calls, stays: code is only taken out between such a call, or a branch, and the trap that follows in any case. A loop on the
//! way there that never ends would be a trap now.

use std::collections::BTreeMap;

use wasmparser_of_encoder::{Operator, for_each_operator};

use super::code::{Code, Function, Step};

/// Where panics come together, and what runs out of memory: parts of the names that Rust gives them, mangled in either way.
const ENTRIES: [&str; 3] = ["rust_begin_unwind", "rust_alloc_error_handler", "rust_oom"];

/// What is known of the functions, by index.
struct Known {
    /// Does nothing but trap.
    traps: Vec<bool>,
    /// Nobody outside sees that it has run: no host calls in it and in what it calls.
    quiet: Vec<bool>,
}

/// Makes panics traps. Tells whether the module has any.
pub(super) fn trap(code: &mut Code<'_>, names: &BTreeMap<u32, String>) -> bool {
    let mut known = Known { traps: vec![false; code.len()], quiet: vec![false; code.len()] };
    for (index, name) in names {
        let entry = ENTRIES.iter().any(|entry| name.contains(entry));
        if let Some(place) = usize::try_from(*index).ok().filter(|at| entry && *at >= code.imported) {
            known.make(code, place);
        }
    }
    let found = known.traps.contains(&true);
    let mut more = found;
    while more {
        known.listen(code);
        more = false;
        for position in 0..code.functions.len() {
            let index = code.imported.saturating_add(position);
            let Some(function) = code.functions.get_mut(position).filter(|_| !known.is(&known.traps, index))
            else {
                continue;
            };
            if function.any(is_foreign) {
                continue;
            }
            if function.any(|operator| known.is_trap(operator)) {
                function.steps = known.cut(std::mem::take(&mut function.steps));
            }
            if !function.any(|operator| !known.is_quiet(operator)) && !returns(&function.steps) {
                known.make(code, index);
                more = true;
            }
        }
    }
    found
}

impl Function<'_> {
    fn any(&self, is_so: impl Fn(&Operator<'_>) -> bool) -> bool {
        self.steps.iter().any(|step| is_so(&step.operator))
    }
}

impl Known {
    fn is(&self, which: &[bool], index: usize) -> bool {
        which.get(index).copied().unwrap_or(false)
    }

    fn make(&mut self, code: &mut Code<'_>, index: usize) {
        let function = index.checked_sub(code.imported).and_then(|position| code.functions.get_mut(position));
        if let (Some(function), Some(traps)) = (function, self.traps.get_mut(index)) {
            function.steps = vec![Step::new(Operator::Unreachable), Step::new(Operator::End)];
            *traps = true;
        }
    }

    /// Finds out who is quiet: everybody, but for whom calls who is not.
    fn listen(&mut self, code: &Code<'_>) {
        for (index, quiet) in self.quiet.iter_mut().enumerate() {
            *quiet = code.function(index).is_some_and(|function| !function.any(is_foreign));
        }
        loop {
            let loud = |(position, function): (usize, &Function<'_>)| {
                let index = code.imported.saturating_add(position);
                let is_loud = function.any(|operator| !self.is_quiet(operator));
                (is_loud && self.is(&self.quiet, index)).then_some(index)
            };
            let loud: Vec<usize> = code.functions.iter().enumerate().filter_map(loud).collect();
            for index in &loud {
                if let Some(quiet) = self.quiet.get_mut(*index) {
                    *quiet = false;
                }
            }
            if loud.is_empty() {
                return;
            }
        }
    }

    fn is_trap(&self, operator: &Operator<'_>) -> bool {
        matches!(operator, Operator::Call { function_index } if usize::try_from(*function_index).is_ok_and(|index| self.is(&self.traps, index)))
    }

    /// Whether nobody outside sees it.
    fn is_quiet(&self, operator: &Operator<'_>) -> bool {
        match operator {
            Operator::Call { function_index } => {
                usize::try_from(*function_index).is_ok_and(|index| self.is(&self.quiet, index))
            }
            Operator::CallIndirect { .. } => false,
            operator => !is_foreign(operator),
        }
    }

    /// Whether what stands before it need not be done when a trap comes behind it: it goes on to the next operator, and nobody outside sees it.
    fn is_passed(&self, operator: &Operator<'_>) -> bool {
        let branches = matches!(
            operator,
            Operator::Block { .. }
                | Operator::Loop { .. }
                | Operator::If { .. }
                | Operator::Else
                | Operator::End
                | Operator::Br { .. }
                | Operator::BrIf { .. }
                | Operator::BrTable { .. }
                | Operator::Return
        );
        !branches && self.is_quiet(operator)
    }

    /// The operators without those before a trap, up to the last that somebody sees or that may branch, and without the dead ones behind it.
    /// A trap takes any operands, so what is left is as valid as before.
    fn cut<'w>(&self, steps: Vec<Step<'w>>) -> Vec<Step<'w>> {
        let mut kept: Vec<Step<'w>> = Vec::with_capacity(steps.len());
        // The end of what must stay.
        let mut stays = 0;
        // Of each open block: where it begins, and what had to stay then.
        let mut blocks: Vec<(usize, usize)> = Vec::new();
        let mut steps = steps.into_iter();
        while let Some(step) = steps.next() {
            if self.is_trap(&step.operator) || matches!(step.operator, Operator::Unreachable) {
                kept.truncate(stays);
                kept.push(Step::new(Operator::Unreachable));
                while let Some(end) = skip(&mut steps) {
                    let block = blocks.last().copied();
                    // A block that is nothing but a trap.
                    let (begin, before) = match (&end.operator, block) {
                        (Operator::End, Some(block)) => {
                            blocks.pop();
                            block
                        }
                        _ => (usize::MAX, 0),
                    };
                    let is_all =
                        matches!(kept.get(begin), Some(Step { operator: Operator::Block { .. }, .. }))
                            && begin.saturating_add(2) == kept.len();
                    if !is_all {
                        kept.push(end);
                        break;
                    }
                    kept.truncate(before);
                    kept.push(Step::new(Operator::Unreachable));
                }
                stays = kept.len();
                continue;
            }
            match step.operator {
                Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => {
                    blocks.push((kept.len(), stays));
                }
                Operator::End => {
                    blocks.pop();
                }
                _ => {}
            }
            let passed = self.is_passed(&step.operator);
            kept.push(step);
            if !passed {
                stays = kept.len();
            }
        }
        kept
    }
}

/// Passes over dead operators to the `else` or `end` of the block, which is returned.
fn skip<'w>(steps: &mut impl Iterator<Item = Step<'w>>) -> Option<Step<'w>> {
    let mut depth = 0_usize;
    for step in steps {
        match step.operator {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => {
                depth = depth.saturating_add(1);
            }
            Operator::Else | Operator::End if depth == 0 => return Some(step),
            Operator::End => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// An open block, or the function itself.
struct Open {
    is_loop: bool,
    /// A branch leads to its end.
    is_reached: bool,
    /// It is an `if` that may be passed over.
    is_passed: bool,
}

/// Whether a function may come back to its caller, as far as its branches tell.
fn returns(steps: &[Step<'_>]) -> bool {
    let mut open = vec![Open { is_loop: false, is_reached: false, is_passed: false }];
    let mut live = true;
    for Step { operator, .. } in steps {
        let mut branch = |depth: u32| {
            let place =
                usize::try_from(depth).ok().and_then(|depth| open.len().checked_sub(1)?.checked_sub(depth));
            if let Some(target) = place.and_then(|place| open.get_mut(place)).filter(|_| live) {
                target.is_reached |= !target.is_loop;
            }
        };
        match operator {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => open.push(Open {
                is_loop: matches!(operator, Operator::Loop { .. }),
                is_reached: false,
                is_passed: live && matches!(operator, Operator::If { .. }),
            }),
            Operator::Else => {
                if let Some(block) = open.last_mut() {
                    block.is_reached |= live;
                    live = std::mem::take(&mut block.is_passed);
                }
            }
            Operator::End => live |= open.pop().is_some_and(|block| block.is_reached || block.is_passed),
            Operator::Br { relative_depth } => {
                branch(*relative_depth);
                live = false;
            }
            Operator::BrIf { relative_depth } => branch(*relative_depth),
            Operator::BrTable { targets } => {
                for target in targets.targets().map(|target| target.unwrap_or(u32::MAX)) {
                    branch(target);
                }
                branch(targets.default());
                live = false;
            }
            Operator::Return if live => return true,
            Operator::Return | Operator::Unreachable => live = false,
            _ => {}
        }
    }
    live
}

macro_rules! proposals {
    ($(@$proposal:ident $operator:ident $({ $($field:ident: $type:ty),* })? => $visit:ident ($($annotation:tt)*))*) => {
        /// What WebAssembly's history calls the part of it that an operator is of.
        fn proposal(operator: &Operator<'_>) -> &'static str {
            match operator {
                $(Operator::$operator { .. } => stringify!($proposal),)*
                _ => "",
            }
        }
    };
}
for_each_operator!(proposals);

/// Whether it is none of those that compilers make of Rust's code and that do nothing but compute, branch, call and write to memory.
fn is_foreign(operator: &Operator<'_>) -> bool {
    let is_plain = matches!(
        proposal(operator),
        "mvp" | "sign_extension" | "saturating_float_to_int" | "bulk_memory" | "simd"
    );
    !is_plain || matches!(operator, Operator::MemoryGrow { .. })
}
