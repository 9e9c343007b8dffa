//! gRPC calls and streams: linked, so that modules that import them load; calling one is not there yet.

use wasmtime::Linker;

use super::absent;
use crate::vm::State;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    absent! { linker:
        "proxy_grpc_call" = (a: u32, b: u32, c: u32, d: u32, e: u32, f: u32, g: u32, h: u32, i: u32, j: u32, k: u32, l: u32);
        "proxy_grpc_stream" = (a: u32, b: u32, c: u32, d: u32, e: u32, f: u32, g: u32, h: u32, i: u32);
        "proxy_grpc_send" = (a: u32, b: u32, c: u32, d: u32);
        "proxy_grpc_cancel" = (a: u32);
        "proxy_grpc_close" = (a: u32);
    }
    Ok(())
}
