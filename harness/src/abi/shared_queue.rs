//! Shared queues: linked, so that modules that import them load; calling one is not there yet.

use wasmtime::Linker;

use super::absent;
use crate::vm::State;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    absent! { linker:
        "proxy_register_shared_queue" = (a: u32, b: u32, c: u32);
        "proxy_resolve_shared_queue" = (a: u32, b: u32, c: u32, d: u32, e: u32);
        "proxy_dequeue_shared_queue" = (a: u32, b: u32, c: u32);
        "proxy_enqueue_shared_queue" = (a: u32, b: u32, c: u32);
    }
    Ok(())
}
