//! Foreign functions (`FF-*`): what a traffic filter uses is there, the rest of Envoy's are named when they are called.

use std::io::Write as _;

use flate2::write::ZlibEncoder;
use flate2::{Compression, Decompress, FlushDecompress};
use wasmtime::Linker;

use super::{Answer, Call, Failure, Status, absent, hostcalls, memory, not_there_yet};
use crate::host::{Abi, Stream};
use crate::vm::State;

/// Foreign functions that Envoy has and the harness does not.
const MISSING: [&str; 6] =
    ["declare_property", "expr_create", "expr_delete", "expr_evaluate", "sign", "verify_signature"];

/// From here on `uncompress` makes no more room: a guest could not take as much.
const MAX_CONTENT: usize = 1 << 30;

/// Filter state that Envoy makes from a string (`FF-03`), by name and what is made; other names have no factory. Sorted by name.
const FILTER_STATE: [(&[u8], Make); 11] = [
    (b"envoy.hashable_string", Make::Text),
    (b"envoy.network.application_protocols", Make::Hidden),
    (b"envoy.network.network_namespace", Make::Text),
    (b"envoy.network.upstream_server_name", Make::Text),
    (b"envoy.ratelimit.hits_addend", Make::Number(u32::MAX as u64)),
    (b"envoy.string", Make::Text),
    (b"envoy.tcp_proxy.cluster", Make::Text),
    (b"envoy.tcp_proxy.disable_tunneling", Make::Flag),
    (b"envoy.tcp_proxy.per_connection_idle_timeout_ms", Make::Number(u64::MAX)),
    (b"envoy.upstream.dynamic_host", Make::Text),
    (b"envoy.upstream.dynamic_port", Make::Number(u32::MAX as u64)),
];

/// What Envoy makes of the string, as it can be read and matched afterwards.
#[derive(Clone, Copy)]
enum Make {
    /// The string.
    Text,
    /// A number up to this; other strings are refused.
    Number(u64),
    /// `true`, or `false` for any other string.
    Flag,
    /// Something that has no text: neither attributes nor routes see it.
    Hidden,
}

pub(super) fn link(linker: &mut Linker<State>, abi: Abi) -> wasmtime::Result<()> {
    hostcalls! { linker:
        "proxy_call_foreign_function" = call_foreign_function(
            name: u32, name_size: u32, arguments: u32, arguments_size: u32, pointer: u32, size: u32
        );
    }
    absent! { linker:
        "envoy_resolve_dns" = (a: u32, b: u32, c: u32);
    }
    if abi == Abi::V0_1_0 {
        hostcalls! { linker:
            "proxy_clear_route_cache" = clear_route_cache();
        }
    }
    Ok(())
}

fn call_foreign_function(
    call: &mut Call<'_, '_>,
    name: u32,
    name_size: u32,
    arguments: u32,
    arguments_size: u32,
    pointer: u32,
    size: u32,
) -> Answer {
    let stream = call.stream();
    let (memory, host, _) = call.parts();
    let arguments = memory::slice(memory, arguments, arguments_size)?;
    let answer = match memory::slice(memory, name, name_size)? {
        b"clear_route_cache" => {
            if let Some((at, _)) = stream {
                host.streams[at].route_stale = true;
            }
            Ok(Vec::new())
        }
        b"set_envoy_filter_state" => {
            set_filter_state(stream.map(|(at, _)| &mut host.streams[at]), arguments).map(|()| Vec::new())
        }
        b"compress" => compress(arguments),
        b"uncompress" => uncompress(arguments),
        other => {
            let Some(name) = MISSING.iter().find(|name| name.as_bytes() == other) else {
                return Err(Status::NotFound.into());
            };
            return Err(Failure::Trap(not_there_yet(&format!("foreign function {name}"))));
        }
    };
    let given = answer.as_deref().unwrap_or_default();
    call.give(pointer, size, |_, _, _, out| {
        out.extend_from_slice(given);
        Ok(())
    })?;
    answer?;
    Ok(())
}

/// A stream of zlib (RFC 1950) at zlib's own level (`FF-02`). Its bytes are as valid as Envoy's, and not the same: two implementations choose
/// differently.
fn compress(bytes: &[u8]) -> Result<Vec<u8>, Status> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).map_err(|_| Status::SerializationFailure)
}

/// What a stream of zlib holds; bytes behind its end are passed over, as by zlib's own `uncompress`.
fn uncompress(bytes: &[u8]) -> Result<Vec<u8>, Status> {
    let mut zlib = Decompress::new(true);
    let mut content = Vec::with_capacity(bytes.len() * 2 + 2);
    loop {
        if content.len() == content.capacity() {
            if content.len() >= MAX_CONTENT {
                return Err(Status::SerializationFailure);
            }
            content.reserve(content.len());
        }
        let before = (zlib.total_in(), zlib.total_out());
        let rest = &bytes[before.0 as usize..];
        match zlib.decompress_vec(rest, &mut content, FlushDecompress::None) {
            Ok(flate2::Status::StreamEnd) => return Ok(content),
            Ok(_) if (zlib.total_in(), zlib.total_out()) != before => {}
            // Broken, or cut off: there is room, and nothing comes.
            Ok(_) | Err(_) => return Err(Status::SerializationFailure),
        }
    }
}

