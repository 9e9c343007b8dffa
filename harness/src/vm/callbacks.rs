//! The functions that a proxy calls in a module: names, signatures, and the typed handles, looked up once a VM.

use wasmtime::{Instance, Store, TypedFunc, WasmParams, WasmResults};

use super::State;

/// An export as Envoy wants it; all parameters and results are `i32`.
pub(super) struct Signature {
    pub(super) name: &'static str,
    pub(super) params: usize,
    pub(super) results: usize,
}

const fn signature(name: &'static str, params: usize, results: usize) -> Signature {
    Signature { name, params, results }
}

/// Every export that Envoy looks up (`LOAD-06`), with the signatures of ABI 0.2.
pub(super) const SIGNATURES: &[Signature] = &[
    signature("_initialize", 0, 0),
    signature("_start", 0, 0),
    signature("main", 2, 1),
    signature("__main_void", 0, 1),
    signature("malloc", 1, 1),
    signature("proxy_on_memory_allocate", 1, 1),
    signature("proxy_validate_configuration", 2, 1),
    signature("proxy_on_vm_start", 2, 1),
    signature("proxy_on_configure", 2, 1),
    signature("proxy_on_tick", 1, 0),
    signature("proxy_on_context_create", 2, 0),
    signature("proxy_on_new_connection", 1, 1),
    signature("proxy_on_downstream_data", 3, 1),
    signature("proxy_on_upstream_data", 3, 1),
    signature("proxy_on_downstream_connection_close", 2, 0),
    signature("proxy_on_upstream_connection_close", 2, 0),
    signature("proxy_on_request_headers", 3, 1),
    signature("proxy_on_request_body", 3, 1),
    signature("proxy_on_request_trailers", 2, 1),
    signature("proxy_on_request_metadata", 2, 1),
    signature("proxy_on_response_headers", 3, 1),
    signature("proxy_on_response_body", 3, 1),
    signature("proxy_on_response_trailers", 2, 1),
    signature("proxy_on_response_metadata", 2, 1),
    signature("proxy_on_http_call_response", 5, 0),
    signature("proxy_on_grpc_receive_initial_metadata", 3, 0),
    signature("proxy_on_grpc_receive", 3, 0),
    signature("proxy_on_grpc_receive_trailing_metadata", 3, 0),
    signature("proxy_on_grpc_close", 3, 0),
    signature("proxy_on_queue_ready", 2, 0),
    signature("proxy_on_foreign_function", 3, 0),
    signature("proxy_on_stats_update", 2, 0),
    signature("proxy_on_done", 1, 1),
    signature("proxy_on_log", 1, 0),
    signature("proxy_on_delete", 1, 0),
];

/// A callback that a module may have.
pub(crate) struct Callback<P, R> {
    pub(super) name: &'static str,
    pub(super) function: Option<TypedFunc<P, R>>,
}

impl<P, R> Default for Callback<P, R> {
    fn default() -> Self {
        Self { name: "", function: None }
    }
}

/// All callbacks of a VM.
#[derive(Default)]
pub(crate) struct Callbacks {
    pub(crate) vm_start: Callback<(u32, u32), u32>,
    pub(crate) configure: Callback<(u32, u32), u32>,
    pub(crate) tick: Callback<u32, ()>,
    pub(crate) context_create: Callback<(u32, u32), ()>,
    pub(crate) request_headers: Callback<(u32, u32, u32), u32>,
    /// ABI 0.1.0 does not pass the end of the stream.
    pub(crate) request_headers_short: Callback<(u32, u32), u32>,
    pub(crate) request_body: Callback<(u32, u32, u32), u32>,
    pub(crate) request_trailers: Callback<(u32, u32), u32>,
    pub(crate) response_headers: Callback<(u32, u32, u32), u32>,
    /// ABI 0.1.0 does not pass the end of the stream.
    pub(crate) response_headers_short: Callback<(u32, u32), u32>,
    pub(crate) response_body: Callback<(u32, u32, u32), u32>,
    pub(crate) response_trailers: Callback<(u32, u32), u32>,
    pub(crate) http_call_response: Callback<(u32, u32, u32, u32, u32), ()>,
    pub(crate) grpc_initial_metadata: Callback<(u32, u32, u32), ()>,
    pub(crate) grpc_receive: Callback<(u32, u32, u32), ()>,
    pub(crate) grpc_trailing_metadata: Callback<(u32, u32, u32), ()>,
    pub(crate) grpc_close: Callback<(u32, u32, u32), ()>,
    pub(crate) queue_ready: Callback<(u32, u32), ()>,
    pub(crate) done: Callback<u32, u32>,
    pub(crate) log: Callback<u32, ()>,
    pub(crate) delete: Callback<u32, ()>,
}

impl Callbacks {
    pub(super) fn find(instance: &Instance, store: &mut Store<State>) -> Self {
        Self {
            vm_start: find(instance, store, "proxy_on_vm_start"),
            configure: find(instance, store, "proxy_on_configure"),
            tick: find(instance, store, "proxy_on_tick"),
            context_create: find(instance, store, "proxy_on_context_create"),
            request_headers: find(instance, store, "proxy_on_request_headers"),
            request_headers_short: find(instance, store, "proxy_on_request_headers"),
            request_body: find(instance, store, "proxy_on_request_body"),
            request_trailers: find(instance, store, "proxy_on_request_trailers"),
            response_headers: find(instance, store, "proxy_on_response_headers"),
            response_headers_short: find(instance, store, "proxy_on_response_headers"),
            response_body: find(instance, store, "proxy_on_response_body"),
            response_trailers: find(instance, store, "proxy_on_response_trailers"),
            http_call_response: find(instance, store, "proxy_on_http_call_response"),
            grpc_initial_metadata: find(instance, store, "proxy_on_grpc_receive_initial_metadata"),
            grpc_receive: find(instance, store, "proxy_on_grpc_receive"),
            grpc_trailing_metadata: find(instance, store, "proxy_on_grpc_receive_trailing_metadata"),
            grpc_close: find(instance, store, "proxy_on_grpc_close"),
            queue_ready: find(instance, store, "proxy_on_queue_ready"),
            done: find(instance, store, "proxy_on_done"),
            log: find(instance, store, "proxy_on_log"),
            delete: find(instance, store, "proxy_on_delete"),
        }
    }
}

/// The callback of that name; absent when the module lacks it.
pub(super) fn find<P: WasmParams, R: WasmResults>(
    instance: &Instance,
    store: &mut Store<State>,
    name: &'static str,
) -> Callback<P, R> {
    Callback { name, function: instance.get_typed_func(store, name).ok() }
}
