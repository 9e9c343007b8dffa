//! Text into a tree of JSON (RFC 8259), to a depth of 128.
//!
//! It takes what `serde_json` takes, refuses what that refuses, at the same line and column, and is a quarter of its code: a module has no
//! other use for it. Knows no configuration.

use super::node::Node;

/// Lists and objects nest so deep.
const MAX_DEPTH: u8 = 128;

/// Where text stops being JSON, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotJson {
    pub(super) line: usize,
    pub(super) column: usize,
    /// In the house's words.
    pub(super) reason: &'static str,
}

const VALUE_MISSING: &str = "the text ends where a value is expected";
const NO_NUMBER: &str = "invalid number";

/// Reads a JSON text.
///
/// # Errors
/// It is none.
pub(super) fn parse(text: &str) -> Result<Node, NotJson> {
    let mut parser = Parser { text, next: 0, depth: 0, wrong: None };
    let node = parser.value();
    if parser.after_space().is_some() {
        parser.refuse("expected nothing after the configuration");
    }
    match parser.wrong {
        None => Ok(node),
        Some(wrong) => Err(wrong),
    }
}

struct Parser<'t> {
    text: &'t str,
    /// The place of the next byte.
    next: usize,
    depth: u8,
    /// What is wrong, once something is: nothing is left to read then, and what was read means nothing.
    wrong: Option<NotJson>,
}

