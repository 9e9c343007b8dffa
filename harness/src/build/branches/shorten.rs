//! The rules: each leaves what the function does as it is, and takes bytes.

use wasmparser_of_encoder::{BlockType, Operator};

use super::{Body, FUNCTION, Inner, Item, Label};

/// Most turns over a body: what one rule leaves another may shorten. Few bodies need more than four.
const TURNS: usize = 16;

pub(super) fn shorten(body: &mut Body<'_>) {
    let end = if body.has_results { Vec::new() } else { vec![FUNCTION] };
    let mut rules = Rules { jumps: std::mem::take(&mut body.jumps), is_news: false };
    for _ in 0..TURNS {
        rules.is_news = false;
        rules.list(&mut body.items, 0, &end);
        if !rules.is_news {
            break;
        }
    }
    body.jumps = rules.jumps;
}

struct Rules {
    /// How many jumps there are to each label.
    jumps: Vec<usize>,
    /// Whether a rule has changed something.
    is_news: bool,
}

impl Rules {
    /// A list of parts that begins with so many operands on the stack; `end` are labels that a jump to is as good as coming to its end.
    fn list<'w>(&mut self, items: &mut Vec<Item<'w>>, base: usize, end: &[Label]) {
        self.within(items, base, end);
        self.open_blocks(items);
        let mut at = 0;
        while at < items.len() {
            self.conditions(items, at);
            self.one_jump(items, at);
            at = at.saturating_add(1);
        }
        self.unreached(items);
        self.last_jump(items, base, end);
        self.two_ways(items, base, end);
        self.rest_under_condition(items, base, end);
    }

    fn count(&self, label: Label) -> usize {
        self.jumps.get(label).copied().unwrap_or(usize::MAX)
    }

    fn forget(&mut self, label: Label) {
        if let Some(jumps) = self.jumps.get_mut(label) {
            *jumps = jumps.saturating_sub(1);
        }
        self.is_news = true;
    }

    /// What is in the blocks of a list.
    fn within<'w>(&mut self, items: &mut [Item<'w>], base: usize, end: &[Label]) {
        let last = items.len().saturating_sub(1);
        for (at, item) in items.iter_mut().enumerate() {
            let outside = |inner: &Inner<'_>| {
                if at == last && inner.is_plain() && inner.height == base { end } else { &[] }
            };
            match item {
                Item::Block(inner) | Item::If(inner, None) => {
                    let end = ends(inner, outside(inner));
                    self.list(&mut inner.items, inner.height, &end);
                }
                Item::If(inner, Some(other)) => {
                    let end = ends(inner, outside(inner));
                    self.list(&mut inner.items, inner.height, &end);
                    self.list(other, inner.height, &end);
                }
                Item::Loop(inner) => {
                    let end = outside(inner).to_vec();
                    self.list(&mut inner.items, inner.height, &end);
                }
                _ => {}
            }
        }
    }

    /// A block that nobody jumps out of is no block.
    fn open_blocks(&mut self, items: &mut Vec<Item<'_>>) {
        let mut at = 0;
        while at < items.len() {
            let is_open = |item: &Item<'_>| matches!(item, Item::Block(inner) if inner.is_plain() && self.count(inner.label) == 0);
            if items.get(at).is_some_and(is_open)
                && let Item::Block(inner) = items.remove(at)
            {
                items.splice(at..at, inner.items);
                self.is_news = true;
            } else {
                at = at.saturating_add(1);
            }
        }
    }

    /// Nothing is behind a jump, and jumps that nobody reaches are none.
    fn unreached(&mut self, items: &mut Vec<Item<'_>>) {
        if let Some(last) = items.iter().position(Item::is_end) {
            each_jump(&items.split_off(last.saturating_add(1)), &mut |label| self.forget(label));
        }
    }

    /// `not` before a condition turns it round.
    fn conditions<'w>(&mut self, items: &mut Vec<Item<'w>>, at: usize) {
        let before = |items: &[Item<'w>], back: usize| match items.get(at.checked_sub(back)?)? {
            Item::Operator(operator) => Some(operator.clone()),
            _ => None,
        };
        if !matches!(items.get(at), Some(Item::If(..) | Item::JumpIf { .. }))
            || !matches!(before(items, 1), Some(Operator::I32Eqz))
        {
            return;
        }
        let twice = before(items, 2);
        if let Some(Operator::I32Eqz) = twice {
            items.drain(at.saturating_sub(2)..at);
        } else if let Some(inverse) = twice.and_then(|operator| inverse(&operator)) {
            items.splice(at.saturating_sub(2)..at, [Item::Operator(inverse)]);
        } else if let Some(Item::If(inner, Some(other))) = items.get_mut(at) {
            std::mem::swap(&mut inner.items, other);
            items.remove(at.saturating_sub(1));
        } else {
            return;
        }
        self.is_news = true;
    }

    /// An `if` that only jumps is a jump.
    fn one_jump(&mut self, items: &mut Vec<Item<'_>>, at: usize) {
        let jump = |items: &[Item<'_>]| match items {
            [Item::Jump { to, .. }] => Some(*to),
            _ => None,
        };
        let Some(Item::If(inner, other)) = items.get_mut(at) else { return };
        if !inner.is_plain() || self.count(inner.label) > 0 {
            return;
        }
        let height = inner.height;
        let place = at..at.saturating_add(1);
        if let Some(to) = jump(&inner.items) {
            let other = other.take().unwrap_or_default();
            items.splice(place, [Item::JumpIf { to, height }].into_iter().chain(other));
        } else if let Some(to) = other.as_deref().and_then(jump) {
            let then = std::mem::take(&mut inner.items);
            let jump = [Item::Operator(Operator::I32Eqz), Item::JumpIf { to, height }];
            items.splice(place, jump.into_iter().chain(then));
        } else if inner.items.is_empty()
            && let Some(other) = other.take()
        {
            inner.items = other;
            items.insert(at, Item::Operator(Operator::I32Eqz));
        } else if other.as_ref().is_some_and(Vec::is_empty) {
            *other = None;
        } else {
            return;
        }
        self.is_news = true;
    }

    /// A jump to where the list's end leads goes.
    fn last_jump(&mut self, items: &mut Vec<Item<'_>>, base: usize, end: &[Label]) {
        while let Some(Item::Jump { to, .. }) = items
            .pop_if(|item| matches!(item, Item::Jump { to, height } if *height == base && end.contains(to)))
        {
            self.forget(to);
        }
        if let Some(Item::JumpIf { to, .. }) = items
            .pop_if(|item| matches!(item, Item::JumpIf { to, height } if *height == base && end.contains(to)))
        {
            items.push(Item::Operator(Operator::Drop));
            self.forget(to);
        }
    }

    /// Where one way of an `if` jumps to the end, what is behind it is the other way.
    fn two_ways<'w>(&mut self, items: &mut Vec<Item<'w>>, base: usize, end: &[Label]) {
        let leaves = |items: &[Item<'w>], height: usize| match items.last() {
            Some(Item::Jump { to, height: at }) if *at == height && end.contains(to) => Some(*to),
            _ => None,
        };
        for at in 0..items.len().saturating_sub(1) {
            let behind = at.saturating_add(1);
            let Some(Item::If(inner, other)) = items.get(at) else { continue };
            if !inner.is_plain() || inner.height != base || self.count(inner.label) > 0 {
                continue;
            }
            let first = leaves(&inner.items, base);
            let second = other.as_deref().and_then(|other| leaves(other, base));
            let (Some(to), is_first) = (first.or(second), first.is_some()) else { continue };
            let rest = items.split_off(behind);
            let Some(Item::If(inner, other)) = items.get_mut(at) else { return };
            let other = other.get_or_insert_default();
            let (leaves, stays) =
                if is_first { (&mut inner.items, other) } else { (other, &mut inner.items) };
            leaves.pop();
            stays.extend(rest);
            self.unreached(stays);
            self.forget(to);
            return;
        }
    }

    /// The only jump to a block's end, under a condition, is an `if` around what it leaves out.
    fn rest_under_condition(&mut self, items: &mut Vec<Item<'_>>, base: usize, end: &[Label]) {
        for at in 0..items.len().saturating_sub(1) {
            let Some(Item::JumpIf { to, height }) = items.get(at) else { continue };
            let (to, height) = (*to, *height);
            if to == FUNCTION || height != base || !end.contains(&to) || self.count(to) != 1 {
                continue;
            }
            let rest = items.split_off(at.saturating_add(1));
            items.pop();
            let label = self.jumps.len();
            self.jumps.push(0);
            items.push(Item::Operator(Operator::I32Eqz));
            items.push(Item::If(Inner { label, ty: BlockType::Empty, height, items: rest }, None));
            self.forget(to);
            return;
        }
    }
}

