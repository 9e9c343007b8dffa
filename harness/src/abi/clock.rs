//! Time: the virtual clock, which stands still while a callback runs.

use wasmtime::Linker;

use super::{Answer, Call, hostcalls};
use crate::vm::State;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    hostcalls! { linker:
        "proxy_get_current_time_nanoseconds" = get_current_time_nanoseconds(time: u32);
    }
    Ok(())
}

fn get_current_time_nanoseconds(call: &mut Call<'_, '_>, time: u32) -> Answer {
    let now = call.host().clock.now_ns();
    call.put(time, &now.to_le_bytes())
}
