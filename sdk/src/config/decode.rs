//! From JSON to the types of a configuration: one decoder that knows no type, and what a type tells it.
//!
//! Every error is found in one pass, in the order of the text: a part that is wrong is noted with its path, and the rest is read on. Knows no
//! wording; [`super::explain`] does.

use super::explain::{self, Expected};
use super::names;
use super::node::{Node, push_index, push_key, shorten};
use super::words::joined;
use super::{ConfigError, MAX_PROBLEMS, Problems};

/// What can be read from a configuration. Derive it; written by hand it is for values with a form of their own.
///
/// ```
/// use weir_sdk::config::{FromConfig, Node, Reader};
///
/// /// `"on"` or `"off"`.
/// struct Switch(bool);
///
/// impl FromConfig for Switch {
///     fn from_config(node: &Node, reader: &mut Reader) -> Option<Self> {
///         match node {
///             Node::Text(text) if text == "on" => Some(Self(true)),
///             Node::Text(text) if text == "off" => Some(Self(false)),
///             _ => reader.expected("\"on\" or \"off\"", node),
///         }
///     }
///
///     fn blank() -> Self {
///         Self(false)
///     }
/// }
/// assert!(weir_sdk::parse::<Switch>(Some(b"\"on\"")).is_ok());
/// let error = weir_sdk::parse::<Switch>(Some(b"3")).err().map(|error| error.to_string());
/// assert_eq!(error.as_deref(), Some("expected \"on\" or \"off\", found 3"));
/// ```
pub trait FromConfig: Sized {
    /// Whether a field of this type may be left out without a default of its own, as an `Option` may.
    const IS_OPTIONAL: bool = false;

    /// Reads a value; `None` after telling the reader what is wrong.
    fn from_config(node: &Node, reader: &mut Reader) -> Option<Self>;

    /// What stands where nothing is read yet: any value that is cheap to make, of an [optional](Self::IS_OPTIONAL) type what a field holds that is
    /// left out. No one sees another: a configuration with a field that is missing or wrong is refused.
    #[must_use]
    fn blank() -> Self;

    /// As [`FromConfig::from_config`], in the place where the value belongs; `false` after telling the reader what is wrong, and the place
    /// then holds any value. Large types are read this way: nothing is moved.
    fn fill(&mut self, node: &Node, reader: &mut Reader) -> bool {
        let Some(value) = Self::from_config(node, reader) else {
            return false;
        };
        *self = value;
        true
    }
}

/// What is read part by part: a struct, field by field, or the content of an enum's variant.
///
/// The code that goes through an object, names what is unknown or missing and keeps the path is there once, not once per struct.
#[doc(hidden)]
pub trait Parts {
    /// Reads a field, by its place in [`Fields`], or a variant's content, where the place says nothing; `false` when it is wrong.
    fn fill_part(&mut self, index: usize, node: &Node, reader: &mut Reader) -> bool;
}

impl<F: FnMut(usize, &Node, &mut Reader) -> bool> Parts for F {
    fn fill_part(&mut self, index: usize, node: &Node, reader: &mut Reader) -> bool {
        self(index, node, reader)
    }
}

/// The fields of a struct.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Fields {
    /// Each with a NUL behind it: one text is shorter than a list of them.
    pub names: &'static str,
    /// A bit for each that must be given, the lowest for the first.
    pub required: u64,
}

/// Reads one configuration: knows where it is, and collects what is wrong.
#[derive(Debug, Default)]
pub struct Reader {
    /// Of the value that is being read.
    path: String,
    problems: Problems,
}

impl Reader {
    pub(super) fn new(problems: Problems) -> Self {
        Self { path: String::new(), problems }
    }

    /// Notes why the value that is being read means nothing. Always `None`.
    pub fn refuse<T>(&mut self, reason: impl Into<String>) -> Option<T> {
        self.note(reason.into());
        None
    }

    /// Notes that another kind of value was expected: `what` with its article, such as `an address`. Always `None`.
    pub fn expected<T>(&mut self, what: &str, found: &Node) -> Option<T> {
        self.wrong_type(Expected::Other(what), found)
    }

    /// As [`Reader::expected`], for the kinds whose values people mix up.
    pub(super) fn wrong_type<T>(&mut self, expected: Expected<'_>, found: &Node) -> Option<T> {
        self.note_wrong(expected, found);
        None
    }

    #[cold]
    #[inline(never)]
    fn note_wrong(&mut self, expected: Expected<'_>, found: &Node) {
        self.note(explain::wrong_type(expected, found));
    }