impl Parser<'_> {
    /// The next byte, as the character of its number: one value in place of two.
    #[inline(never)]
    fn peek(&self) -> Option<char> {
        self.text.as_bytes().get(self.next).map(|byte| char::from(*byte))
    }

    #[inline(never)]
    fn skip(&mut self) {
        self.next = self.next.saturating_add(1);
    }

    fn take(&mut self) -> Option<char> {
        let byte = self.peek()?;
        self.skip();
        Some(byte)
    }

    /// The next byte that is no white space, which is skipped.
    fn after_space(&mut self) -> Option<char> {
        while let Some(' ' | '\n' | '\t' | '\r') = self.peek() {
            self.skip();
        }
        self.peek()
    }

    /// The next byte is wrong; at the end, the last one.
    #[cold]
    #[inline(never)]
    fn refuse(&mut self, reason: &'static str) {
        self.next = self.next.saturating_add(1).min(self.text.len());
        self.refuse_last(reason);
    }

    /// The byte that was taken last is wrong. The first one that is counts.
    #[cold]
    #[inline(never)]
    fn refuse_last(&mut self, reason: &'static str) {
        if self.wrong.is_none() {
            let (line, column) = position(self.text.as_bytes().get(..self.next).unwrap_or_default());
            self.wrong = Some(NotJson { line, column, reason });
        }
        self.next = self.text.len();
    }

    fn value(&mut self) -> Node {
        match self.after_space() {
            Some('{') => self.nested(Self::object),
            Some('[') => self.nested(Self::list),
            Some('"') => Node::Text(self.string()),
            Some('-' | '0'..='9') => self.number(),
            Some('n') => self.word(b"null", Node::Null),
            Some('t') => self.word(b"true", Node::Bool(true)),
            Some('f') => self.word(b"false", Node::Bool(false)),
            Some(_) => {
                self.refuse(
                    "expected a value: an object, a list, a string in double quotes, a number, true, false or null",
                );
                Node::Null
            }
            None => {
                self.refuse(VALUE_MISSING);
                Node::Null
            }
        }
    }

    fn word(&mut self, word: &[u8], node: Node) -> Node {
        for letter in word {
            match self.take() {
                Some(next) if next == char::from(*letter) => {}
                Some(_) => self.refuse_last("expected ident"),
                None => self.refuse_last(VALUE_MISSING),
            }
        }
        node
    }

    fn nested(&mut self, read: fn(&mut Self) -> Node) -> Node {
        self.depth = self.depth.saturating_add(1);
        if self.depth >= MAX_DEPTH {
            self.refuse("nested deeper than 128 levels");
        }
        self.skip();
        let node = read(self);
        self.depth = self.depth.saturating_sub(1);
        node
    }

    /// Whether one more item follows the so many that were read.
    #[inline(never)]
    fn goes_on(&mut self, read: usize, close: char, inside: &'static str, expected: &'static str) -> bool {
        let reason = match self.after_space() {
            Some(byte) if byte == close => {
                self.skip();
                return false;
            }
            Some(',') if read > 0 => {
                self.skip();
                match self.after_space() {
                    Some(byte) if byte == close => TRAILING_COMMA,
                    Some(_) => return true,
                    None => VALUE_MISSING,
                }
            }
            Some(_) if read == 0 => return true,
            Some(_) => expected,
            None => inside,
        };
        self.refuse(reason);
        false
    }

    fn list(&mut self) -> Node {
        const INSIDE: &str = "the text ends inside a list; `]` is missing";
        let mut items = Vec::new();
        while self.goes_on(items.len(), ']', INSIDE, "expected `,` or `]`") {
            items.push(self.value());
        }
        Node::List(items)
    }

    fn object(&mut self) -> Node {
        const INSIDE: &str = "the text ends inside an object; `}` is missing";
        let mut fields = Vec::new();
        while self.goes_on(fields.len(), '}', INSIDE, "expected `,` or `}`") {
            if self.peek() != Some('"') {
                self.refuse("expected a field's name in double quotes");
            }
            let key = self.string();
            match self.after_space() {
                Some(':') => self.skip(),
                Some(_) => self.refuse("expected `:`"),
                None => self.refuse(INSIDE),
            }
            fields.push((key, self.value()));
        }
        Node::Object(fields)
    }

    /// From the quote before to the quote behind.
    fn string(&mut self) -> String {
        const INSIDE: &str = "the text ends inside a string; `\"` is missing";
        self.skip();
        let mut whole = String::new();
        loop {
            let start = self.next;
            while self.peek().is_some_and(|byte| byte >= ' ' && byte != '"' && byte != '\\') {
                self.skip();
            }
            // Quotes, backslashes and control characters are characters of one byte.
            whole.push_str(self.text.get(start..self.next).unwrap_or_default());
            match self.take() {
                Some('"') => return whole,
                Some('\\') => match self.take() {
                    Some('u') => whole.push(self.escaped(INSIDE)),
                    Some(byte) => match ESCAPES.iter().find(|(name, _)| *name == byte) {
                        Some((_, character)) => whole.push(*character),
                        None => self.refuse_last("invalid escape"),
                    },
                    None => self.refuse_last(INSIDE),
                },
                Some(_) => self.refuse_last(
                    "a line break or control character inside a string; write \\n, \\t or \\u00XX",
                ),
                None => {
                    self.refuse_last(INSIDE);
                    return whole;
                }
            }
        }
    }

    /// What stands behind `\u`: a character, or the first half of one that the second half in another `\u` follows.
    fn escaped(&mut self, inside: &'static str) -> char {
        const LONE: &str = "lone leading surrogate in hex escape";
        let first = self.four_digits(inside);
        let mut code = first;
        if (0xd800..0xdc00).contains(&first) {
            for expected in b"\\u" {
                match self.take() {
                    Some(next) if next == char::from(*expected) => {}
                    Some(_) => self.refuse_last("unexpected end of hex escape"),
                    None => self.refuse_last(inside),
                }
            }
            let second = self.four_digits(inside);
            if !(0xdc00..0xe000).contains(&second) {
                self.refuse_last(LONE);
            }
            code = (first & 0x3ff) << 10 | second & 0x3ff;
            code = code.saturating_add(0x1_0000);
        }
        char::from_u32(code).unwrap_or_else(|| {
            self.refuse_last(LONE);
            char::REPLACEMENT_CHARACTER
        })
    }

    #[inline(never)]
    fn four_digits(&mut self, inside: &'static str) -> u32 {
        let end = self.next.saturating_add(4);
        let Some(digits) = self.text.as_bytes().get(self.next..end) else {
            self.next = self.text.len();
            self.refuse_last(inside);
            return 0;
        };
        self.next = end;
        let mut code = 0_u32;
        for digit in digits {
            match char::from(*digit).to_digit(16) {
                Some(digit) => code = code << 4 | digit,
                None => self.refuse_last("invalid escape"),
            }
        }
        code
    }

    fn number(&mut self) -> Node {
        let mut number = Number::default();
        let is_negative = self.peek() == Some('-');
        if is_negative {
            self.skip();
        }
        match self.take() {
            Some('0') if self.peek().is_some_and(|byte| byte.is_ascii_digit()) => self.refuse(NO_NUMBER),
            Some(byte @ '0'..='9') => {
                number.push(byte, false);
                self.digits(&mut number, false);
            }
            Some(_) => self.refuse_last(NO_NUMBER),
            None => self.refuse_last(VALUE_MISSING),
        }
        let mut is_whole = !number.is_full;
        if self.peek() == Some('.') {
            is_whole = false;
            self.skip();
            if !self.digits(&mut number, true) {
                self.refuse(if self.peek().is_some() { NO_NUMBER } else { VALUE_MISSING });
            }
        }
        if let Some('e' | 'E') = self.peek() {
            is_whole = false;
            self.skip();
            self.exponent(&mut number);
        }
        let negative = 0_i64.checked_sub_unsigned(number.digits).filter(|value| *value < 0);
        match negative {
            _ if is_whole && !is_negative => return Node::Unsigned(number.digits),
            Some(value) if is_whole => return Node::Negative(value),
            _ => {}
        }
        match number.value() {
            Some(value) => Node::Float(if is_negative { -value } else { value }),
            None => {
                self.refuse_last("number out of range");
                Node::Null
            }
        }
    }

    /// Whether there is a digit; all of them are taken.
    fn digits(&mut self, number: &mut Number, is_decimal: bool) -> bool {
        let start = self.next;
        while let Some(byte @ '0'..='9') = self.peek() {
            self.skip();
            number.push(byte, is_decimal);
        }
        self.next != start
    }

    fn exponent(&mut self, number: &mut Number) {
        let is_negative = self.peek() == Some('-');
        if let Some('+' | '-') = self.peek() {
            self.skip();
        }
        match self.peek() {
            Some('0'..='9') => {}
            Some(_) => self.refuse(NO_NUMBER),
            None => self.refuse_last(VALUE_MISSING),
        }
        let mut exponent = 0_i32;
        while let Some(byte @ '0'..='9') = self.peek() {
            self.skip();
            exponent = exponent.saturating_mul(10).saturating_add(i32::from(digit(byte)));
        }
        number.exponent = match is_negative {
            true => number.exponent.saturating_sub(exponent),
            false => number.exponent.saturating_add(exponent),
        };
    }
}

