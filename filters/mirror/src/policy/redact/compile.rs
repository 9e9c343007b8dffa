//! From what is written to a [`Redactor`], and what is wrong with it.

use weir_sdk::{At, Problems, names};

use super::parameters::Parameter;
use super::pattern::Finder;
use super::value::Values;
use super::{Pattern, Redactor};
use crate::config::{Action, Redact, RedactHeader, RedactJson, RedactParameter, RedactSegment};
use crate::policy::bytes::joined;
use crate::policy::check;
use crate::policy::json_path::{MAX_PATHS, Paths};

/// Headers that carry credentials, by RFC 9110, RFC 9449, Envoy, the clouds' proxies, Vault, GitLab and common use.
const DEFAULT_HEADERS: &str = "authorization proxy-authorization cookie set-cookie x-api-key api-key x-auth-token \
    x-access-token x-csrf-token x-xsrf-token x-forwarded-client-cert x-amz-security-token \
    x-amzn-oidc-accesstoken x-amzn-oidc-data x-goog-iap-jwt-assertion x-vault-token private-token \
    authentication-info proxy-authentication-info dpop";

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
        check::refuse(self.problems, self.at, field, reason);
    }

    #[inline(never)]
    fn item(&mut self, list: &str, index: usize, field: &str, reason: &str) {
        check::refuse(self.problems, &self.at.item(list, index), field, reason);
    }

    fn action(&mut self, action: Action) -> Action {
        self.hashes |= action == Action::Hash;
        action
    }

    /// Goes through the rules of a list: each is what it is for and what is done then, and is added or refused.
    #[inline(never)]
    fn rules<'c>(
        &mut self,
        list: &str,
        field: &str,
        rule: &dyn Fn(usize) -> Option<(&'c str, Action)>,
        add: &mut dyn FnMut(&'c str, Action) -> Result<(), String>,
    ) {
        let mut index = 0;
        while let Some((text, action)) = rule(index) {
            if let Err(reason) = add(text, self.action(action)) {
                self.item(list, index, field, &reason);
            }
            index = index.wrapping_add(1);
        }
    }

    /// The rules of keys.
    #[inline(never)]
    fn keys(&mut self, list: &str, wire: &[RedactParameter], ignore_case: bool) -> Vec<Parameter> {
        let mut parameters = Vec::new();
        let rule = |index| wire.get(index).map(|rule: &RedactParameter| (rule.key.as_str(), rule.action));
        self.rules(list, "key", &rule, &mut |key, action| {
            parameters.push(Parameter::new(key, ignore_case, action));
            if key.trim().is_empty() {
                return Err(String::from("is empty; expected a key such as `password`"));
            }
            Ok(())
        });
        if wire.len() > MAX_PATHS {
            self.add(list, "has too many keys; at most 256 are accepted");
        }
        parameters
    }
}

pub(super) fn compile(at: &At<'_>, config: &Redact, problems: &mut Problems) -> Redactor {
    let fold = config.ignore_case;
    let mut findings = Findings { at, problems, hashes: false };
    let mut made = Redactor {
        headers: Vec::new(),
        default_headers: config.default_headers,
        cookies: Vec::new(),
        query: Vec::new(),
        form: Vec::new(),
        segments: Vec::new(),
        json: Paths::new(fold),
        json_actions: Vec::new(),
        patterns: Vec::new(),
        fold,
        values: Values::new(&config.replacement, config.hash_key.as_deref()),
        unreadable: config.unreadable_body,
        text_types: Vec::new(),
        max_body_bytes: config.max_body_bytes,
    };
    let of_cookies = |name: &str| !config.cookies.is_empty() && matches!(name, "cookie" | "set-cookie");
    let rule = |index| config.headers.get(index).map(|rule: &RedactHeader| (rule.name.as_str(), rule.action));
    findings.rules("headers", "name", &rule, &mut |name, action| {
        let name = names::header(name, "x-user")?;
        if of_cookies(&name) {
            return Err(joined("`", &name, "` is ruled by `cookies`; leave one of them out"));
        }
        made.headers.push((name, action));
        Ok(())
    });
    let rule = |index| config.cookies.get(index).map(|rule: &RedactHeader| (rule.name.as_str(), rule.action));
    findings.rules("cookies", "name", &rule, &mut |name, action| {
        made.cookies.push(Parameter::new(name, fold, action));
        if name == "*" { Ok(()) } else { names::cookie(name) }
    });
    if config.default_headers {
        for name in DEFAULT_HEADERS.split(' ') {
            if !of_cookies(name) {
                made.headers.push((name.into(), Action::Drop));
            }
        }
    }
    made.query = findings.keys("query", &config.query, fold);
    made.form = findings.keys("form", &config.form, fold);
    let rule = |index| {
        config.path_segments.get(index).map(|rule: &RedactSegment| (rule.after.as_str(), rule.action))
    };
    findings.rules("path_segments", "after", &rule, &mut |after, action| {
        made.segments.push(Parameter::new(after, fold, action));
        if after.is_empty() || after.as_bytes().contains(&b'/') {
            return Err(String::from("expected one segment of a path, such as `reset`"));
        }
        Ok(())
    });
    let rule = |index| config.json.get(index).map(|rule: &RedactJson| (rule.path.as_str(), rule.action));
    findings.rules("json", "path", &rule, &mut |path, action| {
        made.json_actions.push(action);
        made.json.add(path)
    });
    made.patterns = patterns(config, &mut findings);
    own_values(config, &mut findings, &mut made.text_types);
    made
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
fn own_values(config: &Redact, findings: &mut Findings<'_>, text_types: &mut Vec<String>) {
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
        text_types.push(kind.to_ascii_lowercase());
        let whole =
            kind.split_once('/').is_some_and(|(kind, sub)| names::is_token(kind) && names::is_token(sub));
        let known = super::body::is_known(kind);
        if !whole || kind.as_bytes().contains(&b'*') || known {
            let reason = if known {
                "is looked through as what it is; expected a type of plain text, such as `text/plain`"
            } else {
                "expected a content type without parameters, such as `text/plain`"
            };
            findings.item("text_types", index, "", reason);
        }
    }
}
