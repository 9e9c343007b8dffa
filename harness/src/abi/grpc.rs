//! gRPC calls and streams to other clusters (section 6.2 of the semantics).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use wasmtime::{Extern, Linker};

use super::{Answer, Call, Failure, Status, hostcalls, memory};
use crate::clock::nanoseconds;
use crate::exchange::Message;
use crate::headers::{Headers, Kind};
use crate::host::grpc::{Grpc, Live, Shown};
use crate::host::{self, Action, ClusterState, Ending, Event, Host, Owner, StreamId, value};
use crate::outcome::{CalloutEnd, CalloutKind};
use crate::upstream::{self, grpc_frame};
use crate::vm::State;

mod answer;
mod service;

use answer::Told;
use service::{Service, Target};

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    hostcalls! { linker:
        "proxy_grpc_call" = grpc_call(
            service: u32, service_size: u32, name: u32, name_size: u32, method: u32, method_size: u32, metadata: u32,
            metadata_size: u32, message: u32, message_size: u32, timeout_ms: u32, token: u32
        );
        "proxy_grpc_stream" = grpc_stream(
            service: u32, service_size: u32, name: u32, name_size: u32, method: u32, method_size: u32, metadata: u32,
            metadata_size: u32, token: u32
        );
        "proxy_grpc_send" = grpc_send(token: u32, message: u32, message_size: u32, end: u32);
        "proxy_grpc_cancel" = grpc_cancel(token: u32);
        "proxy_grpc_close" = grpc_close(token: u32);
    }
    Ok(())
}

/// A call that is being made.
struct Opening {
    owner: Owner,
    root: usize,
    cluster: String,
    request: Message,
}

#[expect(clippy::too_many_arguments, reason = "the ABI's signature")]
fn grpc_call(
    call: &mut Call<'_, '_>,
    service: u32,
    service_size: u32,
    name: u32,
    name_size: u32,
    method: u32,
    method_size: u32,
    metadata: u32,
    metadata_size: u32,
    message: u32,
    message_size: u32,
    timeout_ms: u32,
    token: u32,
) -> Answer {
    let path = [(service, service_size), (name, name_size), (method, method_size), (metadata, metadata_size)];
    let mut opening = open(call, path, Some(timeout_ms))?;
    let (memory, host, guest) = call.parts();
    let bytes = memory::slice(memory, message, message_size)?;
    super::keep(guest, bytes.len())?;
    grpc_frame(bytes, &mut opening.request.body);
    let id = guest.grpc.call_token();
    let state = host.clusters.state(&opening.cluster);
    let Opening { owner, root, cluster, request } = opening;
    let kind = CalloutKind::GrpcCall;
    if !matches!(state, ClusterState::Healthy) {
        host.note_callout(Some(owner), kind, &cluster, request, CalloutEnd::Refused);
        let by = host.told_of(Some(owner));
        guest.actions.push_back(Action::Call(refused(root, id, by, state)));
        return Err(Status::InternalFailure.into());
    }
    let turn = host.upstreams.turn(&cluster, &request, None).into_owned();
    let (callout, by) = host.note_callout(Some(owner), kind, &cluster, request, CalloutEnd::Pending);
    let made_ns = host.clock.now_ns();
    guest.grpc.add(id, Live { root, callout, by, made_ns, waiting: None });
    let timeout = (timeout_ms > 0).then(|| Duration::from_millis(u64::from(timeout_ms)));
    if let Some(told) = answer::call(turn, timeout) {
        schedule(host, (root, id, by), callout, made_ns, told);
    }
    Ok(memory::write_word(memory, token, id)?)
}

