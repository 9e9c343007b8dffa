//! Places in JSON documents: `user.password`, `items[*].card`, `**.token`. Compiled once, matched while a document is walked.
//!
//! Knows no document and no action. All paths are matched at once: a walk holds, for each open value, the places in the paths at which it
//! stands, so its cost is the number of paths and not of their combinations.

use crate::policy::bytes::{joined, whole};
use crate::policy::fold::fold;
use crate::policy::sort::sort;

/// Longest path, in steps.
const MAX_STEPS: usize = 64;

/// Most paths of one list.
pub(crate) const MAX_PATHS: usize = 256;

/// One step of a path.
#[derive(Clone, Debug)]
enum Step {
    /// A key; folded when case does not count.
    Key(String),
    /// An element by its place.
    Index(usize),
    /// `*`
    Any,
    /// `[*]`
    AnyElement,
    /// `**`: any number of steps, also none.
    Deep,
    /// The path ends here; its place in the list.
    End(usize),
}

/// A step of a document.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Enter<'k> {
    /// To the value of a key.
    Key(&'k str),
    /// To an element.
    Element(usize),
}

/// Compiled paths.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paths {
    /// One path after the other, each with its `End`.
    steps: Vec<Step>,
    /// Where each begins.
    starts: Vec<usize>,
    fold: bool,
}

/// Where a walk stands: for each open value the places in [`Paths::steps`], ascending.
#[derive(Clone, Debug, Default)]
pub(crate) struct Walk {
    places: Vec<usize>,
    /// Where the places of each open value begin.
    frames: Vec<usize>,
}

impl Paths {
    /// None yet. With `fold`, keys match as [`fold`] has them.
    pub(crate) fn new(fold: bool) -> Self {
        Self { fold, ..Self::default() }
    }

    /// Adds the next one of a list.
    ///
    /// # Errors
    /// What is wrong with it; the paths are not to be used then.
    #[inline(never)]
    pub(crate) fn add(&mut self, path: &str) -> Result<(), String> {
        let index = self.starts.len();
        self.starts.push(self.steps.len());
        match self.parse(path) {
            Ok(()) if index < MAX_PATHS => {
                self.steps.push(Step::End(index));
                Ok(())
            }
            Ok(()) => Err(String::from("is one too many; at most 256")),
            Err(Some(reason)) => Err(String::from(reason)),
            Err(None) => Err(joined("`", path, NO_PATH)),
        }
    }

    /// A list of them, or the first that is wrong.
    #[cfg(test)]
    pub(crate) fn compile<'p>(paths: impl IntoIterator<Item = &'p str>, fold: bool) -> Result<Self, String> {
        let mut compiled = Self::new(fold);
        for path in paths {
            compiled.add(path)?;
        }
        Ok(compiled)
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// The keys that end a path, as they are compared.
    pub(crate) fn last_keys(&self) -> impl Iterator<Item = &str> {
        self.steps.windows(2).filter_map(|pair| match pair {
            [Step::Key(key), Step::End(_)] => Some(key.as_str()),
            _ => None,
        })
    }

    /// Whether every path ends in a key.
    pub(crate) fn ends_in_keys(&self) -> bool {
        self.last_keys().count() == self.starts.len()
    }

    /// A walk that stands at the root of a document.
    pub(crate) fn walk(&self) -> Walk {
        let mut walk = Walk::default();
        walk.frames.push(0);
        for start in &self.starts {
            walk.stand(self, *start);
        }
        walk
    }

    /// A walk in a document that is itself a value of another one: at its root and at that value's place.
    pub(crate) fn walk_within(&self, outer: &Walk) -> Walk {
        let mut walk = self.walk();
        walk.places.extend_from_slice(outer.here());
        sort(&mut walk.places);
        walk.places.dedup();
        walk
    }

    fn is_step(&self, step: &Step, into: Enter<'_>, folded: Option<&str>) -> bool {
        match (step, into) {
            (Step::Key(key), Enter::Key(raw)) => key == folded.unwrap_or(raw),
            (Step::Index(index), Enter::Element(at)) => *index == at,
            (Step::Any, _) | (Step::AnyElement, Enter::Element(_)) => true,
            _ => false,
        }
    }
}

impl Walk {
    /// Steps to a value within the current one; the first path of the list that ends there.
    pub(crate) fn enter(&mut self, paths: &Paths, into: Enter<'_>) -> Option<usize> {
        let start = self.frames.last().copied().unwrap_or_default();
        let end = self.places.len();
        self.frames.push(end);
        let folded = match into {
            Enter::Key(key) if paths.fold && start < end => Some(fold(key)),
            _ => None,
        };
        let mut found: Option<usize> = None;
        for at in start..end {
            let Some(place) = self.places.get(at).copied() else { break };
            let Some(step) = paths.steps.get(place) else { continue };
            if matches!(step, Step::Deep) {
                self.stand(paths, place);
            } else if paths.is_step(step, into, folded.as_deref()) {
                self.stand(paths, place.saturating_add(1));
            }
        }
        for place in self.places.get(end..).unwrap_or_default() {
            if let Some(Step::End(path)) = paths.steps.get(*place) {
                found = Some(found.map_or(*path, |first| first.min(*path)));
            }
        }
        found
    }

