//! Shared queues (section 8.2 of the semantics).

use wasmtime::Linker;

use super::{Answer, Call, Status, hostcalls, memory};
use crate::host::{self, Event};
use crate::vm::State;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    hostcalls! { linker:
        "proxy_register_shared_queue" = register(name: u32, name_size: u32, token: u32);
        "proxy_resolve_shared_queue" = resolve(vm_id: u32, vm_id_size: u32, name: u32, name_size: u32, token: u32);
        "proxy_dequeue_shared_queue" = dequeue(token: u32, pointer: u32, size: u32);
        "proxy_enqueue_shared_queue" = enqueue(token: u32, item: u32, item_size: u32);
    }
    Ok(())
}

/// The root of the caller is told of what comes in from now on (`SHR-10`).
fn register(call: &mut Call<'_, '_>, name: u32, name_size: u32, token: u32) -> Answer {
    let owner = call.owner().ok_or(Status::BadArgument)?;
    call.pause();
    let (memory, host, guest) = call.parts();
    let root = host.root_of(owner).ok_or(Status::BadArgument)?;
    let name = memory::slice(memory, name, name_size)?;
    super::keep(guest, name.len() + 64)?;
    let id = host.queues.register(&guest.vm_id, name, root);
    Ok(memory::write_word(memory, token, id)?)
}

/// An empty `vm_id` is the caller's own (`SHR-11`).
fn resolve(
    call: &mut Call<'_, '_>,
    vm_id: u32,
    vm_id_size: u32,
    name: u32,
    name_size: u32,
    token: u32,
) -> Answer {
    call.pause();
    let (memory, host, guest) = call.parts();
    let vm_id = String::from_utf8_lossy(memory::slice(memory, vm_id, vm_id_size)?);
    let vm_id = if vm_id.is_empty() { &*guest.vm_id } else { &*vm_id };
    let id = host.queues.resolve(vm_id, memory::slice(memory, name, name_size)?).ok_or(Status::NotFound)?;
    Ok(memory::write_word(memory, token, id)?)
}

fn dequeue(call: &mut Call<'_, '_>, token: u32, pointer: u32, size: u32) -> Answer {
    call.pause();
    let item = call.host().queues.dequeue(token).ok_or(Status::NotFound)?.ok_or(Status::Empty)?;
    call.give(pointer, size, |_, _, _, out| {
        out.extend_from_slice(&item);
        Ok(())
    })
}

/// The recipient is told after this callback, whether or not the item is still there then (`SHR-13`).
fn enqueue(call: &mut Call<'_, '_>, token: u32, item: u32, item_size: u32) -> Answer {
    let owner = call.owner();
    call.pause();
    let (memory, host, guest) = call.parts();
    let item = memory::slice(memory, item, item_size)?;
    super::keep(guest, item.len() + 64)?;
    let root = host.queues.enqueue(token, item.to_vec()).ok_or(Status::NotFound)?;
    let by = host.told_of(owner);
    host.calls
        .push(host.clock.now_ns(), host::Call { root, token, by, event: Event::QueueReady, ending: None });
    Ok(())
}
