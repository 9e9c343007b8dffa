//! YAML and JSON as values that know where in the file each of them stands, also those inside of texts. Judges nothing.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::{Location, Spanned};

use crate::yaml::{self, YamlError};

/// Line and column, both from 1.
pub type Place = (u64, u64);

/// A value with the places of its parts. A part is named by its JSON pointer (`/spec/match/0`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    /// The value.
    pub value: Value,
    /// Where values stand.
    values: BTreeMap<String, Place>,
    /// Where the keys of values stand; elements of lists have none.
    keys: BTreeMap<String, Place>,
}

/// Reads a text of YAML or JSON, which may hold several documents. Empty ones are left out.
///
/// # Errors
/// When it is not YAML, with the place.
pub(super) fn read(text: &str) -> Result<Vec<Document>, YamlError> {
    let nodes: Vec<Node> = yaml::parse_all(text)?;
    Ok(nodes.into_iter().map(Document::new).collect())
}

impl Document {
    fn new(node: Node) -> Self {
        let mut document = Self::default();
        document.value = document.take(node, &mut String::new());
        document
    }

    fn take(&mut self, node: Node, pointer: &mut String) -> Value {
        self.values.insert(pointer.clone(), place(node.0.referenced));
        let length = pointer.len();
        match node.0.value {
            Tree::Scalar(value) => value,
            Tree::List(nodes) => {
                let mut values = Vec::with_capacity(nodes.len());
                for (index, node) in nodes.into_iter().enumerate() {
                    pointer.push_str(&format!("/{index}"));
                    values.push(self.take(node, pointer));
                    pointer.truncate(length);
                }
                Value::Array(values)
            }
            Tree::Map(entries) => {
                let mut map = Map::new();
                for (key, node) in entries {
                    pointer.push_str(&step(&key.value));
                    self.keys.insert(pointer.clone(), place(key.referenced));
                    let value = self.take(node, pointer);
                    pointer.truncate(length);
                    map.insert(key.value, value);
                }
                Value::Object(map)
            }
        }
    }

    /// Where the value stands, or the nearest that it would stand in.
    #[must_use]
    pub fn place(&self, pointer: &str) -> Option<Place> {
        ancestors(pointer).find_map(|pointer| self.values.get(pointer).copied())
    }

    /// Where a reader looks for the value: a scalar itself, the key of what has parts.
    #[must_use]
    pub fn shown_place(&self, pointer: &str) -> Option<Place> {
        let known = ancestors(pointer).find(|pointer| self.values.contains_key(*pointer))?;
        let has_parts = self.value.pointer(known).is_none_or(|value| value.is_object() || value.is_array());
        if has_parts || known != pointer { self.key_place(known) } else { self.place(known) }
    }

    /// Where the key of the value stands, or the value where it has no key.
    #[must_use]
    pub fn key_place(&self, pointer: &str) -> Option<Place> {
        self.keys.get(pointer).copied().or_else(|| self.place(pointer))
    }

    /// The resources of a document: itself, or the items of a Kubernetes `List`.
    #[must_use]
    pub fn resources(self) -> Vec<Document> {
        let is_list = self.value.get("kind").and_then(Value::as_str) == Some("List");
        let count = self.value.get("items").and_then(Value::as_array).filter(|_| is_list).map(Vec::len);
        let Some(count) = count else { return vec![self] };
        (0..count).map(|index| self.part(&format!("/items/{index}"))).collect()
    }

    /// A part as a document of its own.
    fn part(&self, prefix: &str) -> Document {
        // `0` is what follows `/`: the pointers in between are those inside.
        let inside = format!("{prefix}/")..format!("{prefix}0");
        let within = |places: &BTreeMap<String, Place>| -> BTreeMap<String, Place> {
            let itself = places.get_key_value(prefix).into_iter();
            let all = itself.chain(places.range(inside.clone()));
            all.map(|(pointer, place)| (pointer[prefix.len()..].to_owned(), *place)).collect()
        };
        let value = self.value.pointer(prefix).cloned().unwrap_or_default();
        Document { value, values: within(&self.values), keys: within(&self.keys) }
    }

