//! From an expression to a program, in one pass: what is read is compiled at once, and moved or copied when what follows says so.

mod escape;

use std::str::Chars;

use super::classes::{CLASSES, Item};
use super::{Assertion, Instruction};
use crate::config::joined;

/// Most steps of a program: with them and its length a text bounds what a match costs.
const MAX_STEPS: usize = 5000;

/// Most groups around a group.
const MAX_DEPTH: usize = 50;

/// Most repetitions of one operator, as in RE2.
const MAX_REPETITIONS: usize = 1000;

/// As often as there is something to match.
const ENDLESS: usize = usize::MAX;

/// A compiled expression.
pub(super) struct Parsed {
    pub(super) program: Vec<Instruction>,
    pub(super) ranges: Vec<(u32, u32)>,
    pub(super) groups: usize,
}

/// Compiles an expression, the whole of which is group 0.
pub(super) fn parse(expression: &str) -> Result<Parsed, String> {
    let mut parser = Parser {
        rest: expression.chars(),
        flags: Flags::default(),
        depth: 0,
        out: Parsed { program: Vec::new(), ranges: Vec::new(), groups: 0 },
        reason: "",
    };
    if parser.whole().is_some() {
        return Ok(parser.out);
    }
    let rest = parser.rest.as_str();
    Err(match expression.strip_suffix(rest) {
        Some(read) if !rest.is_empty() => joined(&joined(parser.reason, " at the end of `", read), "`", ""),
        _ => String::from(parser.reason),
    })
}

/// Why an expression is none.
type Reason = &'static str;

const UNFINISHED_CLASS: Reason = "a class has no closing `]`";
const UNFINISHED_GROUP: Reason = "a group has no closing `)`";
const UNKNOWN_GROUP: Reason = "this kind of group is not known; look-around is not supported";
const UNKNOWN_ESCAPE: Reason =
    "this escape is not known; back-references and classes of Unicode are not supported";
const BAD_NUMBER: Reason = "expected a character's number in hexadecimal digits";
const BAD_RANGE: Reason = "a range ends before it begins, or at a class";
const TOO_LARGE: Reason = "it is too large when compiled";

#[derive(Clone, Copy, Default)]
struct Flags {
    ignore_case: bool,
    many_lines: bool,
    dot_all: bool,
    swap_greed: bool,
    spaced: bool,
}

struct Parser<'e> {
    rest: Chars<'e>,
    flags: Flags,
    depth: usize,
    out: Parsed,
    /// Why the expression is none, where a function returns nothing.
    reason: Reason,
}

