//! Traps, what would kill Envoy, modules that are not accepted.

use super::*;

fn request(code: &str) -> String {
    format!(
        "(func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32) {code} (i32.const 0))"
    )
}

#[test]
fn fault_02_texts() {
    let rows = [
        ("unreachable", "Uncaught RuntimeError: unreachable"),
        ("(drop (i32.load (i32.const -1)))", "Uncaught RuntimeError: memory access out of bounds"),
        ("(drop (i32.div_u (i32.const 1) (i32.const 0)))", "Uncaught RuntimeError: divide by zero"),
        ("(drop (i32.rem_u (i32.const 1) (i32.const 0)))", "Uncaught RuntimeError: divide by zero"),
        ("(call $deep)", "Uncaught RangeError: Maximum call stack size exceeded"),
        ("(loop $for_ever (br $for_ever))", "this kills Envoy"),
        ("(loop $again (drop (call $tick (i32.const 0))) (br $again))", "100000 hostcalls"),
        (
            "(drop (call $resolve_dns (i32.const 0) (i32.const 0) (i32.const 0)))",
            "`envoy_resolve_dns` is not there yet",
        ),
    ];
    for (code, text) in rows {
        let code = format!("(func $deep (call $deep) (drop (i32.const 1))) {}", request(code));
        let outcome = start(vec![plugin(&code)]).exchange(&exchange());
        assert_eq!(outcome.end, End::Trapped, "FAULT-03");
        assert_eq!(outcome.details, "wasm_fail_stream", "FAULT-03");
        assert!(outcome.faults[0].contains(text), "FAULT-02: {:?}", outcome.faults);
    }
}

#[test]
fn fault_03_traps_in_the_response() {
    let code = "(func (export \"proxy_on_response_headers\") (param i32 i32 i32) (result i32) unreachable)";
    check("FAULT-03 headers", code, End::Trapped, 503, "");
    let code = "(func (export \"proxy_on_response_body\") (param i32 i32 i32) (result i32) unreachable)";
    let outcome = check("FAULT-03 body", code, End::Trapped, 200, "");
    assert!(outcome.response.unwrap().body_truncated);
}

#[test]
fn fault_04_08_09_what_comes_after_a_trap() {
    // Traps in the first stream of a VM only: its context is 2.
    let code = request("(if (i32.eq (local.get 0) (i32.const 2)) (then unreachable))");
    let rows = [
        (FailurePolicy::FailClosed, End::Trapped, 503),
        (FailurePolicy::FailOpen, End::Forwarded, 200),
        (FailurePolicy::FailReload, End::Trapped, 503),
    ];
    for (policy, end, status) in rows {
        let mut plugin = plugin(&code);
        plugin.failure_policy = policy;
        let mut replay = start(vec![plugin]);
        verify("FAULT-08", &replay.exchange(&exchange()), End::Trapped, 503, "");
        verify(&format!("{policy:?}"), &replay.exchange(&exchange()), end, status, "");
    }
    let code = format!(
        "{} (func (export \"proxy_on_vm_start\") (param i32 i32) (result i32) (call $log \"start\") (i32.const 1))",
        request("unreachable")
    );
    let mut plugin = plugin(&code);
    plugin.failure_policy = FailurePolicy::FailReload;
    let mut replay = start(vec![plugin]);
    replay.exchange(&exchange());
    replay.advance(Duration::from_secs(2));
    verify("FAULT-09", &replay.exchange(&exchange()), End::Trapped, 503, "start");
}

#[test]
fn fault_07_a_trap_in_on_log_does_nothing_to_the_exchange() {
    let mut replay = start(vec![plugin("(func (export \"proxy_on_log\") (param i32) unreachable)")]);
    verify("FAULT-07", &replay.exchange(&exchange()), End::Forwarded, 200, "");
    verify("FAULT-04", &replay.exchange(&exchange()), End::Trapped, 503, "");
}