    /// The document in the text at `pointer`, with places in the file whose text is `source`. Empty when that is no text.
    ///
    /// # Errors
    /// When the text is not YAML or JSON, with the place in the file.
    pub fn inner(&self, pointer: &str, source: &str) -> Result<Vec<Document>, YamlError> {
        let Some(text) = self.value.pointer(pointer).and_then(Value::as_str) else { return Ok(Vec::new()) };
        let outer = self.place(pointer).unwrap_or((1, 1));
        let quoting = Quoting::of(source, outer);
        let mut documents = read(text).map_err(|mut error| {
            error.location = Some(error.location.map_or(outer, |inner| quoting.place(inner)));
            error
        })?;
        for document in &mut documents {
            let places = document.values.values_mut().chain(document.keys.values_mut());
            places.for_each(|place| *place = quoting.place(*place));
        }
        Ok(documents)
    }
}

fn place(location: Location) -> Place {
    (location.line(), location.column())
}

/// A pointer and all above it.
fn ancestors(pointer: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(pointer), |pointer| pointer.rfind('/').map(|end| &pointer[..end]))
}

/// One step of a pointer, with its slash.
#[must_use]
pub(super) fn step(key: &str) -> String {
    format!("/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// A pointer as a reader knows paths: `spec.match[0].ports`.
#[must_use]
pub(super) fn readable(pointer: &str) -> String {
    let mut path = String::new();
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        if !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit()) {
            path.push_str(&format!("[{step}]"));
        } else if step.contains(['.', '/', ' ']) || step.is_empty() {
            path.push_str(&format!("[\"{step}\"]"));
        } else {
            path.push_str(if path.is_empty() { "" } else { "." });
            path.push_str(&step);
        }
    }
    path
}

/// How a text is written in a file, so that a place in it can be found there.
struct Quoting {
    start: Place,
    style: Style,
}

enum Style {
    /// `|` or `>`, which begins at the first line of the text: a line is a line.
    Block,
    /// On one line between quotes; the characters from the opening quote on.
    Quoted(Vec<char>),
    Plain,
}

impl Quoting {
    fn of(source: &str, start: Place) -> Self {
        let index = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).saturating_sub(1);
        let lines: Vec<&str> = source.lines().take(index(start.0) + 1).collect();
        let (here, above) = lines.split_last().map_or(("", &[][..]), |(here, above)| (*here, above));
        let rest: Vec<char> = here.chars().skip(index(start.1)).collect();
        let is_first = here.chars().take(index(start.1)).all(char::is_whitespace);
        let header = above.iter().rev().find(|line| !line.trim().is_empty()).copied().unwrap_or_default();
        let header = header.split(" #").next().unwrap_or_default().trim_end();
        let header = header.trim_end_matches(|c: char| c.is_ascii_digit() || c == '+' || c == '-');
        let style = match rest.first() {
            _ if is_first && header.ends_with(['|', '>']) => Style::Block,
            Some('"' | '\'') => Style::Quoted(rest),
            _ => Style::Plain,
        };
        Self { start, style }
    }

    fn place(&self, (line, column): Place) -> Place {
        let (outer_line, outer_column) = self.start;
        match &self.style {
            Style::Block => (outer_line + line - 1, outer_column + column - 1),
            // A quoted text of several lines is folded; its beginning is the best that can be said.
            Style::Quoted(_) | Style::Plain if line > 1 => self.start,
            Style::Quoted(rest) => (outer_line, outer_column + 1 + width(rest, column - 1)),
            Style::Plain => (outer_line, outer_column + column - 1),
        }
    }
}

/// How many characters of the file after the opening quote the first `count` characters of the text take.
fn width(rest: &[char], count: u64) -> u64 {
    let quote = rest.first().copied().unwrap_or('"');
    let mut width = 0;
    let mut rest = rest.iter().skip(1).peekable();
    for _ in 0..count {
        let Some(character) = rest.next() else { break };
        width += 1;
        let escaped = if quote == '"' { *character == '\\' } else { *character == '\'' };
        if escaped && let Some(next) = rest.next() {
            // `\u0041` and its like are rare enough to be off by a few columns.
            width += 1;
            let digits = match next {
                'x' if quote == '"' => 2,
                'u' if quote == '"' => 4,
                _ => 0,
            };
            width += rest.by_ref().take(digits).count() as u64;
        }
    }
    width
}

