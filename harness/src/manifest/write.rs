//! YAML and JSON as texts for readers: stable, short things on one line, comments where they stand. Every text that a reader of YAML 1.1 (as kubectl is)
//! could take for something else is quoted.

use std::fmt::Write as _;

use serde_json::Value;

use super::tree::Tree;

/// What has only scalars in it stands on one line when it is no longer.
const SHORT: usize = 72;
/// JSON stands on one line when it is no longer.
const JSON_LINE: usize = 100;
/// What is no text for a reader of YAML 1.1 or 1.2, in lower case.
const RESERVED: &[&str] = &["true", "false", "yes", "no", "on", "off", "y", "n", "null", "~", ""];

/// Documents, one after another.
#[must_use]
pub(super) fn documents(trees: &[Tree]) -> String {
    let mut out = String::new();
    for (index, tree) in trees.iter().enumerate() {
        if index > 0 {
            out.push_str("---\n");
        }
        let tree = match tree {
            Tree::Noted(comment, tree) => {
                comments(comment, 0, &mut out);
                tree
            }
            tree => tree,
        };
        match tree {
            Tree::Map(_) | Tree::List(_) if !tree.is_empty() => block(tree, 0, &mut out),
            tree => out.push_str(&format!("{}\n", flow(tree))),
        }
    }
    out
}

fn comments(comment: &str, indent: usize, out: &mut String) {
    for line in comment.lines() {
        out.push_str(&format!("{:indent$}# {line}\n", ""));
    }
}

/// A list or fields that are not empty, each on lines of its own.
fn block(tree: &Tree, indent: usize, out: &mut String) {
    match tree {
        Tree::Map(fields) => {
            for (name, value) in fields {
                let value = uncommented(value, indent, out);
                out.push_str(&format!("{:indent$}{}:", "", plain_or_quoted(name)));
                let inner = if matches!(value, Tree::List(_)) { indent } else { indent.saturating_add(2) };
                after(value, inner, out);
            }
        }
        Tree::List(items) => {
            for item in items {
                let item = uncommented(item, indent, out);
                if let Tree::Map(fields) = item
                    && let Some((_, Tree::Noted(comment, _))) = fields.first()
                    && !is_inline(item)
                {
                    comments(comment, indent, out);
                }
                out.push_str(&format!("{:indent$}-", ""));
                let inner = indent.saturating_add(2);
                if is_inline(item) || matches!(item, Tree::Block(_)) {
                    after(item, inner, out);
                    continue;
                }
                let mut text = String::new();
                block(&first_uncommented(item), inner, &mut text);
                out.push(' ');
                out.push_str(text.trim_start_matches(' '));
            }
        }
        Tree::Scalar(_) | Tree::Block(_) | Tree::Noted(..) => {
            out.push_str(&format!("{:indent$}{}\n", "", flow(tree)));
        }
    }
}

/// What follows a key or a dash.
fn after(tree: &Tree, indent: usize, out: &mut String) {
    match tree {
        Tree::Block(text) => {
            out.push_str(" |-\n");
            for line in text.lines() {
                out.push_str(&format!("{:indent$}{line}\n", ""));
            }
        }
        tree if is_inline(tree) => out.push_str(&format!(" {}\n", flow(tree))),
        tree => {
            out.push('\n');
            block(tree, indent, out);
        }
    }
}

fn uncommented<'a>(tree: &'a Tree, indent: usize, out: &mut String) -> &'a Tree {
    match tree {
        Tree::Noted(comment, tree) => {
            comments(comment, indent, out);
            uncommented(tree, indent, out)
        }
        tree => tree,
    }
}

/// Without the comment of the first field: it stands above the dash already.
fn first_uncommented(tree: &Tree) -> Tree {
    let mut tree = tree.clone();
    if let Tree::Map(fields) = &mut tree
        && let Some((_, value)) = fields.first_mut()
        && let Tree::Noted(_, inner) = value
    {
        *value = (**inner).clone();
    }
    tree
}

fn is_inline(tree: &Tree) -> bool {
    let is_scalar = |tree: &Tree| matches!(tree, Tree::Scalar(_));
    match tree {
        Tree::Scalar(_) => true,
        Tree::Block(_) | Tree::Noted(..) => false,
        _ if tree.is_empty() => true,
        Tree::List(items) => items.iter().all(is_scalar) && flow(tree).len() <= SHORT,
        Tree::Map(fields) => fields.iter().all(|(_, tree)| is_scalar(tree)) && flow(tree).len() <= SHORT,
    }
}