impl Parser<'_> {
    /// Notes why the expression is none.
    #[inline(never)]
    fn refuse<T>(&mut self, reason: Reason) -> Option<T> {
        self.reason = reason;
        None
    }

    #[inline(never)]
    fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    /// Skips what comes next if it is this.
    fn eat(&mut self, text: &str) -> bool {
        let rest = self.rest.as_str().strip_prefix(text);
        rest.map(|rest| self.rest = rest.chars()).is_some()
    }

    fn add(&mut self, instruction: Instruction) -> Option<()> {
        self.insert(self.out.program.len(), instruction)
    }

    fn insert(&mut self, at: usize, instruction: Instruction) -> Option<()> {
        if self.out.program.len() >= MAX_STEPS {
            return self.refuse(TOO_LARGE);
        }
        self.out.program.insert(at, instruction);
        Some(())
    }

    /// Steps of the program from there on.
    fn since(&self, start: usize) -> isize {
        self.out.program.len().wrapping_sub(start).cast_signed()
    }

    fn whole(&mut self) -> Option<()> {
        self.add(Instruction::Save(0))?;
        self.alternatives()?;
        if self.rest.next().is_some() {
            return self.refuse("a `)` closes no group");
        }
        self.add(Instruction::Save(1))?;
        self.add(Instruction::Match)
    }

    /// Up to a closing bracket, or the end. Flags that are set within hold until there.
    fn alternatives(&mut self) -> Option<()> {
        let flags = self.flags;
        let mut start = self.out.program.len();
        // The jumps from the ends of the alternatives to the end of all.
        let mut jumps = Vec::new();
        while let Some(next) = self.peek() {
            match next {
                ')' => break,
                '|' => {
                    self.rest.next();
                    self.insert(start, Instruction::Split(1, self.since(start).saturating_add(2)))?;
                    jumps.push(self.out.program.len());
                    self.add(Instruction::Jump(0))?;
                    start = self.out.program.len();
                }
                _ => self.repeated()?,
            }
        }
        for jump in jumps {
            let distance = self.since(jump);
            if let Some(jump) = self.out.program.get_mut(jump) {
                *jump = Instruction::Jump(distance);
            }
        }
        self.flags = flags;
        Some(())
    }

    /// Skips what `(?x)` makes meaningless.
    fn skip_space(&mut self) {
        while self.flags.spaced {
            match self.peek() {
                Some('#') => while self.rest.next().is_some_and(|next| next != '\n') {},
                Some(' ' | '\t'..='\r') => {
                    self.rest.next();
                }
                _ => break,
            }
        }
    }

    /// Something and how often it may come.
    fn repeated(&mut self) -> Option<()> {
        self.skip_space();
        let start = self.out.program.len();
        if !self.one()? {
            return Some(());
        }
        loop {
            self.skip_space();
            let Some((least, most)) = self.repetitions()? else { return Some(()) };
            let greedy = self.eat("?") == self.flags.swap_greed;
            self.repeat(start, least, most, greedy)?;
        }
    }

    /// Reads how often something may come, if that is what comes next: at least, and at most, where that is not [`ENDLESS`].
    fn repetitions(&mut self) -> Option<Option<(usize, usize)>> {
        let (least, most) = match self.peek() {
            Some('*') => (0, ENDLESS),
            Some('+') => (1, ENDLESS),
            Some('?') => (0, 1),
            Some('{') => {
                let before = self.rest.clone();
                self.rest.next();
                let least = self.number();
                let most = if self.eat(",") { self.number() } else { least };
                let Some(least) = least.filter(|_| self.eat("}")) else {
                    // A bracket that counts nothing is one, as in RE2.
                    self.rest = before;
                    return Some(None);
                };
                let bound = most.unwrap_or(least);
                if bound < least {
                    return self.refuse("the most is below the least");
                }
                if bound > MAX_REPETITIONS {
                    return self.refuse("more than 1000 repetitions");
                }
                return Some(Some((least, most.unwrap_or(ENDLESS))));
            }
            _ => return Some(None),
        };
        self.rest.next();
        Some(Some((least, most)))
    }

    /// Whatever is too long for a number is too much.
    fn number(&mut self) -> Option<usize> {
        let mut number = None;
        while let Some(digit) = self.peek().and_then(|next| next.to_digit(10)) {
            self.rest.next();
            let before = number.unwrap_or(0_u32);
            number = Some(before.saturating_mul(10).saturating_add(digit));
        }
        usize::try_from(number?).ok()
    }

    /// Makes what begins at `start` come so often.
    fn repeat(&mut self, start: usize, least: usize, most: usize, greedy: bool) -> Option<()> {
        let once = self.out.program.get(start..).unwrap_or_default().to_vec();
        let split = |on: isize, past: isize| {
            if greedy { Instruction::Split(on, past) } else { Instruction::Split(past, on) }
        };
        let length = self.since(start);
        let back = length.wrapping_neg();
        self.out.program.truncate(start);
        for _ in 0..least {
            self.copy(&once)?;
        }
        if most == ENDLESS {
            // Once more and again, or past it: so what matches nothing is tried once, and does not go round for ever.
            if least == 0 {
                self.add(split(1, length.wrapping_add(2)))?;
                self.copy(&once)?;
            }
            return self.add(split(back, 1));
        }
        let step = length.wrapping_add(1);
        for left in (1..=most.saturating_sub(least)).rev() {
            self.add(split(1, step.wrapping_mul(left.cast_signed())))?;
            self.copy(&once)?;
        }
        Some(())
    }

    fn copy(&mut self, part: &[Instruction]) -> Option<()> {
        if self.out.program.len().saturating_add(part.len()) > MAX_STEPS {
            return self.refuse(TOO_LARGE);
        }
        self.out.program.extend_from_slice(part);
        Some(())
    }

    /// A character, a class, a group or an assertion; whether there was something, and not only flags.
    fn one(&mut self) -> Option<bool> {
        if self.repetitions()?.is_some() {
            return self.refuse("there is nothing to repeat");
        }
        let Some(next) = self.rest.next() else { return Some(false) };
        let first = self.out.ranges.len();
        let mut negated = false;
        match next {
            '(' => return self.group(),
            '[' => negated = self.class()?,
            '.' => {
                negated = true;
                if !self.flags.dot_all {
                    self.out.ranges.push((0x0a, 0x0a));
                }
            }
            '^' => {
                let many = self.flags.many_lines;
                return self.assert(if many { Assertion::LineStart } else { Assertion::Start });
            }
            '$' => {
                let many = self.flags.many_lines;
                return self.assert(if many { Assertion::LineEnd } else { Assertion::End });
            }
            '\\' => match self.escape()? {
                Item::Assert(assertion) => return self.assert(assertion),
                item => self.item(&item),
            },
            char => self.item(&Item::Char(char)),
        }
        let last = self.out.ranges.len();
        self.add(Instruction::Class { first, last, negated })?;
        Some(true)
    }

    fn assert(&mut self, assertion: Assertion) -> Option<bool> {
        self.add(Instruction::Assert(assertion))?;
        Some(true)
    }

    /// Adds the ranges of a part of a class.
    fn item(&mut self, item: &Item) {
        match item {
            Item::Char(char) => self.range(u32::from(*char), u32::from(*char)),
            Item::Ranges(ranges, false) => {
                for (from, to) in *ranges {
                    self.range(u32::from(*from), u32::from(*to));
                }
            }
            Item::Ranges(ranges, true) => {
                let mut from = 0;
                for (before, after) in *ranges {
                    if u32::from(*before) > from {
                        self.range(from, u32::from(*before).saturating_sub(1));
                    }
                    from = u32::from(*after).saturating_add(1);
                }
                self.range(from, u32::from(char::MAX));
            }
            Item::Assert(_) => {}
        }
    }

    /// Adds a range, and with `(?i)` its letters in the other case.
    fn range(&mut self, from: u32, to: u32) {
        self.out.ranges.push((from, to));
        if !self.flags.ignore_case {
            return;
        }
        // The cases of a letter differ in one bit.
        for (first, last) in [(0x41, 0x5a), (0x61, 0x7a)] {
            let (from, to) = (from.max(first), to.min(last));
            if from <= to {
                self.out.ranges.push((from ^ 0x20, to ^ 0x20));
            }
        }
    }

    /// Behind `(`; whether it was more than flags.
    fn group(&mut self) -> Option<bool> {
        let before = self.flags;
        let mut number = None;
        if !self.eat("?") {
            number = Some(());
        } else if self.eat("P<") || (self.eat("<") && !matches!(self.peek(), Some('=' | '!'))) {
            let is_name = |char: char| char.is_ascii_alphanumeric() || char == '_';
            let mut named = false;
            loop {
                match self.rest.next() {
                    Some('>') if named => break,
                    Some(char) if is_name(char) => named = true,
                    _ => {
                        return self
                            .refuse("expected a name of a group, of ASCII letters, digits and `_`, and `>`");
                    }
                }
            }
            number = Some(());
        } else if self.set_flags()? {
            return Some(false);
        }
        let number = number.map(|()| {
            self.out.groups = self.out.groups.saturating_add(1);
            self.out.groups.saturating_mul(2)
        });
        self.depth = self.depth.saturating_add(1);
        if self.depth > MAX_DEPTH {
            return self.refuse("groups within more than 50 groups");
        }
        if let Some(number) = number {
            self.add(Instruction::Save(number))?;
        }
        self.alternatives()?;
        if !self.eat(")") {
            return self.refuse(UNFINISHED_GROUP);
        }
        if let Some(number) = number {
            self.add(Instruction::Save(number.saturating_add(1)))?;
        }
        self.depth = self.depth.saturating_sub(1);
        self.flags = before;
        Some(true)
    }

    /// Behind `(?`; whether the bracket was closed, and the flags are for what follows.
    fn set_flags(&mut self) -> Option<bool> {
        let mut on = true;
        let mut given = false;
        loop {
            let flag = match self.rest.next() {
                Some('i') => &mut self.flags.ignore_case,
                Some('m') => &mut self.flags.many_lines,
                Some('s') => &mut self.flags.dot_all,
                Some('U') => &mut self.flags.swap_greed,
                Some('x') => &mut self.flags.spaced,
                Some('-') if on => {
                    (on, given) = (false, false);
                    continue;
                }
                Some(')') if given => return Some(true),
                Some(':') if given || on => return Some(false),
                None => return self.refuse(UNFINISHED_GROUP),
                _ => return self.refuse(UNKNOWN_GROUP),
            };
            *flag = on;
            given = true;
        }
    }

    /// Behind `[`, up to its end; whether it is negated.
    fn class(&mut self) -> Option<bool> {
        let negated = self.eat("^");
        let mut first = true;
        loop {
            let item = match self.rest.next() {
                None => return self.refuse(UNFINISHED_CLASS),
                Some(']') if !first => return Some(negated),
                Some('[') if self.peek() == Some(':') => self.posix()?,
                Some('\\') => self.escape()?,
                Some(char) => Item::Char(char),
            };
            first = false;
            match item {
                Item::Assert(_) => return self.refuse(UNKNOWN_ESCAPE),
                Item::Char(from) if self.is_range() => {
                    self.rest.next();
                    let to = match self.rest.next() {
                        Some('\\') => self.escape()?,
                        Some(char) => Item::Char(char),
                        None => return self.refuse(UNFINISHED_CLASS),
                    };
                    match to {
                        Item::Char(to) if from <= to => self.range(u32::from(from), u32::from(to)),
                        _ => return self.refuse(BAD_RANGE),
                    }
                }
                item => self.item(&item),
            }
        }
    }

    /// Whether a `-` comes next that is not the last of the class.
    fn is_range(&self) -> bool {
        self.rest.as_str().strip_prefix('-').is_some_and(|rest| !rest.starts_with(']'))
    }

    /// Behind the bracket of `[:alpha:]`.
    fn posix(&mut self) -> Option<Item> {
        self.rest.next();
        let negated = self.eat("^");
        for (name, ranges) in &CLASSES {
            if self.eat(name) && self.eat(":]") {
                return Some(Item::Ranges(ranges, negated));
            }
        }
        self.refuse("expected a class such as `[:alpha:]`")
    }
}