/// Calls a function with where each jump goes.
fn each_jump(items: &[Item<'_>], see: &mut dyn FnMut(Label)) {
    for item in items {
        match item {
            Item::Operator(_) => {}
            Item::Jump { to, .. } | Item::JumpIf { to, .. } => see(*to),
            Item::Table(targets) => targets.iter().copied().for_each(&mut *see),
            Item::Block(inner) | Item::Loop(inner) => each_jump(&inner.items, see),
            Item::If(inner, other) => {
                each_jump(&inner.items, see);
                each_jump(other.as_deref().unwrap_or_default(), see);
            }
        }
    }
}

/// The labels that the end of what is in a block leads to.
fn ends(inner: &Inner<'_>, outside: &[Label]) -> Vec<Label> {
    let own = inner.is_plain().then_some(inner.label);
    own.into_iter().chain(outside.iter().copied()).collect()
}

/// What is true where a comparison is false.
fn inverse<'w>(operator: &Operator<'_>) -> Option<Operator<'w>> {
    Some(match operator {
        Operator::I32Eq => Operator::I32Ne,
        Operator::I32Ne => Operator::I32Eq,
        Operator::I32LtS => Operator::I32GeS,
        Operator::I32LtU => Operator::I32GeU,
        Operator::I32GtS => Operator::I32LeS,
        Operator::I32GtU => Operator::I32LeU,
        Operator::I32LeS => Operator::I32GtS,
        Operator::I32LeU => Operator::I32GtU,
        Operator::I32GeS => Operator::I32LtS,
        Operator::I32GeU => Operator::I32LtU,
        Operator::I64Eq => Operator::I64Ne,
        Operator::I64Ne => Operator::I64Eq,
        Operator::I64LtS => Operator::I64GeS,
        Operator::I64LtU => Operator::I64GeU,
        Operator::I64GtS => Operator::I64LeS,
        Operator::I64GtU => Operator::I64LeU,
        Operator::I64LeS => Operator::I64GtS,
        Operator::I64LeU => Operator::I64GtU,
        Operator::I64GeS => Operator::I64LtS,
        Operator::I64GeU => Operator::I64LtU,
        _ => return None,
    })
}
