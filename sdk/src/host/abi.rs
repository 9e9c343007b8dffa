//! The ABI's functions, made safe: the only file with `unsafe` in it. Compiled for Wasm; everywhere else the in-memory host of
//! [`testing`](crate::testing) offers the same functions.
//!
//! Why not the crate `proxy-wasm` (0.2.5): 52 of its paths panic on a status that they do not expect, 92 of its trait's lines
//! unwrap, header values that are no UTF-8 panic, and so do callbacks for contexts it does not know and callbacks that come
//! while another runs (`CALL-26`). A panic is a trap, and a trap ends every stream of the worker (`FAULT-01`), so each of these is a
//! request that any client can send to switch a worker off. It also exports every callback, and each costs every stream up to a
//! microsecond, used or not.
#![expect(unsafe_code, reason = "calls into the host have no other form")]

use std::alloc::Layout;
use std::cell::Cell;

use super::wire::{BufferType, MapType, MetricType, Side};
use super::{HostError, Status};

type Result<T> = std::result::Result<T, HostError>;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, data: *const u8, size: usize) -> u32;
    fn proxy_get_log_level(level: *mut u32) -> u32;
    fn proxy_set_effective_context(context: u32) -> u32;
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_get_header_map_value(
        map: u32,
        key: *const u8,
        key_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_add_header_map_value(
        map: u32,
        key: *const u8,
        key_size: usize,
        value: *const u8,
        size: usize,
    ) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        key: *const u8,
        key_size: usize,
        value: *const u8,
        size: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: u32, key: *const u8, key_size: usize) -> u32;
    fn proxy_get_buffer_bytes(
        buffer: u32,
        start: usize,
        length: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_set_buffer_bytes(buffer: u32, start: usize, length: usize, data: *const u8, size: usize) -> u32;
    fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_set_property(path: *const u8, path_size: usize, value: *const u8, size: usize) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_continue_stream(side: u32) -> u32;
    fn proxy_close_stream(side: u32) -> u32;
    fn proxy_http_call(
        cluster: *const u8,
        cluster_size: usize,
        headers: *const u8,
        headers_size: usize,
        body: *const u8,
        body_size: usize,
        trailers: *const u8,
        trailers_size: usize,
        timeout_ms: u32,
        token: *mut u32,
    ) -> u32;
    fn proxy_grpc_call(
        service: *const u8,
        service_size: usize,
        name: *const u8,
        name_size: usize,
        method: *const u8,
        method_size: usize,
        metadata: *const u8,
        metadata_size: usize,
        message: *const u8,
        message_size: usize,
        timeout_ms: u32,
        token: *mut u32,
    ) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, by: i64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
    fn proxy_get_metric(id: u32, value: *mut u64) -> u32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
        cas: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(key: *const u8, key_size: usize, value: *const u8, size: usize, cas: u32)
    -> u32;
    fn proxy_register_shared_queue(name: *const u8, name_size: usize, token: *mut u32) -> u32;
    fn proxy_enqueue_shared_queue(token: u32, item: *const u8, item_size: usize) -> u32;
    fn proxy_dequeue_shared_queue(token: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_call_foreign_function(
        name: *const u8,
        name_size: usize,
        arguments: *const u8,
        arguments_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
}

// Envoy has these for every module, also for one built without WASI (`WASI-02`).
#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn random_get(data: *mut u8, size: usize) -> u32;
    fn clock_time_get(clock: u32, precision: u64, time: *mut u64) -> u32;
    fn environ_sizes_get(count: *mut usize, size: *mut usize) -> u32;
    fn environ_get(places: *mut *mut u8, data: *mut u8) -> u32;
}

unsafe extern "C" {
    fn __wasm_call_ctors();
}

/// Runs the constructors of the module, once. That `_initialize` calls them by name also keeps the linker from running them
/// again around every export.
pub fn initialize() {
    // SAFETY: the linker makes this function; `_initialize`, the only caller, is called once, before everything else (`LOAD-07`).
    unsafe { __wasm_call_ctors() }
}

thread_local! {
    /// What the host last had allocated and no call has taken yet. A host returns bytes by one allocation before the call
    /// returns, so one is enough; bytes that were not allocated here are not freed here.
    static ALLOCATED: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

/// `proxy_on_memory_allocate`: memory for the host to write to, or null when there is none.
pub fn allocate(size: usize) -> *mut u8 {
    let Ok(layout) = Layout::array::<u8>(size) else {
        return std::ptr::null_mut();
    };
    if size == 0 {
        return std::ptr::without_provenance_mut(1);
    }
    // SAFETY: the layout's size is not zero.
    let data = unsafe { std::alloc::alloc(layout) };
    if !data.is_null() {
        ALLOCATED.set((data.addr(), size));
    }
    data
}

/// Where the host writes the place and the size of what it returns.
struct Returned {
    data: *mut u8,
    size: usize,
}

impl Returned {
    fn new() -> Self {
        ALLOCATED.set((0, 0));
        Self { data: std::ptr::null_mut(), size: 0 }
    }

    fn take(self, call: &'static str, status: u32) -> Result<Vec<u8>> {
        check(call, status)?;
        let (allocated, capacity) = ALLOCATED.replace((0, 0));
        if self.data.is_null() || self.size == 0 {
            return Ok(Vec::new());
        }
        if self.data.addr() != allocated || self.size > capacity {
            return Err(HostError::new(call, Status::InvalidMemoryAccess));
        }
        // SAFETY: `allocate` got exactly this memory, of `capacity` bytes and alignment 1, from the allocator that `Vec` uses; no
        // call took it before, as `ALLOCATED` is emptied above; the host has written `size` of them.
        Ok(unsafe { Vec::from_raw_parts(self.data, self.size, capacity) })
    }

    fn take_found(self, call: &'static str, status: u32) -> Result<Option<Vec<u8>>> {
        if status == 1 { Ok(None) } else { self.take(call, status).map(Some) }
    }
}

fn check(call: &'static str, number: u32) -> Result<()> {
    Status::check(number).map_err(|status| HostError { call, status })
}

pub(crate) fn log(level: u32, text: &[u8]) -> Result<()> {
    // SAFETY: the host reads `text` during the call; so in every function below that passes slices.
    check("proxy_log", unsafe { proxy_log(level, text.as_ptr(), text.len()) })
}

pub(crate) fn log_level() -> Result<u32> {
    let mut level = 0;
    // SAFETY: the host writes one integer; so in every function below that passes a `&mut`.
    check("proxy_get_log_level", unsafe { proxy_get_log_level(&mut level) })?;
    Ok(level)
}

pub(crate) fn set_effective_context(context: u32) -> Result<()> {
    // SAFETY: integers only; so in every function below that passes no pointers.
    check("proxy_set_effective_context", unsafe { proxy_set_effective_context(context) })
}

pub(crate) fn header_pairs(map: MapType) -> Result<Vec<u8>> {
    let mut returned = Returned::new();
    // SAFETY: as in `log_level`; `take` checks what came.
    let status = unsafe { proxy_get_header_map_pairs(map as u32, &mut returned.data, &mut returned.size) };
    returned.take("proxy_get_header_map_pairs", status)
}

pub(crate) fn header_value(map: MapType, name: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut returned = Returned::new();
    // SAFETY: as in `log` and `log_level`.
    let status = unsafe {
        proxy_get_header_map_value(
            map as u32,
            name.as_ptr(),
            name.len(),
            &mut returned.data,
            &mut returned.size,
        )
    };
    returned.take_found("proxy_get_header_map_value", status)
}

pub(crate) fn add_header(map: MapType, name: &[u8], value: &[u8]) -> Result<()> {
    // SAFETY: as in `log`.
    check("proxy_add_header_map_value", unsafe {
        proxy_add_header_map_value(map as u32, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    })
}

pub(crate) fn replace_header(map: MapType, name: &[u8], value: &[u8]) -> Result<()> {
    // SAFETY: as in `log`.
    check("proxy_replace_header_map_value", unsafe {
        proxy_replace_header_map_value(map as u32, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    })
}

pub(crate) fn remove_header(map: MapType, name: &[u8]) -> Result<()> {
    // SAFETY: as in `log`.
    check("proxy_remove_header_map_value", unsafe {
        proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len())
    })
}

pub(crate) fn buffer(buffer: BufferType, start: usize, length: usize) -> Result<Option<Vec<u8>>> {
    let mut returned = Returned::new();
    // SAFETY: as in `log_level`.
    let status = unsafe {
        proxy_get_buffer_bytes(buffer as u32, start, length, &mut returned.data, &mut returned.size)
    };
    returned.take_found("proxy_get_buffer_bytes", status)
}

pub(crate) fn set_buffer(buffer: BufferType, start: usize, length: usize, bytes: &[u8]) -> Result<()> {
    // SAFETY: as in `log`.
    check("proxy_set_buffer_bytes", unsafe {
        proxy_set_buffer_bytes(buffer as u32, start, length, bytes.as_ptr(), bytes.len())
    })
}

pub(crate) fn property(path: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut returned = Returned::new();
    // SAFETY: as in `log` and `log_level`.
    let status =
        unsafe { proxy_get_property(path.as_ptr(), path.len(), &mut returned.data, &mut returned.size) };
    returned.take_found("proxy_get_property", status)
}

pub(crate) fn set_property(path: &[u8], value: &[u8]) -> Result<()> {
    // SAFETY: as in `log`.
    check("proxy_set_property", unsafe {
        proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len())
    })
}

pub(crate) fn local_reply(
    status: u32,
    details: &[u8],
    body: &[u8],
    headers: &[u8],
    grpc_status: i32,
) -> Result<()> {
    // SAFETY: as in `log`.
    check("proxy_send_local_response", unsafe {
        proxy_send_local_response(
            status,
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            grpc_status,
        )
    })
}

pub(crate) fn continue_stream(side: Side) -> Result<()> {
    // SAFETY: as in `set_effective_context`.
    check("proxy_continue_stream", unsafe { proxy_continue_stream(side as u32) })
}

pub(crate) fn close_stream(side: Side) -> Result<()> {
    // SAFETY: as in `set_effective_context`.
    check("proxy_close_stream", unsafe { proxy_close_stream(side as u32) })
}

pub(crate) fn http_call(
    cluster: &[u8],
    headers: &[u8],
    body: &[u8],
    trailers: &[u8],
    timeout_ms: u32,
) -> Result<u32> {
    let mut token = 0;
    // SAFETY: as in `log` and `log_level`.
    check("proxy_http_call", unsafe {
        proxy_http_call(
            cluster.as_ptr(),
            cluster.len(),
            headers.as_ptr(),
            headers.len(),
            body.as_ptr(),
            body.len(),
            trailers.as_ptr(),
            trailers.len(),
            timeout_ms,
            &mut token,
        )
    })?;
    Ok(token)
}

pub(crate) fn grpc_call(
    service: &[u8],
    name: &[u8],
    method: &[u8],
    metadata: &[u8],
    message: &[u8],
    timeout_ms: u32,
) -> Result<u32> {
    let mut token = 0;
    // SAFETY: as in `log` and `log_level`.
    check("proxy_grpc_call", unsafe {
        proxy_grpc_call(
            service.as_ptr(),
            service.len(),
            name.as_ptr(),
            name.len(),
            method.as_ptr(),
            method.len(),
            metadata.as_ptr(),
            metadata.len(),
            message.as_ptr(),
            message.len(),
            timeout_ms,
            &mut token,
        )
    })?;
    Ok(token)
}

pub(crate) fn set_tick_period(period_ms: u32) -> Result<()> {
    // SAFETY: as in `set_effective_context`.
    check("proxy_set_tick_period_milliseconds", unsafe { proxy_set_tick_period_milliseconds(period_ms) })
}

pub(crate) fn now_ns() -> Result<u64> {
    let mut time = 0;
    // SAFETY: as in `log_level`.
    check("proxy_get_current_time_nanoseconds", unsafe { proxy_get_current_time_nanoseconds(&mut time) })?;
    Ok(time)
}

pub(crate) fn monotonic_ns() -> Result<u64> {
    let mut time = 0;
    // SAFETY: as in `log_level`. Clock 1 is WASI's monotonic one.
    check("clock_time_get", unsafe { clock_time_get(1, 1, &mut time) })?;
    Ok(time)
}

pub(crate) fn random() -> Result<u64> {
    let mut bytes = [0; 8];
    // SAFETY: the host writes `size` bytes.
    check("random_get", unsafe { random_get(bytes.as_mut_ptr(), bytes.len()) })?;
    Ok(u64::from_le_bytes(bytes))
}

/// All of the environment, `NAME=value` and a NUL each. Not by `std::env`, which brings an allocator of its own.
pub(crate) fn environment() -> Result<Vec<u8>> {
    let (mut count, mut size) = (0, 0);
    // SAFETY: as in `log_level`.
    check("environ_sizes_get", unsafe { environ_sizes_get(&mut count, &mut size) })?;
    let (mut places, mut data) = (vec![std::ptr::null_mut(); count], vec![0; size]);
    // SAFETY: the host writes as many places and bytes as it said that there are.
    check("environ_get", unsafe { environ_get(places.as_mut_ptr(), data.as_mut_ptr()) })?;
    Ok(data)
}

pub(crate) fn define_metric(kind: MetricType, name: &[u8]) -> Result<u32> {
    let mut id = 0;
    // SAFETY: as in `log` and `log_level`.
    check("proxy_define_metric", unsafe {
        proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &mut id)
    })?;
    Ok(id)
}

pub(crate) fn increment_metric(id: u32, by: i64) -> Result<()> {
    // SAFETY: as in `set_effective_context`.
    check("proxy_increment_metric", unsafe { proxy_increment_metric(id, by) })
}

pub(crate) fn record_metric(id: u32, value: u64) -> Result<()> {
    // SAFETY: as in `set_effective_context`.
    check("proxy_record_metric", unsafe { proxy_record_metric(id, value) })
}

pub(crate) fn metric(id: u32) -> Result<u64> {
    let mut value = 0;
    // SAFETY: as in `log_level`.
    check("proxy_get_metric", unsafe { proxy_get_metric(id, &mut value) })?;
    Ok(value)
}

pub(crate) fn shared_data(key: &[u8]) -> Result<Option<(Vec<u8>, u32)>> {
    let mut returned = Returned::new();
    let mut cas = 0;
    // SAFETY: as in `log` and `log_level`.
    let status = unsafe {
        proxy_get_shared_data(key.as_ptr(), key.len(), &mut returned.data, &mut returned.size, &mut cas)
    };
    Ok(returned.take_found("proxy_get_shared_data", status)?.map(|value| (value, cas)))
}

pub(crate) fn set_shared_data(key: &[u8], value: &[u8], cas: u32) -> Result<()> {
    // SAFETY: as in `log`.
    check("proxy_set_shared_data", unsafe {
        proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), cas)
    })
}

