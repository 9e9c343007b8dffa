//! Timers: the one tick of a root context (`TICK-01`).

use wasmtime::Linker;

use super::{Answer, Call, Status, hostcalls};
use crate::host::Tick;
use crate::vm::State;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    hostcalls! { linker:
        "proxy_set_tick_period_milliseconds" = set_tick_period_milliseconds(period: u32);
    }
    Ok(())
}

fn set_tick_period_milliseconds(call: &mut Call<'_, '_>, period: u32) -> Answer {
    let owner = call.owner().ok_or(Status::BadArgument)?;
    let host = call.host();
    let root = host.root_of(owner).ok_or(Status::BadArgument)?;
    let period_ns = u64::from(period) * 1_000_000;
    let next_ns = host.clock.now_ns().saturating_add(period_ns);
    if let Some(root) = host.roots.get_mut(root) {
        root.tick = (period > 0).then_some(Tick { period_ns, next_ns });
    }
    Ok(())
}