#[expect(clippy::too_many_arguments, reason = "the ABI's signature")]
fn grpc_stream(
    call: &mut Call<'_, '_>,
    service: u32,
    service_size: u32,
    name: u32,
    name_size: u32,
    method: u32,
    method_size: u32,
    metadata: u32,
    metadata_size: u32,
    token: u32,
) -> Answer {
    let path = [(service, service_size), (name, name_size), (method, method_size), (metadata, metadata_size)];
    let Opening { owner, root, cluster, request } = open(call, path, None)?;
    let (memory, host, guest) = call.parts();
    let id = guest.grpc.stream_token();
    let state = host.clusters.state(&cluster);
    let kind = CalloutKind::GrpcStream;
    if !matches!(state, ClusterState::Healthy) {
        host.note_callout(Some(owner), kind, &cluster, request, CalloutEnd::Refused);
        let by = host.told_of(Some(owner));
        if matches!(state, ClusterState::Unhealthy) {
            tell_at_once(call, root, id)?;
        }
        call.guest().actions.push_back(Action::Call(refused(root, id, by, state)));
        return Err(Status::InternalFailure.into());
    }
    // What the cluster does is known by the head of the request; an answer comes when the guest has sent everything, a failure without.
    let turn = host.upstreams.turn(&cluster, &request, None).into_owned();
    let (callout, by) = host.note_callout(Some(owner), kind, &cluster, request, CalloutEnd::Pending);
    let made_ns = host.clock.now_ns();
    let answers = matches!(turn.answer, upstream::Answer::Message(_) | upstream::Answer::Cut { .. });
    let (waiting, failure) = if answers { (Some(turn), None) } else { (None, answer::stream(turn, None)) };
    guest.grpc.add(id, Live { root, callout, by, made_ns, waiting });
    if let Some(told) = failure {
        schedule(host, (root, id, by), callout, made_ns, told);
    }
    Ok(memory::write_word(memory, token, id)?)
}

/// Reads what calls and streams have in common: service, name, method, metadata.
fn open(
    call: &mut Call<'_, '_>,
    texts: [(u32, u32); 4],
    timeout_ms: Option<u32>,
) -> Result<Opening, Failure> {
    let owner = call.owner().ok_or(Status::BadArgument)?;
    let (memory, host, guest) = call.parts();
    let [service, name, method, metadata] = texts;
    let service = memory::slice(memory, service.0, service.1)?;
    let name = memory::slice(memory, name.0, name.1)?;
    let method = memory::slice(memory, method.0, method.1)?;
    let metadata = memory::slice(memory, metadata.0, metadata.1)?;
    super::keep(guest, service.len() + name.len() + method.len() + metadata.len())?;
    let root = host.root_of(owner).ok_or(Status::BadArgument)?;
    let target = match service::parse(service) {
        Service::Cluster(target) => target,
        Service::Name => {
            let cluster = String::from_utf8_lossy(service).into_owned();
            if matches!(host.clusters.state(&cluster), ClusterState::Unknown) {
                return Err(Status::ParseFailure.into());
            }
            Target { cluster, ..Target::default() }
        }
        Service::Unset => {
            let shown = service.escape_ascii();
            host.kills_envoy(&format!(
                "a gRPC call to the service `{shown}`, bytes that parse as a protobuf `GrpcService` that \
                 names nothing (`panic: unset oneof`); pass a serialised `GrpcService`"
            ));
            return Err(Status::InternalFailure.into());
        }
        Service::Google => {
            return Err(Failure::Trap(wasmtime::Error::msg(
                "a gRPC call by Google's library (`google_grpc`): the harness cannot tell what it would do",
            )));
        }
    };
    let request =
        Message { headers: head(&target, name, method, metadata, timeout_ms), ..Message::default() };
    Ok(Opening { owner, root, cluster: target.cluster, request })
}

