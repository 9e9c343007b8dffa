//! The key that keeps a client on one side, and the draw it makes.

use std::rc::Rc;

use weir_sdk::digest::hex;
use weir_sdk::key::masked;
use weir_sdk::{At, Draw, KeySource, Problems, Salt, source_address};

use crate::config::{self, CookieValue, Fallback};
use crate::policy::arms::{ArmId, Arms};
use crate::policy::cookie::CookieTemplate;
use crate::policy::{Cause, Choice, Inputs, text};

/// A compiled [`config::Sticky`].
#[derive(Clone, Debug)]
pub(crate) struct Sticky {
    keys: Vec<(Key, Rc<str>)>,
    salt: Salt,
    missing: Fallback,
    stable: Option<ArmId>,
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
    /// Where on the line the request stands.
    Drawn(Draw),
    /// Nothing: the request is drawn anew.
    Random,
    /// The arm that the client's cookie names.
    Kept(ArmId),
    /// The arm must be drawn and then written into this cookie.
    Write(&'a CookieTemplate),
    /// No key: the stable arm, where one is named.
    Stable(Option<ArmId>),
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
            if let Some((key, source)) = compile_key(&at, key, problems) {
                keys.push((key, text(&[label, ", by ", &source])));
            }
        }
        let stable =
            sticky.stable.as_deref().and_then(|name| arms.named(&at.field("stable"), name, problems));
        if sticky.stable.is_some() && sticky.missing != Fallback::Stable {
            problems.add(at.field("stable"), "is for `missing: STABLE`; nothing else uses it");
        }
        let salt = Salt::new(sticky.salt.as_deref().unwrap_or(salt));
        Self { keys, salt, missing: sticky.missing, stable }
    }

    /// Whether this may set a cookie of that name.
    pub(crate) fn sets(&self, name: &str) -> bool {
        self.keys.iter().any(|(key, _)| match key {
            Key::Minted(cookie) | Key::Arm(cookie) => cookie.name == name,
            Key::Of(_) => false,
        })
    }

    /// Asks the keys in turn, and tells the choice why, which cookie makes the request stay, and that there is no key. `has_share` tells whether
    /// an arm may still be kept.
    pub(crate) fn pull<'a>(
        &'a self,
        inputs: &Inputs<'_>,
        arms: &Arms,
        has_share: &dyn Fn(ArmId) -> bool,
        choice: &mut Choice<'a>,
    ) -> Pull<'a> {
        let request = inputs.request;
        let drawn = |key: &[u8]| Pull::Drawn(Draw::sticky(key, self.salt));
        let without = choice.why;
        for (key, why) in &self.keys {
            choice.why = why;
            match key {
                Key::Of(key) => {
                    if let Some(value) = key.of(request) {
                        return drawn(&value);
                    }
                }
                Key::Minted(template) => {
                    if let Some(value) = template.value(request) {
                        return drawn(value);
                    }
                    let value = hex(&(inputs.random)().to_be_bytes());
                    choice.set_cookie = Some(template.line(&value));
                    return drawn(value.as_bytes());
                }
                Key::Arm(template) => {
                    let kept = template.value(request).and_then(|value| arms.of_value(value));
                    return match kept.filter(|arm| has_share(*arm)) {
                        Some(arm) => Pull::Kept(arm),
                        None => Pull::Write(template),
                    };
                }
            }
        }
        choice.why = without;
        choice.cause = Some(Cause::KeyMissing);
        match self.missing {
            Fallback::Stable => Pull::Stable(self.stable),
            Fallback::SourceAddress if let Some(address) = source_address(request, 0) => {
                drawn(&masked(address, 32, 128))
            }
            Fallback::Random | Fallback::SourceAddress => Pull::Random,
        }
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
            let why = ["own cookie `", &template.name, "`"].concat();
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