    #[cold]
    #[inline(never)]
    fn note(&mut self, reason: String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.add(self.path.clone(), reason);
        }
    }

    /// Notes what is wrong with a key of the object that is being read, or with its absence.
    #[cold]
    #[inline(never)]
    pub(super) fn note_key(&mut self, key: &str, reason: String) {
        let end = self.enter(key);
        self.note(reason);
        self.leave(end);
    }

    /// From here on the value of a key is read; what is returned is for [`Reader::leave`].
    #[must_use]
    pub fn enter(&mut self, key: &str) -> usize {
        let end = self.path.len();
        push_key(&mut self.path, key);
        end
    }

    /// The value of a key has been read.
    pub fn leave(&mut self, end: usize) {
        shorten(&mut self.path, end);
    }

    /// Whether everything that was read was right, and what was not.
    pub(super) fn finish(self) -> Result<(), ConfigError> {
        self.problems.finish()
    }

    /// Reads an object's fields, each by its place among them. `false` when anything is wrong.
    #[doc(hidden)]
    pub fn object(&mut self, node: &Node, fields: &Fields, parts: &mut dyn Parts) -> bool {
        let Node::Object(given) = node else {
            return self.wrong_type::<()>(Expected::Object, node).is_some();
        };
        let mut missing = fields.required;
        let mut whole = true;
        for (key, value) in given {
            if let Some(index) = names::place(fields.names, key) {
                missing &= !bit(index);
                let end = self.enter(key);
                whole &= parts.fill_part(index, value, self);
                self.leave(end);
            } else {
                whole = false;
                self.note_key(key, explain::unknown("unknown field", key, fields.names, '`'));
            }
        }
        if missing != 0 {
            whole = false;
            for (index, name) in names::all(fields.names).enumerate() {
                if missing & bit(index) != 0 {
                    self.note_key(name, String::from("is required, but missing"));
                }
            }
        }
        whole
    }

    /// Reads the items of a list. `false` when anything is wrong.
    pub(super) fn each(&mut self, node: &Node, read: &mut dyn FnMut(&Node, &mut Self) -> bool) -> bool {
        let Node::List(items) = node else {
            return self.wrong_type::<()>(Expected::List, node).is_some();
        };
        let mut whole = true;
        for (index, item) in items.iter().enumerate() {
            let end = self.path.len();
            push_index(&mut self.path, index);
            whole &= read(item, self);
            self.leave(end);
        }
        whole
    }

    /// Which variant stands there, `"name"` or `{"name": content}`, and its content. The names are as those of [`Fields`].
    #[doc(hidden)]
    pub fn variant<'n>(&mut self, node: &'n Node, known: &str) -> Option<(usize, Option<&'n Node>)> {
        let (name, content) = match node {
            Node::Text(name) => (name, None),
            Node::Object(fields) if let [(name, content)] = fields.as_slice() => (name, Some(content)),
            _ => return self.refuse(explain::not_one_variant(node, known)),
        };
        if let Some(index) = names::place(known, name) {
            return Some((index, content));
        }
        if content.is_some() {
            self.note_key(name, explain::unknown("unknown name", name, known, '`'));
        } else {
            let what = joined("unknown value ", &explain::describe(node), "");
            self.note(explain::unknown(&what, name, known, '"'));
        }
        None
    }

    /// As [`Reader::variant`], of an enum none of whose variants has a content.
    #[doc(hidden)]
    pub fn plain_variant(&mut self, node: &Node, known: &str) -> Option<usize> {
        let (index, content) = self.variant(node, known)?;
        self.no_value(known, index, content).then_some(index)
    }

    /// Whether a variant without content has none.
    fn no_value(&mut self, known: &str, index: usize, content: Option<&Node>) -> bool {
        match content {
            None | Some(Node::Null) => true,
            Some(Node::Object(fields)) if fields.is_empty() => true,
            Some(_) => {
                let name = names::at(known, index);
                self.note(joined(&joined("`", name, "` takes no value: write \""), name, "\""));
                false
            }
        }
    }

    /// Reads the content of a variant, or sees that there is none where it takes none; `takes` has a bit for each, the lowest for the first.
    #[doc(hidden)]
    pub fn content(
        &mut self,
        known: &str,
        takes: u64,
        index: usize,
        content: Option<&Node>,
        parts: &mut dyn Parts,
    ) -> bool {
        if takes & bit(index) == 0 {
            return self.no_value(known, index, content);
        }
        let name = names::at(known, index);
        let Some(node) = content else {
            self.note(joined(&joined("`", name, "` needs a value: write {\""), name, "\": …}"));
            return false;
        };
        let end = self.enter(name);
        let whole = parts.fill_part(0, node, self);
        self.leave(end);
        whole
    }
}

/// The bit of a field; none for those behind the 64th, which the derive refuses.
fn bit(index: usize) -> u64 {
    u32::try_from(index).ok().and_then(|index| 1_u64.checked_shl(index)).unwrap_or_default()
}
