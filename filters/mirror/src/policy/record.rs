//! A whole exchange as a line of Weir's recordings: what `weir replay` reads (`RECORDINGS.md` of the harness says it field by field).
//!
//! Fails closed: the response goes through the target's redaction as the request did, and where it cannot there is no record.

use std::time::Duration;

use weir_sdk::address::is_with_port;
use weir_sdk::{At, HeaderMap, Problems, names};

use super::answer::Answer;
use super::check;
use super::copy::Copy;
use super::json::{push_key, push_number, push_string};
use super::redact::Redactor;
use super::target::Refused;
use super::why::Why;
use crate::config;

/// A compiled [`config::Record`].
#[derive(Clone, Debug)]
pub struct Record {
    /// The cluster that the lines are posted to.
    pub cluster: Vec<u8>,
    /// The headers of what is posted, before the target's own changes.
    pub headers: HeaderMap,
    /// How long lines are collected.
    pub interval: Duration,
    /// Bytes of lines that wait no longer.
    pub max_bytes: usize,
    /// Whether a record says who called.
    pub client_address: bool,
}

impl Record {
    /// Checks and compiles what the target at `at` says.
    pub fn compile(
        at: &At<'_>,
        target: &config::Target,
        record: &config::Record,
        problems: &mut Problems,
    ) -> Self {
        let interval = record.interval.0;
        check::time(problems, at, "record.interval", interval, (100, check::HOUR), "100ms to an hour");
        let mut refuse = |field: &str, reason: &str| check::refuse(problems, at, field, reason);
        if !(1024..=16 << 20).contains(&record.max_bytes) {
            refuse("record.max_bytes", "expected 1024 to 16777216");
        }
        if target.compare.is_some() {
            refuse("compare", "is for targets that get copies; with `record` there are none");
        }
        let cluster = target.cluster.as_deref().unwrap_or_default();
        if cluster.is_empty() {
            refuse("record", "is for targets with `cluster`");
        }
        if target.authority.is_none() && names::header_value(cluster).is_err() {
            refuse("authority", "is missing, and the cluster's name is none");
        }
        Self {
            cluster: cluster.as_bytes().to_vec(),
            headers: post("/record", cluster),
            interval,
            max_bytes: usize::try_from(record.max_bytes).unwrap_or(usize::MAX),
            client_address: record.client_address,
        }
    }
}

/// The headers of a request that posts records.
#[inline(never)]
pub(super) fn post(path: &str, authority: &str) -> HeaderMap {
    let lines = [
        (":method", "POST"),
        (":path", path),
        (":authority", authority),
        ("content-type", "application/x-ndjson"),
    ];
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.push(name, value);
    }
    headers
}

/// What a record says beside the two messages. What is not known is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// When the request began, in nanoseconds since 1970.
    pub start_ns: Option<u64>,
    /// How long the exchange took, in nanoseconds.
    pub duration_ns: Option<u64>,
    /// The client left before the end.
    pub aborted: bool,
    /// The client's address and port.
    pub address: Option<Vec<u8>>,
    /// The HTTP version, as Envoy writes it.
    pub protocol: Option<Vec<u8>>,
    /// Tells connections apart.
    pub connection_id: Option<u64>,
    /// Whether the client used TLS.
    pub tls: bool,
    /// The cluster that answered.
    pub cluster: Option<Vec<u8>>,
}