const TRAILING_COMMA: &str = "a comma without a value after it; remove it";

/// What stands behind a backslash, and for what.
static ESCAPES: [(char, char); 8] = [
    ('"', '"'),
    ('\\', '\\'),
    ('/', '/'),
    ('b', '\u{8}'),
    ('f', '\u{c}'),
    ('n', '\n'),
    ('r', '\r'),
    ('t', '\t'),
];

/// The value of a digit.
fn digit(character: char) -> u8 {
    u8::try_from(u32::from(character) & 0xf).unwrap_or_default()
}

/// `digits` × 10^`exponent`.
#[derive(Default)]
struct Number {
    digits: u64,
    exponent: i32,
    /// Further digits do not fit, and do not matter for a float.
    is_full: bool,
}

impl Number {
    fn push(&mut self, character: char, is_decimal: bool) {
        let longer =
            self.digits.checked_mul(10).and_then(|digits| digits.checked_add(u64::from(digit(character))));
        match longer {
            Some(digits) if !self.is_full => {
                self.digits = digits;
                self.exponent = self.exponent.saturating_sub(i32::from(is_decimal));
            }
            _ => {
                self.is_full = true;
                self.exponent = self.exponent.saturating_add(i32::from(!is_decimal));
            }
        }
    }

    /// The nearest float, or one a few places beside it; `None` beyond all of them.
    #[expect(clippy::cast_precision_loss, reason = "a float has 53 bits")]
    fn value(&self) -> Option<f64> {
        let mut value = self.digits as f64;
        if value == 0.0 {
            return Some(0.0);
        }
        // The powers of ten up to 10^308 are floats, and those up to 10^22 exact ones.
        let mut exponent = self.exponent.max(-700);
        while exponent < -308 {
            value /= 1e308;
            exponent = exponent.saturating_add(308);
        }
        let scale = 10_f64.powi(exponent.saturating_abs().min(309));
        value = if exponent < 0 { value / scale } else { value * scale };
        value.is_finite().then_some(value)
    }
}

/// Line and column, from 1, of the last of these bytes.
pub(super) fn position(before: &[u8]) -> (usize, usize) {
    let (mut line, mut column) = (1_usize, 0_usize);
    for byte in before {
        column = column.saturating_add(1);
        if *byte == b'\n' {
            line = line.saturating_add(1);
            column = 0;
        }
    }
    (line, column)
}