/// The headers that the cluster receives (`CALL-27`), in the order in which a real Envoy 1.40 was seen to send them.
fn head(target: &Target, name: &[u8], method: &[u8], metadata: &[u8], timeout_ms: Option<u32>) -> Headers {
    let mut headers = Headers::new();
    headers.push(":method", "POST");
    headers.push(":path", [b"/", name, b"/", method].concat());
    let authority = if target.authority.is_empty() { &target.cluster } else { &target.authority };
    headers.push(":authority", authority);
    headers.push(":scheme", "http");
    headers.push("te", "trailers");
    if let Some(timeout) = timeout_ms {
        headers.push("grpc-timeout", grpc_timeout(timeout));
    }
    headers.push("content-type", "application/grpc");
    for (name, value) in &target.metadata {
        headers.add(name.as_bytes(), value.as_bytes(), Kind::Request);
    }
    let given = value::read_pairs(metadata);
    let is_binary = |name: &[u8]| name.to_ascii_lowercase().ends_with(b"-bin");
    for (name, value) in given.iter().filter(|(name, _)| !is_binary(name)) {
        headers.add(name, value, Kind::Request);
    }
    // Encoded, and behind the others (Envoy 1.40).
    for (name, value) in given.iter().filter(|(name, _)| is_binary(name)) {
        headers.add(name, BASE64.encode(value).as_bytes(), Kind::Request);
    }
    // In its place where the caller gives it (Envoy 1.40).
    headers.set(b"x-envoy-internal", b"true");
    if let Some(timeout) = timeout_ms.filter(|timeout| *timeout > 0) {
        headers.replace(b"x-envoy-expected-rq-timeout-ms", timeout.to_string().as_bytes());
    }
    headers
}

/// A `grpc-timeout`: eight digits at most, so that long ones are in seconds.
fn grpc_timeout(ms: u32) -> String {
    if ms > 99_999_999 { format!("{}S", ms / 1000) } else { format!("{ms}m") }
}

/// Foresees what the guest is told, from now on.
fn schedule(
    host: &mut Host,
    (root, token, by): (usize, u32, Option<StreamId>),
    callout: u64,
    made_ns: u64,
    told: Told,
) {
    let now = host.clock.now_ns();
    let due = now.saturating_add(nanoseconds(told.latency));
    let latency = Duration::from_nanos(due - made_ns);
    let last = told.events.len().saturating_sub(1);
    for (place, event) in told.events.into_iter().enumerate() {
        let ending = Ending { callout, end: told.end, latency, status: None, grpc_status: Some(told.code) };
        let ending = Some(ending).filter(|_| place == last);
        host.calls.push(due, host::Call { root, token, by, event, ending });
    }
}

/// What is told of a call that could not be made, after the callback that made it, though its token was never given (`CALL-21`).
fn refused(root: usize, token: u32, by: Option<StreamId>, state: ClusterState) -> host::Call {
    let event = match state {
        ClusterState::Unhealthy => answer::failed(answer::UNHEALTHY).pop(),
        _ => None,
    };
    let unknown = Event::Close { code: answer::UNAVAILABLE, message: b"Cluster not available".to_vec() };
    host::Call { root, token, by, event: event.unwrap_or(unknown), ending: None }
}