fn clear_route_cache(call: &mut Call<'_, '_>) -> Answer {
    if let Some((at, _)) = call.stream() {
        call.host().streams[at].route_stale = true;
    }
    Ok(())
}

/// `{1: path, 2: value, 3: span}` (`FF-03`).
fn set_filter_state(stream: Option<&mut Stream>, arguments: &[u8]) -> Result<(), Status> {
    let (path, value) = parse(arguments).ok_or(Status::BadArgument)?;
    let found = FILTER_STATE.binary_search_by_key(&path, |(name, _)| name).map_err(|_| Status::NotFound)?;
    let number;
    let value = match FILTER_STATE[found].1 {
        Make::Text => value,
        Make::Number(max) => {
            let text = std::str::from_utf8(value.trim_ascii()).map_err(|_| Status::BadArgument)?;
            let parsed = text.parse::<u64>().ok().filter(|parsed| *parsed <= max);
            number = parsed.ok_or(Status::BadArgument)?.to_string();
            number.as_bytes()
        }
        Make::Flag if value == b"true" => b"true",
        Make::Flag => b"false",
        Make::Hidden => return Ok(()),
    };
    if let Some(stream) = stream {
        stream.set_filter_state(path, value);
    }
    Ok(())
}

/// The first two fields of the message, as bytes; other fields are skipped as protobuf does.
fn parse(mut bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut path, mut value) = (&b""[..], &b""[..]);
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        match tag & 7 {
            0 => _ = varint(&mut bytes)?,
            1 => bytes = bytes.get(8..)?,
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let content = bytes.get(..length)?;
                bytes = bytes.get(length..)?;
                match tag >> 3 {
                    1 => path = content,
                    2 => value = content,
                    _ => {}
                }
            }
            5 => bytes = bytes.get(4..)?,
            _ => return None,
        }
    }
    Some((path, value))
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is there after setting, as seen in a real Envoy 1.40.
    #[track_caller]
    fn check(path: &str, value: &str, want: Result<Option<&str>, Status>) {
        let mut stream = Stream::default();
        let length = |text: &str| u8::try_from(text.len()).unwrap();
        let message =
            [&[10, length(path)], path.as_bytes(), &[18, length(value)], value.as_bytes(), &[24, 1]];
        let set = set_filter_state(Some(&mut stream), &message.concat());
        let got = set.map(|()| stream.filter_state(path.as_bytes()).map(String::from_utf8_lossy));
        assert_eq!(got.as_ref().map(Option::as_deref), want.as_ref().copied(), "{path}={value}");
    }

    #[test]
    fn ff_03_filter_state_is_what_its_factory_makes() {
        assert!(FILTER_STATE.is_sorted_by_key(|(name, _)| name));
        let texts = [
            "envoy.string",
            "envoy.hashable_string",
            "envoy.tcp_proxy.cluster",
            "envoy.upstream.dynamic_host",
            "envoy.network.upstream_server_name",
            "envoy.network.network_namespace",
        ];
        for name in texts {
            check(name, "a b", Ok(Some("a b")));
            check(name, "", Ok(Some("")));
        }
        for (value, want) in [("5", "5"), (" 7", "7"), ("+7", "7"), ("007", "7")] {
            check("envoy.ratelimit.hits_addend", value, Ok(Some(want)));
        }
        for value in ["x", "-5", "", "99999999999"] {
            check("envoy.ratelimit.hits_addend", value, Err(Status::BadArgument));
        }
        check("envoy.upstream.dynamic_port", "80", Ok(Some("80")));
        check("envoy.tcp_proxy.per_connection_idle_timeout_ms", "x", Err(Status::BadArgument));
        check("envoy.tcp_proxy.disable_tunneling", "true", Ok(Some("true")));
        check("envoy.tcp_proxy.disable_tunneling", "x", Ok(Some("false")));
        check("envoy.network.application_protocols", "h2,http/1.1", Ok(None));
        check("envoy.nope", "1", Err(Status::NotFound));
    }

    #[test]
    fn ff_02_zlib_there_and_back() {
        for content in [&b""[..], b"a", &b"weir ".repeat(20_000)] {
            let mut zlib = compress(content).unwrap();
            assert_eq!((zlib[0] & 15, u16::from_be_bytes([zlib[0], zlib[1]]) % 31), (8, 0));
            assert!(zlib.len() < content.len() / 100 + 20);
            assert!(uncompress(&zlib).as_deref() == Ok(content), "{} bytes", content.len());
            zlib.extend(b"behind the end");
            assert!(uncompress(&zlib).as_deref() == Ok(content), "{} bytes", content.len());
        }
        let mut cut = compress(b"weir").unwrap();
        cut.pop();
        for broken in [&b""[..], b"no zlib", &cut] {
            assert_eq!(uncompress(broken), Err(Status::SerializationFailure), "{broken:?}");
        }
    }
}
