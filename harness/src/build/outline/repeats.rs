//! Which code comes more than once, and what is saved when it is a function.

use std::collections::{BinaryHeap, HashMap};

use wasmparser_of_encoder::ValType;

use super::live;
use super::read::{Access, Code, Step};

/// Longest code that is looked for, in steps.
const LONGEST: usize = 48;

/// Most parameters: each is a step at every place.
const MOST_PARAMETERS: usize = 8;

/// Most results.
const MOST_RESULTS: usize = 2;

/// The bytes of a call: the operator, and an index of two bytes.
const CALL: usize = 3;

/// The bytes of a function beside its steps: its length, that it has no locals, its end, its type.
const FUNCTION: usize = 5;

/// Code that comes more than once.
pub(super) struct Repeat {
    /// Where it comes; the first is what the function is made of.
    pub(super) places: Vec<Place>,
    /// How many steps it has.
    pub(super) length: usize,
    /// What it takes from the stack.
    pub(super) operands: Vec<ValType>,
    /// What it leaves there.
    pub(super) results: Vec<ValType>,
    /// The first steps with the locals that are read behind it: they are results too, the last ones.
    pub(super) kept: Vec<usize>,
}

/// Where code begins: the body, and the step in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    body: usize,
    step: usize,
}

impl Place {
    /// The steps from there on; `None` where fewer are left.
    pub(super) fn steps<'c>(self, code: &'c Code<'_>, length: usize) -> Option<&'c [Step]> {
        code.bodies.get(self.body)?.steps.get(self.step..self.step.saturating_add(length))
    }

    /// Which body, and which step of it.
    pub(super) fn at(self) -> (usize, usize) {
        (self.body, self.step)
    }

    /// The bytes of the body.
    pub(super) fn bytes<'c>(self, code: &'c Code<'_>) -> &'c [u8] {
        code.bodies.get(self.body).map_or(&[], |body| body.bytes)
    }

    /// What is on the stack behind so many steps.
    fn stack<'c>(self, code: &'c Code<'_>, length: usize) -> Option<&'c [ValType]> {
        Some(&code.bodies.get(self.body)?.steps.get(self.step.saturating_add(length))?.stack)
    }
}

impl Repeat {
    /// Which steps have arguments: the first with a local that is not only the code's own, and constants that are not the same everywhere.
    pub(super) fn arguments(&self, code: &Code<'_>) -> Vec<usize> {
        let Some((first, others)) = self.places.split_first() else { return Vec::new() };
        let Some(steps) = first.steps(code, self.length) else { return Vec::new() };
        let differs = |at: usize, token: u32| {
            let at_other = |place: &Place| place.steps(code, self.length).and_then(|steps| steps.get(at));
            others.iter().filter_map(at_other).any(|step| step.token != token)
        };
        let is_argument = |(at, step): &(usize, &Step)| match step.local {
            Some((local, _)) => is_first(steps, *at) && !is_own(steps, local),
            None => step.is_constant && differs(*at, step.token),
        };
        steps.iter().enumerate().filter(is_argument).map(|(at, _)| at).collect()
    }

    /// The first steps with the locals that are the code's own: nobody reads what was in them before, and what is in them behind.
    pub(super) fn own(&self, code: &Code<'_>) -> Vec<usize> {
        let Some(steps) = self.places.first().and_then(|place| place.steps(code, self.length)) else {
            return Vec::new();
        };
        let is_own = |(at, step): &(usize, &Step)| {
            step.local.is_some_and(|(local, _)| is_first(steps, *at) && is_own(steps, local))
        };
        steps.iter().enumerate().filter(is_own).map(|(at, _)| at).collect()
    }

    /// What the locals and constants of these steps are.
    pub(super) fn types(&self, code: &Code<'_>, steps: &[usize]) -> Vec<ValType> {
        let Some(first) = self.places.first() else { return Vec::new() };
        let of = |at: &usize| match first.steps(code, self.length)?.get(*at)?.local {
            Some((_, ty)) => Some(ty),
            None => first.stack(code, at.saturating_add(1))?.last().copied(),
        };
        steps.iter().filter_map(of).collect()
    }