pub(crate) fn register_shared_queue(name: &[u8]) -> Result<u32> {
    let mut token = 0;
    // SAFETY: as in `log` and `log_level`.
    check("proxy_register_shared_queue", unsafe {
        proxy_register_shared_queue(name.as_ptr(), name.len(), &mut token)
    })?;
    Ok(token)
}

pub(crate) fn enqueue_shared_queue(token: u32, item: &[u8]) -> Result<()> {
    // SAFETY: as in `log`.
    check("proxy_enqueue_shared_queue", unsafe {
        proxy_enqueue_shared_queue(token, item.as_ptr(), item.len())
    })
}

pub(crate) fn dequeue_shared_queue(token: u32) -> Result<Vec<u8>> {
    let mut returned = Returned::new();
    // SAFETY: as in `log_level`.
    let status = unsafe { proxy_dequeue_shared_queue(token, &mut returned.data, &mut returned.size) };
    returned.take("proxy_dequeue_shared_queue", status)
}

pub(crate) fn call_foreign_function(name: &[u8], arguments: &[u8]) -> Result<Vec<u8>> {
    let mut returned = Returned::new();
    // SAFETY: as in `log` and `log_level`.
    let status = unsafe {
        proxy_call_foreign_function(
            name.as_ptr(),
            name.len(),
            arguments.as_ptr(),
            arguments.len(),
            &mut returned.data,
            &mut returned.size,
        )
    };
    returned.take("proxy_call_foreign_function", status)
}