/// Tells of a stream that fails as it is opened, within the hostcall that opens it (`CALL-26`). What is to be told after the callback
/// is dealt with at the end of each of these callbacks, too, and puts itself off for ever (`DIE-06`).
fn tell_at_once(call: &mut Call<'_, '_>, root: usize, token: u32) -> Answer {
    let before = call.guest().grpc.opening.replace(token);
    for event in answer::failed(answer::UNHEALTHY) {
        let (name, headers) = match event {
            Event::InitialMetadata(headers) => ("proxy_on_grpc_receive_initial_metadata", headers),
            Event::TrailingMetadata(headers) => ("proxy_on_grpc_receive_trailing_metadata", headers),
            _ => continue,
        };
        let Some(Extern::Func(function)) = call.caller.get_export(name) else { continue };
        let Ok(function) = function.typed::<(u32, u32, u32), ()>(&call.caller) else { continue };
        let count = u32::try_from(headers.len()).unwrap_or(u32::MAX);
        let id = call.host().roots.get(root).map_or(0, |root| root.id);
        let guest = call.guest();
        let outer = (guest.context, guest.effective);
        (guest.context, guest.effective) = (id, id);
        guest.grpc.shown = if name.ends_with("initial_metadata") {
            Shown::InitialMetadata(headers)
        } else {
            Shown::TrailingMetadata(headers)
        };
        let told = function.call(&mut *call.caller, (id, token, count));
        let guest = call.guest();
        guest.grpc.shown = Shown::Nothing;
        (guest.context, guest.effective) = outer;
        told.map_err(Failure::Trap)?;
        let put_off = call.guest().actions.iter().any(|action| matches!(action, Action::Call(_)));
        if put_off {
            call.host().kills_envoy(
                "a gRPC stream to a cluster without healthy hosts, opened in a callback that made another gRPC call that failed at once \
                 (the worker spins for ever)",
            );
            break;
        }
    }
    call.guest().grpc.opening = before;
    Ok(())
}

fn grpc_send(call: &mut Call<'_, '_>, token: u32, message: u32, message_size: u32, end: u32) -> Answer {
    let (memory, host, guest) = call.parts();
    if !Grpc::is_stream(token) {
        return Err(Status::BadArgument.into());
    }
    let bytes = memory::slice(memory, message, message_size)?;
    super::keep(guest, bytes.len())?;
    if guest.grpc.opening == Some(token) {
        return Ok(());
    }
    let live = guest.grpc.get(token).ok_or(Status::NotFound)?;
    // What comes after the end goes nowhere.
    if live.waiting.is_some()
        && let Some(callout) = host.callout_mut(live.by, live.callout)
    {
        grpc_frame(bytes, &mut callout.request.body);
    }
    if end != 0 {
        half_close(host, token, live);
    }
    Ok(())
}

/// The guest has sent everything: the answer takes its time from here.
fn half_close(host: &mut Host, token: u32, live: &mut Live) {
    if let Some(told) = live.waiting.take().and_then(|turn| answer::stream(turn, None)) {
        schedule(host, (live.root, token, live.by), live.callout, live.made_ns, told);
    }
}

/// Ends the guest's side of a stream; a call is cancelled (`CALL-25`).
fn grpc_close(call: &mut Call<'_, '_>, token: u32) -> Answer {
    if Grpc::is_call(token) {
        return grpc_cancel(call, token);
    }
    if !Grpc::is_stream(token) {
        return Err(Status::BadArgument.into());
    }
    let (_, host, guest) = call.parts();
    if guest.grpc.opening == Some(token) {
        return Ok(());
    }
    let closing = guest.grpc.closing == Some(token);
    let live = guest.grpc.get(token).ok_or(Status::NotFound)?;
    half_close(host, token, live);
    if closing {
        guest.grpc.remove(token);
    }
    Ok(())
}

/// Nothing more is told of a call that is cancelled (`CALL-25`).
fn grpc_cancel(call: &mut Call<'_, '_>, token: u32) -> Answer {
    if !Grpc::is_call(token) && !Grpc::is_stream(token) {
        return Err(Status::BadArgument.into());
    }
    let (_, host, guest) = call.parts();
    if guest.grpc.opening == Some(token) {
        host.kills_envoy("cancelling a gRPC stream within the hostcall that opens it");
        return Ok(());
    }
    let live = guest.grpc.remove(token).ok_or(Status::NotFound)?;
    host.calls.retain(|call| call.root != live.root || call.token != token || !call.event.is_grpc());
    let latency = Duration::from_nanos(host.clock.now_ns() - live.made_ns);
    if let Some(callout) = host.callout_mut(live.by, live.callout)
        && callout.end == CalloutEnd::Pending
    {
        (callout.end, callout.latency) = (CalloutEnd::Cancelled, Some(latency));
    }
    Ok(())
}
