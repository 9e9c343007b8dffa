//! HTTP calls to other clusters (section 6.1 of the semantics).

use std::time::Duration;

use wasmtime::Linker;

use super::{Answer, Call, Status, hostcalls, memory};
use crate::clock::nanoseconds;
use crate::exchange::Message;
use crate::headers::{Headers, Kind};
use crate::host::{self, ClusterState, Ending, Event, value};
use crate::outcome::{CalloutEnd, CalloutKind};
use crate::upstream::{self, Turn};
use crate::vm::State;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    hostcalls! { linker:
        "proxy_http_call" = http_call(
            cluster: u32, cluster_size: u32, headers: u32, headers_size: u32, body: u32, body_size: u32, trailers: u32,
            trailers_size: u32, timeout_ms: i32, token: u32
        );
    }
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the ABI's signature")]
fn http_call(
    call: &mut Call<'_, '_>,
    cluster: u32,
    cluster_size: u32,
    headers: u32,
    headers_size: u32,
    body: u32,
    body_size: u32,
    trailers: u32,
    trailers_size: u32,
    timeout_ms: i32,
    token: u32,
) -> Answer {
    let owner = call.owner().ok_or(Status::BadArgument)?;
    let (memory, host, guest) = call.parts();
    let cluster = String::from_utf8_lossy(memory::slice(memory, cluster, cluster_size)?).into_owned();
    let given = block(memory::slice(memory, headers, headers_size)?, Kind::Request);
    let body = memory::slice(memory, body, body_size)?.to_vec();
    // Read as Envoy reads them, and dropped as Envoy 1.40 drops them: its client sends no trailers, over HTTP/1 or HTTP/2.
    memory::slice(memory, trailers, trailers_size)?;
    super::keep(guest, body.len() + headers_size as usize)?;
    memory::write_word(memory, token, 0)?;
    let root = host.root_of(owner).ok_or(Status::BadArgument)?;
    let complete = [&b":method"[..], b":path", b":authority"].iter().all(|name| given.get(name).is_some());
    let state = host.clusters.state(&cluster);
    if !complete || timeout_ms < 0 || matches!(state, ClusterState::Unknown) {
        return Err(Status::BadArgument.into());
    }
    let http2 = host.clusters.is_http2(&cluster);
    let request = sent(given, body, timeout_ms, http2);
    let valid = request.headers.iter().all(|(_, value)| !value.iter().any(|byte| b"\n\0".contains(byte)));
    // A call that is refused from here on takes a token, which the guest never gets.
    let id = guest.call_token();
    if !valid || matches!(state, ClusterState::Unhealthy) {
        host.note_callout(Some(owner), CalloutKind::Http, &cluster, request, CalloutEnd::Refused);
        return Err(Status::InternalFailure.into());
    }
    let turn = host.upstreams.turn(&cluster, &request, None);
    let timeout = u64::try_from(timeout_ms).ok().filter(|timeout| *timeout > 0).map(Duration::from_millis);
    let head = request.headers.get(b":method") == Some(b"HEAD");
    let (callout, by) =
        host.note_callout(Some(owner), CalloutKind::Http, &cluster, request, CalloutEnd::Pending);
    if let Some((event, ending)) = outcome(turn, timeout, (head, http2), callout) {
        let due = host.clock.now_ns().saturating_add(nanoseconds(ending.latency));
        host.calls.push(due, host::Call { root, token: id, by, event, ending: Some(ending) });
    }
    Ok(memory::write_word(memory, token, id)?)
}

fn block(bytes: &[u8], kind: Kind) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in value::read_pairs(bytes) {
        let host = kind == Kind::Request && name.eq_ignore_ascii_case(b"host");
        headers.add(if host { b":authority" } else { name }, value, kind);
    }
    headers
}

/// What the called cluster receives (`CALL-04`); `content-length: 0` is the HTTP/1 codec's.
fn sent(mut headers: Headers, body: Vec<u8>, timeout_ms: i32, http2: bool) -> Message {
    if !body.is_empty() {
        headers.set(b"content-length", body.len().to_string().as_bytes());
    }
    headers.replace(b"x-envoy-internal", b"true");
    if timeout_ms > 0 {
        headers.replace(b"x-envoy-expected-rq-timeout-ms", timeout_ms.to_string().as_bytes());
    }
    let bodiless =
        matches!(headers.get(b":method"), Some(b"GET" | b"HEAD" | b"DELETE" | b"TRACE" | b"CONNECT"));
    if !http2 && body.is_empty() && !bodiless && headers.get(b"content-length").is_none() {
        headers.append(b"content-length", b"0");
    }
    Message { headers, body, ..Message::default() }
}

/// What comes of a call, and when; nothing at all where there is neither an answer nor a timeout (`CALL-02`, `CALL-07`).
fn outcome(
    turn: Turn<'_>,
    timeout: Option<Duration>,
    (head, http2): (bool, bool),
    callout: u64,
) -> Option<(Event, Ending)> {
    let latency = turn.latency;
    let in_time = timeout.is_none_or(|timeout| latency <= timeout);
    let (end, latency, answer) = match turn.answer {
        upstream::Answer::Silence => (CalloutEnd::Timeout, timeout?, Some(own(504, TIMEOUT))),
        _ if !in_time => (CalloutEnd::Timeout, timeout?, Some(own(504, TIMEOUT))),
        upstream::Answer::ConnectFailure => (CalloutEnd::ConnectFailure, latency, Some(own(503, UNREACHED))),
        upstream::Answer::Reset => (CalloutEnd::Reset, latency, Some(own(503, CLOSED))),
        upstream::Answer::Cut { .. } => (CalloutEnd::ResetInBody, latency, None),
        upstream::Answer::Message(message) => {
            (CalloutEnd::Answered, latency, Some(received(&message, latency, head, http2)))
        }
    };
    let status = answer.as_ref().and_then(|answer| host::status(&answer.headers));
    Some((Event::Http(answer), Ending { callout, end, latency, status, grpc_status: None }))
}

/// The bodies of Envoy's own answers to a call, as a real Envoy 1.40 was seen to give them.
const TIMEOUT: &str = "upstream request timeout";
const CLOSED: &str =
    "upstream connect error or disconnect/reset before headers. reset reason: connection termination";
const UNREACHED: &str =
    "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure";

/// An answer of Envoy's own (`CALL-07`).
fn own(status: u16, body: &str) -> Message {
    let mut headers = Headers::new();
    headers.push(":status", status.to_string());
    headers.push("content-length", body.len().to_string());
    headers.push("content-type", "text/plain");
    Message { headers, body: body.as_bytes().to_vec(), ..Message::default() }
}

/// The answer of a cluster as a filter sees it (`CALL-06`).
fn received(message: &Message, latency: Duration, head: bool, http2: bool) -> Message {
    let mut headers = Headers::new();
    for (name, value) in message.headers.iter() {
        headers.add(name, value, Kind::Response);
    }
    let framed = headers.get(b"content-length").is_some() || headers.get(b"transfer-encoding").is_some();
    let bare = message.body.is_empty() && message.trailers.is_empty();
    if !http2 && !framed && !bare {
        headers.push("transfer-encoding", "chunked");
    }
    headers.replace(b"x-envoy-upstream-service-time", latency.as_millis().to_string().as_bytes());
    let body = if head { Vec::new() } else { message.body.clone() };
    Message { headers, body, body_truncated: false, trailers: message.trailers.clone() }
}
