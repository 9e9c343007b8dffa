//! What makes a copy different from its request: authority, path, marks, headers. Knows no redaction.

use weir_sdk::{At, Problems, Regex, names};

use crate::config::{self, Authority};
use crate::policy::bytes::joined;
use crate::policy::check;
use crate::policy::copy::Copy;
use crate::policy::why::Why;

mod path;
mod trace;

/// Headers whose values identify an operation, so that it is done once.
const IDEMPOTENCY: [&str; 2] = ["idempotency-key", "x-idempotency-key"];

/// Checks what the target at `at` says of its copies, and brings names of headers into lower case. Returns the regular expression of the path,
/// where there is one.
pub fn compile(at: &At<'_>, target: &mut config::Target, problems: &mut Problems) -> Option<Regex> {
    let mark = &mut target.mark;
    line(&at.field("mark"), &mut mark.name, &mark.value, problems);
    if let Some(authority) = &target.authority {
        let (Authority::Suffix(value) | Authority::Literal(value)) = authority;
        if value.is_empty() || value.bytes().any(|byte| !(b'!'..=b'~').contains(&byte) || byte == b'/') {
            let field = if let Authority::Suffix(_) = authority { "suffix" } else { "literal" };
            let reason =
                "expected a part of a host such as `-shadow`, or a host such as `shadow.example.com:8080`";
            check::refuse(problems, &at.field("authority"), field, reason);
        }
    }
    let suffix = names::header_value(&target.idempotency_suffix);
    check::told(problems, at, "idempotency_suffix", suffix);
    let headers = &mut target.headers;
    let at_headers = at.field("headers");
    lines(&at_headers, "set", &mut headers.set, problems);
    lines(&at_headers, "append", &mut headers.append, problems);
    check::headers(problems, &at_headers, "remove", &mut headers.remove, "x-internal");
    path::compile(&at.field("path"), target.path.as_ref()?, problems)
}

/// Rewrites a copy; `length` is that of the whole body.
///
/// # Errors
/// [`Why::Path`]: the path is one that cannot be rewritten.
pub fn apply(
    target: &config::Target,
    regex: Option<&Regex>,
    copy: &mut Copy,
    length: u64,
) -> Result<(), Why> {
    let headers = &mut copy.headers;
    if let Some(authority) = &target.authority {
        let old = headers.first(":authority").unwrap_or_default();
        let new = match authority {
            Authority::Literal(literal) => literal.as_bytes().to_vec(),
            Authority::Suffix(suffix) => with_suffix(old, suffix.as_bytes()),
        };
        headers.set(":authority", new.as_slice());
    }
    if let Some(written) = &target.path {
        let Some(new) = path::of(written, regex, headers.first(":path").unwrap_or_default()) else {
            return Err(Why::Path);
        };
        headers.set(":path", new.as_slice());
    }
    trace::apply(target.trace, headers);
    mark(target, copy, length);
    let changes = &target.headers;
    for name in &changes.remove {
        copy.headers.remove(name);
    }
    for line in &changes.set {
        copy.headers.set(&line.name, line.value.as_bytes());
    }
    for line in &changes.append {
        copy.headers.push(line.name.as_str(), line.value.as_bytes());
    }
    Ok(())
}

/// What tells a copy from its original: the mark, and idempotency keys of its own.
pub fn mark(target: &config::Target, copy: &mut Copy, length: u64) {
    let suffix = target.idempotency_suffix.as_bytes();
    for name in IDEMPOTENCY {
        if let Some(key) = copy.headers.first(name).filter(|_| !suffix.is_empty()) {
            let key = [key, suffix].concat();
            copy.headers.set(name, key.as_slice());
        }
    }
    let mark = &target.mark;
    copy.headers.set(&mark.name, mark.value.as_bytes());
    if copy.body_truncated {
        copy.headers.set(&joined(&mark.name, "-truncated", ""), length.to_string().as_bytes());
    }
}

#[inline(never)]
fn lines(at: &At<'_>, field: &str, written: &mut [config::HeaderLine], problems: &mut Problems) {
    for (index, written) in written.iter_mut().enumerate() {
        line(&at.item(field, index), &mut written.name, &written.value, problems);
    }
}

#[inline(never)]
fn line(at: &At<'_>, name: &mut str, value: &str, problems: &mut Problems) {
    check::told(problems, at, "value", names::header_value(value));
    check::header(problems, at, "name", name, "x-shadow");
}

/// Text between host and port. The colons of an IPv6 address in brackets begin no port.
fn with_suffix(authority: &[u8], suffix: &[u8]) -> Vec<u8> {
    let mut host = authority;
    while let [before @ .., b'0'..=b'9'] = host {
        host = before;
    }
    match host {
        [before @ .., b':'] if host.len() < authority.len() => host = before,
        _ => host = authority,
    }
    let port = authority.get(host.len()..).unwrap_or_default();
    [host, suffix, port].concat()
}

#[cfg(test)]
mod tests;
