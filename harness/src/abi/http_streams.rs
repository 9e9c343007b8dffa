//! HTTP streams: continuing, closing, local replies. All of it is queued for the driver (`FLOW-10`).

use wasmtime::Linker;

use super::{Answer, Call, Status, hostcalls, memory};
use crate::headers::{Headers, Kind};
use crate::host::{Abi, Access, Action, Phase, Reply, value};
use crate::vm::State;

pub(super) fn link(linker: &mut Linker<State>, abi: Abi) -> wasmtime::Result<()> {
    hostcalls! { linker:
        "proxy_send_local_response" = send_local_response(
            status: u32, details: u32, details_size: u32, body: u32, body_size: u32, headers: u32, headers_size: u32,
            grpc_status: i32
        );
    }
    if abi == Abi::V0_1_0 {
        hostcalls! { linker:
            "proxy_continue_request" = continue_request();
            "proxy_continue_response" = continue_response();
        }
    } else {
        hostcalls! { linker:
            "proxy_continue_stream" = continue_stream(stream: u32);
            "proxy_close_stream" = close_stream(stream: u32);
        }
    }
    Ok(())
}

fn continue_request(call: &mut Call<'_, '_>) -> Answer {
    continue_stream(call, 0)
}

fn continue_response(call: &mut Call<'_, '_>) -> Answer {
    continue_stream(call, 1)
}

fn continue_stream(call: &mut Call<'_, '_>, stream: u32) -> Answer {
    match stream {
        0 | 1 => {}
        2 => return Ok(()),
        3 => return Err(Status::Unimplemented.into()),
        _ => return Err(Status::BadArgument.into()),
    }
    // Without a stream, and when it is over, nothing happens (FLOW-16, section 13).
    let Some((at, filter)) = call.stream() else { return Ok(()) };
    let (_, host, guest) = call.parts();
    if host.streams[at].phase != Phase::Open {
        return Ok(());
    }
    if stream == 1 && !host.streams[at].response.present {
        host.kills_envoy(
            "`proxy_continue_stream` for the response before there are response headers (DIE-01)",
        );
        return Ok(());
    }
    if let Some(filter) = host.streams[at].filters.get_mut(filter) {
        // The request's maps and body go out of reach at once (FLOW-13).
        filter.request = Access::default();
    }
    guest.actions.push_back(Action::Continue { at, filter, response: stream == 1 });
    Ok(())
}

fn close_stream(call: &mut Call<'_, '_>, stream: u32) -> Answer {
    match stream {
        0 | 1 => {}
        2 | 3 => return Ok(()),
        _ => return Err(Status::BadArgument.into()),
    }
    let Some((at, _)) = call.stream() else { return Ok(()) };
    let (_, host, guest) = call.parts();
    match host.streams[at].phase {
        Phase::Open => guest.actions.push_back(Action::Close(at)),
        Phase::Log | Phase::Done => host.kills_envoy("`proxy_close_stream` when the stream is over (DIE-04)"),
        Phase::None => {}
    }
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the ABI's signature")]
fn send_local_response(
    call: &mut Call<'_, '_>,
    status: u32,
    details: u32,
    details_size: u32,
    body: u32,
    body_size: u32,
    headers: u32,
    headers_size: u32,
    grpc_status: i32,
) -> Answer {
    let stream = call.stream();
    let (memory, host, guest) = call.parts();
    let details = String::from_utf8_lossy(memory::slice(memory, details, details_size)?);
    let details = details.replace(|letter: char| letter.is_ascii_whitespace(), "_");
    let body = memory::slice(memory, body, body_size)?.to_vec();
    super::keep(guest, body.len() + headers_size as usize)?;
    let mut lines = Headers::new();
    for (name, value) in value::read_pairs(memory::slice(memory, headers, headers_size)?) {
        lines.add(name, value, Kind::Response);
    }
    let Some((at, _)) = stream else { return Ok(()) };
    match host.streams[at].phase {
        Phase::Open => {
            guest.stop = true;
            let reply = Reply { status, headers: lines, body, grpc_status, details };
            guest.actions.push_back(Action::Reply(at, reply));
        }
        Phase::Log | Phase::Done => {
            host.kills_envoy("`proxy_send_local_response` when the stream is over (DIE-02, DIE-03)");
        }
        Phase::None => {}
    }
    Ok(())
}