/// The record of an exchange: one line, with its line feed. `request` has been redacted; of the answer's body there are `limit` bytes at most.
///
/// # Errors
/// [`Why::Redaction`]: the answer cannot be looked through.
pub fn line(
    facts: &Facts,
    request: &Copy,
    answer: Option<&Answer>,
    limit: usize,
    redactor: Option<&Redactor>,
) -> Result<Vec<u8>, Refused> {
    let mut response = None;
    if let Some(answer) = answer {
        let kept = answer.body.get(..limit).unwrap_or(&answer.body);
        let mut copy = Copy {
            headers: answer.headers.clone(),
            body: kept.to_vec(),
            trailers: answer.trailers.clone(),
            body_truncated: answer.body_truncated || kept.len() < answer.body.len(),
        };
        redact(redactor, &mut copy)?;
        response = Some(copy);
    }
    let mut out = Vec::from(*b"{\"weir\":1");
    push_number(&mut out, "start_ns", facts.start_ns);
    push_number(&mut out, "duration_ns", facts.duration_ns);
    push_number(&mut out, "abort_after_ns", facts.duration_ns.filter(|_| facts.aborted));
    downstream(&mut out, facts);
    message(&mut out, "request", request);
    if let Some(response) = &response {
        message(&mut out, "response", response);
    }
    if let Some(cluster) = facts.cluster.as_ref().and_then(|name| std::str::from_utf8(name).ok()) {
        push_key(&mut out, "upstream_cluster");
        push_string(&mut out, cluster);
    }
    out.extend_from_slice(b"}\n");
    Ok(out)
}

/// Takes out of a message what must not be told.
///
/// # Errors
/// [`Why::Redaction`]
pub(super) fn redact(redactor: Option<&Redactor>, copy: &mut Copy) -> Result<(), Refused> {
    if let Some(redactor) = redactor {
        match redactor.apply(copy) {
            Ok(redacted) => copy.body_truncated |= redacted.dropped_body.is_some(),
            Err(refusal) => return Err(Refused { why: Why::Redaction, detail: Some(refusal.name()) }),
        }
    }
    Ok(())
}

fn downstream(out: &mut Vec<u8>, facts: &Facts) {
    push_key(out, "downstream");
    // What is no address, such as the path of a socket, is none that can be read again.
    let address = facts.address.as_deref().filter(|text| is_with_port(text));
    let address = address.and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default();
    let protocol = facts.protocol.as_deref().unwrap_or_default();
    let known = ["HTTP/1.0", "HTTP/2", "HTTP/3"].iter().find(|known| known.as_bytes() == protocol);
    let protocol = known.copied().unwrap_or("HTTP/1.1");
    out.extend_from_slice(b"{\"protocol\":");
    push_string(out, protocol);
    if !address.is_empty() {
        push_key(out, "address");
        push_string(out, address);
    }
    push_number(out, "connection_id", facts.connection_id);
    if facts.tls {
        push_key(out, "tls");
        out.extend_from_slice(b"true");
    }
    out.push(b'}');
}

fn message(out: &mut Vec<u8>, name: &str, message: &Copy) {
    push_key(out, name);
    out.extend_from_slice(b"{\"headers\":");
    lines(out, &message.headers);
    if !message.body.is_empty() {
        push_key(out, "body");
        bytes(out, &message.body);
    }
    if message.body_truncated {
        push_key(out, "body_truncated");
        out.extend_from_slice(b"true");
    }
    if !message.trailers.is_empty() {
        push_key(out, "trailers");
        lines(out, &message.trailers);
    }
    out.push(b'}');
}

fn lines(out: &mut Vec<u8>, headers: &HeaderMap) {
    let mut before = b'[';
    for (name, value) in headers.iter() {
        out.extend_from_slice(&[before, b'[']);
        bytes(out, name);
        out.push(b',');
        bytes(out, value);
        out.push(b']');
        before = b',';
    }
    out.extend_from_slice(if before == b'[' { b"[]" } else { b"]" });
}

/// A text, or `{"base64": …}`.
fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => push_string(out, text),
        Err(_) => {
            out.extend_from_slice(b"{\"base64\":\"");
            base64(out, bytes);
            out.extend_from_slice(b"\"}");
        }
    }
}

/// RFC 4648 §4, padded.
fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in bytes.chunks(3) {
        let at = |index: usize| u32::from(group.get(index).copied().unwrap_or_default());
        let bits = (at(0) << 16) | (at(1) << 8) | at(2);
        for (index, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let digit = usize::try_from((bits >> shift) & 63).ok().and_then(|digit| DIGITS.get(digit));
            out.push(if index > group.len() { b'=' } else { digit.copied().unwrap_or_default() });
        }
    }
}

#[cfg(test)]
mod tests;
