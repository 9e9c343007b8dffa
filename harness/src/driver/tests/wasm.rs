//! Makes modules: a small library around the callbacks of a test. In the code a text in double quotes stands for its address and size.

/// A module of ABI 0.2.1 with these functions. `$say` logs a number up to 12 as one character (`0` to `9`, `:`, `;`, `<`), `$show` logs the
/// bytes that the last hostcall gave.
pub(super) fn module(code: &str) -> Vec<u8> {
    let (code, data) = place(code);
    let text = format!(
        r#"(module {IMPORTS}
        (memory (export "memory") 2)
        (global $heap (mut i32) (i32.const 65536))
        (data (i32.const 4096) "{data}")
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "malloc") (param i32) (result i32)
            global.get $heap
            (global.set $heap (i32.and (i32.add (i32.add (global.get $heap) (local.get 0)) (i32.const 7)) (i32.const -8))))
        (func $log (param i32 i32) (drop (call $log_ (i32.const 2) (local.get 0) (local.get 1))))
        (func $say (param i32)
            (i32.store8 (i32.const 32) (i32.add (local.get 0) (i32.const 48)))
            (call $log (i32.const 32) (i32.const 1)))
        (func $show (param i32)
            (if (local.get 0) (then (call $say (local.get 0)))
                (else (call $log (i32.load (i32.const 16)) (i32.load (i32.const 20))))))
        {code})"#
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

const IMPORTS: &str = r#"
    (import "env" "proxy_log" (func $log_ (param i32 i32 i32) (result i32)))
    (import "env" "proxy_get_header_map_value" (func $get_ (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_replace_header_map_value" (func $replace (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_remove_header_map_value" (func $remove (param i32 i32 i32) (result i32)))
    (import "env" "proxy_get_header_map_pairs" (func $pairs (param i32 i32 i32) (result i32)))
    (import "env" "proxy_set_header_map_pairs" (func $set_pairs (param i32 i32 i32) (result i32)))
    (import "env" "proxy_get_buffer_bytes" (func $body (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_set_buffer_bytes" (func $set_body (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_send_local_response" (func $send (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))
    (import "env" "proxy_close_stream" (func $close (param i32) (result i32)))
    (import "env" "proxy_get_property" (func $property (param i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_set_property" (func $set_property (param i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_http_call" (func $call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_set_effective_context" (func $effective (param i32) (result i32)))
    (import "env" "proxy_set_tick_period_milliseconds" (func $tick (param i32) (result i32)))
    (import "env" "proxy_define_metric" (func $define (param i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_increment_metric" (func $increment (param i32 i64) (result i32)))
    (import "env" "proxy_get_shared_data" (func $shared (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_set_shared_data" (func $set_shared (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_call_foreign_function" (func $foreign (param i32 i32 i32 i32 i32 i32) (result i32)))
    (import "env" "envoy_resolve_dns" (func $resolve_dns (param i32 i32 i32) (result i32)))
    (import "env" "proxy_get_status" (func $get_status (param i32 i32 i32) (result i32)))
    (import "env" "proxy_grpc_call" (func $grpc_call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_grpc_stream" (func $grpc_stream (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_grpc_send" (func $grpc_send (param i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_grpc_cancel" (func $grpc_cancel (param i32) (result i32)))
    (import "env" "proxy_grpc_close" (func $grpc_close (param i32) (result i32)))
    (import "env" "proxy_register_shared_queue" (func $register (param i32 i32 i32) (result i32)))
    (import "env" "proxy_resolve_shared_queue" (func $resolve (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_enqueue_shared_queue" (func $enqueue (param i32 i32 i32) (result i32)))
    (import "env" "proxy_dequeue_shared_queue" (func $dequeue (param i32 i32 i32) (result i32)))
    (import "env" "proxy_done" (func $done (result i32)))
    (import "env" "proxy_get_current_time_nanoseconds" (func $now (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
"#;

/// Replaces texts by addresses and sizes; names of exports and the like stay.
fn place(code: &str) -> (String, String) {
    let (mut out, mut data, mut at) = (String::new(), String::new(), 4096);
    let mut parts = code.split('"');
    out.push_str(parts.next().unwrap_or_default());
    while let (Some(text), Some(rest)) = (parts.next(), parts.next()) {
        if out.trim_end().ends_with("export") {
            out.push_str(&format!("\"{text}\""));
        } else {
            // An escape is a backslash and two digits.
            let size = text.len() - 2 * text.matches('\\').count();
            out.push_str(&format!("(i32.const {at}) (i32.const {size})"));
            data.push_str(text);
            at += size;
        }
        out.push_str(rest);
    }
    (out, data)
}
