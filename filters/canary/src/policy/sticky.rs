//! The key that keeps a client on one side, and the draw it makes.

use std::net::IpAddr;
use std::rc::Rc;

use weir_sdk::{Bytes, Draw, Problems, Salt, cookie, query_parameter, source_address};

use crate::config::{self, CookieValue, Fallback};
use crate::policy::arms::{ArmId, Arms};
use crate::policy::cookie::CookieTemplate;
use crate::policy::{Inputs, names};

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
    Header(Rc<str>),
    Cookie(String),
    QueryParameter(String),
    SourceAddress(config::SourceAddress),
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
    /// Checks and compiles what stands at `path`; `label` begins explanations, `salt` is used when none is given.
    pub(crate) fn compile(
        path: &str,
        sticky: &config::Sticky,
        label: &str,
        salt: &str,
        arms: &mut Arms,
        problems: &mut Problems,
    ) -> Self {
        if sticky.by.is_empty() {
            problems.add(format!("{path}.by"), "expected at least one key, such as `{header: end-user}`");
        }
        let last = sticky.by.len().saturating_sub(1);
        let mut keys = Vec::new();
        for (index, key) in sticky.by.iter().enumerate() {
            let path = format!("{path}.by[{index}]");
            if matches!(key, config::Key::OwnCookie(_)) && index != last {
                problems.add(&path, "`own_cookie` must be the last: every request has it, so the keys after it are never asked");
            }
            keys.extend(
                compile_key(&path, key, problems)
                    .map(|(key, source)| (key, format!("{label}, by {source}").into())),
            );
        }
        let stable =
            sticky.stable.as_deref().and_then(|name| arms.named(&format!("{path}.stable"), name, problems));
        if sticky.stable.is_some() && sticky.missing != Fallback::Stable {
            problems.add(format!("{path}.stable"), "is for `missing: STABLE`; nothing else uses it");
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
                Key::Header(name) => {
                    if let Some(value) = request.joined(name).filter(|value| !value.is_empty()) {
                        return drawn(&value);
                    }
                }
                Key::Cookie(name) => {
                    if let Some(value) = present(cookie(request, name)) {
                        return drawn(value);
                    }
                }
                Key::QueryParameter(name) => {
                    let value = request.path().and_then(|path| query_parameter(path, name));
                    if let Some(value) = value.filter(|value| !value.is_empty()) {
                        return drawn(value);
                    }
                }
                Key::SourceAddress(options) => {
                    if let Some(address) = source_address(request, options.xff_num_trusted_hops) {
                        return drawn(&masked(address, options.prefix_len_v4, options.prefix_len_v6));
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

fn compile_key(path: &str, key: &config::Key, problems: &mut Problems) -> Option<(Key, String)> {
    let mut refuse = |field: &str, reason: String| problems.add(format!("{path}.{field}"), reason);
    let (key, why) = match key {
        config::Key::Header(name) => {
            let name = sticky_header(name).map_err(|reason| refuse("header", reason)).ok()?;
            let why = format!("header `{name}`");
            (Key::Header(name), why)
        }
        config::Key::Cookie(name) => {
            names::cookie(name).map_err(|reason| refuse("cookie", reason)).ok()?;
            (Key::Cookie(name.clone()), format!("cookie `{name}`"))
        }
        config::Key::QueryParameter(name) => {
            if name.is_empty() {
                refuse("query_parameter", "expected the name of a query parameter, found nothing".to_owned());
            }
            (Key::QueryParameter(name.clone()), format!("query parameter `{name}`"))
        }
        config::Key::SourceAddress(options) => {
            if !(1..=32).contains(&options.prefix_len_v4) {
                refuse(
                    "source_address.prefix_len_v4",
                    format!("expected 1 to 32, found {}", options.prefix_len_v4),
                );
            }
            if !(1..=128).contains(&options.prefix_len_v6) {
                refuse(
                    "source_address.prefix_len_v6",
                    format!("expected 1 to 128, found {}", options.prefix_len_v6),
                );
            }
            (Key::SourceAddress(options.clone()), "source address".to_owned())
        }
        config::Key::OwnCookie(own) => {
            let template =
                CookieTemplate::compile(&format!("{path}.own_cookie.cookie"), &own.cookie, problems);
            let why = format!("own cookie `{}`", template.name);
            match own.value {
                CookieValue::Key => (Key::Minted(template), why),
                CookieValue::Arm => (Key::Arm(template), why),
            }
        }
    };
    Some((key, why))
}

/// A header that may be a key: also `:authority` and the like.
fn sticky_header(name: &str) -> Result<Rc<str>, String> {
    match name {
        "host" | "Host" => Ok(":authority".into()),
        ":authority" | ":path" | ":method" | ":scheme" => Ok(name.into()),
        name => names::header(name),
    }
}

fn present(value: Option<&[u8]>) -> Option<&[u8]> {
    value.filter(|value| !value.is_empty())
}

/// The address as text with the bits beyond the prefix cleared: what stands in a log, so that a person can repeat the hash.
fn masked(address: IpAddr, v4: u8, v6: u8) -> Vec<u8> {
    let masked = match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(v4.into())).unwrap_or(0);
            IpAddr::V4((u32::from(address) & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(v6.into())).unwrap_or(0);
            IpAddr::V6((u128::from(address) & mask).into())
        }
    };
    masked.to_string().into_bytes()
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
