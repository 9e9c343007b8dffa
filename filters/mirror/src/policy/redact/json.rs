//! JSON documents: read token by token and written again without what must not be told.
//!
//! Every token is understood before it is copied, and copied as it was sent: numbers, escapes and the order of keys survive. A document in
//! which nothing is found stays as it is; one that is changed is written without spaces between its tokens.

use std::borrow::Cow;

use super::{Pass, Refusal};
use crate::config::Action;
use crate::policy::json::{Broken, Text, Token, Tokens, push_string};
use crate::policy::json_path::{Enter, Walk};

/// An object or array that is being written.
struct Open {
    object: bool,
    /// Whether a comma is needed.
    filled: bool,
    index: usize,
}

impl From<Broken> for Refusal {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Syntax => Self::Broken,
            Broken::Depth => Self::TooDeep,
        }
    }
}

impl Pass<'_> {
    /// The documents without what must not be told; `None` when they can stay.
    pub(super) fn json(
        &mut self,
        mut tokens: Tokens<'_>,
        mut walk: Walk,
        level: usize,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        let paths = &self.rules.json;
        let before = self.changes;
        let mut out: Vec<u8> = Vec::new();
        let mut open: Vec<Open> = Vec::new();
        let mut key: Option<(Text<'_>, Cow<'_, str>)> = None;
        while let Some(token) = tokens.next()? {
            match token {
                Token::Key(name) => {
                    let plain = name.decode();
                    // What ends at a NUL for some is longer for others.
                    if plain.as_bytes().contains(&0) {
                        return Err(Refusal::Broken);
                    }
                    key = Some((name, plain));
                    continue;
                }
                Token::End => {
                    let object = open.pop().is_some_and(|open| open.object);
                    out.push(if object { b'}' } else { b']' });
                    if !open.is_empty() {
                        walk.leave();
                    }
                }
                token => {
                    self.spend((walk.width() / 3).saturating_add(2))?;
                    let start = tokens.at().saturating_sub(1);
                    let found = match (open.last_mut(), &key) {
                        (None, _) => None,
                        (Some(_), Some((_, plain))) => walk.enter(paths, Enter::Key(plain)),
                        (Some(around), None) => {
                            let index = around.index;
                            around.index = index.saturating_add(1);
                            walk.enter(paths, Enter::Element(index))
                        }
                    };
                    let action = found.and_then(|path| self.rules.json_actions.get(path)).copied();
                    let name = key.take();
                    let mut instead = None;
                    if let Some(action) = action.filter(|action| *action != Action::Keep) {
                        tokens.skip(token)?;
                        let text;
                        let plain = match token {
                            Token::Text(value) => {
                                text = value.decode();
                                &*text
                            }
                            Token::Number(value) | Token::Literal(value) => value,
                            // Its last characters are all of a short value within it.
                            _ if action == Action::Mask => "",
                            _ => tokens.between(start, tokens.at()),
                        };
                        instead = self.instead(action, plain.as_bytes());
                        if instead.is_none() {
                            walk.leave();
                            continue;
                        }
                    }
                    self.member(&mut out, open.last_mut(), name, level)?;
                    match (token, &instead) {
                        (_, Some(instead)) => push_string(&mut out, instead),
                        (Token::Object | Token::Array, _) => {
                            let object = token == Token::Object;
                            out.push(if object { b'{' } else { b'[' });
                            open.push(Open { object, filled: false, index: 0 });
                            continue;
                        }
                        (Token::Text(text), _) => self.string(&mut out, text, level, Some(&walk))?,
                        (Token::Number(text), _) => match self.number(text)? {
                            Some(instead) => push_string(&mut out, &instead),
                            None => out.extend_from_slice(text.as_bytes()),
                        },
                        (Token::Literal(text), _) => out.extend_from_slice(text.as_bytes()),
                        (Token::Key(_) | Token::End, _) => {}
                    }
                    if !open.is_empty() {
                        walk.leave();
                    }
                }
            }
            if open.is_empty() && tokens.is_lines() {
                out.push(b'\n');
            }
        }
        Ok((self.changes != before).then_some(out))
    }

    /// What stands before a value: a comma, and its key.
    fn member(
        &mut self,
        out: &mut Vec<u8>,
        around: Option<&mut Open>,
        name: Option<(Text<'_>, Cow<'_, str>)>,
        level: usize,
    ) -> Result<(), Refusal> {
        if let Some(around) = around {
            if around.filled {
                out.push(b',');
            }
            around.filled = true;
        }
        if let Some((name, _)) = name {
            self.string(out, name, level, None)?;
            out.push(b':');
        }
        Ok(())
    }

    fn string(
        &mut self,
        out: &mut Vec<u8>,
        text: Text<'_>,
        level: usize,
        walk: Option<&Walk>,
    ) -> Result<(), Refusal> {
        match self.text(&text.decode(), level, walk)? {
            Some(clean) => push_string(out, &clean),
            None => {
                out.push(b'"');
                out.extend_from_slice(text.raw().as_bytes());
                out.push(b'"');
            }
        }
        Ok(())
    }
}