    /// Bytes that are saved, if any are.
    fn saved(&self, code: &Code<'_>) -> Option<usize> {
        let arguments = self.arguments(code);
        if self.places.len() < 2 || self.operands.len().saturating_add(arguments.len()) > MOST_PARAMETERS {
            return None;
        }
        let mut before = 0_usize;
        let own = self.own(code).len();
        let handed = self.operands.len().saturating_add(own).saturating_add(self.kept.len());
        let mut after = handed.saturating_mul(2).saturating_add(FUNCTION);
        for (number, place) in self.places.iter().enumerate() {
            let steps = place.steps(code, self.length)?;
            let size = steps.last()?.place.end.saturating_sub(steps.first()?.place.start);
            let of_arguments = arguments.iter().filter_map(|at| steps.get(*at)).map(|step| step.place.len());
            before = before.saturating_add(size);
            let of_kept = self.kept.iter().filter_map(|at| steps.get(*at)).map(|step| step.place.len());
            let handed = of_arguments.chain(of_kept).sum::<usize>();
            after = after.saturating_add(handed).saturating_add(CALL);
            if number == 0 {
                after = after.saturating_add(size);
            }
        }
        before.checked_sub(after).filter(|saved| *saved > 0)
    }
}

/// Whether no step before has the local of this one.
fn is_first(steps: &[Step], at: usize) -> bool {
    let local = steps.get(at).and_then(|step| step.local);
    !steps.iter().take(at).any(|before| before.local == local)
}

/// Whether these steps set a local, and do not read what was in it before.
fn is_own(steps: &[Step], local: u32) -> bool {
    steps.first().is_some_and(|first| !live::has(&first.live, local)) && is_set(steps, local)
}

fn is_set(steps: &[Step], local: u32) -> bool {
    let sets =
        |step: &Step| step.local.is_some_and(|(found, _)| found == local) && step.access != Some(Access::Get);
    steps.iter().any(sets)
}

/// What is worth to be functions; no two at the same place.
pub(super) fn repeats(code: &Code<'_>) -> Vec<Repeat> {
    let mut candidates = candidates(code);
    let mut taken: Vec<Vec<bool>> = code.bodies.iter().map(|body| vec![false; body.steps.len()]).collect();
    // What saves most comes first, among equals the longest, then what stands first: the same module gives the same bytes.
    let order = |saved: usize, repeat: &Repeat, index: usize| {
        (saved, repeat.length, std::cmp::Reverse(repeat.places.first().copied()), index)
    };
    let mut heap: BinaryHeap<_> = candidates
        .iter()
        .enumerate()
        .filter_map(|(index, repeat)| Some(order(repeat.saved(code)?, repeat, index)))
        .collect();
    let mut chosen = Vec::new();
    while let Some((promised, _, _, index)) = heap.pop() {
        let Some(repeat) = candidates.get_mut(index) else { continue };
        let range = |place: &Place| place.step..place.step.saturating_add(repeat.length);
        let mut free: Vec<Place> = Vec::new();
        for place in &repeat.places {
            let is_taken = taken
                .get(place.body)
                .and_then(|taken| taken.get(range(place)))
                .is_none_or(|taken| taken.contains(&true));
            let overlaps =
                free.last().is_some_and(|last| last.body == place.body && range(last).end > place.step);
            if !is_taken && !overlaps {
                free.push(*place);
            }
        }
        repeat.places = free;
        let Some(saved) = repeat.saved(code) else { continue };
        if saved < promised {
            heap.push(order(saved, repeat, index));
            continue;
        }
        let range = |place: &Place| place.step..place.step.saturating_add(repeat.length);
        for place in &repeat.places {
            let taken = taken.get_mut(place.body).and_then(|taken| taken.get_mut(range(place)));
            taken.unwrap_or_default().fill(true);
        }
        chosen.push(index);
    }
    chosen.sort_unstable();
    let mut index = 0_usize;
    candidates.retain(|_| {
        index = index.saturating_add(1);
        chosen.binary_search(&index.saturating_sub(1)).is_ok()
    });
    candidates
}

