//! HTTP calls to other clusters (section 6.1 of the semantics).

use wasmtime::Linker;

use super::{Answer, Call, Status, hostcalls, memory};
use crate::exchange::Message;
use crate::headers::{Headers, Kind};
use crate::host::{self, ClusterState, value};
use crate::outcome::CalloutOutcome;
use crate::upstream;
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
    let trailers = block(memory::slice(memory, trailers, trailers_size)?, Kind::Trailers);
    super::keep(guest, body.len() + headers_size as usize)?;
    memory::write_word(memory, token, 0)?;
    let root = host.root_of(owner).ok_or(Status::BadArgument)?;
    let complete = [&b":method"[..], b":path", b":authority"].iter().all(|name| given.get(name).is_some());
    let state = host.clusters.state(&cluster);
    if !complete || timeout_ms < 0 || matches!(state, ClusterState::Unknown) {
        return Err(Status::BadArgument.into());
    }
    let request = sent(given, body, trailers, timeout_ms);
    let valid = request.headers.iter().all(|(_, value)| !value.iter().any(|byte| b"\r\n\0".contains(byte)));
    let response = match state {
        ClusterState::Healthy if valid => answer(host.upstreams.turn(&cluster, &request, None).answer),
        _ => {
            host.callouts.push(CalloutOutcome { cluster, request, status: None });
            return Err(Status::InternalFailure.into());
        }
    };
    let status = host::status(&response.headers);
    host.callouts.push(CalloutOutcome { cluster, request, status });
    let id = guest.call_token();
    host.calls.push_back(host::Call { root, token: id, response });
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

/// What the called cluster receives (`CALL-04`).
fn sent(mut headers: Headers, body: Vec<u8>, trailers: Headers, timeout_ms: i32) -> Message {
    if !body.is_empty() {
        headers.set(b"content-length", body.len().to_string().as_bytes());
    }
    headers.replace(b"x-envoy-internal", b"true");
    if timeout_ms > 0 {
        headers.replace(b"x-envoy-expected-rq-timeout-ms", timeout_ms.to_string().as_bytes());
    }
    Message { headers, body, trailers, ..Message::default() }
}

/// The answer of a cluster (`CALL-06`).
fn answer(answer: upstream::Answer<'_>) -> Message {
    let (upstream::Answer::Message(message) | upstream::Answer::Cut { message, .. }) = answer else {
        return Message { headers: [(":status", "503")].into_iter().collect(), ..Message::default() };
    };
    let mut message = message.into_owned();
    message.headers.push("x-envoy-upstream-service-time", "0");
    message
}
