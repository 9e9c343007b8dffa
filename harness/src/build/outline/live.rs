//! Which locals may be read before they are set again, at each step of a body.

use wasmparser_of_encoder::Operator;

use super::read::Access;

/// A bit for each local.
pub(super) type Locals = Vec<u64>;

/// Whether a local is among them.
pub(super) fn has(locals: &[u64], local: u32) -> bool {
    let word = usize::try_from(local / 64).ok().and_then(|word| locals.get(word));
    word.is_some_and(|word| word >> (local % 64) & 1 == 1)
}

/// For each step of a body the locals that may be read from there on before they are set.
pub(super) fn live(operators: &[Operator<'_>], locals: u32) -> Vec<Locals> {
    let words = usize::try_from(locals.div_ceil(64)).unwrap_or(0);
    let next = successors(operators);
    let mut live = vec![vec![0_u64; words]; operators.len()];
    // From the end to the start, again as long as loops bring news back.
    loop {
        let mut is_news = false;
        for (at, operator) in operators.iter().enumerate().rev() {
            let mut now = vec![0_u64; words];
            for next in next.get(at).into_iter().flatten() {
                for (now, next) in now.iter_mut().zip(live.get(*next).into_iter().flatten()) {
                    *now |= next;
                }
            }
            if let Some((access, local)) = Access::of(operator)
                && let Some(word) = usize::try_from(local / 64).ok().and_then(|word| now.get_mut(word))
            {
                let bit = 1_u64 << (local % 64);
                if access == Access::Get { *word |= bit } else { *word &= !bit }
            }
            if let Some(before) = live.get_mut(at).filter(|before| **before != now) {
                *before = now;
                is_news = true;
            }
        }
        if !is_news {
            return live;
        }
    }
}

/// The steps that may come after each.
fn successors(operators: &[Operator<'_>]) -> Vec<Vec<usize>> {
    let (ends, elses) = blocks(operators);
    let mut found = Vec::new();
    // The blocks around a step, each with where a jump to it goes.
    let mut around: Vec<usize> = Vec::new();
    for (at, operator) in operators.iter().enumerate() {
        let next = at.saturating_add(1);
        let end = ends.get(at).copied().unwrap_or(usize::MAX);
        let target = |depth: u32| {
            let place =
                usize::try_from(depth).ok().and_then(|depth| around.len().checked_sub(depth)?.checked_sub(1));
            place.and_then(|place| around.get(place)).copied().unwrap_or(usize::MAX)
        };
        let mut after = match operator {
            Operator::Br { relative_depth } => vec![target(*relative_depth)],
            Operator::BrIf { relative_depth } => vec![next, target(*relative_depth)],
            Operator::BrTable { targets } => {
                targets.targets().flatten().chain([targets.default()]).map(target).collect()
            }
            Operator::If { .. } => {
                let other = elses.get(at).copied().flatten().map_or(end, |other| other.saturating_add(1));
                vec![next, other]
            }
            // The first part of an `if` is over.
            Operator::Else => vec![end],
            Operator::Return | Operator::Unreachable => Vec::new(),
            _ => vec![next],
        };
        after.retain(|after| *after < operators.len());
        match operator {
            Operator::Loop { .. } => around.push(at),
            Operator::Block { .. } | Operator::If { .. } => around.push(end),
            Operator::End => {
                around.pop();
            }
            _ => {}
        }
        found.push(after);
    }
    found
}

/// Where each block and each `else` ends, and where the `else` of each `if` is.
fn blocks(operators: &[Operator<'_>]) -> (Vec<usize>, Vec<Option<usize>>) {
    let mut ends = vec![usize::MAX; operators.len()];
    let mut elses = vec![None; operators.len()];
    let mut open: Vec<(usize, Option<usize>)> = Vec::new();
    for (at, operator) in operators.iter().enumerate() {
        match operator {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => open.push((at, None)),
            Operator::Else => {
                if let Some((begin, other)) = open.last_mut() {
                    *other = Some(at);
                    if let Some(place) = elses.get_mut(*begin) {
                        *place = Some(at);
                    }
                }
            }
            Operator::End => {
                if let Some((begin, other)) = open.pop() {
                    for place in [Some(begin), other].into_iter().flatten() {
                        if let Some(place) = ends.get_mut(place) {
                            *place = at;
                        }
                    }
                }
            }
            _ => {}
        }
    }
    (ends, elses)
}
