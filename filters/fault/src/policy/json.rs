//! Finds a value in a JSON text and puts another in its place, leaving every other byte as it is. Walks the text once, never
//! deeper than the configuration is.

use weir_sdk::names;

use crate::config::{Patch, Patched, push_string};

/// The text with the value at `path` replaced; `None` when there is none, or when what leads to it is not JSON.
pub(crate) fn replaced(text: &[u8], path: &[String], value: &[u8]) -> Option<Vec<u8>> {
    let mut at = Cursor { text, at: 0 };
    at.blanks();
    for step in path {
        at.enter(step)?;
    }
    let start = at.at;
    at.skip_value()?;
    Some([text.get(..start)?, value, text.get(at.at..)?].concat())
}

/// The text, an object, with this merge patch applied (RFC 7396); `None` when it is no object.
pub(crate) fn merged(text: &[u8], patch: &Patch) -> Option<Vec<u8>> {
    let mut at = Cursor { text, at: 0 };
    at.blanks();
    let mut out = text.get(..at.at)?.to_vec();
    at.merge(patch, &mut out)?;
    let rest = text.get(at.at..)?;
    at.blanks();
    at.peek().is_none().then(|| out.extend_from_slice(rest))?;
    Some(out)
}

/// A value of a patch where the text has none: without what is taken away.
fn write(value: &Patched, out: &mut Vec<u8>) {
    match value {
        Patched::Removed => out.extend_from_slice(b"null"),
        Patched::Members(patch) => {
            out.push(b'{');
            add(patch, &[], &mut "", out);
            out.push(b'}');
        }
        Patched::Value(text) => out.extend_from_slice(text.as_bytes()),
    }
}

/// The members of a patch that the text does not have.
fn add(patch: &Patch, seen: &[&String], separator: &mut &str, out: &mut Vec<u8>) {
    for (name, value) in &patch.0 {
        if *value == Patched::Removed || seen.contains(&name) {
            continue;
        }
        let mut key = String::from(std::mem::replace(separator, ","));
        push_string(&mut key, name);
        key.push(':');
        out.extend_from_slice(key.as_bytes());
        write(value, out);
    }
}

struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    #[inline(never)]
    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at = self.at.saturating_add(1);
        Some(byte)
    }

    #[inline(never)]
    fn pass(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    #[inline(never)]
    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at = self.at.saturating_add(1);
        }
    }

    /// From the beginning of an object or list to the beginning of the value of this name or number.
    fn enter(&mut self, step: &str) -> Option<()> {
        match self.next()? {
            b'{' => loop {
                self.blanks();
                let start = self.at;
                self.skip_string()?;
                let found = is_name(self.text.get(start..self.at)?, step);
                self.blanks();
                self.pass(b':')?;
                self.blanks();
                if found {
                    return Some(());
                }
                self.skip_value()?;
                self.blanks();
                self.pass(b',')?;
            },
            b'[' => {
                let digits = step.strip_prefix('+').unwrap_or(step).as_bytes();
                let mut left = usize::try_from(names::digits(digits)?).ok()?;
                loop {
                    self.blanks();
                    if left == 0 {
                        return (self.peek()? != b']').then_some(());
                    }
                    left = left.saturating_sub(1);
                    self.skip_value()?;
                    self.blanks();
                    self.pass(b',')?;
                }
            }
            _ => None,
        }
    }

    /// From the beginning of an object to behind it. What lies between two commas stays together.
    fn merge(&mut self, patch: &Patch, out: &mut Vec<u8>) -> Option<()> {
        self.pass(b'{')?;
        out.push(b'{');
        let mut separator = "";
        let mut seen = Vec::new();
        let mut first = true;
        loop {
            let start = self.at;
            self.blanks();
            if first && self.peek()? == b'}' {
                break;
            }
            first = false;
            let quoted = self.at;
            self.skip_string()?;
            let quoted = self.text.get(quoted..self.at)?;
            let found = patch.0.iter().find(|(name, _)| is_name(quoted, name));
            self.blanks();
            self.pass(b':')?;
            self.blanks();
            let value = self.at;
            let new = match found {
                Some((name, new)) => {
                    seen.push(name);
                    Some(new)
                }
                None => None,
            };
            if matches!(new, Some(Patched::Removed)) {
                self.skip_value()?;
                self.blanks();
            } else {
                out.extend_from_slice(separator.as_bytes());
                separator = ",";
                out.extend_from_slice(self.text.get(start..value)?);
                match new {
                    Some(Patched::Members(members)) if self.peek()? == b'{' => self.merge(members, out)?,
                    Some(new) => {
                        write(new, out);
                        self.skip_value()?;
                    }
                    None => {
                        self.skip_value()?;
                        out.extend_from_slice(self.text.get(value..self.at)?);
                    }
                }
                let blanks = self.at;
                self.blanks();
                out.extend_from_slice(self.text.get(blanks..self.at)?);
            }
            match self.peek()? {
                b',' => self.at = self.at.saturating_add(1),
                b'}' => break,
                _ => return None,
            }
        }
        self.at = self.at.saturating_add(1);
        add(patch, &seen, &mut separator, out);
        out.push(b'}');
        Some(())
    }

    /// To behind a value.
    fn skip_value(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            self.blanks();
            match self.peek()? {
                b'"' => self.skip_string()?,
                b'{' | b'[' => {
                    self.at = self.at.saturating_add(1);
                    depth = depth.saturating_add(1);
                    continue;
                }
                b'}' | b']' if depth > 0 => {
                    self.at = self.at.saturating_add(1);
                    depth = depth.saturating_sub(1);
                }
                b',' | b':' if depth > 0 => {
                    self.at = self.at.saturating_add(1);
                    continue;
                }
                _ => self.skip_word()?,
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    /// A number, `true`, `false` or `null`.
    fn skip_word(&mut self) -> Option<()> {
        let start = self.at;
        while matches!(self.peek(), Some(b'a'..=b'z' | b'0'..=b'9' | b'+' | b'-' | b'.' | b'E')) {
            self.at = self.at.saturating_add(1);
        }
        (self.at > start).then_some(())
    }

    fn skip_string(&mut self) -> Option<()> {
        self.pass(b'"')?;
        loop {
            match self.next()? {
                b'"' => return Some(()),
                b'\\' => {
                    self.next()?;
                }
                _ => {}
            }
        }
    }
}

/// Whether a string with its quotes is this name.
fn is_name(quoted: &[u8], name: &str) -> bool {
    let plain = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    if !plain.contains(&b'\\') {
        return plain == name.as_bytes();
    }
    weir_sdk::parse::<String>(Some(quoted)).is_ok_and(|text| text == name)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check(text: &str, path: &[&str], want: Option<&str>) {
        let path: Vec<String> = path.iter().map(|step| (*step).to_owned()).collect();
        let got = replaced(text.as_bytes(), &path, b"X").map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(got.as_deref(), want, "{text} at {path:?}");
    }

    #[test]
    fn values_are_replaced_and_nothing_else() {
        let text = r#" {"a" : [1, {"b\u0063": "x}]\"y"}, [ ] ], "b": -1.5e3 , "c":{}}  "#;
        check(
            text,
            &["a", "0"],
            Some(r#" {"a" : [X, {"b\u0063": "x}]\"y"}, [ ] ], "b": -1.5e3 , "c":{}}  "#),
        );
        check(text, &["a", "1", "bc"], Some(r#" {"a" : [1, {"b\u0063": X}, [ ] ], "b": -1.5e3 , "c":{}}  "#));
        check(text, &["a", "2"], Some(r#" {"a" : [1, {"b\u0063": "x}]\"y"}, X ], "b": -1.5e3 , "c":{}}  "#));
        check(text, &["b"], Some(r#" {"a" : [1, {"b\u0063": "x}]\"y"}, [ ] ], "b": X , "c":{}}  "#));
        check(text, &["c"], Some(r#" {"a" : [1, {"b\u0063": "x}]\"y"}, [ ] ], "b": -1.5e3 , "c":X}  "#));
        for path in [&["d"][..], &["a", "3"], &["a", "x"], &["b", "c"], &["c", "d"], &["a", "2", "0"]] {
            check(text, path, None);
        }
    }

    #[test]
    fn patches_are_merged_and_nothing_else() {
        let merge = |text: &str, patch: Value| {
            let patch = weir_sdk::parse(Some(patch.to_string().as_bytes())).unwrap();
            merged(text.as_bytes(), &patch).map(|bytes| String::from_utf8(bytes).unwrap())
        };
        for (text, patch, want) in [
            (r#"{"a":"b"}"#, json!({"a": "c"}), Some(r#"{"a":"c"}"#)),
            (r#"{"a":"b"}"#, json!({"b": "c"}), Some(r#"{"a":"b","b":"c"}"#)),
            (r#"{"a":"b"}"#, json!({"a": null}), Some(r#"{}"#)),
            (r#"{"a":"b","b":"c"}"#, json!({"a": null}), Some(r#"{"b":"c"}"#)),
            (r#"{"a":["b"]}"#, json!({"a": "c"}), Some(r#"{"a":"c"}"#)),
            (r#"{"a":{"b":"c"}}"#, json!({"a": {"b": "d", "c": null}}), Some(r#"{"a":{"b":"d"}}"#)),
            (r#"{"a":[{"b":"c"}]}"#, json!({"a": [1]}), Some(r#"{"a":[1]}"#)),
            (r#"{"e":null}"#, json!({"a": 1}), Some(r#"{"e":null,"a":1}"#)),
            (r#"{}"#, json!({"a": {"bb": {"ccc": null}}}), Some(r#"{"a":{"bb":{}}}"#)),
            (r#"{"a":1}"#, json!({"a": {"b": null, "c": 2}}), Some(r#"{"a":{"c":2}}"#)),
            (
                "\n{ \"id\" : 12345678901234567890.10,\n  \"\\u0061\" : 1 , \"c\": [ ]\n}\n",
                json!({"a": 2}),
                Some("\n{ \"id\" : 12345678901234567890.10,\n  \"\\u0061\" : 2 , \"c\": [ ]\n}\n"),
            ),
            (r#"["a","b"]"#, json!({"a": 1}), None),
            (r#"{"a":1} x"#, json!({"a": 1}), None),
            (r#"{"a":1"#, json!({"a": 1}), None),
            (r#"{"a":1,}"#, json!({"a": 1}), None),
            ("", json!({"a": 1}), None),
        ] {
            assert_eq!(merge(text, patch.clone()).as_deref(), want, "{text} and {patch}");
        }
    }

    #[test]
    fn what_is_no_json_is_left_alone() {
        let whole = r#"{"a": [1, "é\"", {"b": null}], "c": true}"#;
        for cut in 0..whole.len() {
            // What is cut off within the value cannot be seen; before it, it is.
            let got = replaced(&whole.as_bytes()[..cut], &["c".to_owned()], b"X");
            assert!(got.is_none() || cut > whole.len() - 5, "{cut}");
        }
        for text in
            ["", "}", "]", "{", "{]", "[}", "\"", "{\"a\"}", "{\"a\":", "[,", "nonsense here", "\u{0}"]
        {
            check(text, &["a"], None);
            check(text, &["0"], None);
        }
        let deep = "[".repeat(100_000);
        check(&deep, &["0"], None);
    }
}