    /// Back to the value around.
    pub(crate) fn leave(&mut self) {
        if let Some(start) = self.frames.pop() {
            self.places.truncate(start);
        }
    }

    /// At how many places it stands: what the next step costs.
    pub(crate) fn width(&self) -> usize {
        self.here().len()
    }

    fn here(&self) -> &[usize] {
        self.places.get(self.frames.last().copied().unwrap_or_default()..).unwrap_or_default()
    }

    /// Notes a place, and the one behind a `**`, which may be no step at all. Places come in ascending order, so that one that is there already
    /// is not above the last.
    fn stand(&mut self, paths: &Paths, place: usize) {
        let mut place = place;
        loop {
            let fresh = self.here().last().is_none_or(|last| *last < place);
            if fresh {
                self.places.push(place);
            }
            if !matches!(paths.steps.get(place), Some(Step::Deep)) {
                return;
            }
            place = place.saturating_add(1);
        }
    }
}

const NO_PATH: &str = "` is not a path; expected keys joined by `.`, such as `user.password`, `items[*].card`, `**.token` or `[\"a.b\"].c`";

impl Paths {
    /// Adds the steps of a path. Refused with a reason, or because it is no path.
    fn parse(&mut self, path: &str) -> Result<(), Option<&'static str>> {
        let start = self.steps.len();
        // `$` is the root, and `$ref` a key.
        let mut rest = match path.strip_prefix('$') {
            Some(rest) if rest.is_empty() || rest.starts_with('[') => rest,
            Some(rest) => rest.strip_prefix('.').unwrap_or(path),
            None => path,
        };
        while !rest.is_empty() {
            let step;
            (step, rest) = step_of(rest).ok_or(None)?;
            let steps = self.steps.len().saturating_sub(start);
            if steps >= MAX_STEPS {
                return Err(Some("has more than 64 steps"));
            }
            // Twice any number of steps is any number of steps.
            let again = steps > 0 && matches!((&step, self.steps.last()), (Step::Deep, Some(Step::Deep)));
            if !again {
                self.steps.push(match step {
                    Step::Key(key) if self.fold => Step::Key(fold(&key)),
                    step => step,
                });
            }
            let after = rest.strip_prefix('.');
            if after.is_some_and(|after| after.is_empty() || after.starts_with('['))
                || after.is_none() && !rest.is_empty() && !rest.starts_with('[')
            {
                return Err(None);
            }
            rest = after.unwrap_or(rest);
        }
        match self.steps.get(start..) {
            None | Some([]) => Err(None),
            Some([.., Step::Deep]) => {
                Err(Some("ends in `**`; a path takes all of the value at its end, so leave it out"))
            }
            Some(_) => Ok(()),
        }
    }
}

/// The first step of a path, and what is behind it.
fn step_of(path: &str) -> Option<(Step, &str)> {
    if let Some(inner) = path.strip_prefix('[') {
        return bracket(inner);
    }
    let end = path.bytes().position(|byte| matches!(byte, b'.' | b'[')).unwrap_or(path.len());
    let (name, after) = path.split_at_checked(end)?;
    let step = match name {
        "*" => Step::Any,
        "**" => Step::Deep,
        _ if name.is_empty() || name.bytes().any(|byte| matches!(byte, b'*' | b']' | b'"')) => return None,
        _ => Step::Key(String::from(name)),
    };
    Some((step, after))
}

/// The step in brackets, and what is behind them.
fn bracket(inner: &str) -> Option<(Step, &str)> {
    if inner.starts_with('"') {
        let mut tokens = super::json::Tokens::new(inner);
        // The string ends where the row of tokens would go on; `]` is no part of it.
        let super::json::Token::Text(text) = tokens.next().ok().flatten()? else { return None };
        let rest = inner.get(tokens.at()..)?.strip_prefix(']')?;
        return Some((Step::Key(text.decode().into_owned()), rest));
    }
    let (index, rest) = inner.split_once(']')?;
    if index == "*" {
        return Some((Step::AnyElement, rest));
    }
    let index = if index.starts_with('+') { None } else { usize::try_from(whole(index.as_bytes())?).ok() };
    Some((Step::Index(index?), rest))
}

#[cfg(test)]
mod tests;
