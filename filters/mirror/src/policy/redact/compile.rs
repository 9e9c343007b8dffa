//! From what is written to a [`Redactor`], and what is wrong with it.

use weir_sdk::{At, Problems, names};

use super::parameters::Parameter;
use super::pattern::Finder;
use super::value::Values;
use super::{Pattern, Redactor};
use crate::config::{Action, Redact, RedactParameter};
use crate::policy::bytes::joined;
use crate::policy::json_path::{MAX_PATHS, Paths};

/// Headers that carry credentials, by RFC 9110, RFC 9449, Envoy, the clouds' proxies, Vault, GitLab and common use.
const DEFAULT_HEADERS: [&str; 20] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-api-key",
    "api-key",
    "x-auth-token",
    "x-access-token",
    "x-csrf-token",
    "x-xsrf-token",
    "x-forwarded-client-cert",
    "x-amz-security-token",
    "x-amzn-oidc-accesstoken",
    "x-amzn-oidc-data",
    "x-goog-iap-jwt-assertion",
    "x-vault-token",
    "private-token",
    "authentication-info",
    "proxy-authentication-info",
    "dpop",
];

/// Most patterns: each reads all of a copy.
const MAX_PATTERNS: usize = 64;

/// Shortest `hash_key` in bytes: 128 bits, as RFC 2104 advises no less for a MAC of this length.
const MIN_KEY: usize = 16;

/// Where a problem is, and whether a hash needs a key.
struct Findings<'p> {
    at: &'p At<'p>,
    problems: &'p mut Problems,
    hashes: bool,
}

impl Findings<'_> {
    fn add(&mut self, field: &str, reason: &str) {
        self.problems.add(self.at.field(field), reason);
    }

    fn item(&mut self, list: &str, index: usize, field: &str, reason: &str) {
        self.problems.add(self.at.item(list, index).field(field), reason);
    }

    fn action(&mut self, action: Action) -> Action {
        self.hashes |= action == Action::Hash;
        action
    }
}

pub(super) fn compile(at: &At<'_>, config: &Redact, problems: &mut Problems) -> Redactor {
    let mut findings = Findings { at, problems, hashes: false };
    let mut headers = Vec::new();
    for (index, header) in config.headers.iter().enumerate() {
        match names::header(&header.name, "x-user") {
            Ok(name) if config.cookies.is_empty() || !matches!(&*name, "cookie" | "set-cookie") => {
                headers.push((name, findings.action(header.action)));
            }
            Ok(name) => {
                let reason = joined("`", &name, "` is ruled by `cookies`; leave one of them out");
                findings.item("headers", index, "name", &reason);
            }
            Err(reason) => findings.item("headers", index, "name", &reason),
        }
    }
    let mut cookies = Vec::new();
    for (index, cookie) in config.cookies.iter().enumerate() {
        if cookie.name != "*"
            && let Err(reason) = names::cookie(&cookie.name)
        {
            findings.item("cookies", index, "name", &reason);
        }
        let action = findings.action(cookie.action);
        cookies.push(Parameter::new(&cookie.name, config.ignore_case, action));
    }
    if config.default_headers {
        for name in &DEFAULT_HEADERS {
            if config.cookies.is_empty() || !matches!(*name, "cookie" | "set-cookie") {
                headers.push(((*name).into(), Action::Drop));
            }
        }
    }
    let query = parameters("query", &config.query, config.ignore_case, &mut findings);
    let form = parameters("form", &config.form, config.ignore_case, &mut findings);
    let mut segments = Vec::new();
    for (index, segment) in config.path_segments.iter().enumerate() {
        if segment.after.is_empty() || segment.after.as_bytes().contains(&b'/') {
            findings.item("path_segments", index, "after", "expected one segment of a path, such as `reset`");
        }
        let action = findings.action(segment.action);
        segments.push(Parameter::new(&segment.after, config.ignore_case, action));
    }
    let mut json = Paths::new(config.ignore_case);
    let mut json_actions = Vec::new();
    for (index, written) in config.json.iter().enumerate() {
        if let Err(reason) = json.add(&written.path) {
            findings.item("json", index, "path", &reason);
        }
        json_actions.push(findings.action(written.action));
    }
    let patterns = patterns(config, &mut findings);
    own_values(config, &mut findings);
    Redactor {
        headers,
        default_headers: config.default_headers,
        cookies,
        query,
        form,
        segments,
        json,
        json_actions,
        patterns,
        fold: config.ignore_case,
        values: Values::new(&config.replacement, config.hash_key.as_deref()),
        unreadable: config.unreadable_body,
        text_types: config.text_types.iter().map(|kind| kind.to_ascii_lowercase()).collect(),
        max_body_bytes: config.max_body_bytes,
    }
}

