//! What a guest is told of a gRPC call or stream, from what the cluster answers (`CALL-22` to `CALL-24`): as a real Envoy 1.40 was seen to
//! tell it. Pure.

use std::borrow::Cow;
use std::time::Duration;

use crate::exchange::Message;
use crate::headers::{Headers, Kind};
use crate::host::{self, Event};
use crate::outcome::CalloutEnd;
use crate::upstream::{Answer, Turn};

/// gRPC's `UNKNOWN`, `INTERNAL` and `UNAVAILABLE`.
const UNKNOWN: u32 = 2;
const INTERNAL: u32 = 13;
pub(super) const UNAVAILABLE: u32 = 14;

/// What comes of a call, and when.
#[derive(Debug, PartialEq)]
pub(super) struct Told {
    pub latency: Duration,
    pub end: CalloutEnd,
    pub code: u32,
    /// The last one ends the call.
    pub events: Vec<Event>,
}

/// What a stream is told; nothing at all where there is neither an answer nor a timeout.
pub(super) fn stream(turn: Turn<'_>, timeout: Option<Duration>) -> Option<Told> {
    let latency = turn.latency;
    let (end, latency, events) = match turn.answer {
        Answer::Silence => (CalloutEnd::Timeout, timeout?, failed(TIMEOUT)),
        _ if timeout.is_some_and(|timeout| latency > timeout) => {
            (CalloutEnd::Timeout, timeout?, failed(TIMEOUT))
        }
        Answer::ConnectFailure => (CalloutEnd::ConnectFailure, latency, failed(UNREACHED)),
        Answer::Reset => (CalloutEnd::Reset, latency, failed(CLOSED)),
        Answer::Cut { message, after_bytes } => {
            (CalloutEnd::ResetInBody, latency, answered(message, latency, Some(after_bytes)))
        }
        Answer::Message(message) => (CalloutEnd::Answered, latency, answered(message, latency, None)),
    };
    let code = match events.last() {
        Some(Event::Close { code, .. }) => *code,
        _ => UNKNOWN,
    };
    Some(Told { latency, end, code, events })
}

/// What a call with one message each way is told: the message, or the end (`CALL-22`).
pub(super) fn call(turn: Turn<'_>, timeout: Option<Duration>) -> Option<Told> {
    let mut told = stream(turn, timeout)?;
    let close = told.events.pop();
    if told.code == 0 {
        let received = told.events.into_iter().rev().find(|event| matches!(event, Event::Receive(_)));
        if received.is_none() {
            told.code = INTERNAL;
        }
        told.events = vec![received.unwrap_or(Event::Close { code: INTERNAL, message: Vec::new() })];
    } else {
        told.events = close.into_iter().collect();
    }
    Some(told)
}

/// Envoy's own failures: what it says, and its response code details.
type Text = (&'static str, &'static str);
const TIMEOUT: Text = ("upstream request timeout", "response_timeout");
const CLOSED: Text = (
    "upstream connect error or disconnect/reset before headers. reset reason: connection termination",
    "upstream_reset_before_response_started{connection_termination}",
);
const UNREACHED: Text = (
    "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure",
    "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}",
);
pub(super) const UNHEALTHY: Text = ("no healthy upstream", "no_healthy_upstream");

/// A call that Envoy itself answers: a reply without a body that carries the status.
pub(super) fn failed((text, details): Text) -> Vec<Event> {
    let code = UNAVAILABLE.to_string();
    let lines = [
        (":status", "200"),
        ("content-type", "application/grpc"),
        ("grpc-status", code.as_str()),
        ("grpc-message", text),
    ];
    vec![
        Event::InitialMetadata(Headers::new()),
        Event::TrailingMetadata(lines.into_iter().collect()),
        close(UNAVAILABLE, text.as_bytes(), details),
    ]
}

