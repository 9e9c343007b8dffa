//! Shared key-value store (`SHR-*`).

use wasmtime::Linker;

use super::{Answer, Call, Status, hostcalls, memory};
use crate::host::CasMismatch;
use crate::vm::State;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    hostcalls! { linker:
        "proxy_get_shared_data" = get_shared_data(key: u32, key_size: u32, pointer: u32, size: u32, cas: u32);
        "proxy_set_shared_data" = set_shared_data(key: u32, key_size: u32, value: u32, value_size: u32, cas: u32);
    }
    Ok(())
}

fn get_shared_data(
    call: &mut Call<'_, '_>,
    key: u32,
    key_size: u32,
    pointer: u32,
    size: u32,
    cas: u32,
) -> Answer {
    call.pause();
    let mut number = 0;
    call.give(pointer, size, |memory, host, guest, out| {
        let key = memory::slice(memory, key, key_size)?;
        let (value, cas) = host.shared.get(&guest.vm_id, key).ok_or(Status::NotFound)?;
        out.extend_from_slice(value);
        number = cas;
        Ok(())
    })?;
    call.put_word(cas, number)
}

fn set_shared_data(
    call: &mut Call<'_, '_>,
    key: u32,
    key_size: u32,
    value: u32,
    value_size: u32,
    cas: u32,
) -> Answer {
    call.pause();
    let (memory, host, guest) = call.parts();
    let key = memory::slice(memory, key, key_size)?;
    let value = memory::slice(memory, value, value_size)?;
    super::keep(guest, value.len())?;
    host.shared.set(&guest.vm_id, key, value, cas).map_err(|CasMismatch| Status::CasMismatch)?;
    Ok(())
}