/// All code that comes more than once, with the places where it does, which may overlap.
fn candidates(code: &Code<'_>) -> Vec<Repeat> {
    let all = code
        .bodies
        .iter()
        .enumerate()
        .flat_map(|(body, found)| (0..found.steps.len()).map(move |step| Place { body, step }));
    // The class of the code at each place, which grows by a step in each turn, and how many blocks are open at its end; what comes once only is no longer looked at.
    let mut places: Vec<(Place, usize, isize)> = all.map(|place| (place, 0, 0)).collect();
    let mut found = Vec::new();
    for length in 1..=LONGEST {
        let mut classes: HashMap<(usize, u32, Option<usize>), usize> = HashMap::new();
        // How often each comes, and all its bytes.
        let mut sizes: Vec<(usize, usize)> = Vec::new();
        let mut next = Vec::new();
        for (place, class, depth) in places {
            let Some((last, before)) = place.steps(code, length).and_then(<[Step]>::split_last) else {
                continue;
            };
            if !last.may_move || isize::try_from(last.needs).is_ok_and(|needs| needs > depth) {
                continue;
            }
            // A local is where it was read before.
            let local =
                last.local.map(|_| before.iter().position(|step| step.local == last.local).unwrap_or(length));
            let count = classes.len();
            let class = *classes.entry((class, last.form, local)).or_insert(count);
            let begin = before.first().unwrap_or(last).place.start;
            if sizes.len() <= class {
                sizes.push((0, 0));
            }
            if let Some((count, bytes)) = sizes.get_mut(class) {
                *count = count.saturating_add(1);
                *bytes = bytes.saturating_add(last.place.end.saturating_sub(begin));
            }
            next.push((place, class, depth.saturating_add(last.nests)));
        }
        next.retain(|(_, class, _)| sizes.get(*class).is_some_and(|(count, _)| *count > 1));
        places = next;
        if places.is_empty() {
            break;
        }
        // What would save something if nothing had to be handed over.
        let is_worth = |(count, bytes): &(usize, usize)| {
            let once = bytes.checked_div(*count).unwrap_or(0);
            *bytes > once.saturating_add(count.saturating_mul(CALL)).saturating_add(FUNCTION)
        };
        let worth: Vec<bool> = sizes.iter().map(is_worth).collect();
        let whole = places.iter().filter(|(_, class, depth)| *depth == 0 && worth.get(*class) == Some(&true));
        found.extend(of_length(code, whole.map(|(place, class, _)| (*place, *class)), length));
    }
    found
}

/// Code of a length that can be a function, and comes more than once.
fn of_length(code: &Code<'_>, places: impl Iterator<Item = (Place, usize)>, length: usize) -> Vec<Repeat> {
    let mut groups = HashMap::new();
    let mut exact = HashMap::new();
    let mut found: Vec<Repeat> = Vec::new();
    for (place, class) in places {
        let Some(steps) = place.steps(code, length) else { continue };
        let Some(effect) = effect(code, place, steps) else { continue };
        // Once with those whose constants differ, which are arguments then, and once with those that have the same.
        let constants: Vec<u32> =
            steps.iter().filter(|step| step.is_constant).map(|step| step.token).collect();
        let mut add = |group: usize| match found.get_mut(group) {
            Some(repeat) => repeat.places.push(place),
            None => {
                let Effect { operands, results, kept } = effect.clone();
                found.push(Repeat { places: vec![place], length, operands, results, kept });
            }
        };
        let known = groups.len() + exact.len();
        add(*groups.entry((class, effect.clone())).or_insert(known));
        if !constants.is_empty() {
            let known = groups.len() + exact.len();
            add(*exact.entry((class, effect.clone(), constants)).or_insert(known));
        }
    }
    found.retain(|repeat| repeat.saved(code).is_some());
    found
}

/// What code takes and leaves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Effect {
    /// Of the stack.
    operands: Vec<ValType>,
    /// On the stack.
    results: Vec<ValType>,
    /// In locals: the first steps with them.
    kept: Vec<usize>,
}

/// What code does to the stack and to locals; `None` when it leaves more than a function may.
fn effect(code: &Code<'_>, place: Place, steps: &[Step]) -> Option<Effect> {
    let behind = code.bodies.get(place.body)?.steps.get(place.step.saturating_add(steps.len()))?;
    let is_kept = |(at, step): &(usize, &Step)| {
        step.local.is_some_and(|(local, _)| {
            live::has(&behind.live, local) && is_set(steps, local) && is_first(steps, *at)
        })
    };
    let kept: Vec<usize> = steps.iter().enumerate().filter(is_kept).map(|(at, _)| at).collect();
    let untouched = steps.iter().map(|step| step.untouched).min()?;
    let operands = steps.first()?.stack.get(untouched..)?.to_vec();
    let results = place.stack(code, steps.len())?.get(untouched..)?.to_vec();
    let most = results.len().saturating_add(kept.len()) <= MOST_RESULTS;
    most.then_some(Effect { operands, results, kept })
}
