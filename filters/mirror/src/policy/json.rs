//! JSON as tokens, strictly as RFC 8259 has it: what is not JSON is refused, at whatever place.
//!
//! Knows no rule. Nothing is converted: numbers, escapes and the order of keys stay as they were sent, so what is copied token by token is
//! the same document. The only recursion is an explicit stack of [`MAX_DEPTH`].

use std::borrow::Cow;

/// Deepest nesting of arrays and objects; serde_json's own limit, and more than any service's documents.
pub(crate) const MAX_DEPTH: usize = 128;

/// One token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token<'j> {
    /// `{`
    Object,
    /// `[`
    Array,
    /// `}` or `]`
    End,
    /// The key of the next value, with its colon.
    Key(Text<'j>),
    /// A string.
    Text(Text<'j>),
    /// A number as it is written.
    Number(&'j str),
    /// `true`, `false` or `null`.
    Literal(&'j str),
}

/// What stands between two quotes, escapes and all; checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Text<'j>(&'j str);

/// Why bytes are no JSON that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// Not RFC 8259, or a surrogate without its other half, of which the RFC calls the meaning unpredictable (§8.2).
    Syntax,
    /// Deeper than [`MAX_DEPTH`].
    Depth,
}

/// What may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Value,
    ItemOrEnd,
    Key,
    KeyOrEnd,
    /// A comma or an end; at the top, the end of the text.
    Next,
}

/// A document, or several, as a row of tokens.
#[derive(Clone, Debug)]
pub(crate) struct Tokens<'j> {
    text: &'j str,
    at: usize,
    /// What is open: whether it is an object.
    open: Vec<bool>,
    expected: Expected,
    /// Whether documents may follow each other, a line each.
    lines: bool,
}

impl<'j> Tokens<'j> {
    /// The tokens of one document.
    pub(crate) fn new(text: &'j str) -> Self {
        Self { text, at: 0, open: Vec::new(), expected: Expected::Value, lines: false }
    }

    /// The tokens of documents on lines of their own.
    pub(crate) fn of_lines(text: &'j str) -> Self {
        Self { lines: true, ..Self::new(text) }
    }

    /// How many bytes were read.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Whether documents may follow each other.
    pub(crate) fn is_lines(&self) -> bool {
        self.lines
    }

    /// How many arrays and objects are open.
    pub(crate) fn depth(&self) -> usize {
        self.open.len()
    }

    /// The text between two places.
    pub(crate) fn between(&self, start: usize, end: usize) -> &'j str {
        self.text.get(start..end).unwrap_or_default()
    }

    /// The next token; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Token<'j>>, Broken> {
        let before = self.at;
        self.skip_space();
        let Some(byte) = self.peek() else {
            let done = self.open.is_empty() && (self.expected == Expected::Next);
            return if done { Ok(None) } else { Err(Broken::Syntax) };
        };
        match self.expected {
            Expected::Value => self.value(byte).map(Some),
            Expected::ItemOrEnd if byte == b']' => self.end().map(Some),
            Expected::ItemOrEnd => self.value(byte).map(Some),
            Expected::KeyOrEnd if byte == b'}' => self.end().map(Some),
            Expected::Key | Expected::KeyOrEnd => self.key(byte).map(Some),
            Expected::Next => match (self.open.last(), byte) {
                (Some(true), b',') => {
                    self.step();
                    self.expected = Expected::Key;
                    self.next()
                }
                (Some(false), b',') => {
                    self.step();
                    self.expected = Expected::Value;
                    self.next()
                }
                (Some(true), b'}') | (Some(false), b']') => self.end().map(Some),
                (None, _) if self.lines && self.between(before, self.at).contains('\n') => {
                    self.value(byte).map(Some)
                }
                _ => Err(Broken::Syntax),
            },
        }
    }

    /// Reads to the end of the value that `token` began.
    pub(crate) fn skip(&mut self, token: Token<'j>) -> Result<(), Broken> {
        if !matches!(token, Token::Object | Token::Array) {
            return Ok(());
        }
        let outside = self.depth().saturating_sub(1);
        while self.depth() > outside {
            if self.next()?.is_none() {
                return Err(Broken::Syntax);
            }
        }
        Ok(())
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn step(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.step();
        }
    }

    fn value(&mut self, byte: u8) -> Result<Token<'j>, Broken> {
        self.expected = Expected::Next;
        match byte {
            b'{' => self.begin(true, Expected::KeyOrEnd, Token::Object),
            b'[' => self.begin(false, Expected::ItemOrEnd, Token::Array),
            b'"' => self.string().map(Token::Text),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            b'-' | b'0'..=b'9' => self.number(),
            _ => Err(Broken::Syntax),
        }
    }

    fn begin(&mut self, object: bool, expected: Expected, token: Token<'j>) -> Result<Token<'j>, Broken> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Broken::Depth);
        }
        self.step();
        self.open.push(object);
        self.expected = expected;
        Ok(token)
    }

    fn end(&mut self) -> Result<Token<'j>, Broken> {
        self.step();
        self.open.pop();
        self.expected = Expected::Next;
        Ok(Token::End)
    }

    fn key(&mut self, byte: u8) -> Result<Token<'j>, Broken> {
        if byte != b'"' {
            return Err(Broken::Syntax);
        }
        let key = self.string()?;
        self.skip_space();
        if self.peek() != Some(b':') {
            return Err(Broken::Syntax);
        }
        self.step();
        self.expected = Expected::Value;
        Ok(Token::Key(key))
    }

    fn literal(&mut self, literal: &'static str) -> Result<Token<'j>, Broken> {
        let end = self.at.saturating_add(literal.len());
        if self.text.get(self.at..end) != Some(literal) {
            return Err(Broken::Syntax);
        }
        self.at = end;
        Ok(Token::Literal(literal))
    }

    fn digits(&mut self) -> Result<(), Broken> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.step();
        }
        if self.at == start { Err(Broken::Syntax) } else { Ok(()) }
    }

    fn number(&mut self) -> Result<Token<'j>, Broken> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.step();
        }
        match self.peek() {
            Some(b'0') => self.step(),
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.step();
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.step();
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.step();
            }
            self.digits()?;
        }
        Ok(Token::Number(self.between(start, self.at)))
    }

    fn string(&mut self) -> Result<Text<'j>, Broken> {
        self.step();
        let start = self.at;
        loop {
            match self.peek().ok_or(Broken::Syntax)? {
                b'"' => break,
                b'\\' => self.escape()?,
                0..=0x1f => return Err(Broken::Syntax),
                _ => self.step(),
            }
        }
        let text = Text(self.between(start, self.at));
        self.step();
        Ok(text)
    }

    fn escape(&mut self) -> Result<(), Broken> {
        self.step();
        match self.peek().ok_or(Broken::Syntax)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {
                self.step();
                Ok(())
            }
            b'u' => {
                let unit = self.unit()?;
                match unit {
                    0xd800..=0xdbff => {
                        if self.peek() != Some(b'\\') {
                            return Err(Broken::Syntax);
                        }
                        self.step();
                        if self.peek() != Some(b'u') || !(0xdc00..=0xdfff).contains(&self.unit()?) {
                            return Err(Broken::Syntax);
                        }
                        Ok(())
                    }
                    0xdc00..=0xdfff => Err(Broken::Syntax),
                    _ => Ok(()),
                }
            }
            _ => Err(Broken::Syntax),
        }
    }

    /// The four digits behind the `u` that comes next.
    fn unit(&mut self) -> Result<u32, Broken> {
        self.step();
        let end = self.at.saturating_add(4);
        let unit = self.text.get(self.at..end).and_then(hex4).ok_or(Broken::Syntax)?;
        self.at = end;
        Ok(unit)
    }
}

