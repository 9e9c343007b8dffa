//! Written answers as messages.

use std::borrow::Cow;

use crate::exchange::Message;
use crate::headers::Headers;
use crate::scenario::{BytesText, ClusterResponse, GrpcResponse};

/// A written response as the upstream sends it: with `content-length` where it may have one, none is given and there are no trailers.
#[must_use]
pub fn response(response: &ClusterResponse) -> Message {
    let mut headers = Headers::new();
    headers.push(":status", response.status.to_string());
    lines(&response.headers, &mut headers);
    let mut trailers = Headers::new();
    lines(&response.trailers, &mut trailers);
    let body = response.body.bytes();
    let framed = headers.get(b"content-length").is_some() || headers.get(b"transfer-encoding").is_some();
    if !framed && trailers.is_empty() && !matches!(response.status, 204 | 304) {
        headers.push("content-length", body.len().to_string());
    }
    Message { headers, body, body_truncated: false, trailers }
}

/// A written answer of a gRPC server: its messages framed, the status in the trailers, or in the headers where there is no message.
pub(super) fn grpc(response: &GrpcResponse) -> Message {
    let mut headers: Headers =
        [(":status", "200"), ("content-type", "application/grpc")].into_iter().collect();
    lines(&response.initial_metadata, &mut headers);
    let mut trailers = Headers::new();
    trailers.push("grpc-status", response.status.to_string());
    if !response.message.is_empty() {
        trailers.push("grpc-message", percent_encode(response.message.as_bytes()));
    }
    lines(&response.trailing_metadata, &mut trailers);
    if response.messages.is_empty() {
        for (name, value) in trailers.iter() {
            headers.push(name, value);
        }
        return Message { headers, ..Message::default() };
    }
    let mut body = Vec::new();
    for message in &response.messages {
        grpc_frame(&message.bytes(), &mut body);
    }
    Message { headers, body, body_truncated: false, trailers }
}

/// Appends a gRPC message behind its prefix: not compressed, length. What is longer than 4 GiB is cut.
pub fn grpc_frame(message: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    out.push(0);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend(message.iter().take(length as usize));
}

/// The recorded answer, with a status in any case, or 200 without a body.
pub(super) fn recorded(recorded: Option<&Message>) -> Cow<'_, Message> {
    match recorded {
        Some(message) if message.headers.get(b":status").is_some() => Cow::Borrowed(message),
        Some(message) => {
            let mut message = message.clone();
            message.headers.set(b":status", b"200");
            Cow::Owned(message)
        }
        None => Cow::Owned(response(&ClusterResponse::default())),
    }
}

fn lines(lines: &[(String, BytesText)], headers: &mut Headers) {
    for (name, value) in lines {
        headers.push(name, value.bytes().unwrap_or_default());
    }
}

/// gRPC's percent-encoding of messages: space to `~` stay, but for `%`.
pub(crate) fn percent_encode(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len());
    for byte in message {
        match byte {
            b' '..=b'~' if *byte != b'%' => out.push(*byte),
            _ => out.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    out
}