fn parameters(
    list: &str,
    wire: &[RedactParameter],
    ignore_case: bool,
    findings: &mut Findings<'_>,
) -> Vec<Parameter> {
    let mut parameters = Vec::new();
    for (index, parameter) in wire.iter().enumerate() {
        if parameter.key.trim().is_empty() {
            findings.item(list, index, "key", "is empty; expected a key such as `password`");
        }
        let action = findings.action(parameter.action);
        parameters.push(Parameter::new(&parameter.key, ignore_case, action));
    }
    if wire.len() > MAX_PATHS {
        findings.add(list, "has too many keys; at most 256 are accepted");
    }
    parameters
}

fn patterns(config: &Redact, findings: &mut Findings<'_>) -> Vec<Pattern> {
    let mut patterns = Vec::new();
    if config.patterns.len() > MAX_PATTERNS {
        findings.add("patterns", "has too many; at most 64 are accepted");
    }
    for (index, pattern) in config.patterns.iter().enumerate() {
        if pattern.action == Action::Keep {
            findings.item("patterns", index, "action", "cannot be `KEEP`; leave the pattern out");
        }
        if pattern.places.is_empty() {
            findings.item(
                "patterns",
                index,
                "in",
                "is empty; expected at least one of `HEADERS`, `PATH`, `BODY`",
            );
        }
        let action = findings.action(pattern.action);
        match Finder::compile(&pattern.find) {
            Ok(finder) => patterns.push(Pattern { finder, action, places: pattern.places.clone() }),
            Err(reason) => findings.item("patterns", index, "find.regex", &reason),
        }
    }
    patterns
}

/// What stands in place of values, and the bounds.
fn own_values(config: &Redact, findings: &mut Findings<'_>) {
    let plain =
        config.replacement.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\&;,%=#?/<>".contains(&byte));
    if !plain || !(1..=64).contains(&config.replacement.len()) {
        findings.add(
            "replacement",
            "expected 1 to 64 visible ASCII characters that mean nothing in a URL, a header and JSON, such as `redacted`",
        );
    }
    match &config.hash_key {
        None if findings.hashes => {
            findings.add("hash_key", "is missing; `HASH` needs a key of at least 16 bytes");
        }
        Some(key) if key.len() < MIN_KEY => {
            findings.add("hash_key", "is too short; expected at least 16 bytes");
        }
        _ => {}
    }
    if config.max_body_bytes == 0 {
        findings.add("max_body_bytes", "is 0; expected at least 1, or a target that gets no body");
    }
    for (index, kind) in config.text_types.iter().enumerate() {
        let whole =
            kind.split_once('/').is_some_and(|(kind, sub)| names::is_token(kind) && names::is_token(sub));
        let known = super::body::is_known(kind);
        if !whole || kind.as_bytes().contains(&b'*') || known {
            let reason = if known {
                "is looked through as what it is; expected a type of plain text, such as `text/plain`"
            } else {
                "expected a content type without parameters, such as `text/plain`"
            };
            findings.problems.add(findings.at.item("text_types", index), reason);
        }
    }
}