/// Four hexadecimal digits, and nothing else that a number's parser would accept.
fn hex4(digits: &str) -> Option<u32> {
    let all = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if all { u32::from_str_radix(digits, 16).ok() } else { None }
}

impl<'j> Text<'j> {
    /// As it was sent, without the quotes.
    pub(crate) fn raw(self) -> &'j str {
        self.0
    }

    /// What it says.
    pub(crate) fn decode(self) -> Cow<'j, str> {
        if !self.0.contains('\\') {
            return Cow::Borrowed(self.0);
        }
        let mut text = String::with_capacity(self.0.len());
        let mut parts = self.0.chars();
        while let Some(next) = parts.next() {
            if next != '\\' {
                text.push(next);
                continue;
            }
            match parts.next() {
                Some('b') => text.push('\u{8}'),
                Some('f') => text.push('\u{c}'),
                Some('n') => text.push('\n'),
                Some('r') => text.push('\r'),
                Some('t') => text.push('\t'),
                Some('u') => {
                    let (unit, rest) = next_unit(parts.as_str());
                    parts = rest.chars();
                    let mut code = unit;
                    if (0xd800..=0xdbff).contains(&unit)
                        && let Some(second) = rest.strip_prefix("\\u")
                    {
                        let (low, rest) = next_unit(second);
                        parts = rest.chars();
                        let high = unit.wrapping_sub(0xd800).wrapping_shl(10);
                        code = high.wrapping_add(low.wrapping_sub(0xdc00)).wrapping_add(0x1_0000);
                    }
                    text.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                Some(other) => text.push(other),
                None => {}
            }
        }
        Cow::Owned(text)
    }
}

fn next_unit(text: &str) -> (u32, &str) {
    let (digits, rest) = text.split_at_checked(4).unwrap_or((text, ""));
    (hex4(digits).unwrap_or(0xfffd), rest)
}

/// Writes a string with its quotes.
pub(crate) fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            0..=0x1f => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(weir_sdk::digest::hex(&[byte]).as_bytes());
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// The document without spaces between its tokens.
#[cfg(test)]
pub(crate) fn compact(text: &str) -> String {
    let mut out = String::new();
    let mut tokens = Tokens::new(text);
    while let Ok(Some(_)) = {
        tokens.skip_space();
        let start = tokens.at();
        let token = tokens.next();
        out.extend(tokens.between(start, tokens.at()).split_ascii_whitespace());
        token
    } {}
    out
}

#[cfg(test)]
mod tests;
