//! The key that keeps a client on one side, and the draw it makes.

use std::rc::Rc;

use weir_sdk::key::masked;
use weir_sdk::{At, Bytes, Draw, KeySource, Problems, Salt, cookie, source_address};

use crate::config::{self, CookieValue, Fallback};
use crate::policy::Inputs;
use crate::policy::arms::{ArmId, Arms};
use crate::policy::cookie::CookieTemplate;

/// A compiled [`config::Sticky`].
#[derive(Clone, Debug)]
pub(crate) struct Sticky {
    keys: Vec<(Key, Rc<str>)>,
    salt: Salt,
    missing: Fallback,
    pub(crate) stable: Option<ArmId>,
}

#[derive(Clone, Debug)]
enum Key {
    Of(weir_sdk::Key),
    Minted(CookieTemplate),
    Arm(CookieTemplate),
}

/// What the key says.
#[derive(Debug)]
pub(crate) enum Pull<'a> {
    /// Where on the line the request stands, and why; a cookie that makes it stay.
    Drawn { draw: Draw, why: &'a Rc<str>, set_cookie: Option<Bytes>, key_missing: bool },
    /// The arm that the client's cookie names.
    Kept { arm: ArmId, why: &'a Rc<str> },
    /// The arm must be drawn and then written into this cookie.
    Write { cookie: &'a CookieTemplate, why: &'a Rc<str> },
    /// No key: the stable arm.
    Stable,
}

impl Sticky {
    /// Checks and compiles what stands at a place; `label` begins explanations, `salt` is used when none is given.
    pub(crate) fn compile(
        at: &At<'_>,
        sticky: &config::Sticky,
        label: &str,
        salt: &str,
        arms: &mut Arms,
        problems: &mut Problems,
    ) -> Self {
        if sticky.by.is_empty() {
            problems.add(at.field("by"), "expected at least one key, such as `{header: end-user}`");
        }
        let last = sticky.by.len().saturating_sub(1);
        let mut keys = Vec::new();
        for (index, key) in sticky.by.iter().enumerate() {
            let at = at.item("by", index);
            if matches!(key, config::Key::OwnCookie(_)) && index != last {
                problems.add(at, "`own_cookie` must be the last: every request has it, so the keys after it are never asked");
            }
            keys.extend(
                compile_key(&at, key, problems)
                    .map(|(key, source)| (key, format!("{label}, by {source}").into())),
            );
        }
        let stable =
            sticky.stable.as_deref().and_then(|name| arms.named(&at.field("stable"), name, problems));
        if sticky.stable.is_some() && sticky.missing != Fallback::Stable {
            problems.add(at.field("stable"), "is for `missing: STABLE`; nothing else uses it");
        }
        let salt = Salt::new(sticky.salt.as_deref().unwrap_or(salt));
        Self { keys, salt, missing: sticky.missing, stable }
    }

    /// The cookies that this may set.
    pub(crate) fn own_cookies(&self) -> impl Iterator<Item = &CookieTemplate> {
        self.keys.iter().filter_map(|(key, _)| match key {
            Key::Minted(cookie) | Key::Arm(cookie) => Some(cookie),
            _ => None,
        })
    }

    /// Asks the keys in turn. `has_share` tells whether an arm may still be kept.
    pub(crate) fn pull<'a>(
        &'a self,
        inputs: &Inputs<'_>,
        arms: &Arms,
        has_share: impl Fn(ArmId) -> bool,
        without: &'a Rc<str>,
    ) -> Pull<'a> {
        let request = inputs.request;
        for (key, why) in &self.keys {
            let drawn = |key: &[u8]| Pull::Drawn {
                draw: Draw::sticky(key, self.salt),
                why,
                set_cookie: None,
                key_missing: false,
            };
            match key {
                Key::Of(key) => {
                    if let Some(value) = key.of(request) {
                        return drawn(&value);
                    }
                }
                Key::Minted(template) => {
                    if let Some(value) = present(cookie(request, &template.name)) {
                        return drawn(value);
                    }
                    let value = hex((inputs.random)());
                    let draw = Draw::sticky(value.as_bytes(), self.salt);
                    return Pull::Drawn {
                        draw,
                        why,
                        set_cookie: Some(template.line(&value)),
                        key_missing: false,
                    };
                }
                Key::Arm(template) => {
                    let kept = present(cookie(request, &template.name))
                        .and_then(|value| arms.of_value(value))
                        .filter(|arm| has_share(*arm));
                    return match kept {
                        Some(arm) => Pull::Kept { arm, why },
                        None => Pull::Write { cookie: template, why },
                    };
                }
            }
        }
        let random = || Draw::from_random((inputs.random)());
        let draw = match self.missing {
            Fallback::Stable => return Pull::Stable,
            Fallback::Random => random(),
            Fallback::SourceAddress => match source_address(request, 0) {
                Some(address) => Draw::sticky(&masked(address, 32, 128), self.salt),
                None => random(),
            },
        };
        Pull::Drawn { draw, why: without, set_cookie: None, key_missing: true }
    }
}

fn compile_key(at: &At<'_>, key: &config::Key, problems: &mut Problems) -> Option<(Key, String)> {
    let source = match key {
        config::Key::Header(name) => KeySource::Header(name.clone()),
        config::Key::Cookie(name) => KeySource::Cookie(name.clone()),
        config::Key::QueryParameter(name) => KeySource::QueryParameter(name.clone()),
        config::Key::SourceAddress(options) => KeySource::SourceAddress(options.clone()),
        config::Key::OwnCookie(own) => {
            let template = CookieTemplate::compile(&at.field("own_cookie.cookie"), &own.cookie, problems);
            let why = format!("own cookie `{}`", template.name);
            return Some(match own.value {
                CookieValue::Key => (Key::Minted(template), why),
                CookieValue::Arm => (Key::Arm(template), why),
            });
        }
    };
    let key = weir_sdk::Key::compile(at, &source, problems)?;
    let why = key.describe();
    Some((Key::Of(key), why))
}

fn present(value: Option<&[u8]>) -> Option<&[u8]> {
    value.filter(|value| !value.is_empty())
}

/// Sixteen lower-case hexadecimal digits.
fn hex(number: u64) -> String {
    (0..16_u32)
        .rev()
        .map(|digit| {
            let nibble = number.checked_shr(digit.saturating_mul(4)).unwrap_or(0) & 0xf;
            char::from_digit(u32::try_from(nibble).unwrap_or(0), 16).unwrap_or('0')
        })
        .collect()
}
