//! Sentences for what a decode found, and what to set aside so that the next decode finds the next error.
//!
//! Knows no configuration type, only [`Fault`]s and the tree they happened in.

use super::Problem;
use super::decode::{Fault, Kind, Target};
use super::node::{Node, Step, path_of};
use super::placeholder::KINDS;
use super::words::{decimal, is_decimal, list, nearest, quoted};

/// Known names are listed up to this many.
const MAX_LISTED: usize = 16;

/// What to tell about a fault; `None` when it only follows from an error that was told before.
pub(super) fn problem(fault: &Fault, root: &Node) -> Option<Problem> {
    let mut path = String::new();
    let mut node = root;
    let (key, steps) = match (fault.target, fault.steps.split_first()) {
        (Target::Key | Target::Variant, Some((Step::Key(key), outer))) => (Some(key), outer),
        _ => (None, fault.steps.as_slice()),
    };
    for step in steps.iter().rev() {
        path = path_of(&path, step);
        node = node.child(step)?;
    }
    let named = |name: &str| path_of(&path, &Step::Key(String::from(name)));
    let problem = |path: String, reason: String| Some(Problem { path, reason });
    if matches!(node, Node::Placeholder { .. }) {
        return None;
    }
    match (&fault.kind, key) {
        (Kind::Placeholder, _) => None,
        (Kind::Missing(name), _) => problem(named(name), String::from("is required, but missing")),
        (Kind::UnknownField { known }, Some(key)) => {
            problem(named(key), unknown("unknown field", key, known, '`'))
        }
        (Kind::UnknownVariant { known }, Some(key)) => {
            problem(named(key), unknown("unknown name", key, known, '`'))
        }
        (Kind::UnknownVariant { known } | Kind::UnknownField { known }, None) => {
            let what = ["unknown value ", &describe(node)].concat();
            let Node::Text(text) = node else { return problem(path, what) };
            problem(path, unknown(&what, text, known, '"'))
        }
        (Kind::NotOneVariant { known }, _) => problem(path, not_one_variant(node, known)),
        (Kind::Expected(expected), None) => problem(path, wrong_type(expected, node)),
        (Kind::Expected(expected), Some(key)) => {
            problem(named(key), ["the key should be ", &plain(expected)].concat())
        }
        (Kind::Custom(_), _) if node.holds_placeholder() => None,
        (Kind::Custom(reason), None) => problem(path, reason.clone()),
        (Kind::Custom(reason), Some(key)) => problem(named(key), reason.clone()),
    }
}

/// Changes the tree so that the fault does not happen again. `false` when there is nothing left to read.
pub(super) fn set_aside(fault: &Fault, root: &mut Node) -> bool {
    let outward: &[Step] = match (fault.target, fault.steps.split_first()) {
        (Target::Key | Target::Variant, Some((_, outer))) => outer,
        _ => &fault.steps,
    };
    // The values on the way, as far as they are there: a placeholder has no parts of its own.
    let inward: Vec<&Step> = outward.iter().rev().collect();
    let mut depth = 0_usize;
    let mut node = &*root;
    while let Some(child) = inward.get(depth).and_then(|step| node.child(step)) {
        node = child;
        depth = depth.saturating_add(1);
    }
    let tried = match node {
        Node::Placeholder { tried, .. } => Some(tried.saturating_add(1)),
        _ => None,
    };
    if tried.is_some_and(|tried| tried >= KINDS) {
        // No made-up value fits here: the value around it is set aside.
        let Some(outer) = depth.checked_sub(1) else { return false };
        return replace(root, inward.get(..outer).unwrap_or_default(), 0);
    }
    if tried.is_none() {
        let place = find(root, &inward);
        match (&fault.kind, fault.target, fault.steps.first(), place) {
            (_, Target::Key, Some(Step::Key(key)), Some(Node::Object(fields))) => {
                fields.retain(|(name, _)| name != key);
                return true;
            }
            (Kind::Missing(name), _, _, Some(Node::Object(fields)))
                if fields.iter().all(|(key, _)| key != name) =>
            {
                fields.push((String::from(*name), Node::Placeholder { tried: 0, depth: 0 }));
                return true;
            }
            _ => {}
        }
    }
    replace(root, inward.get(..depth).unwrap_or_default(), tried.unwrap_or(0))
}

fn find<'n>(root: &'n mut Node, steps: &[&Step]) -> Option<&'n mut Node> {
    steps.iter().try_fold(root, |node, step| node.child_mut(step))
}

fn replace(root: &mut Node, steps: &[&Step], tried: u8) -> bool {
    match find(root, steps) {
        Some(node) if !steps.is_empty() => {
            *node = Node::Placeholder { tried, depth: 0 };
            true
        }
        _ => false,
    }
}

