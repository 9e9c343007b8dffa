//! What is behind a backslash.

use super::super::Assertion;
use super::super::classes::{DIGIT, Item, SPACE, WORD};
use super::{BAD_NUMBER, Parser, UNKNOWN_ESCAPE};

impl Parser<'_> {
    /// Behind a backslash.
    pub(super) fn escape(&mut self) -> Option<Item> {
        let Some(next) = self.rest.next() else {
            return self.refuse("a backslash at the end");
        };
        Some(match next {
            'd' | 'D' => Item::Ranges(DIGIT, next == 'D'),
            's' | 'S' => Item::Ranges(SPACE, next == 'S'),
            'w' | 'W' => Item::Ranges(WORD, next == 'W'),
            'A' => Item::Assert(Assertion::Start),
            'z' => Item::Assert(Assertion::End),
            'b' => Item::Assert(Assertion::WordBoundary),
            'B' => Item::Assert(Assertion::NotWordBoundary),
            'a' => Item::Char('\x07'),
            'f' => Item::Char('\x0c'),
            'n' => Item::Char('\n'),
            'r' => Item::Char('\r'),
            't' => Item::Char('\t'),
            'v' => Item::Char('\x0b'),
            'x' => Item::Char(self.hexadecimal()?),
            char if char.is_ascii_punctuation() || (self.flags.spaced && char == ' ') => Item::Char(char),
            _ => return self.refuse(UNKNOWN_ESCAPE),
        })
    }

    /// Behind `\x`: two digits, or some in curly brackets.
    fn hexadecimal(&mut self) -> Option<char> {
        let braced = self.eat("{");
        let mut number = 0u32;
        let mut digits = 0u32;
        while braced || digits < 2 {
            let next = self.rest.next();
            if braced && digits > 0 && next == Some('}') {
                break;
            }
            let digit = next.and_then(|next| next.to_digit(16)).filter(|_| number <= u32::from(char::MAX));
            let Some(digit) = digit else {
                return self.refuse(BAD_NUMBER);
            };
            number = number.wrapping_mul(16).wrapping_add(digit);
            digits = digits.wrapping_add(1);
        }
        char::from_u32(number).or_else(|| self.refuse(BAD_NUMBER))
    }
}
