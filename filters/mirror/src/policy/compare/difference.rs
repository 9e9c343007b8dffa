//! Differences: of statuses, headers and bytes, and of two documents place by place.
//!
//! Knows no noise.

use std::borrow::Cow;

use weir_sdk::HeaderMap;

use super::document::{Node, Value};
use super::{Comparison, Documents, Part};
use crate::policy::bytes::lossy;
use crate::policy::json::push_string;
use crate::policy::json_path::{Enter, Walk};
use crate::policy::number::Decimal;
use crate::policy::sort::sort;

/// Longest name of a place in bytes: a hostile key is not kept whole.
const MAX_PLACE: usize = 256;

/// Longest value that is kept for a record.
const MAX_VALUE: usize = 4096;

/// A difference.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) part: Part,
    /// The header, or the way into the document.
    pub(super) steps: Vec<Step>,
    pub(super) kind: Kind,
    pub(super) primary: Side,
    pub(super) copy: Side,
    pub(super) noise: bool,
}

/// What kind of difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Value,
    Type,
    /// Only the primary has it.
    Missing,
    /// Only the copy has it.
    Added,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Type => "type",
            Self::Missing => "missing",
            Self::Added => "added",
        }
    }
}

/// A step into a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Element(usize),
}

/// What is known of a value that differs.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Side {
    /// Its type; `None` when there is no such value.
    pub(super) kind: Option<&'static str>,
    pub(super) length: Option<usize>,
    /// It itself, when records tell it: JSON text, or the lines of a header.
    pub(super) values: Vec<Vec<u8>>,
}

impl Side {
    #[inline(never)]
    fn new(kind: &'static str, length: Option<usize>, values: Vec<Vec<u8>>) -> Self {
        Self { kind: Some(kind), length, values }
    }

    fn of_header(name: &str, headers: &HeaderMap) -> Self {
        let mut side = Self::default();
        for value in headers.values(name) {
            side.kind = Some("string");
            side.length.get_or_insert(value.len());
            side.values.push(value.to_vec());
        }
        side
    }
}

impl Found {
    #[inline(never)]
    fn new(part: Part, steps: Vec<Step>, kind: Kind, primary: Side, copy: Side) -> Self {
        Self { part, steps, kind, primary, copy, noise: false }
    }

    pub(super) fn status(primary: u16, copy: u16) -> Self {
        let side = |status: u16| Side::new("number", None, vec![u32::from(status).to_string().into_bytes()]);
        Self::new(Part::Status, Vec::new(), Kind::Value, side(primary), side(copy))
    }

    pub(super) fn header(name: &str, primary: &HeaderMap, copy: &HeaderMap) -> Self {
        let (primary, copy) = (Side::of_header(name, primary), Side::of_header(name, copy));
        let kind = match (primary.kind, copy.kind) {
            (Some(_), None) => Kind::Missing,
            (None, Some(_)) => Kind::Added,
            _ => Kind::Value,
        };
        Self::new(Part::Header, vec![Step::Key(String::from(name))], kind, primary, copy)
    }

    pub(super) fn bytes(primary: &[u8], copy: &[u8]) -> Self {
        let side = |bytes: &[u8]| Side::new("bytes", Some(bytes.len()), Vec::new());
        Self::new(Part::Body, Vec::new(), Kind::Value, side(primary), side(copy))
    }

    /// Its name: with the places of elements, or with `[*]` for each.
    pub(super) fn place(&self, exact: bool) -> String {
        let mut place = String::from(self.part.name());
        for step in &self.steps {
            match step {
                Step::Key(key) if key.is_empty() || key.bytes().any(|byte| b".[]\"*".contains(&byte)) => {
                    let mut quoted = Vec::from(*b"[");
                    push_string(&mut quoted, key);
                    quoted.push(b']');
                    place.push_str(&lossy(&quoted));
                }
                Step::Key(key) => {
                    place.push('.');
                    place.push_str(key);
                }
                Step::Element(index) if exact => {
                    place.push('[');
                    place.push_str(&index.to_string());
                    place.push(']');
                }
                Step::Element(_) => place.push_str("[*]"),
            }
            if place.len() > MAX_PLACE {
                while place.len() > MAX_PLACE {
                    place.pop();
                }
                place.push('…');
                break;
            }
        }
        place
    }
}

