//! Properties (section 7 of the semantics).

use wasmtime::Linker;

use super::{Answer, Call, Status, hostcalls, memory};
use crate::host::attributes::{self, Missing};
use crate::vm::State;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    hostcalls! { linker:
        "proxy_get_property" = get_property(path: u32, path_size: u32, pointer: u32, size: u32);
        "proxy_set_property" = set_property(path: u32, path_size: u32, value: u32, value_size: u32);
    }
    Ok(())
}

fn get_property(call: &mut Call<'_, '_>, path: u32, path_size: u32, pointer: u32, size: u32) -> Answer {
    call.give(pointer, size, |memory, host, guest, out| {
        let path = memory::slice(memory, path, path_size)?;
        attributes::property(host, guest.owner(), path, out).map_err(|missing| match missing {
            Missing::NotFound => Status::NotFound,
            Missing::NotSerializable => Status::SerializationFailure,
        })
    })
}

fn set_property(call: &mut Call<'_, '_>, path: u32, path_size: u32, value: u32, value_size: u32) -> Answer {
    let stream = call.stream();
    let (memory, host, guest) = call.parts();
    let path = memory::slice(memory, path, path_size)?;
    let value = memory::slice(memory, value, value_size)?;
    let (at, _) = stream.ok_or(Status::NotFound)?;
    super::keep(guest, path.len() + value.len())?;
    host.streams[at].set_filter_state(&[b"wasm.", path].concat(), value);
    Ok(())
}