#[test]
fn die_actions_are_faults() {
    let log = |code: &str| format!("(func (export \"proxy_on_log\") (param i32) (drop {code}))");
    let rows = [
        ("DIE-01", request("(drop (call $continue (i32.const 1)))")),
        ("DIE-02", log("(call $send (i32.const 200) \"\" \"\" \"\" (i32.const -1))")),
        ("DIE-04", log("(call $close (i32.const 0))")),
    ];
    for (id, code) in rows {
        let outcome = start(vec![plugin(&code)]).exchange(&exchange());
        assert!(
            outcome.faults[0].contains("this kills Envoy") && outcome.faults[0].contains(id),
            "{id}: {outcome:#?}"
        );
    }
}

#[test]
fn load_01_to_09_what_is_not_accepted() {
    let marker = "(func (export \"proxy_abi_version_0_2_1\"))";
    let malloc = "(func (export \"malloc\") (param i32) (result i32) (i32.const 0))";
    let rows = [
        ("LOAD-01", malloc.to_owned(), "Missing or unknown Proxy-Wasm ABI version"),
        ("LOAD-01", format!("(func (export \"proxy_abi_version_0_3_0\")) {malloc}"), "Missing or unknown"),
        (
            "LOAD-02",
            format!(
                "(import \"env\" \"proxy_get_log_level\" (func (param i32) (result i32))) (func (export \"proxy_abi_version_0_2_0\")) {malloc}"
            ),
            "Failed to load Wasm module due to a missing import: env.proxy_get_log_level",
        ),
        (
            "LOAD-03",
            format!("(import \"env\" \"proxy_log\" (func (param i32) (result i32))) {marker} {malloc}"),
            "Failed to load Wasm module due to an import type mismatch: env.proxy_log, want: i32 -> i32, but host exports: i32 i32 i32 -> i32",
        ),
        (
            "LOAD-03",
            format!("(import \"env\" \"g\" (global i32)) {marker} {malloc}"),
            "missing import: env.g",
        ),
        ("LOAD-05", marker.to_owned(), "Wasm module is missing malloc function."),
        (
            "LOAD-06",
            format!(
                "{marker} {malloc} (func (export \"proxy_on_request_headers\") (param i32 i32) (result i32) (i32.const 0))"
            ),
            "Bad function signature for: proxy_on_request_headers, want: i32 i32 i32 -> i32, but the module exports: i32 i32 -> i32",
        ),
    ];
    for (id, code, text) in rows {
        let wasm = wat::parse_str(format!("(module {code})")).unwrap();
        let error = Module::compile("m", &wasm).expect_err(id).to_string();
        assert!(error.contains(text), "{id}: {error}");
    }
    for bytes in [&b"no module"[..], &wasm::module("")[..40]] {
        let error = Module::compile("m", bytes).unwrap_err().to_string();
        assert!(error.contains("Failed to parse corrupted Wasm module"), "LOAD-09: {error}");
    }
}

#[test]
fn load_03_memories_and_tables_are_made_for_each_vm() {
    let wasm = wat::parse_str(
        r#"(module
        (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
        (import "env" "memory" (memory 1))
        (import "env" "table" (table 2 funcref))
        (data (i32.const 64) "0")
        (elem (i32.const 1) $count)
        (func $count (result i32)
            (i32.store8 (i32.const 64) (i32.add (i32.load8_u (i32.const 64)) (i32.const 1)))
            (call $log (i32.const 2) (i32.const 64) (i32.const 1)))
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "malloc") (param i32) (result i32) (i32.const 128))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (call_indirect (result i32) (i32.const 1))))"#,
    )
    .unwrap();
    let mut first = plugin("");
    first.module = Module::compile("imports", &wasm).unwrap();
    let mut second = first.clone();
    second.vm_id = "another".to_owned();
    let mut replay = start(vec![first, second]);
    verify("LOAD-03", &replay.exchange(&exchange()), End::Forwarded, 200, "1 1");
    verify("LOAD-03", &replay.exchange(&exchange()), End::Forwarded, 200, "2 2");
}
