//! Contexts: the effective context, `proxy_done`, the status of the last call (`CTX-*`, `LOAD-43`).

use wasmtime::Linker;

use super::{Answer, Call, Status, hostcalls};
use crate::vm::State;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    hostcalls! { linker:
        "proxy_set_effective_context" = set_effective_context(context: u32);
        "proxy_done" = done();
        "proxy_get_status" = get_status(code: u32, pointer: u32, size: u32);
    }
    Ok(())
}

fn set_effective_context(call: &mut Call<'_, '_>, context: u32) -> Answer {
    let guest = call.guest();
    if context == 0 {
        guest.effective = guest.context;
        return Ok(());
    }
    guest.find(context).ok_or(Status::BadArgument)?;
    guest.effective = context;
    Ok(())
}

fn done(call: &mut Call<'_, '_>) -> Answer {
    let guest = call.guest();
    let pending = guest.pending_done.iter().position(|id| *id == guest.effective);
    guest.pending_done.remove(pending.ok_or(Status::NotFound)?);
    Ok(())
}

/// Code and message of the last call that failed (`CALL-07`, `CALL-23`); always the root's (`CTX-02`).
fn get_status(call: &mut Call<'_, '_>, code: u32, pointer: u32, size: u32) -> Answer {
    let root = call.owner().and_then(|owner| call.host().root_of(owner));
    call.give(pointer, size, |_, host, _, out| {
        out.extend_from_slice(root.and_then(|root| host.roots.get(root)).map_or(&[], |root| &root.status.1));
        Ok(())
    })?;
    let number = root.and_then(|root| call.host().roots.get(root)).map_or(0, |root| root.status.0);
    call.put_word(code, number)
}
