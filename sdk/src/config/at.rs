//! Where in a configuration something stands, without a text until something is wrong there.
//!
//! Knows no configuration.

use std::fmt;

/// A place in a configuration: `rules[2].match`, as a list of its parts on the stack.
///
/// What compiles a configuration takes one along and hands a longer one to its parts; it becomes text only where a problem is noted, so a
/// configuration that is right costs nothing.
///
/// ```
/// use weir_sdk::{At, Problems};
///
/// fn check(at: &At<'_>, weights: &[u32], problems: &mut Problems) {
///     for (index, weight) in weights.iter().enumerate() {
///         if *weight == 0 {
///             problems.add(at.item("weights", index), "expected more than 0");
///         }
///     }
/// }
/// let mut problems = Problems::new();
/// check(&At::ROOT.item("rules", 2).field("split"), &[1, 0], &mut problems);
/// let error = problems.finish().unwrap_err();
/// assert_eq!(error.to_string(), "`rules[2].split.weights[1]`: expected more than 0");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    /// What it lies in.
    outer: Option<&'a At<'a>>,
    /// Empty for an element of what it lies in.
    field: &'a str,
    /// [`NONE`] for the field itself.
    index: usize,
}

/// Of a place that is no element of a list.
const NONE: usize = usize::MAX;

impl<'a> At<'a> {
    /// The configuration as a whole.
    pub const ROOT: Self = Self { outer: None, field: "", index: NONE };

    /// A field of the configuration, or a path in it such as `follow.signed`.
    #[must_use]
    pub const fn of(field: &'a str) -> Self {
        Self { outer: None, field, index: NONE }
    }

    /// A field of what is here, or a path in it such as `body.max_bytes`.
    #[must_use]
    #[inline(never)]
    pub const fn field(&'a self, field: &'a str) -> Self {
        Self { outer: Some(self), field, index: NONE }
    }

    /// An element of the list that is here.
    #[must_use]
    pub const fn index(&'a self, index: usize) -> Self {
        self.item("", index)
    }

    /// An element of the list that is a field of what is here.
    #[must_use]
    #[inline(never)]
    pub const fn item(&'a self, field: &'a str, index: usize) -> Self {
        Self { outer: Some(self), field, index }
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl At<'_> {
    /// As it is displayed, without the code that formats.
    #[must_use]
    pub fn text(&self) -> String {
        let mut path = String::new();
        self.push_to(&mut path);
        path
    }
}

/// Where something stands in a configuration: an [`At`], or a path as text.
pub trait Place {
    /// Adds the place, as text, to what begins a path.
    fn push_to(&self, path: &mut String);
}

impl Place for At<'_> {
    fn push_to(&self, path: &mut String) {
        if let Some(outer) = self.outer {
            outer.push_to(path);
        }
        if !path.is_empty() && !self.field.is_empty() {
            path.push('.');
        }
        path.push_str(self.field);
        if self.index != NONE {
            super::node::push_index(path, self.index);
        }
    }
}

impl Place for str {
    fn push_to(&self, path: &mut String) {
        path.push_str(self);
    }
}

impl Place for String {
    fn push_to(&self, path: &mut String) {
        path.push_str(self);
    }
}

impl<P: Place + ?Sized> Place for &P {
    fn push_to(&self, path: &mut String) {
        (**self).push_to(path);
    }
}
