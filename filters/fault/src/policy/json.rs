//! Finds a value in a JSON text and puts another in its place, leaving every other byte as it is. Walks the text once, without recursion.

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

struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at = self.at.saturating_add(1);
        Some(byte)
    }

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
                (self.next()? == b':').then_some(())?;
                self.blanks();
                if found {
                    return Some(());
                }
                self.skip_value()?;
                self.blanks();
                (self.next()? == b',').then_some(())?;
            },
            b'[' => {
                let mut left: usize = step.parse().ok()?;
                loop {
                    self.blanks();
                    if left == 0 {
                        return (self.peek()? != b']').then_some(());
                    }
                    left = left.saturating_sub(1);
                    self.skip_value()?;
                    self.blanks();
                    (self.next()? == b',').then_some(())?;
                }
            }
            _ => None,
        }
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
        (self.next()? == b'"').then_some(())?;
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
    serde_json::from_slice::<String>(quoted).is_ok_and(|text| text == name)
}

#[cfg(test)]
mod tests {
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
