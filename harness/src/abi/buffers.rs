//! Buffers: bodies, configurations, call bodies (`BODY-05` to `BODY-09`, `LOAD-21`).

use wasmtime::Linker;

use super::{Answer, Call, Status, hostcalls, memory};
use crate::host::{Abi, Guest, Host, Owner};
use crate::vm::State;

/// Buffer types up to this exist.
const LAST_BUFFER: u32 = 8;

pub(super) fn link(linker: &mut Linker<State>, abi: Abi) -> wasmtime::Result<()> {
    hostcalls! { linker:
        "proxy_get_buffer_status" = get_status(buffer: u32, size: u32, flags: u32);
        "proxy_get_buffer_bytes" = get_bytes(buffer: u32, start: u32, length: u32, pointer: u32, size: u32);
        "proxy_set_buffer_bytes" = set_bytes(buffer: u32, start: u32, length: u32, data: u32, data_size: u32);
    }
    if abi == Abi::V0_1_0 {
        hostcalls! { linker:
            "proxy_get_configuration" = get_configuration(pointer: u32, size: u32);
        }
    }
    Ok(())
}

/// A buffer to read. Buffers that exist but hold nothing now are empty.
fn readable<'a>(host: &'a Host, guest: &'a Guest, buffer: u32) -> Result<&'a [u8], Status> {
    match buffer {
        0 | 1 => {
            let response = buffer == 1;
            let body = match guest.owner() {
                Some(Owner::Stream { at, filter }) => host.streams[at].body(filter, response),
                _ => None,
            };
            Ok(body.map_or(&[], Vec::as_slice))
        }
        4 => guest.call.as_ref().map(|call| call.body.as_slice()).ok_or(Status::NotFound),
        5 => Ok(guest.grpc.message()),
        7 => {
            let plugin = guest.configuring.and_then(|plugin| host.plugins.get(plugin));
            plugin.map(|plugin| plugin.configuration.as_slice()).ok_or(Status::NotFound)
        }
        0..=LAST_BUFFER => Ok(&[]),
        _ => Err(Status::BadArgument),
    }
}

fn get_status(call: &mut Call<'_, '_>, buffer: u32, size: u32, flags: u32) -> Answer {
    let (memory, host, guest) = call.parts();
    let length = u32::try_from(readable(host, guest, buffer)?.len()).unwrap_or(u32::MAX);
    memory::write_word(memory, size, length)?;
    Ok(memory::write_word(memory, flags, 0)?)
}

fn get_bytes(
    call: &mut Call<'_, '_>,
    buffer: u32,
    start: u32,
    length: u32,
    pointer: u32,
    size: u32,
) -> Answer {
    call.give(pointer, size, |_, host, guest, out| {
        let all = readable(host, guest, buffer)?;
        let tail = all.get(start as usize..).unwrap_or_default();
        out.extend_from_slice(tail.get(..length as usize).unwrap_or(tail));
        Ok(())
    })
}

fn set_bytes(
    call: &mut Call<'_, '_>,
    buffer: u32,
    start: u32,
    length: u32,
    data: u32,
    data_size: u32,
) -> Answer {
    let (memory, host, guest) = call.parts();
    let data = memory::slice(memory, data, data_size)?;
    super::keep(guest, data.len())?;
    let Some(Owner::Stream { at, filter }) = guest.owner() else { return Err(Status::BadArgument.into()) };
    if buffer > 1 {
        return Err(Status::BadArgument.into());
    }
    let body = host.streams[at].body_mut(filter, buffer == 1).ok_or(Status::BadArgument)?;
    let (start, length) = (start as usize, length as usize);
    if start == 0 {
        body.splice(..length.min(body.len()), data.iter().copied());
    } else if start >= body.len() {
        body.extend_from_slice(data);
    } else {
        return Err(Status::BadArgument.into());
    }
    Ok(())
}

fn get_configuration(call: &mut Call<'_, '_>, pointer: u32, size: u32) -> Answer {
    get_bytes(call, 7, 0, u32::MAX, pointer, size)
}
