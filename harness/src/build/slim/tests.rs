//! What goes and what stays, on modules in text.

use super::*;

const MODULE: &str = r#"(module
  (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
  (import "env" "proxy_done" (func $done (result i32)))
  (memory (export "memory") 1)
  (global (export "__heap_base") i32 (i32.const 8))
  (table (export "__indirect_function_table") 2 funcref)
  (elem (i32.const 1) $by_table)
  (func $by_table (result i32) call $helper)
  (func $helper (result i32) i32.const 7)
  (func $nobody (result i32) call $done)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) i32.const 64)
  (func (export "proxy_on_log") (param i32))
  (func (export "proxy_on_done") (param i32) (result i32) i32.const 1)
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) i32.const 1)
  (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
    (call $log (i32.const 0) (i32.const 0) (i32.const 0)))
  (func (export "proxy_on_tick") (param i32) (drop (call $nobody))))"#;

#[track_caller]
fn check(callbacks: Option<&[&str]>, exports: &[&str], removed: &[&str]) -> Slim {
    let callbacks = callbacks.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
    let wasm = wat::parse_str(MODULE).unwrap();
    let slim = slim(&wasm, callbacks.as_ref()).unwrap();
    wasmparser_of_encoder::Validator::new().validate_all(&slim.wasm).unwrap();
    let found = inspect(&slim.wasm).unwrap();
    assert_eq!(found.exports.iter().map(|export| export.name.as_str()).collect::<Vec<_>>(), exports);
    assert_eq!(slim.removed, removed);
    slim
}

const ALWAYS: [&str; 3] = ["memory", "proxy_abi_version_0_2_1", "malloc"];
const IDLE: [&str; 4] = ["__heap_base", "__indirect_function_table", "proxy_on_log", "proxy_on_done"];

#[test]
fn what_envoy_does_not_use_goes() {
    let stay =
        [&ALWAYS[..], &["proxy_on_request_headers", "proxy_on_response_headers", "proxy_on_tick"]].concat();
    let slim = check(None, &stay, &IDLE);
    assert!(slim.names.values().any(|name| name == "by_table"));
    assert_eq!(inspect(&slim.wasm).unwrap().imports.len(), 2);
}

#[test]
fn what_only_a_removed_callback_reaches_goes_with_it() {
    let stay = [&ALWAYS[..], &["proxy_on_response_headers"]].concat();
    let gone = [&IDLE[..], &["proxy_on_request_headers", "proxy_on_tick"]].concat();
    let slim = check(Some(&["proxy_on_response_headers"]), &stay, &gone);
    let names: Vec<&str> = slim.names.values().map(String::as_str).collect();
    assert_eq!(names.iter().filter(|name| ["nobody", "done"].contains(name)).count(), 0, "{names:?}");
    let imports = inspect(&slim.wasm).unwrap().imports;
    assert_eq!(imports.iter().map(|import| import.name.as_str()).collect::<Vec<_>>(), ["proxy_log"]);
}

#[test]
fn a_callback_that_is_not_there_is_a_mistake() {
    let wasm = wat::parse_str(MODULE).unwrap();
    let error = slim(&wasm, Some(&BTreeSet::from(["proxy_on_data".to_owned()]))).unwrap_err();
    assert_eq!(error.to_string(), "`callbacks` names `proxy_on_data`, which the module does not export");
}

#[test]
fn twice_is_as_once() {
    let once = slim(&wat::parse_str(MODULE).unwrap(), None).unwrap();
    let twice = slim(&with_custom(&once.wasm, "weir.metadata", b"{}"), None).unwrap();
    assert_eq!(twice.wasm, once.wasm);
}

#[test]
fn names_come_after_the_code() {
    let slim = check(
        None,
        &[&ALWAYS[..], &["proxy_on_request_headers", "proxy_on_response_headers", "proxy_on_tick"]].concat(),
        &IDLE,
    );
    let named = with_names(&slim.wasm, &slim.names);
    assert!(named.starts_with(&slim.wasm));
    assert_eq!(names(&named).unwrap(), slim.names);
}
