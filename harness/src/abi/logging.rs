//! Logging (`LOG-*`).

use wasmtime::{Caller, Linker};

use super::{Answer, Call, Status, finish, hostcalls, memory};
use crate::host::Abi;
use crate::vm::State;

/// Names of the levels of the ABI (`LOG-02`).
const LEVELS: [&str; 6] = ["trace", "debug", "info", "warning", "error", "critical"];

/// The harness keeps everything: `trace`.
const LEVEL: u32 = 0;

pub(super) fn link(linker: &mut Linker<State>, abi: Abi) -> wasmtime::Result<()> {
    // Allowed in start functions and allocators too (LOAD-08), so it does not go through `run`.
    linker.func_wrap(
        "env",
        "proxy_log",
        |mut caller: Caller<'_, State>, level: u32, text: u32, size: u32| {
            finish(log(&mut Call { caller: &mut caller }, level, text, size))
        },
    )?;
    if abi == Abi::V0_2_1 {
        hostcalls! { linker:
            "proxy_get_log_level" = get_log_level(level: u32);
        }
    }
    Ok(())
}

fn log(call: &mut Call<'_, '_>, level: u32, text: u32, size: u32) -> Answer {
    let level = LEVELS.get(level as usize).ok_or(Status::BadArgument)?;
    let (memory, host, guest) = call.parts();
    let text = memory::slice(memory, text, size)?;
    super::keep(guest, text.len().max(1024))?;
    let text = String::from_utf8_lossy(text).into_owned();
    let (owner, plugin) = (guest.owner(), guest.speaker(host));
    host.log(owner, plugin, level, text);
    Ok(())
}

fn get_log_level(call: &mut Call<'_, '_>, level: u32) -> Answer {
    call.put_word(level, LEVEL)
}