fn unknown(what: &str, name: &str, known: &[&str], quote: char) -> String {
    let mut text = String::from(what);
    if known.is_empty() {
        text.push_str("; none is accepted here");
        return text;
    }
    let near = nearest(name, known);
    if near.is_none() || known.len() <= MAX_LISTED {
        text.push_str("; accepted: ");
        text.push_str(&list(known.iter().take(MAX_LISTED).copied(), quote));
        if known.len() > MAX_LISTED {
            text.push_str(", …");
        }
    }
    if let Some(near) = near {
        text.push_str("; did you mean ");
        text.push_str(&list(std::iter::once(near), quote));
        text.push('?');
    }
    text
}

fn not_one_variant(node: &Node, known: &[&str]) -> String {
    let names = list(known.iter().take(MAX_LISTED).copied(), '`');
    match node {
        Node::Object(fields) if fields.is_empty() => ["expected one of ", &names, ", found none"].concat(),
        Node::Object(fields) => [
            "expected only one of ",
            &names,
            ", found ",
            &list(fields.iter().take(MAX_LISTED).map(|(key, _)| key.as_str()), '`'),
        ]
        .concat(),
        _ => ["expected one of ", &names, ", found ", &describe(node)].concat(),
    }
}

fn wrong_type(expected: &str, node: &Node) -> String {
    let mut text = String::from("expected ");
    text.push_str(&plain(expected));
    text.push_str(", found ");
    text.push_str(&describe(node));
    if let Some(fix) = fix(expected, node) {
        text.push_str("; did you mean ");
        text.push_str(&fix);
        text.push('?');
    }
    text
}

/// Whole numbers by serde's name, with their range.
const WHOLE: [(&str, &str); 10] = [
    ("u8", "0 to 255"),
    ("u16", "0 to 65535"),
    ("u32", "0 to 4294967295"),
    ("u64", "0 to 18446744073709551615"),
    ("usize", "0 to 4294967295"),
    ("i8", "-128 to 127"),
    ("i16", "-32768 to 32767"),
    ("i32", "-2147483648 to 2147483647"),
    ("i64", "-9223372036854775808 to 9223372036854775807"),
    ("isize", "-2147483648 to 2147483647"),
];

/// serde's words for what it expects, in JSON's.
fn plain(expected: &str) -> String {
    if let Some((_, range)) = WHOLE.iter().find(|(name, _)| *name == expected) {
        return ["a whole number from ", range].concat();
    }
    String::from(match expected {
        "a boolean" => "true or false",
        "f32" | "f64" => "a number",
        "a sequence" => "a list",
        "a map" => "an object",
        "unit" => "null",
        "a borrowed string" | "variant identifier" | "field identifier" => "a string",
        _ if expected.starts_with("struct") => "an object",
        _ => expected,
    })
}

/// The value that was probably meant, where that is evident.
fn fix(expected: &str, node: &Node) -> Option<String> {
    let whole = WHOLE.iter().any(|(name, _)| *name == expected);
    match (expected, node) {
        ("a string", Node::Bool(_) | Node::Unsigned(_) | Node::Negative(_) | Node::Float(_)) => {
            let value = scalar(node)?;
            Some(["\"", &value, "\""].concat())
        }
        ("a boolean", Node::Text(text)) => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Some(String::from("true")),
            "false" | "no" | "off" | "0" => Some(String::from("false")),
            _ => None,
        },
        ("a boolean", Node::Unsigned(0)) => Some(String::from("false")),
        ("a boolean", Node::Unsigned(1)) => Some(String::from("true")),
        (_, Node::Text(text)) if whole => text.trim().parse::<i64>().ok().map(|number| number.to_string()),
        ("f32" | "f64", Node::Text(text)) if is_decimal(text.trim()) => Some(String::from(text.trim())),
        (_, Node::Float(_)) if whole => scalar(node).filter(|text| !text.contains('.')),
        ("a sequence", Node::Text(_) | Node::Unsigned(_) | Node::Negative(_) | Node::Bool(_)) => {
            Some(["[", &describe(node), "]"].concat())
        }
        ("a sequence", Node::Object(_)) => Some(String::from("a list with this one object, [{…}]")),
        _ => None,
    }
}

/// What stands in the configuration, in a few words.
pub(super) fn describe(node: &Node) -> String {
    match node {
        Node::Null => String::from("null"),
        Node::List(_) => String::from("a list"),
        Node::Object(_) => String::from("an object"),
        Node::Placeholder { .. } => String::from("nothing"),
        Node::Text(text) => quoted(text),
        Node::Float(_) => scalar(node).unwrap_or_else(|| String::from("another number")),
        Node::Bool(_) | Node::Unsigned(_) | Node::Negative(_) => scalar(node).unwrap_or_default(),
    }
}

/// A number or boolean as text; `None` for numbers with more than six decimals.
fn scalar(node: &Node) -> Option<String> {
    match node {
        Node::Bool(value) => Some(String::from(if *value { "true" } else { "false" })),
        Node::Unsigned(value) => Some(value.to_string()),
        Node::Negative(value) => Some(value.to_string()),
        Node::Float(value) => decimal(*value),
        _ => None,
    }
}
