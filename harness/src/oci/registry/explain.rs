//! What went wrong with a registry, in words that say what to do.

use std::error::Error as _;

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use super::super::OciError;
use super::super::credentials::Credentials;
use super::http::{Answer, Ask, Problem, place, retry_after};
use crate::style::{printable, shorten};

/// How many characters of what a server says are told.
const MAX_WORDS: usize = 300;

/// The form of errors in the distribution specification.
#[derive(Deserialize)]
struct Envelope {
    errors: Vec<Said>,
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// Where others say what is wrong: token services, and storage behind registries.
const WORDS: [&str; 5] = ["message", "details", "detail", "error_description", "error"];

/// Who asked, and what was said.
pub(super) fn asked(credentials: &Credentials, words: &str) -> String {
    let who = printable(credentials.describe().as_bytes());
    if words.is_empty() { who } else { format!("{who}; it says: {words}") }
}

/// What a server says in the body of a refusal, on one line; nothing where that is a page for browsers, or no text.
pub(super) fn said(answer: &Answer) -> String {
    if answer.status.is_success() {
        return String::new();
    }
    if let Ok(envelope) = serde_json::from_slice::<Envelope>(&answer.body) {
        let words = envelope.errors.iter().map(|error| match error.message.as_str() {
            "" => error.code.as_str(),
            message => message,
        });
        return tidy(&words.collect::<Vec<_>>().join("; "));
    }
    if let Ok(Value::Object(object)) = serde_json::from_slice::<Value>(&answer.body) {
        let words = WORDS.iter().find_map(|name| object.get(*name).and_then(Value::as_str));
        return tidy(words.unwrap_or_default());
    }
    let Ok(text) = str::from_utf8(&answer.body) else { return String::new() };
    if text.trim_start().starts_with('<') { String::new() } else { tidy(text) }
}

fn tidy(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    shorten(&printable(words.join(" ").as_bytes()), MAX_WORDS)
}

/// A refusal; `ask` was asked for, of the repository `place`.
pub(super) fn refusal(answer: &Answer, ask: &Ask<'_>, place: String, credentials: &Credentials) -> OciError {
    let words = said(answer);
    let status = answer.status;
    match status.as_u16() {
        401 => OciError::Unauthorized { place, status: 401, reason: asked(credentials, &words) },
        403 => OciError::Denied { place, reason: asked(credentials, &words) },
        404 if ask.method == Method::GET => {
            OciError::NotFound { place, what: ask.what.trim_start_matches("the ").to_owned() }
        }
        _ => {
            let mut reason = format!("{}: {} is answered {status}", ask.what, ask.method);
            if !words.is_empty() {
                reason.push_str(&format!(": {words}"));
            }
            if let Some(wait) = retry_after(&answer.headers) {
                reason.push_str(&format!("; it asks to come again in {} s", wait.as_secs()));
            }
            if answer.url != ask.url {
                reason.push_str(&format!("; asked was {}, after a redirect", self::place(&answer.url)));
            }
            OciError::Registry { place, reason }
        }
    }
}

/// No answer, or not all of it, of `host`; `size` is what was to come.
pub(super) fn problem(problem: Problem, host: &str, ask: &Ask<'_>, size: Option<u64>) -> OciError {
    let what = ask.what;
    let place = host.to_owned();
    let of = |bytes: u64| match size {
        Some(size) => format!("after {bytes} of {size} bytes"),
        None => format!("after {bytes} bytes"),
    };
    let unreachable = |reason: String| OciError::Connection { place: place.clone(), reason, tls: false };
    match problem {
        Problem::Request(error) => connection(&error, place, ask.url.scheme()),
        Problem::Silent(time) => {
            OciError::Slow { place, reason: format!("{what}: nothing has come for {} s", time.as_secs()) }
        }
        Problem::Slow { bytes, time } => OciError::Slow {
            place,
            reason: format!("{what}: only {bytes} bytes have come in {} s", time.as_secs()),
        },
        Problem::TooLarge { limit } => OciError::Registry {
            place,
            reason: format!("{what}: what comes is larger than the {limit} bytes that it may have"),
        },
        Problem::BrokeOff { bytes, error } => {
            unreachable(format!("{what} broke off {}: {}", of(bytes), innermost(&error)))
        }
    }
}

/// A request that got no answer.
fn connection(error: &reqwest::Error, place: String, scheme: &str) -> OciError {
    let mut reason = innermost(error);
    let words = ["certificate", "InvalidContentType", "TLS", "tls", "CertificateError", "HandshakeFailure"];
    let mut tls = causes(error).iter().any(|cause| words.iter().any(|word| cause.contains(word)));
    if error.is_timeout() {
        reason = format!("no connection in time ({reason})");
    }
    // What a server that speaks TLS says to HTTP is no HTTP, or nothing.
    if scheme == "http"
        && error.is_request()
        && !error.is_connect()
        && !error.is_timeout()
        && !error.is_redirect()
    {
        reason.push_str("; asked was without TLS");
        tls = true;
    }
    // What a server that speaks HTTP says to TLS is no TLS.
    if reason.contains("InvalidContentType") {
        reason = format!("it answers no TLS ({reason})");
    }
    OciError::Connection { place, reason, tls }
}

/// The innermost cause says what happened; the outer ones, that something did.
fn innermost(error: &reqwest::Error) -> String {
    causes(error).pop().unwrap_or_default()
}

fn causes(error: &reqwest::Error) -> Vec<String> {
    let mut causes = vec![error.to_string()];
    let mut source = error.source();
    while let Some(inner) = source {
        causes.push(inner.to_string());
        source = inner.source();
    }
    causes
}
