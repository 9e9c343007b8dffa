//! Configurations: JSON text into a filter's `Config`, with errors that name the field and say what would be accepted.
//!
//! Knows no host and no filter. [`parse`] checks shape; what the values mean is for the filter's `Policy::try_from`, which
//! collects its findings with [`Problems`].

mod at;
mod decode;
mod duration;
mod explain;
mod json;
pub(crate) mod names;
mod node;
mod percentage;
mod text;
mod timestamp;
mod types;
mod words;

#[cfg(test)]
mod tests;

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error};

pub use at::{At, Place};
#[doc(hidden)]
pub use decode::{Fields, Parts};
pub use decode::{FromConfig, Reader};
pub use duration::{ConfigDuration, nanos};
pub use node::Node;
pub use percentage::Percentage;
#[doc(hidden)]
pub use serde;
pub use timestamp::Timestamp;
pub use types::FromKey;
/// Reads a type by its fields or variants; follows the attributes of serde that `JsonSchema` follows, and gives serde's `Deserialize` as well.
pub use weir_sdk_derive::FromConfig;

pub use words::{decimal, joined, number, signed};
pub(crate) use words::{push_hex, quoted};

/// Errors reported for one configuration; the rest is cut, since nobody reads on.
const MAX_PROBLEMS: usize = 32;

/// Reads a configuration as the proxy hands it over: JSON text, absent or empty for none.
///
/// No configuration is read as `{}`, so a filter whose fields all have defaults needs none. Every error that can be found
/// is reported at once: where a value has one, the rest is read on.
///
/// # Errors
/// Names each field by its path: a field that is missing, unknown, there twice, of a wrong type or of an unknown variant. Text that
/// is not JSON is located by line and column; a raw protobuf `Struct` (`LOAD-20`) and YAML are recognised and explained.
pub fn parse<T: FromConfig>(bytes: Option<&[u8]>) -> Result<T, ConfigError> {
    let bytes = bytes.unwrap_or_default();
    if bytes.trim_ascii().is_empty() {
        return read(Node::Object(Vec::new())).map_err(text::none_given);
    }
    read(text::parse(bytes)?)
}

fn read<T: FromConfig>(mut root: Node) -> Result<T, ConfigError> {
    let mut reader = reader(&mut root);
    let mut value = T::blank();
    let whole = value.fill(&root, &mut reader);
    reader.finish()?;
    if whole { Ok(value) } else { Err(ConfigError::invalid("", "cannot be read")) }
}

fn reader(root: &mut Node) -> Reader {
    let mut problems = Problems::new();
    root.remove_duplicates(&mut String::new(), &mut problems);
    Reader::new(problems)
}

/// serde's `Deserialize` of a type that is read from configurations.
#[doc(hidden)]
pub fn through_serde<'de, T: FromConfig, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    read(Node::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// As the derive writes it, for types whose `FromConfig` is written by hand.
macro_rules! serde_form {
    ($type:ty) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::config::through_serde(deserializer)
            }
        }
    };
}
pub(crate) use serde_form;

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, such as `rules[2].match.headers[0].exact`; empty for the configuration as a whole.
    pub path: String,
    /// What is wrong and what would be accepted, without a full stop.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl Problem {
    /// As it is displayed, without the code that formats.
    #[must_use]
    pub fn text(&self) -> String {
        if self.path.is_empty() {
            return self.reason.clone();
        }
        joined("`", &self.path, &joined("`: ", &self.reason, ""))
    }
}

/// Why a configuration is refused: at least one [`Problem`], one per line when displayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Never empty.
    problems: Vec<Problem>,
}

impl ConfigError {
    /// One field that means nothing.
    pub fn invalid(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { problems: vec![Problem { path: path.into(), reason: reason.into() }] }
    }

    /// The same errors seen from the outside: every path gets this prefix, `rules[2]` + `match` being `rules[2].match`.
    #[must_use]
    pub fn under(mut self, prefix: &str) -> Self {
        for problem in &mut self.problems {
            problem.path = join(prefix, &problem.path);
        }
        self
    }

    /// Both errors.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.problems.extend(other.problems);
        self
    }

    /// As it is displayed, without the code that formats.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (index, problem) in self.problems.iter().enumerate() {
            text.push_str(if index > 0 { "\n" } else { "" });
            text.push_str(&problem.text());
        }
        text
    }

    /// What is wrong, in the order it was found.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl std::error::Error for ConfigError {}

/// Collects what is wrong, so that a filter reports everything at once.
///
/// ```
/// use weir_sdk::{ConfigError, Problems};
///
/// fn check(weights: &[u32]) -> Result<(), ConfigError> {
///     let mut problems = Problems::new();
///     if weights.is_empty() {
///         problems.add("weights", "needs at least one");
///     }
///     problems.finish()
/// }
/// assert_eq!(check(&[]).unwrap_err().to_string(), "`weights`: needs at least one");
/// assert!(check(&[1]).is_ok());
/// ```
#[derive(Debug, Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Nothing wrong yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that the field at a place ([`At`], or a path as text) means nothing.
    pub fn add(&mut self, at: impl Place, reason: impl AsRef<str>) {
        self.note(&at, reason.as_ref());
    }

    #[cold]
    #[inline(never)]
    fn note(&mut self, at: &dyn Place, reason: &str) {
        let mut path = String::new();
        at.push_to(&mut path);
        self.0.push(Problem { path, reason: String::from(reason) });
    }

    /// As [`Problems::add`], of a field of what is at a place.
    #[cold]
    #[inline(never)]
    pub fn refuse(&mut self, at: &At<'_>, field: &str, reason: &str) {
        self.note(&at.field(field), reason);
    }

    /// The value of a part, or `None` after noting its errors under its place ([`At`], or a path as text).
    pub fn take<T>(&mut self, at: impl Place, result: Result<T, ConfigError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.note_all(&at, error);
                None
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn note_all(&mut self, at: &dyn Place, error: ConfigError) {
        let mut prefix = String::new();
        at.push_to(&mut prefix);
        self.0.extend(error.under(&prefix).problems);
    }

    /// How much was noted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was noted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Everything that was noted, when something was.
    pub(crate) fn into_error(self) -> ConfigError {
        ConfigError { problems: self.0 }
    }

    /// The verdict.
    ///
    /// # Errors
    /// Everything that was noted.
    pub fn finish(self) -> Result<(), ConfigError> {
        if self.0.is_empty() { Ok(()) } else { Err(ConfigError { problems: self.0 }) }
    }
}

/// A path within a path.
fn join(prefix: &str, path: &str) -> String {
    let mut whole = String::from(prefix);
    if !prefix.is_empty() && !path.is_empty() && !path.starts_with('[') {
        whole.push('.');
    }
    whole.push_str(path);
    whole
}
