//! How the headers of a message changed on the way. Lines of a name are compared together, in order. Knows no format.

use schemars::JsonSchema;
use serde::Serialize;

use crate::headers::Headers;
use crate::traffic::jsonl::wire::Bytes;

/// How headers changed; each list in the order of the lines, the new ones for what was added.
#[derive(Debug, Default, JsonSchema, Serialize)]
pub(crate) struct HeaderChanges<'a> {
    /// Lines of names that were not there before, as `[name, value]`.
    pub added: Vec<(Bytes<'a>, Bytes<'a>)>,
    /// Lines of names that are not there any more, as `[name, value]`.
    pub removed: Vec<(Bytes<'a>, Bytes<'a>)>,
    /// Names whose lines are others than before.
    pub changed: Vec<HeaderChange<'a>>,
}

/// A header whose lines changed.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct HeaderChange<'a> {
    /// The name.
    pub name: Bytes<'a>,
    /// The values before, one a line.
    pub before: Vec<Bytes<'a>>,
    /// The values after, one a line.
    pub after: Vec<Bytes<'a>>,
}

impl<'a> HeaderChanges<'a> {
    /// Compares two blocks.
    #[must_use]
    pub(crate) fn between(before: &'a Headers, after: &'a Headers) -> Self {
        let mut changes = Self::default();
        for (index, (name, value)) in before.iter().enumerate() {
            if after.get(name).is_none() {
                changes.removed.push((Bytes::of(name), Bytes::of(value)));
                continue;
            }
            let is_first = before.iter().take(index).all(|(earlier, _)| earlier != name);
            if is_first && !values(before, name).eq(values(after, name)) {
                changes.changed.push(HeaderChange {
                    name: Bytes::of(name),
                    before: values(before, name).map(Bytes::of).collect(),
                    after: values(after, name).map(Bytes::of).collect(),
                });
            }
        }
        for (name, value) in after.iter().filter(|(name, _)| before.get(name).is_none()) {
            changes.added.push((Bytes::of(name), Bytes::of(value)));
        }
        changes
    }
}

fn values<'a>(headers: &'a Headers, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    headers.iter().filter(move |(key, _)| *key == name).map(|(_, value)| value)
}
