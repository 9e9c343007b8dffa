//! The ABI's functions on the in-memory host: the same names and types as in `host/abi.rs`, which calls the real one.

use std::collections::VecDeque;
use std::time::Duration;

use super::lines::Lines;
use super::state::{Begun, Call, Deferred, State, begin};
use crate::host::wire::{BufferType, MapType, MetricType, Side};
use crate::{Callout, GrpcCall, HostError, LocalReply, Status, protobuf};

type Result<T> = std::result::Result<T, HostError>;

/// Runs a call; `instead` makes its answer of the bytes that a test has put there.
fn call<T>(
    name: &'static str,
    instead: impl FnOnce(Vec<u8>) -> T,
    work: impl FnOnce(&mut State) -> std::result::Result<T, Status>,
) -> Result<T> {
    match begin(name)? {
        Begun::Instead(bytes) => Ok(instead(bytes)),
        Begun::Host(state) => {
            work(&mut state.borrow_mut()).map_err(|status| HostError { call: name, status })
        }
    }
}

fn nothing(_: Vec<u8>) {}

fn number(bytes: Vec<u8>) -> u64 {
    bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn small(bytes: Vec<u8>) -> u32 {
    number(bytes) as u32
}

#[expect(clippy::panic, reason = "the end of a test, in place of the end of an Envoy")]
fn die(id: &str, what: &str) -> ! {
    panic!("{what}: this ends an Envoy ({id})")
}

pub(crate) fn log(level: u32, text: &[u8]) -> Result<()> {
    call("proxy_log", nothing, |state| {
        let levels =
            [log::Level::Trace, log::Level::Debug, log::Level::Info, log::Level::Warn, log::Level::Error];
        let named = levels.get(level as usize).ok_or(Status::BadArgument)?;
        if level >= state.log_level {
            let text = String::from_utf8_lossy(text).into_owned();
            state.log.push(super::LogLine { level: *named, text });
        }
        Ok(())
    })
}

pub(crate) fn log_level() -> Result<u32> {
    call("proxy_get_log_level", small, |state| Ok(state.log_level))
}

pub(crate) fn set_effective_context(context: u32) -> Result<()> {
    call("proxy_set_effective_context", nothing, |state| {
        if context != 0 && !state.streams.contains_key(&context) && !state.roots.contains_key(&context) {
            return Err(Status::BadArgument);
        }
        state.effective = context;
        Ok(())
    })
}

pub(crate) fn header_pairs(map: MapType) -> Result<Vec<u8>> {
    call(
        "proxy_get_header_map_pairs",
        |bytes| bytes,
        |state| Ok(state.map(map, false).map(|lines| lines.bytes()).unwrap_or_default()),
    )
}

pub(crate) fn header_value(map: MapType, name: &[u8]) -> Result<Option<Vec<u8>>> {
    call("proxy_get_header_map_value", Some, |state| {
        let lines = state.map(map, false).ok_or(Status::BadArgument)?;
        Ok(lines.get(name).map(<[u8]>::to_vec))
    })
}

pub(crate) fn add_header(map: MapType, name: &[u8], value: &[u8]) -> Result<()> {
    call("proxy_add_header_map_value", nothing, |state| {
        state.map(map, true).ok_or(Status::BadArgument)?.add(name, value);
        Ok(())
    })
}

pub(crate) fn replace_header(map: MapType, name: &[u8], value: &[u8]) -> Result<()> {
    call("proxy_replace_header_map_value", nothing, |state| {
        state.map(map, true).ok_or(Status::BadArgument)?.replace(name, value);
        Ok(())
    })
}

pub(crate) fn remove_header(map: MapType, name: &[u8]) -> Result<()> {
    call("proxy_remove_header_map_value", nothing, |state| {
        state.map(map, true).ok_or(Status::BadArgument)?.remove(name);
        Ok(())
    })
}

pub(crate) fn buffer(buffer: BufferType, start: usize, length: usize) -> Result<Option<Vec<u8>>> {
    call("proxy_get_buffer_bytes", Some, |state| {
        let body = |state: &mut State, side| {
            state.stream().and_then(|stream| stream.half(side).visible.clone()).unwrap_or_default()
        };
        let bytes = match buffer {
            BufferType::RequestBody => body(state, Side::Request),
            BufferType::ResponseBody => body(state, Side::Response),
            BufferType::VmConfiguration => state.vm_configuration.clone(),
            BufferType::CalloutBody => match &state.answer {
                Some((_, body)) => body.clone(),
                None => return Ok(None),
            },
            BufferType::GrpcMessage => match &state.grpc_message {
                Some(message) => message.clone(),
                None => return Ok(None),
            },
            BufferType::PluginConfiguration => {
                match state.root().and_then(|(_, root)| root.configuration.clone()) {
                    Some(configuration) => configuration,
                    None => return Ok(None),
                }
            }
        };
        Ok(Some(bytes.into_iter().skip(start).take(length).collect()))
    })
}

/// As 1.40.0 does it (`BODY-07`).
pub(crate) fn set_buffer(buffer: BufferType, start: usize, length: usize, bytes: &[u8]) -> Result<()> {
    call("proxy_set_buffer_bytes", nothing, |state| {
        let side = match buffer {
            BufferType::RequestBody => Side::Request,
            BufferType::ResponseBody => Side::Response,
            _ => return Err(Status::BadArgument),
        };
        let body = state
            .stream()
            .and_then(|stream| stream.half(side).visible.as_mut())
            .ok_or(Status::BadArgument)?;
        if start == 0 {
            body.splice(..length.min(body.len()), bytes.iter().copied());
        } else if start >= body.len() {
            body.extend_from_slice(bytes);
        } else {
            return Err(Status::BadArgument);
        }
        Ok(())
    })
}

pub(crate) fn property(path: &[u8]) -> Result<Option<Vec<u8>>> {
    call("proxy_get_property", Some, |state| {
        let text = |text: &str| Ok(Some(text.as_bytes().to_vec()));
        match path {
            b"" => return Err(Status::SerializationFailure),
            b"plugin_name" => return state.root().map_or(Ok(None), |(_, root)| text(&root.name)),
            b"plugin_root_id" => return state.root().map_or(Ok(None), |(_, root)| text(&root.root_id)),
            b"plugin_vm_id" => return text(""),
            _ => {}
        }
        let given = state.stream().and_then(|stream| stream.attributes.get(path).cloned());
        if given.is_some() {
            return Ok(given);
        }
        // Those that Envoy derives from the live request (`HDR-01`).
        let header: &[u8] = match path {
            b"request\0path" => b":path",
            b"request\0method" => b":method",
            b"request\0host" => b":authority",
            b"request\0scheme" => b":scheme",
            _ => match path.strip_prefix(b"request\0headers\0") {
                Some(name) => name,
                None => return Ok(None),
            },
        };
        let value =
            state.map(MapType::RequestHeaders, false).and_then(|lines| lines.get(header).map(<[u8]>::to_vec));
        Ok(value)
    })
}

pub(crate) fn set_property(path: &[u8], value: &[u8]) -> Result<()> {
    call("proxy_set_property", nothing, |state| {
        let stream = state.stream().ok_or(Status::NotFound)?;
        stream.attributes.insert(path.to_vec(), value.to_vec());
        stream.attributes.insert([b"filter_state\0wasm.", path].concat(), value.to_vec());
        Ok(())
    })
}

pub(crate) fn local_reply(
    status: u32,
    details: &[u8],
    body: &[u8],
    headers: &[u8],
    grpc_status: i32,
) -> Result<()> {
    call("proxy_send_local_response", nothing, |state| {
        let context = state.context();
        let Some(stream) = state.stream() else { return Ok(()) };
        if stream.ending {
            die("DIE-02", "a local reply at the end of a stream");
        }
        let lines = Lines::parse(false, headers);
        let reply = LocalReply {
            status: u16::try_from(status).map_err(|_| Status::BadArgument)?,
            headers: lines
                .iter()
                .map(|(name, value)| (String::from_utf8_lossy(name).into(), value.into()))
                .collect(),
            body: body.into(),
            details: String::from_utf8_lossy(details).split_whitespace().collect::<Vec<_>>().join("_").into(),
            grpc_status: u8::try_from(grpc_status).ok(),
        };
        state.deferred.push_back((context, Deferred::Reply(reply)));
        Ok(())
    })
}

pub(crate) fn continue_stream(side: Side) -> Result<()> {
    call("proxy_continue_stream", nothing, |state| {
        let context = state.context();
        let Some(stream) = state.stream() else { return Ok(()) };
        if side == Side::Response && stream.half(side).headers.is_none() {
            die("DIE-01", "a response goes on that has not begun");
        }
        state.deferred.push_back((context, Deferred::Continue(side)));
        Ok(())
    })
}

pub(crate) fn close_stream(_: Side) -> Result<()> {
    call("proxy_close_stream", nothing, |state| {
        let context = state.context();
        let Some(stream) = state.stream() else { return Ok(()) };
        if stream.ending {
            die("DIE-04", "a stream is closed at its end");
        }
        state.deferred.push_back((context, Deferred::Close));
        Ok(())
    })
}

pub(crate) fn http_call(
    cluster: &[u8],
    headers: &[u8],
    body: &[u8],
    trailers: &[u8],
    timeout_ms: u32,
) -> Result<u32> {
    call("proxy_http_call", small, |state| {
        let lines = Lines::parse(true, headers);
        let copied = |lines: &Lines| {
            lines.iter().map(|(name, value)| (String::from_utf8_lossy(name).into(), value.into())).collect()
        };
        let complete =
            [b":method".as_slice(), b":path", b":authority"].iter().all(|name| lines.get(name).is_some());
        let root = state.root().map(|(root, _)| root);
        let Some(root) = root.filter(|_| complete && !cluster.is_empty() && timeout_ms <= i32::MAX as u32)
        else {
            return Err(Status::BadArgument);
        };
        state.last_token = state.last_token.wrapping_add(4);
        let deadline = state.monotonic_ns.saturating_add(u64::from(timeout_ms).saturating_mul(1_000_000));
        state.calls.push_back(Call {
            token: state.last_token,
            root,
            callout: Callout {
                cluster: String::from_utf8_lossy(cluster).into(),
                headers: copied(&lines),
                body: body.into(),
                trailers: copied(&Lines::parse(false, trailers)),
                timeout: Duration::from_millis(timeout_ms.into()),
            },
            deadline_ns: (timeout_ms > 0).then_some(deadline),
        });
        Ok(state.last_token)
    })
}

pub(crate) fn grpc_call(
    service: &[u8],
    name: &[u8],
    method: &[u8],
    metadata: &[u8],
    message: &[u8],
    timeout_ms: u32,
) -> Result<u32> {
    call("proxy_grpc_call", small, |state| {
        let inner = |message| protobuf::Fields::new(message).next().and_then(|(_, value)| value.bytes());
        let Some(cluster) = inner(service).and_then(inner) else {
            die("CALL-20", "a gRPC service that is not spelt out");
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into();
        let (root, _) = state.root().ok_or(Status::BadArgument)?;
        state.last_token = state.last_token.wrapping_add(4);
        let deadline = state.monotonic_ns.saturating_add(u64::from(timeout_ms).saturating_mul(1_000_000));
        let call = GrpcCall {
            cluster: text(cluster),
            service: text(name),
            method: text(method),
            metadata: Lines::parse(false, metadata)
                .iter()
                .map(|(name, value)| (text(name), value.into()))
                .collect(),
            message: message.into(),
            timeout: Duration::from_millis(timeout_ms.into()),
        };
        // Those of gRPC calls are one more than a multiple of four (`CALL-03`).
        let token = state.last_token.wrapping_add(1);
        state.grpc_calls.push_back(Call { token, root, callout: call, deadline_ns: Some(deadline) });
        Ok(token)
    })
}

pub(crate) fn set_tick_period(period_ms: u32) -> Result<()> {
    call("proxy_set_tick_period_milliseconds", nothing, |state| {
        let now = state.monotonic_ns;
        let (_, root) = state.root().ok_or(Status::BadArgument)?;
        let period = u64::from(period_ms).saturating_mul(1_000_000);
        root.tick = (period > 0).then_some((period, now.saturating_add(period)));
        Ok(())
    })
}

pub(crate) fn now_ns() -> Result<u64> {
    call("proxy_get_current_time_nanoseconds", number, |state| Ok(state.now_ns))
}

pub(crate) fn monotonic_ns() -> Result<u64> {
    call("clock_time_get", number, |state| Ok(state.monotonic_ns))
}

pub(crate) fn environment() -> Result<Vec<u8>> {
    let mut all = Vec::new();
    for (name, value) in std::env::vars_os() {
        all.extend_from_slice(&[name.as_encoded_bytes(), b"=", value.as_encoded_bytes(), b"\0"].concat());
    }
    Ok(all)
}

pub(crate) fn random() -> Result<u64> {
    call("random_get", number, |state| {
        state.random = state.random.wrapping_add(1);
        Ok(state.random)
    })
}

pub(crate) fn define_metric(kind: MetricType, name: &[u8]) -> Result<u32> {
    call("proxy_define_metric", small, |state| {
        let id = (state.metric_ids.len() as u32 + 1) << 2 | kind as u32;
        state.metric_ids.insert(id, (kind, name.to_vec()));
        Ok(id)
    })
}

pub(crate) fn increment_metric(id: u32, by: i64) -> Result<()> {
    call("proxy_increment_metric", nothing, |state| {
        let (kind, name) = state.metric_ids.get(&id).cloned().ok_or(Status::NotFound)?;
        let value = match kind {
            MetricType::Counter if by > 0 => state.counters.entry(name).or_default(),
            MetricType::Gauge => state.gauges.entry(name).or_default(),
            _ => return Err(Status::BadArgument),
        };
        *value = value.wrapping_add_signed(by);
        Ok(())
    })
}

pub(crate) fn record_metric(id: u32, value: u64) -> Result<()> {
    call("proxy_record_metric", nothing, |state| {
        let (kind, name) = state.metric_ids.get(&id).cloned().ok_or(Status::NotFound)?;
        match kind {
            MetricType::Counter => *state.counters.entry(name).or_default() += value,
            MetricType::Gauge => *state.gauges.entry(name).or_default() = value,
            MetricType::Histogram => state.histograms.entry(name).or_default().push(value),
        }
        Ok(())
    })
}

pub(crate) fn metric(id: u32) -> Result<u64> {
    call("proxy_get_metric", number, |state| match state.metric_ids.get(&id) {
        None => Err(Status::NotFound),
        Some((MetricType::Counter, name)) => Ok(state.counters.get(name).copied().unwrap_or_default()),
        Some((MetricType::Gauge, name)) => Ok(state.gauges.get(name).copied().unwrap_or_default()),
        Some((MetricType::Histogram, _)) => Err(Status::BadArgument),
    })
}

pub(crate) fn shared_data(key: &[u8]) -> Result<Option<(Vec<u8>, u32)>> {
    call("proxy_get_shared_data", |bytes| Some((bytes, 1)), |state| Ok(state.shared.get(key).cloned()))
}

/// Any number will do where nothing is yet (`SHR-02`).
pub(crate) fn set_shared_data(key: &[u8], value: &[u8], cas: u32) -> Result<()> {
    call("proxy_set_shared_data", nothing, |state| {
        if cas != 0 && state.shared.get(key).is_some_and(|(_, current)| *current != cas) {
            return Err(Status::CasMismatch);
        }
        state.last_cas = state.last_cas.wrapping_add(1);
        state.shared.insert(key.to_vec(), (value.to_vec(), state.last_cas));
        Ok(())
    })
}

pub(crate) fn register_shared_queue(name: &[u8]) -> Result<u32> {
    call("proxy_register_shared_queue", small, |state| {
        let (root, _) = state.root().ok_or(Status::BadArgument)?;
        if let Some(at) = state.queues.iter().position(|(other, ..)| other == name) {
            if let Some((_, told, _)) = state.queues.get_mut(at) {
                // Who registers last is told (`SHR-10`).
                *told = root;
            }
            return Ok(at as u32 + 1);
        }
        state.queues.push((name.to_vec(), root, VecDeque::new()));
        Ok(state.queues.len() as u32)
    })
}

pub(crate) fn enqueue_shared_queue(token: u32, item: &[u8]) -> Result<()> {
    call("proxy_enqueue_shared_queue", nothing, |state| {
        let queue = (token as usize).checked_sub(1).and_then(|at| state.queues.get_mut(at));
        let (_, root, items) = queue.ok_or(Status::NotFound)?;
        items.push_back(item.to_vec());
        let root = *root;
        state.ready.push_back((root, token));
        Ok(())
    })
}

pub(crate) fn dequeue_shared_queue(token: u32) -> Result<Vec<u8>> {
    call(
        "proxy_dequeue_shared_queue",
        |bytes| bytes,
        |state| {
            let queue = (token as usize).checked_sub(1).and_then(|at| state.queues.get_mut(at));
            queue.ok_or(Status::NotFound)?.2.pop_front().ok_or(Status::Empty)
        },
    )
}

pub(crate) fn call_foreign_function(name: &[u8], arguments: &[u8]) -> Result<Vec<u8>> {
    call(
        "proxy_call_foreign_function",
        |bytes| bytes,
        |state| match name {
            b"clear_route_cache" => Ok(Vec::new()),
            b"compress" => Ok(zlib(arguments)),
            b"set_envoy_filter_state" => {
                let (path, value) = filter_state(arguments).ok_or(Status::BadArgument)?;
                let stream = state.stream().ok_or(Status::NotFound)?;
                stream.attributes.insert([b"filter_state\0", path].concat(), value.to_vec());
                Ok(Vec::new())
            }
            _ => Err(Status::NotFound),
        },
    )
}

/// A stream of zlib (RFC 1950) whose blocks are stored as they are.
fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    for block in bytes.chunks(0xffff) {
        let length = block.len() as u16;
        out.push(0);
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(block);
    }
    // An empty last block.
    out.extend([1, 0, 0, 0xff, 0xff]);
    let sums = |(a, b): (u32, u32), byte: &u8| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    };
    let (a, b) = bytes.iter().fold((1, 0), sums);
    out.extend((b << 16 | a).to_be_bytes());
    out
}

/// Path and value of the protobuf message (`FF-03`).
fn filter_state(message: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut fields = protobuf::Fields::new(message);
    match (fields.next()?, fields.next()?) {
        ((1, path), (2, value)) => Some((path.bytes()?, value.bytes()?)),
        _ => None,
    }
}
