//! A program on a text: all the ways through it at once, in step, one character after the other.
//!
//! Each step of the program is looked at once a character, however many ways lead there: the first of them, which is the preferred, goes on.

use super::{Assertion, Instruction, Regex};

/// What a run needs; kept for the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    now: Ways,
    next: Ways,
    stack: Vec<Task>,
    places: Vec<Option<usize>>,
}

/// Where the ways are, the preferred first.
#[derive(Clone, Debug, Default)]
struct Ways {
    at: Vec<usize>,
    /// The places that each has noted, one behind the other.
    places: Vec<Option<usize>>,
    /// Steps of the program that were reached.
    reached: Vec<bool>,
}

#[derive(Clone, Copy, Debug)]
enum Task {
    Go(usize),
    /// What a place was before.
    Restore(usize, Option<usize>),
}

impl Ways {
    fn clear(&mut self, steps: usize) {
        self.at.clear();
        self.places.clear();
        self.reached.clear();
        self.reached.resize(steps, false);
    }
}

impl Regex {
    /// Whether it matches: the whole text, or from `start` on; the places of the match.
    pub(super) fn run(&self, text: &str, start: usize, whole: bool, places: &mut [Option<usize>]) -> bool {
        let mut memory = self.memory.take().unwrap_or_default();
        let matched = self.run_with(&mut memory, text, start, whole, places);
        self.memory.set(Some(memory));
        matched
    }

    fn run_with(
        &self,
        memory: &mut Memory,
        text: &str,
        start: usize,
        whole: bool,
        places: &mut [Option<usize>],
    ) -> bool {
        let Memory { now, next, stack, places: noted } = memory;
        let mut matched = false;
        let mut at = start;
        now.clear(self.program.len());
        loop {
            if !matched && (at == start || !whole) {
                noted.clear();
                noted.resize(places.len(), None);
                self.follow(now, stack, noted, 0, text, at);
            } else if now.at.is_empty() {
                return matched;
            }
            let char = text.get(at..).and_then(|rest| rest.chars().next());
            let after = at.saturating_add(char.map_or(1, char::len_utf8));
            next.clear(self.program.len());
            for (way, step) in now.at.iter().enumerate() {
                let of_way = || {
                    now.places
                        .get(way.saturating_mul(places.len())..)
                        .and_then(|rest| rest.get(..places.len()))
                };
                match self.program.get(*step) {
                    Some(Instruction::Class { first, last, negated }) => {
                        let Some(char) = char else { continue };
                        let ranges = self.ranges.get(*first..*last).unwrap_or_default();
                        let is_in = |(from, to): &(u32, u32)| (*from..=*to).contains(&u32::from(char));
                        if ranges.iter().any(is_in) != *negated {
                            noted.clear();
                            noted.extend_from_slice(of_way().unwrap_or_default());
                            self.follow(next, stack, noted, step.saturating_add(1), text, after);
                        }
                    }
                    Some(Instruction::Match) if !whole || char.is_none() => {
                        matched = true;
                        places.copy_from_slice(of_way().unwrap_or_default());
                        // The ways behind it are less preferred.
                        break;
                    }
                    _ => {}
                }
            }
            if char.is_none() {
                return matched;
            }
            std::mem::swap(now, next);
            at = after;
        }
    }

    /// Adds the steps that are reached from `step` without a character.
    fn follow(
        &self,
        ways: &mut Ways,
        stack: &mut Vec<Task>,
        noted: &mut [Option<usize>],
        step: usize,
        text: &str,
        at: usize,
    ) {
        stack.push(Task::Go(step));
        while let Some(task) = stack.pop() {
            let step = match task {
                Task::Restore(place, before) => {
                    if let Some(noted) = noted.get_mut(place) {
                        *noted = before;
                    }
                    continue;
                }
                Task::Go(step) => step,
            };
            match ways.reached.get_mut(step) {
                Some(reached) if !*reached => *reached = true,
                _ => continue,
            }
            let mut go = |distance: isize| stack.push(Task::Go(step.wrapping_add_signed(distance)));
            match self.program.get(step) {
                Some(Instruction::Split(first, second)) => {
                    go(*second);
                    go(*first);
                }
                Some(Instruction::Jump(distance)) => go(*distance),
                Some(Instruction::Save(place)) => {
                    if let Some(noted) = noted.get_mut(*place) {
                        stack.push(Task::Restore(*place, *noted));
                        *noted = Some(at);
                    }
                    stack.push(Task::Go(step.saturating_add(1)));
                }
                Some(Instruction::Assert(assertion)) => {
                    if assertion.holds(text.as_bytes(), at) {
                        go(1);
                    }
                }
                _ => {
                    ways.at.push(step);
                    ways.places.extend_from_slice(noted);
                }
            }
        }
    }
}

impl Assertion {
    fn holds(self, text: &[u8], at: usize) -> bool {
        let before = at.checked_sub(1).and_then(|before| text.get(before));
        let after = text.get(at);
        let is_word =
            |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        match self {
            Self::Start => before.is_none(),
            Self::End => after.is_none(),
            Self::LineStart => before.is_none_or(|byte| *byte == b'\n'),
            Self::LineEnd => after.is_none_or(|byte| *byte == b'\n'),
            Self::WordBoundary => is_word(before) != is_word(after),
            Self::NotWordBoundary => is_word(before) == is_word(after),
        }
    }
}