/// On one line.
fn flow(tree: &Tree) -> String {
    match tree {
        Tree::Scalar(Value::String(text)) => plain_or_quoted(text),
        Tree::Scalar(value) => value.to_string(),
        Tree::Block(text) => quoted(text),
        Tree::List(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Tree::Map(fields) => {
            let field = |(name, tree): &(String, Tree)| format!("{}: {}", plain_or_quoted(name), flow(tree));
            format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        Tree::Noted(_, tree) => flow(tree),
    }
}

fn plain_or_quoted(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { quoted(text) }
}

/// Whether a text without quotes is this text for every reader, on lines of its own and between braces.
fn is_plain(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-' | '|' | '+');
    let begins = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || matches!(c, '_' | '/'));
    // 250ms, 7s: no number has such an end.
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let is_duration = unit.len() < text.len() && matches!(unit, "ns" | "us" | "ms" | "s" | "m" | "h" | "d");
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let goes_on = |next: Option<&char>| next.copied().is_some_and(is_word);
        let is_fine = match c {
            ' ' | ':' => goes_on(chars.peek()),
            c => is_word(c),
        };
        if !is_fine {
            return false;
        }
    }
    (begins || is_duration) && !RESERVED.contains(&text.to_ascii_lowercase().as_str())
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len().saturating_add(2));
    for c in Value::from(text).to_string().chars() {
        // What JSON leaves as it is and YAML does not.
        if matches!(c, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}') {
            // Writing to a string does not fail.
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// JSON for readers: in the tree's order, short things on one line.
#[must_use]
pub(super) fn json(tree: &Tree) -> String {
    let mut out = String::new();
    json_into(tree, 0, &mut out);
    out
}

fn json_into(tree: &Tree, indent: usize, out: &mut String) {
    let line = json_line(tree);
    let inner = indent.saturating_add(2);
    let (begin, end) = match tree {
        Tree::Noted(_, tree) => return json_into(tree, indent, out),
        Tree::List(_) => ('[', ']'),
        Tree::Map(_) => ('{', '}'),
        Tree::Scalar(_) | Tree::Block(_) => return out.push_str(&line),
    };
    if line.len().saturating_add(indent) <= JSON_LINE || tree.is_empty() {
        return out.push_str(&line);
    }
    out.push(begin);
    let mut separator = "";
    let mut next = |out: &mut String| {
        out.push_str(&format!("{separator}\n{:inner$}", ""));
        separator = ",";
    };
    match tree {
        Tree::List(items) => {
            for item in items {
                next(out);
                json_into(item, inner, out);
            }
        }
        Tree::Map(fields) => {
            for (name, value) in fields {
                next(out);
                out.push_str(&format!("{}: ", quoted(name)));
                json_into(value, inner, out);
            }
        }
        Tree::Scalar(_) | Tree::Block(_) | Tree::Noted(..) => {}
    }
    out.push_str(&format!("\n{:indent$}{end}", ""));
}

fn json_line(tree: &Tree) -> String {
    match tree {
        Tree::Scalar(Value::String(text)) | Tree::Block(text) => quoted(text),
        Tree::Scalar(value) => value.to_string(),
        Tree::List(items) => format!("[{}]", items.iter().map(json_line).collect::<Vec<_>>().join(", ")),
        Tree::Map(fields) => {
            let field = |(name, tree): &(String, Tree)| format!("{}: {}", quoted(name), json_line(tree));
            format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        Tree::Noted(_, tree) => json_line(tree),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    #[track_caller]
    fn check(tree: Tree, want: &str) {
        let text = documents(std::slice::from_ref(&tree));
        assert_eq!(text, want);
        assert_eq!(yaml::parse::<Tree>(&text).unwrap().value(), tree.value());
        assert_eq!(yaml::parse::<Value>(&json(&tree)).unwrap(), tree.value());
    }

    #[test]
    fn documents_are_for_readers() {
        let long: Vec<&str> = vec!["a-long-element-of-a-list"; 4];
        let tree = Tree::default()
            .with("name", "canary")
            .with("port", 9080)
            .with("labels", Tree::map([("app", "reviews".into()), ("version", "1.10".into())]))
            .with("long", Tree::from(long).noted("so long\nthat it needs lines"))
            .with("empty", Tree::default())
            .with("text", Tree::Block("{\n  \"a\": 1\n}".into()))
            .with("list", vec![Tree::default().with("a", Tree::from(1).noted("one")).with("b", vec![1, 2])]);
        check(
            tree,
            "name: canary\nport: 9080\nlabels: {app: reviews, version: \"1.10\"}\n# so long\n# that it needs lines\nlong:\n\
             - a-long-element-of-a-list\n- a-long-element-of-a-list\n- a-long-element-of-a-list\n- a-long-element-of-a-list\n\
             empty: {}\ntext: |-\n  {\n    \"a\": 1\n  }\nlist:\n# one\n- a: 1\n  b: [1, 2]\n",
        );
    }

    #[test]
    fn texts_stay_texts() {
        for (text, want) in [
            ("reviews", "reviews"),
            ("outbound|9080|v1|reviews.default", "outbound|9080|v1|reviews.default"),
            ("oci://registry.example:5000/a/b:1.0", "oci://registry.example:5000/a/b:1.0"),
            ("250ms", "250ms"),
            ("no healthy upstream", "no healthy upstream"),
            ("no", "\"no\""),
            ("Yes", "\"Yes\""),
            ("null", "\"null\""),
            ("", "\"\""),
            ("1e3", "\"1e3\""),
            ("0x1f", "\"0x1f\""),
            ("12:30", "\"12:30\""),
            ("1_000", "\"1_000\""),
            ("a: b", "\"a: b\""),
            ("a #b", "\"a #b\""),
            ("a:", "\"a:\""),
            ("a, b", "\"a, b\""),
            ("- a", "\"- a\""),
            ("@type", "\"@type\""),
            ("*", "\"*\""),
            (" a", "\" a\""),
            ("a\n\u{7f}\u{feff}", "\"a\\n\\u007f\\ufeff\""),
            ("ä", "\"ä\""),
        ] {
            check(Tree::map([("t", text.into())]), &format!("t: {want}\n"));
        }
    }
}
