//! JSON as tokens, strictly as RFC 8259 has it: what is not JSON is refused, at whatever place.
//!
//! Knows no rule. Nothing is converted: numbers, escapes and the order of keys stay as they were sent, so what is copied token by token is
//! the same document. The only recursion is an explicit stack of [`MAX_DEPTH`].

use std::borrow::Cow;
use std::str::Chars;

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
    #[inline(never)]
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
        let Some(mut byte) = self.after_space() else {
            let done = self.open.is_empty() && (self.expected == Expected::Next);
            return if done { Ok(None) } else { Err(Broken::Syntax) };
        };
        let inside = self.open.last().copied();
        match (self.expected, inside) {
            (Expected::Next, Some(object)) if byte == b',' => {
                self.step();
                self.expected = if object { Expected::Key } else { Expected::Value };
                byte = self.after_space().ok_or(Broken::Syntax)?;
            }
            (Expected::Next, None)
                if self.lines && self.between(before, self.at).as_bytes().contains(&b'\n') =>
            {
                self.expected = Expected::Value;
            }
            _ => {}
        }
        let token = match (self.expected, byte) {
            (Expected::ItemOrEnd, b']') | (Expected::KeyOrEnd, b'}') => self.end(),
            (Expected::Next, b']') if inside == Some(false) => self.end(),
            (Expected::Next, b'}') if inside == Some(true) => self.end(),
            (Expected::Value | Expected::ItemOrEnd, _) => self.value(byte)?,
            (Expected::Key | Expected::KeyOrEnd, _) => self.key(byte)?,
            (Expected::Next, _) => return Err(Broken::Syntax),
        };
        Ok(Some(token))
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

    #[inline(never)]
    fn step(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    /// The next byte that is no space, which is skipped.
    fn after_space(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.step();
        }
        self.peek()
    }

    fn value(&mut self, byte: u8) -> Result<Token<'j>, Broken> {
        self.expected = Expected::Next;
        match byte {
            b'{' => self.begin(true, Expected::KeyOrEnd, Token::Object),
            b'[' => self.begin(false, Expected::ItemOrEnd, Token::Array),
            b'"' => self.string().map(Token::Text),
            b'-' | b'0'..=b'9' => self.number(),
            _ => self.literal(),
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

    fn end(&mut self) -> Token<'j> {
        self.step();
        self.open.pop();
        self.expected = Expected::Next;
        Token::End
    }

    fn key(&mut self, byte: u8) -> Result<Token<'j>, Broken> {
        if byte != b'"' {
            return Err(Broken::Syntax);
        }
        let key = self.string()?;
        if self.after_space() != Some(b':') {
            return Err(Broken::Syntax);
        }
        self.step();
        self.expected = Expected::Value;
        Ok(Token::Key(key))
    }

    fn literal(&mut self) -> Result<Token<'j>, Broken> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let literal = ["true", "false", "null"].iter().find(|literal| rest.starts_with(**literal));
        let literal = *literal.ok_or(Broken::Syntax)?;
        self.at = self.at.saturating_add(literal.len());
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
            let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
            let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f));
            self.at = self.at.saturating_add(plain.ok_or(Broken::Syntax)?);
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                _ => return Err(Broken::Syntax),
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
            b'u' => match self.unit()? {
                0xd800..=0xdbff => {
                    // Its other half.
                    let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
                    if !rest.starts_with(b"\\u") {
                        return Err(Broken::Syntax);
                    }
                    self.step();
                    if (0xdc00..=0xdfff).contains(&self.unit()?) { Ok(()) } else { Err(Broken::Syntax) }
                }
                0xdc00..=0xdfff => Err(Broken::Syntax),
                _ => Ok(()),
            },
            _ => Err(Broken::Syntax),
        }
    }

    /// The four digits behind the `u` that comes next.
    fn unit(&mut self) -> Result<u32, Broken> {
        self.step();
        let digits = self.text.as_bytes().get(self.at..).unwrap_or_default();
        self.at = self.at.saturating_add(4);
        hex4(digits).ok_or(Broken::Syntax)
    }
}

/// The number of the four hexadecimal digits that come first.
fn hex4(digits: &[u8]) -> Option<u32> {
    let mut unit = 0_u32;
    for digit in digits.first_chunk::<4>()? {
        unit = unit.wrapping_shl(4) | char::from(*digit).to_digit(16)?;
    }
    Some(unit)
}

impl<'j> Text<'j> {
    /// As it was sent, without the quotes.
    pub(crate) fn raw(self) -> &'j str {
        self.0
    }

    /// What it says.
    pub(crate) fn decode(self) -> Cow<'j, str> {
        if !self.0.as_bytes().contains(&b'\\') {
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
                    let mut code = unit(&mut parts);
                    if (0xd800..=0xdbff).contains(&code) && parts.as_str().starts_with("\\u") {
                        parts.nth(1);
                        let high = code.wrapping_sub(0xd800).wrapping_shl(10);
                        code =
                            high.wrapping_add(unit(&mut parts).wrapping_sub(0xdc00)).wrapping_add(0x1_0000);
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

/// Takes the four digits that come next.
fn unit(parts: &mut Chars<'_>) -> u32 {
    let unit = hex4(parts.as_str().as_bytes());
    parts.nth(3);
    unit.unwrap_or(0xfffd)
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

/// Writes the key of a member that is not the first.
#[inline(never)]
pub(crate) fn push_key(out: &mut Vec<u8>, name: &str) {
    out.push(b',');
    push_string(out, name);
    out.push(b':');
}

/// Writes a member that is not the first, where its number is known.
#[inline(never)]
pub(crate) fn push_number(out: &mut Vec<u8>, name: &str, value: Option<u64>) {
    if let Some(value) = value {
        push_key(out, name);
        out.extend_from_slice(value.to_string().as_bytes());
    }
}

/// The document without spaces between its tokens.
#[cfg(test)]
pub(crate) fn compact(text: &str) -> String {
    let mut out = String::new();
    let mut tokens = Tokens::new(text);
    while let Ok(Some(_)) = {
        tokens.after_space();
        let start = tokens.at();
        let token = tokens.next();
        out.extend(tokens.between(start, tokens.at()).split_ascii_whitespace());
        token
    } {}
    out
}

#[cfg(test)]
mod tests;
