//! Regular expressions: the part of [RE2's syntax] that needs no tables of Unicode, in time linear in the text times the expression.
//!
//! Envoy's own are RE2's, and a filter that means the same traffic should read them alike. An engine of our own because it is a third of the
//! size of `regex-lite` in every module; the tests compare the two.
//!
//! What is accepted: `.`, `[a-z]`, `[^…]`, `[[:alpha:]]`, `\d \D \s \S \w \W` (ASCII, as in RE2), `xy`, `x|y`, `x* x+ x? x{n} x{n,} x{n,m}` and their lazy forms,
//! `(…)`, `(?P<name>…)`, `(?<name>…)`, `(?:…)`, the flags `i` (ASCII letters), `m`, `s`, `U` and, beyond RE2, `x`, the assertions `^ $ \A \z \b \B`, and the escapes
//! `\n \r \t \a \f \v \xHH \x{H…}` and of any ASCII punctuation. Not: `\p{…}`, `\Q…\E`, `\C`, octal escapes; nobody's linear engine has look-around and
//! back-references.
//!
//! [RE2's syntax]: https://github.com/google/re2/wiki/Syntax

mod classes;
mod parser;
mod run;
#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))]
mod tests;

use std::cell::Cell;
use std::fmt;

/// Longest expression in bytes.
const MAX_LENGTH: usize = 1024;

/// A compiled regular expression.
pub struct Regex {
    program: Vec<Instruction>,
    /// Characters from and to, both included, of all the classes.
    ranges: Vec<(u32, u32)>,
    groups: usize,
    /// Of the last run, for the next.
    memory: Cell<Option<Box<run::Memory>>>,
}

impl Clone for Regex {
    fn clone(&self) -> Self {
        let Self { program, ranges, groups, .. } = self;
        Self { program: program.clone(), ranges: ranges.clone(), groups: *groups, memory: Cell::default() }
    }
}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { program, ranges, .. } = self;
        f.debug_struct("Regex").field("program", program).field("ranges", ranges).finish_non_exhaustive()
    }
}

/// One step of a program. Distances are counted from the step itself, so that a part of a program can be copied and moved.
#[derive(Clone, Copy, Debug)]
enum Instruction {
    /// One character that is in the ranges from `first` to before `last`, or in none of them.
    Class { first: usize, last: usize, negated: bool },
    /// Goes on at both; what the first finds is preferred.
    Split(isize, isize),
    /// Goes on there.
    Jump(isize),
    /// Notes the place: twice the number of a group for its start, one more for its end.
    Save(usize),
    /// Goes on if it holds here.
    Assert(Assertion),
    /// The expression has matched.
    Match,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Assertion {
    Start,
    End,
    LineStart,
    LineEnd,
    WordBoundary,
    NotWordBoundary,
}

impl Regex {
    /// Compiles an expression.
    ///
    /// # Errors
    ///
    /// What is wrong, and behind which part of the expression; also for expressions of more than 1024 bytes or 5000 steps (`(a{1000}){1000}`), and
    /// groups within more than 50 groups.
    pub fn new(expression: &str) -> Result<Self, String> {
        if expression.len() > MAX_LENGTH {
            return Err(String::from("it is longer than 1024 bytes"));
        }
        let parser::Parsed { program, ranges, groups } = parser::parse(expression)?;
        Ok(Self { program, ranges, groups, memory: Cell::default() })
    }

    /// How many groups it has.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Its steps: what each character of a text can cost.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.program.len()
    }

    /// Whether it matches the whole text.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.run(text, 0, true, &mut [])
    }

    /// Whether it matches anywhere at or behind the byte `start`, which must be where a character begins. `places` gets where the first such match begins and
    /// ends, then the same for each group, as far as there is room; `None` for a group that took no part. Of the matches that begin there it is the one
    /// that Perl would find.
    pub fn find_at(&self, text: &str, start: usize, places: &mut [Option<usize>]) -> bool {
        self.run(text, start, false, places)
    }
}
