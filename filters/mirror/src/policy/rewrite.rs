//! What makes a copy different from its request: authority, path, marks, headers. Knows no redaction.

use std::rc::Rc;

use weir_sdk::{At, Problems, names};

use crate::config;
use crate::policy::bytes::joined;
use crate::policy::check;
use crate::policy::copy::Copy;
use crate::policy::why::Why;
use path::Path;

mod path;
mod trace;

/// Headers whose values identify an operation, so that it is done once.
const IDEMPOTENCY: [&str; 2] = ["idempotency-key", "x-idempotency-key"];

/// All rewriting of a target.
#[derive(Clone, Debug)]
pub struct Rewrite {
    authority: Option<config::Authority>,
    path: Option<Path>,
    trace: config::Trace,
    idempotency_suffix: String,
    mark: (Rc<str>, String),
    truncated: Rc<str>,
    remove: Vec<Rc<str>>,
    set: Vec<(Rc<str>, String)>,
    append: Vec<(Rc<str>, String)>,
}

impl Rewrite {
    /// Checks and compiles what the target at `at` says.
    pub fn compile(at: &At<'_>, target: &config::Target, problems: &mut Problems) -> Self {
        let mark = line(&at.field("mark"), &target.mark.name, &target.mark.value, problems);
        if let Some(authority) = &target.authority {
            let (field, value) = match authority {
                config::Authority::Suffix(value) => ("suffix", value),
                config::Authority::Literal(value) => ("literal", value),
            };
            if value.is_empty() || value.bytes().any(|byte| !(b'!'..=b'~').contains(&byte) || byte == b'/') {
                check::refuse(
                    problems,
                    &at.field("authority"),
                    field,
                    "expected a part of a host such as `-shadow`, or a host such as `shadow.example.com:8080`",
                );
            }
        }
        if let Err(reason) = names::header_value(&target.idempotency_suffix) {
            check::refuse(problems, at, "idempotency_suffix", &reason);
        }
        let at_headers = at.field("headers");
        let set = lines(&at_headers, "set", &target.headers.set, problems);
        let append = lines(&at_headers, "append", &target.headers.append, problems);
        let mut remove = Vec::new();
        for (index, name) in target.headers.remove.iter().enumerate() {
            match names::header(name, "x-internal") {
                Ok(name) => remove.push(name),
                Err(reason) => problems.add(at_headers.item("remove", index), reason),
            }
        }
        Self {
            authority: target.authority.clone(),
            path: target
                .path
                .as_ref()
                .and_then(|written| Path::compile(&at.field("path"), written, problems)),
            trace: target.trace,
            idempotency_suffix: target.idempotency_suffix.clone(),
            truncated: joined(&mark.0, "-truncated", "").into(),
            mark,
            remove,
            set,
            append,
        }
    }

    /// The header that says that a request is a copy.
    pub fn mark(&self) -> &str {
        &self.mark.0
    }

    /// Rewrites a copy; `length` is that of the whole body.
    ///
    /// # Errors
    /// [`Why::Path`]: the path is one that cannot be rewritten.
    pub fn apply(&self, copy: &mut Copy, length: u64) -> Result<(), Why> {
        if let Some(authority) = &self.authority {
            let old = copy.headers.first(":authority").unwrap_or_default();
            let new = match authority {
                config::Authority::Literal(literal) => literal.clone().into_bytes(),
                config::Authority::Suffix(suffix) => with_suffix(old, suffix.as_bytes()),
            };
            copy.headers.set(":authority", new);
        }
        if let Some(path) = &self.path {
            let new = path.of(copy.headers.first(":path").unwrap_or_default()).ok_or(Why::Path)?;
            copy.headers.set(":path", new);
        }
        trace::apply(self.trace, &mut copy.headers);
        self.mark_copy(copy, length);
        for name in &self.remove {
            copy.headers.remove(name);
        }
        for (name, value) in &self.set {
            copy.headers.set(name, value);
        }
        for (name, value) in &self.append {
            copy.headers.push(&**name, value);
        }
        Ok(())
    }

    /// What tells a copy from its original: the mark, and idempotency keys of its own.
    pub fn mark_copy(&self, copy: &mut Copy, length: u64) {
        for name in IDEMPOTENCY.iter().filter(|_| !self.idempotency_suffix.is_empty()) {
            if let Some(key) = copy.headers.first(name) {
                let key = [key, self.idempotency_suffix.as_bytes()].concat();
                copy.headers.set(name, key);
            }
        }
        copy.headers.set(&self.mark.0, &self.mark.1);
        if copy.body_truncated {
            copy.headers.set(&self.truncated, length.to_string());
        }
    }
}

fn lines(
    at: &At<'_>,
    field: &str,
    written: &[config::HeaderLine],
    problems: &mut Problems,
) -> Vec<(Rc<str>, String)> {
    let mut lines = Vec::new();
    for (index, written) in written.iter().enumerate() {
        lines.push(line(&at.item(field, index), &written.name, &written.value, problems));
    }
    lines
}

fn line(at: &At<'_>, name: &str, value: &str, problems: &mut Problems) -> (Rc<str>, String) {
    if let Err(reason) = names::header_value(value) {
        check::refuse(problems, at, "value", &reason);
    }
    let name = names::header(name, "x-shadow").unwrap_or_else(|reason| {
        check::refuse(problems, at, "name", &reason);
        Rc::default()
    });
    (name, value.to_owned())
}

/// Text between host and port. The colons of an IPv6 address in brackets begin no port.
fn with_suffix(authority: &[u8], suffix: &[u8]) -> Vec<u8> {
    let colon = authority.iter().rposition(|byte| *byte == b':');
    let port = colon.filter(|at| {
        let digits = authority.get(at.saturating_add(1)..).unwrap_or_default();
        !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
    });
    let (host, port) =
        authority.split_at_checked(port.unwrap_or(authority.len())).unwrap_or((authority, b""));
    [host, suffix, port].concat()
}

#[cfg(test)]
mod tests;