/// What is read before it becomes a document.
struct Node(Spanned<Tree>);

enum Tree {
    Scalar(Value),
    List(Vec<Node>),
    Map(Vec<(Spanned<String>, Node)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Tree;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Tree, E> {
                Ok(Tree::Scalar(value.into()))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Tree, E> {
                Ok(Tree::Scalar(value.into()))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Tree, E> {
                Ok(Tree::Scalar(value.into()))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Tree, E> {
                Ok(Tree::Scalar(Number::from_f64(value).map_or(Value::Null, Value::Number)))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Tree, E> {
                Ok(Tree::Scalar(value.into()))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Tree, E> {
                Ok(Tree::Scalar(Value::Null))
            }

            fn visit_none<E: de::Error>(self) -> Result<Tree, E> {
                Ok(Tree::Scalar(Value::Null))
            }

            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
                Tree::deserialize(deserializer)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
                let mut nodes = Vec::new();
                while let Some(node) = seq.next_element()? {
                    nodes.push(node);
                }
                Ok(Tree::List(nodes))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Tree::Map(entries))
            }
        }

        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(text: &str, pointer: &str, want: Place) {
        let documents = read(text).unwrap();
        assert_eq!(documents[documents.len() - 1].place(pointer), Some(want));
    }

    #[test]
    fn values_and_keys_have_places() {
        check("a: 1\nb:\n- {c: x}\n", "/b/0/c", (3, 7));
        check("a: 1\n---\n{\"b\": [1,\n  2]}", "/b/1", (4, 3));
        check("a: {b: 1}\n", "/a/c/d", (1, 4));
        let documents = read("a: 1\n---\n---\nb:\n  c/d: ~\n").unwrap();
        assert_eq!(documents.len(), 2);
        assert_eq!(documents[1].value, json!({"b": {"c/d": null}}));
        assert_eq!(documents[1].key_place("/b/c~1d"), Some((5, 3)));
    }

    #[track_caller]
    fn check_inner(text: &str, pointer: &str, want: Place) {
        let document = &read(text).unwrap()[0];
        assert_eq!(document.inner("/v", text).unwrap()[0].place(pointer), Some(want));
    }

    #[test]
    fn values_inside_of_texts_have_places() {
        check_inner("v: '{\"a\": {\"b\": 1}}'\n", "/a/b", (1, 17));
        check_inner("v: \"{\\\"a\\\": 1}\"\n", "/a", (1, 13));
        check_inner("v: |\n  {\n    \"a\": 1}\n", "/a", (3, 10));
        check_inner("x: 1\nv: >-\n  {\"a\": 1}\n", "/a", (3, 9));
        check_inner("v: {\"w\": 1}\n".replace("{\"w\": 1}", "'{\"a\": ''x''}'").as_str(), "/a", (1, 11));
    }

    #[test]
    fn an_item_has_its_own_places_and_no_others() {
        let list = "kind: List\nitems:\n- a: 1\n- a: 2\n- {b: {c: 3}}\n".to_owned() + &"- x\n".repeat(10);
        let items = read(&list).unwrap().remove(0).resources();
        assert_eq!(items.len(), 13);
        assert_eq!((items[1].place(""), items[1].place("/a")), (Some((4, 3)), Some((4, 6))));
        assert_eq!(items[2].key_place("/b/c"), Some((5, 8)));
        assert_eq!(items[1].values.len(), 2);
    }

    #[test]
    fn paths_are_readable() {
        assert_eq!(readable("/spec/match/0/ports"), "spec.match[0].ports");
        assert_eq!(readable("/metadata/labels/a.b~1c"), "metadata.labels[\"a.b/c\"]");
        assert_eq!(readable(""), "");
    }
}
