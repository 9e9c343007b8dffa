//! Foreign functions (`FF-*`): what a traffic filter uses is there, the rest of Envoy's are named when they are called.

use wasmtime::Linker;

use super::{Answer, Call, Failure, Status, absent, hostcalls, memory, not_there_yet};
use crate::host::Abi;
use crate::vm::State;

/// Foreign functions that Envoy has and the harness does not.
const MISSING: [&str; 8] = [
    "compress",
    "declare_property",
    "expr_create",
    "expr_delete",
    "expr_evaluate",
    "sign",
    "uncompress",
    "verify_signature",
];

/// Filter state that Envoy makes from a string (`FF-03`); other names have no factory.
const FILTER_STATE: [&str; 3] = ["envoy.string", "envoy.tcp_proxy.cluster", "envoy.upstream.dynamic_host"];

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
    let (memory, host, guest) = call.parts();
    let arguments = memory::slice(memory, arguments, arguments_size)?;
    let answer = match memory::slice(memory, name, name_size)? {
        b"clear_route_cache" => {
            host.stream.route_stale = true;
            Ok(())
        }
        b"set_envoy_filter_state" => {
            let stream = matches!(guest.owner(), Some(crate::host::Owner::Stream(_)));
            set_filter_state(host, stream, arguments)
        }
        other => {
            let Some(name) = MISSING.iter().find(|name| name.as_bytes() == other) else {
                return Err(Status::NotFound.into());
            };
            return Err(Failure::Trap(not_there_yet(&format!("foreign function {name}"))));
        }
    };
    call.give(pointer, size, |_, _, _, _| Ok(()))?;
    Ok(answer?)
}

fn clear_route_cache(call: &mut Call<'_, '_>) -> Answer {
    call.host().stream.route_stale = true;
    Ok(())
}

/// `{1: path, 2: value, 3: span}` (`FF-03`).
fn set_filter_state(host: &mut crate::host::Host, stream: bool, arguments: &[u8]) -> Result<(), Status> {
    let (path, value) = parse(arguments).ok_or(Status::BadArgument)?;
    if !FILTER_STATE.iter().any(|known| known.as_bytes() == path) {
        return Err(Status::NotFound);
    }
    if stream {
        host.stream.set_filter_state(path, value);
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