/// A call that the cluster answers, whole or up to so many bytes of the body.
fn answered(message: Cow<'_, Message>, latency: Duration, cut: Option<usize>) -> Vec<Event> {
    const DETAILS: &str = "via_upstream";
    let mut headers = Headers::new();
    for (name, value) in message.headers.iter() {
        headers.add(name, value, Kind::Response);
    }
    headers.replace(b"x-envoy-upstream-service-time", latency.as_millis().to_string().as_bytes());
    let body = message.body.get(..cut.unwrap_or(message.body.len())).unwrap_or(&message.body);
    let bare = message.body.is_empty() && message.trailers.is_empty() && cut.is_none();
    let http = host::status(&headers).unwrap_or(200);
    if http != 200 {
        let (code, text) = status_of(&headers);
        return match code.filter(|_| bare) {
            Some(code) => vec![
                Event::InitialMetadata(Headers::new()),
                Event::TrailingMetadata(headers),
                close(code, &text, DETAILS),
            ],
            None => vec![
                Event::InitialMetadata(Headers::new()),
                Event::TrailingMetadata(Headers::new()),
                close(u32::try_from(host::grpc_status(u32::from(http))).unwrap_or(UNKNOWN), b"", DETAILS),
            ],
        };
    }
    if bare {
        let (code, text) = status_of(&headers);
        return vec![
            Event::InitialMetadata(Headers::new()),
            Event::TrailingMetadata(headers),
            close(code.unwrap_or(UNKNOWN), &text, DETAILS),
        ];
    }
    let mut events = vec![Event::InitialMetadata(headers)];
    let Some(compressed) = frames(body, &mut events) else {
        events.push(Event::TrailingMetadata(Headers::new()));
        events.push(close(INTERNAL, b"", DETAILS));
        return events;
    };
    let (trailers, code, text, details) = if compressed {
        (Headers::new(), INTERNAL, Vec::new(), DETAILS)
    } else if cut.is_some() {
        let details = "upstream_reset_after_response_started{connection_termination}";
        (Headers::new(), INTERNAL, Vec::new(), details)
    } else if message.trailers.is_empty() {
        (Headers::new(), UNKNOWN, Vec::new(), DETAILS)
    } else {
        let (code, text) = status_of(&message.trailers);
        (message.trailers.clone(), code.unwrap_or(UNKNOWN), text, DETAILS)
    };
    events.push(Event::TrailingMetadata(trailers));
    events.push(close(code, &text, details));
    events
}

/// Takes the whole messages out of a body. Whether one that is compressed ends the call there; nothing where a prefix is wrong, and then
/// no message at all.
fn frames(mut body: &[u8], events: &mut Vec<Event>) -> Option<bool> {
    let mut messages = Vec::new();
    while let Some((flags, rest)) = body.split_first() {
        if flags & !1 != 0 {
            return None;
        }
        let Some((length, rest)) = rest.split_first_chunk() else { break };
        let length = u32::from_be_bytes(*length) as usize;
        let Some((message, rest)) = rest.split_at_checked(length) else { break };
        messages.push((flags & 1 != 0 && length > 0, message));
        body = rest;
    }
    for (compressed, message) in messages {
        if compressed {
            return Some(true);
        }
        events.push(Event::Receive(message.to_vec()));
    }
    Some(false)
}

/// Status and message of headers or trailers; what is no status of gRPC is -1.
fn status_of(headers: &Headers) -> (Option<u32>, Vec<u8>) {
    let number =
        |value: &[u8]| std::str::from_utf8(value).ok()?.trim().parse().ok().filter(|code| *code <= 16);
    let code = headers.get(b"grpc-status").map(|value| number(value).unwrap_or(u32::MAX));
    (code, headers.get(b"grpc-message").unwrap_or_default().to_vec())
}

/// The end of a call; its message has the response code details behind it (`CALL-23`).
fn close(code: u32, text: &[u8], details: &str) -> Event {
    let message = match text {
        [] => details.as_bytes().to_vec(),
        text => [text, b"{", details.as_bytes(), b"}"].concat(),
    };
    Event::Close { code, message }
}

#[cfg(test)]
mod tests;