impl Documents {
    /// Adds what differs between two documents. With `values`, what differs is kept.
    pub(super) fn compare(&self, primary: &Node<'_>, copy: &Node<'_>, values: bool, found: &mut Comparison) {
        let mut walker = Walker { rules: self, walk: self.paths.walk(), steps: Vec::new(), values, found };
        walker.values(primary, copy, self.unordered_root);
    }

    fn numbers_are_equal(&self, one: &str, other: &str) -> bool {
        if one == other {
            return true;
        }
        let (Some(one), Some(other)) = (Decimal::parse(one), Decimal::parse(other)) else { return false };
        if one == other {
            return true;
        }
        let (one, other) = (one.float(), other.float());
        self.tolerance > 0.0 && (one - other).abs() <= self.tolerance * one.abs().max(other.abs())
    }
}

/// What is at a place, by the configuration.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    Compared,
    Ignored,
    Unordered,
}

/// Two documents on their way.
struct Walker<'w> {
    rules: &'w Documents,
    walk: Walk,
    steps: Vec<Step>,
    values: bool,
    found: &'w mut Comparison,
}

impl Walker<'_> {
    fn enter(&mut self, into: Enter<'_>) -> Rule {
        self.steps.push(match into {
            Enter::Key(key) => Step::Key(String::from(key)),
            Enter::Element(index) => Step::Element(index),
        });
        self.rule(into)
    }

    fn rule(&mut self, into: Enter<'_>) -> Rule {
        match self.walk.enter(&self.rules.paths, into) {
            None => Rule::Compared,
            Some(path) if path < self.rules.ignored => Rule::Ignored,
            Some(_) => Rule::Unordered,
        }
    }

    fn leave(&mut self) {
        self.walk.leave();
        self.steps.pop();
    }

    fn add(&mut self, kind: Kind, primary: Option<&Node<'_>>, copy: Option<&Node<'_>>) {
        if self.found.differences.len() >= Comparison::MAX_DIFFERENCES {
            self.found.more = self.found.more.saturating_add(1);
            return;
        }
        let (primary, copy) = (self.side(primary), self.side(copy));
        let found = Found::new(Part::Body, self.steps.clone(), kind, primary, copy);
        self.found.differences.push(found);
    }

    fn side(&self, node: Option<&Node<'_>>) -> Side {
        let Some(node) = node else { return Side::default() };
        let keep = self.values && node.text.len() <= MAX_VALUE;
        let values = if keep { vec![node.text.as_bytes().to_vec()] } else { Vec::new() };
        Side::new(node.kind(), node.length(), values)
    }

    /// What is at one place of both, or only on one side.
    fn pair(&mut self, into: Enter<'_>, primary: Option<&Node<'_>>, copy: Option<&Node<'_>>) {
        let rule = self.enter(into);
        let null = |node: Option<&Node<'_>>| node.is_none_or(Node::is_null);
        let may_miss = self.rules.missing_is_null && matches!(into, Enter::Key(_));
        match (primary, copy) {
            _ if rule == Rule::Ignored => {}
            (Some(primary), Some(copy)) => self.values(primary, copy, rule == Rule::Unordered),
            _ if may_miss && null(primary) && null(copy) => {}
            _ => self.add(if copy.is_none() { Kind::Missing } else { Kind::Added }, primary, copy),
        }
        self.leave();
    }

    fn values(&mut self, primary: &Node<'_>, copy: &Node<'_>, unordered: bool) {
        match (&primary.value, &copy.value) {
            (Value::Object(one), Value::Object(other)) => self.objects(one, other),
            (Value::Array(one), Value::Array(other)) if unordered => self.sets(one, other),
            (Value::Array(one), Value::Array(other)) => {
                for at in 0..one.len().max(other.len()) {
                    self.pair(Enter::Element(at), one.get(at), other.get(at));
                }
            }
            (Value::Text(one), Value::Text(other)) if one == other => {}
            (Value::Literal(one), Value::Literal(other)) if one == other => {}
            (Value::Number(one), Value::Number(other)) if self.rules.numbers_are_equal(one, other) => {}
            _ if primary.kind() == copy.kind() => self.add(Kind::Value, Some(primary), Some(copy)),
            _ => self.add(Kind::Type, Some(primary), Some(copy)),
        }
    }

    /// Members of two objects, each in the order of their keys; of a key that is there several times, the first with the first.
    fn objects(&mut self, one: &[(Cow<'_, str>, Node<'_>)], other: &[(Cow<'_, str>, Node<'_>)]) {
        let (mut at, mut bt) = (0usize, 0usize);
        loop {
            let (primary, copy) = (one.get(at), other.get(bt));
            let (left, right) = match (primary, copy) {
                (None, None) => return,
                (Some((left, _)), Some((right, _))) => (left <= right, right <= left),
                (left, right) => (left.is_some(), right.is_some()),
            };
            let (primary, copy) = (primary.filter(|_| left), copy.filter(|_| right));
            at = at.saturating_add(usize::from(left));
            bt = bt.saturating_add(usize::from(right));
            if let Some((key, _)) = primary.or(copy) {
                self.pair(Enter::Key(key), primary.map(|(_, node)| node), copy.map(|(_, node)| node));
            }
        }
    }

    /// Elements in any order: those that are the same go together, what is left is compared side by side.
    fn sets(&mut self, one: &[Node<'_>], other: &[Node<'_>]) {
        let mut left = self.written(one);
        let mut right = self.written(other);
        let (mut at, mut bt) = (0usize, 0usize);
        let (mut only_one, mut only_other) = (Vec::new(), Vec::new());
        sort(&mut left);
        sort(&mut right);
        loop {
            let order = match (left.get(at), right.get(bt)) {
                (None, None) => break,
                (Some((left, _)), Some((right, _))) => left.cmp(right),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
            };
            if order.is_le() {
                if order.is_lt() {
                    only_one.extend(left.get(at).map(|(_, index)| *index));
                }
                at = at.saturating_add(1);
            }
            if order.is_ge() {
                if order.is_gt() {
                    only_other.extend(right.get(bt).map(|(_, index)| *index));
                }
                bt = bt.saturating_add(1);
            }
        }
        sort(&mut only_one);
        sort(&mut only_other);
        for at in 0..only_one.len().max(only_other.len()) {
            let (primary, copy) = (only_one.get(at).copied(), only_other.get(at).copied());
            if let Some(index) = primary.or(copy) {
                let primary = primary.and_then(|index| one.get(index));
                self.pair(Enter::Element(index), primary, copy.and_then(|index| other.get(index)));
            }
        }
    }

    /// Each element written so that equal ones are written alike, with its place.
    fn written(&mut self, items: &[Node<'_>]) -> Vec<(Vec<u8>, usize)> {
        let mut all = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let mut out = Vec::new();
            let rule = self.rule(Enter::Element(index));
            if rule != Rule::Ignored {
                self.write(item, rule == Rule::Unordered, &mut out);
            }
            self.walk.leave();
            all.push((out, index));
        }
        all
    }

    fn write(&mut self, node: &Node<'_>, unordered: bool, out: &mut Vec<u8>) {
        match &node.value {
            Value::Text(text) => push_string(out, text),
            Value::Literal(text) => out.extend_from_slice(text.as_bytes()),
            Value::Number(text) => match Decimal::parse(text) {
                Some(number) => out.extend_from_slice(number.canonical().as_bytes()),
                None => out.extend_from_slice(text.as_bytes()),
            },
            Value::Array(items) => {
                let mut items = self.written(items);
                if unordered {
                    sort(&mut items);
                }
                out.push(b'[');
                for (item, _) in items {
                    out.extend_from_slice(&item);
                    out.push(b',');
                }
                out.push(b']');
            }
            Value::Object(members) => {
                out.push(b'{');
                for (key, value) in members {
                    let rule = self.rule(Enter::Key(key));
                    if rule != Rule::Ignored && !(self.rules.missing_is_null && value.is_null()) {
                        push_string(out, key);
                        out.push(b':');
                        self.write(value, rule == Rule::Unordered, out);
                        out.push(b',');
                    }
                    self.walk.leave();
                }
                out.push(b'}');
            }
        }
    }
}
