//! Names that Envoy knows: hostcalls, WASI functions, callbacks, sections. `LOAD-02`, `LOAD-04` and `WASI-02` of the host's semantics.

/// Hostcalls of every ABI, without their `proxy_`.
const HOSTCALLS: &[&str] = &[
    "add_header_map_value",
    "call_foreign_function",
    "define_metric",
    "dequeue_shared_queue",
    "done",
    "enqueue_shared_queue",
    "get_buffer_bytes",
    "get_buffer_status",
    "get_current_time_nanoseconds",
    "get_header_map_pairs",
    "get_header_map_size",
    "get_header_map_value",
    "get_metric",
    "get_property",
    "get_shared_data",
    "get_status",
    "grpc_call",
    "grpc_cancel",
    "grpc_close",
    "grpc_send",
    "grpc_stream",
    "http_call",
    "increment_metric",
    "log",
    "record_metric",
    "register_shared_queue",
    "remove_header_map_value",
    "replace_header_map_value",
    "resolve_shared_queue",
    "send_local_response",
    "set_buffer_bytes",
    "set_effective_context",
    "set_header_map_pairs",
    "set_property",
    "set_shared_data",
    "set_tick_period_milliseconds",
];

/// Functions of WASI; Envoy has `path_link` and `path_symlink` too, with a signature that no module has.
const WASI: &[&str] = &[
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_advise",
    "fd_allocate",
    "fd_close",
    "fd_datasync",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_fdstat_set_rights",
    "fd_filestat_get",
    "fd_filestat_set_size",
    "fd_filestat_set_times",
    "fd_pread",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_pwrite",
    "fd_read",
    "fd_readdir",
    "fd_renumber",
    "fd_seek",
    "fd_sync",
    "fd_tell",
    "fd_write",
    "path_create_directory",
    "path_filestat_get",
    "path_filestat_set_times",
    "path_open",
    "path_readlink",
    "path_remove_directory",
    "path_rename",
    "path_unlink_file",
    "poll_oneoff",
    "proc_exit",
    "random_get",
    "sched_yield",
    "sock_accept",
    "sock_recv",
    "sock_send",
    "sock_shutdown",
];

/// Exports that Envoy calls and that are not called `proxy_on_…`.
const OTHER_CALLBACKS: &[&str] =
    &["_initialize", "_start", "main", "__main_void", "malloc", "proxy_validate_configuration"];

/// The ABI that a marker stands for.
pub(super) fn abi(export: &str) -> Option<&'static str> {
    match export {
        "proxy_abi_version_0_1_0" => Some("0.1.0"),
        "proxy_abi_version_0_2_0" => Some("0.2.0"),
        "proxy_abi_version_0_2_1" => Some("0.2.1"),
        _ => None,
    }
}

/// Whether Envoy has an imported function for an ABI.
pub(super) fn envoy_has(module: &str, name: &str, abi: &str) -> bool {
    match module {
        "env" => match name {
            "envoy_resolve_dns" | "pthread_equal" | "emscripten_notify_memory_growth" => true,
            "proxy_get_configuration"
            | "proxy_continue_request"
            | "proxy_continue_response"
            | "proxy_clear_route_cache" => abi == "0.1.0",
            "proxy_continue_stream" | "proxy_close_stream" => abi != "0.1.0",
            "proxy_get_log_level" => abi == "0.2.1",
            _ => name.strip_prefix("proxy_").is_some_and(|name| HOSTCALLS.binary_search(&name).is_ok()),
        },
        "wasi_snapshot_preview1" | "wasi_unstable" => WASI.binary_search(&name).is_ok(),
        _ => false,
    }
}

/// Whether Envoy calls an export.
pub(super) fn is_callback(export: &str) -> bool {
    export.starts_with("proxy_on_") || OTHER_CALLBACKS.contains(&export)
}

/// The name of a section by its id.
pub(super) fn section(id: u8) -> &'static str {
    const NAMES: [&str; 14] = [
        "custom",
        "type",
        "import",
        "function",
        "table",
        "memory",
        "global",
        "export",
        "start",
        "element",
        "code",
        "data",
        "data count",
        "tag",
    ];
    NAMES.get(usize::from(id)).copied().unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted() {
        assert!(HOSTCALLS.is_sorted() && WASI.is_sorted());
    }

    #[test]
    fn imports_depend_on_the_abi() {
        for (name, abi, want) in [
            ("proxy_log", "0.1.0", true),
            ("proxy_get_log_level", "0.2.0", false),
            ("proxy_get_log_level", "0.2.1", true),
            ("proxy_clear_route_cache", "0.2.1", false),
            ("proxy_clear_route_cache", "0.1.0", true),
            ("log", "0.2.1", false),
        ] {
            assert_eq!(envoy_has("env", name, abi), want, "{name} {abi}");
        }
        assert!(envoy_has("wasi_unstable", "fd_write", "0.2.1"));
        assert!(!envoy_has("wasi_snapshot_preview2", "fd_write", "0.2.1"));
    }
}
