//! Matching of the authority, with or without its port.
//!
//! Knows `:authority` only.

use schemars::JsonSchema;
use serde::Serialize;

use super::compiled::{Compile, compiled};
use super::string::{StringMatcher, Text};
use crate::config::joined;
use crate::{At, FromConfig, Problems};

/// What the host must be: exactly one of `exact`, `wildcard`, `prefix`, `suffix`, `contains` and `regex`. Letters match in either
/// case, as host names do.
#[derive(Clone, Debug, Default, PartialEq, Eq, FromConfig, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AuthorityMatch {
    /// The whole host, such as `shop.example.com` or `[::1]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    /// All subdomains, such as `*.example.com`: `a.example.com` and `a.b.example.com`, not `example.com`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wildcard: Option<String>,
    /// How the host begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// How the host ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suffix: Option<String>,
    /// What the host contains.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// A regular expression for the whole host, as in RE2; at most 1024 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// Whether the port belongs to what is compared, where the authority has one: `shop.example.com:8080`. Default: false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub include_port: bool,
}

/// A compiled [`AuthorityMatch`].
#[derive(Clone, Debug)]
pub struct AuthorityMatcher {
    text: Box<StringMatcher>,
    include_port: bool,
    /// A wildcard stands for at least one character.
    min_length: usize,
}

compiled!(AuthorityMatch => AuthorityMatcher);

impl Compile for AuthorityMatch {
    type Matcher = AuthorityMatcher;

    fn compile(&self, at: &At<'_>, problems: &mut Problems) -> Option<AuthorityMatcher> {
        let Self { exact, wildcard, prefix, suffix, contains, regex, include_port } = self;
        if exact.as_ref().is_some_and(|host| host.as_bytes().contains(&b'*')) {
            problems.refuse(at, "exact", "never matches: a host has no `*`; write `wildcard`");
            return None;
        }
        for &(field, host) in &[("exact", exact), ("wildcard", wildcard), ("suffix", suffix)] {
            let port = host.as_ref().is_some_and(|host| without_port(host.as_bytes()).len() < host.len());
            if port && !*include_port {
                let reason = "never matches: it has a port; set `include_port` or leave the port out";
                problems.refuse(at, field, reason);
                return None;
            }
        }
        // Hosts match in either case, and so do the expressions for them.
        let regex = match regex {
            Some(regex) => {
                super::string::regex_of(regex, &at.field("regex"), problems)?;
                Some(joined("(?i)", regex, ""))
            }
            None => None,
        };
        let mut text = Text::of([exact, prefix, suffix, contains, &regex], regex.is_none());
        let mut given = text.given();
        given.add("wildcard", wildcard.is_some());
        let known = "`exact`, `wildcard`, `prefix`, `suffix`, `contains`, `regex`";
        if !given.is_one(known, at, problems) {
            return None;
        }
        let mut min_length = 0;
        if let Some(wildcard) = wildcard {
            let suffix = wildcard
                .strip_prefix('*')
                .filter(|rest| rest.len() > 1 && rest.starts_with('.') && !rest.as_bytes().contains(&b'*'));
            let Some(suffix) = suffix else {
                problems.refuse(at, "wildcard", "expected `*.` and a domain, such as `*.example.com`");
                return None;
            };
            min_length = wildcard.len();
            text.fields[2] = Some(suffix);
        }
        Some(AuthorityMatcher { text: text.compile(at, problems)?, include_port: *include_port, min_length })
    }
}

impl AuthorityMatcher {
    /// Whether the value of `:authority` matches.
    #[must_use]
    pub fn is_match(&self, authority: &[u8]) -> bool {
        let host = if self.include_port { authority } else { without_port(authority) };
        host.len() >= self.min_length && self.text.is_match(host)
    }
}

/// A host without its port; the brackets of an IPv6 address stay.
fn without_port(authority: &[u8]) -> &[u8] {
    let digits = authority.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let end = authority.len().saturating_sub(digits);
    match authority.get(..end).and_then(|host| host.strip_suffix(b":")) {
        // In `::1` the last colon belongs to the address, which has no brackets and so no port.
        Some(host) if !host.contains(&b':') || host.ends_with(b"]") => host,
        _ => authority,
    }
}
