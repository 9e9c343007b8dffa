//! HTTP fields: header and trailer maps (section 3 of the semantics).

use wasmtime::Linker;

use super::{Answer, Call, Status, hostcalls, memory};
use crate::headers::{Headers, Kind};
use crate::host::{Abi, Guest, Host, Owner, value};
use crate::vm::State;

/// Map types up to this exist (`HDR-06`).
const LAST_MAP: u32 = 7;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    hostcalls! { linker:
        "proxy_get_header_map_value" = get_value(map: u32, key: u32, key_size: u32, pointer: u32, size: u32);
        "proxy_add_header_map_value" = add_value(map: u32, key: u32, key_size: u32, value: u32, value_size: u32);
        "proxy_replace_header_map_value" = replace_value(map: u32, key: u32, key_size: u32, value: u32, value_size: u32);
        "proxy_remove_header_map_value" = remove_value(map: u32, key: u32, key_size: u32);
        "proxy_get_header_map_pairs" = get_pairs(map: u32, pointer: u32, size: u32);
        "proxy_set_header_map_pairs" = set_pairs(map: u32, pairs: u32, pairs_size: u32);
        "proxy_get_header_map_size" = get_size(map: u32, size: u32);
    }
    Ok(())
}

/// A map to read, or nothing where it is not available now.
fn readable<'a>(host: &'a Host, guest: &'a Guest, map: u32) -> Option<&'a Headers> {
    match (map, guest.owner()) {
        (4 | 5, _) => guest.grpc.metadata(map == 5),
        (6 | 7, _) => guest.call_headers(map == 7),
        (_, Some(Owner::Stream { at, filter })) => host.streams[at].map(filter, map),
        _ => None,
    }
}

/// A map to change, where that is allowed now.
fn writable<'a>(host: &'a mut Host, guest: &Guest, map: u32) -> Result<(&'a mut Headers, Kind), Status> {
    match guest.owner() {
        Some(Owner::Stream { at, filter }) => {
            host.streams[at].map_mut(filter, map).ok_or(Status::BadArgument)
        }
        _ => Err(Status::BadArgument),
    }
}

/// `host` is `:authority` in request headers (`HDR-12`).
fn alias(map: u32, name: &[u8]) -> &[u8] {
    if map == 0 && name.eq_ignore_ascii_case(b"host") { b":authority" } else { name }
}

fn get_value(call: &mut Call<'_, '_>, map: u32, key: u32, key_size: u32, pointer: u32, size: u32) -> Answer {
    call.give(pointer, size, |memory, host, guest, out| {
        let name = memory::slice(memory, key, key_size)?;
        let headers = readable(host, guest, map).ok_or(Status::BadArgument)?;
        match headers.get(alias(map, name)) {
            Some(value) => out.extend_from_slice(value),
            None if guest.abi == Abi::V0_1_0 => {}
            None => return Err(Status::NotFound),
        }
        Ok(())
    })
}

fn add_value(
    call: &mut Call<'_, '_>,
    map: u32,
    key: u32,
    key_size: u32,
    value: u32,
    value_size: u32,
) -> Answer {
    let (memory, host, guest) = call.parts();
    let key = memory::slice(memory, key, key_size)?;
    let value = memory::slice(memory, value, value_size)?;
    super::keep(guest, key.len() + value.len())?;
    let (headers, kind) = writable(host, guest, map)?;
    headers.add(alias(map, key), value, kind);
    Ok(())
}

fn replace_value(
    call: &mut Call<'_, '_>,
    map: u32,
    key: u32,
    key_size: u32,
    value: u32,
    value_size: u32,
) -> Answer {
    let (memory, host, guest) = call.parts();
    let key = memory::slice(memory, key, key_size)?;
    let value = memory::slice(memory, value, value_size)?;
    super::keep(guest, key.len() + value.len())?;
    let (headers, _) = writable(host, guest, map)?;
    headers.replace(alias(map, key), value);
    Ok(())
}

fn remove_value(call: &mut Call<'_, '_>, map: u32, key: u32, key_size: u32) -> Answer {
    let (memory, host, guest) = call.parts();
    let key = memory::slice(memory, key, key_size)?;
    let (headers, _) = writable(host, guest, map)?;
    headers.remove(alias(map, key));
    Ok(())
}

fn get_pairs(call: &mut Call<'_, '_>, map: u32, pointer: u32, size: u32) -> Answer {
    if map > LAST_MAP {
        return Err(Status::BadArgument.into());
    }
    call.give(pointer, size, |_, host, guest, out| {
        if let Some(headers) = readable(host, guest, map).filter(|headers| !headers.is_empty()) {
            value::write_pairs(headers.iter(), out);
        }
        Ok(())
    })
}

fn set_pairs(call: &mut Call<'_, '_>, map: u32, pairs: u32, pairs_size: u32) -> Answer {
    let (memory, host, guest) = call.parts();
    super::keep(guest, pairs_size as usize)?;
    let pairs = value::read_pairs(memory::slice(memory, pairs, pairs_size)?);
    let (headers, kind) = writable(host, guest, map)?;
    headers.clear();
    for (name, value) in pairs {
        headers.add(alias(map, name), value, kind);
    }
    Ok(())
}

/// In bytes (`HDR-16`); refused when the stream is over (`LIFE-07`).
fn get_size(call: &mut Call<'_, '_>, map: u32, size: u32) -> Answer {
    let (memory, host, guest) = call.parts();
    let headers = match guest.owner() {
        Some(Owner::Stream { at, filter }) if host.streams[at].is_open() => host.streams[at].map(filter, map),
        _ => None,
    };
    let bytes = headers.ok_or(Status::BadArgument)?.byte_size();
    Ok(memory::write_word(memory, size, u32::try_from(bytes).unwrap_or(u32::MAX))?)
}
