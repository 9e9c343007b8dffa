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
    let slim = slim(&wasm, Wanted { callbacks: callbacks.as_ref(), ..Wanted::default() }).unwrap();
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
    let error = slim(
        &wasm,
        Wanted { callbacks: Some(&BTreeSet::from(["proxy_on_data".to_owned()])), ..Wanted::default() },
    )
    .unwrap_err();
    assert_eq!(error.to_string(), "`callbacks` names `proxy_on_data`, which the module does not export");
}

#[test]
fn twice_is_as_once() {
    let once = slim(&wat::parse_str(MODULE).unwrap(), Wanted::default()).unwrap();
    let twice = slim(&with_custom(&once.wasm, "weir.metadata", b"{}"), Wanted::default()).unwrap();
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

/// What leads to a panic and what does not, and what somebody would see before it.
const PANICS: &str = r#"(module
  (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "proxy_abi_version_0_2_1"))
  (func $rust_begin_unwind (param i32) (drop (call $log (i32.const 5) (local.get 0) (i32.const 9))) unreachable)
  (func $panic_fmt (param i32) (i32.store (i32.const 16) (local.get 0)) (call $rust_begin_unwind (i32.const 16)) unreachable)
  (func $bounds (param i32 i32)
    (block $large (br_if $large (i32.gt_u (local.get 0) (local.get 1))) (call $panic_fmt (i32.const 64)) unreachable)
    (call $panic_fmt (i32.const 96)))
  (func $pure (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (if (i32.gt_u (local.get 1) (i32.const 100))
      (then (i32.store (i32.const 8) (call $pure (local.get 1))) (call $bounds (local.get 1) (i32.const 100)) unreachable))
    (i32.const 0))
  (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
    (block $seen
      (br_if $seen (local.get 2))
      (drop (call $log (i32.const 2) (i32.const 0) (i32.const 3)))
      (call $bounds (i32.const 1) (i32.const 1)))
    (i32.const 1)))"#;

fn wat_of(wasm: &[u8], callback: &str) -> Vec<String> {
    let code = Code::of(wasm).unwrap();
    let found = inspect(wasm).unwrap();
    assert!(found.exports.iter().any(|export| export.name == callback));
    let mut index = None;
    for payload in Parser::new(0).parse_all(wasm) {
        let Payload::ExportSection(exports) = payload.unwrap() else { continue };
        for export in exports {
            let export = export.unwrap();
            index = index.or((export.name == callback).then_some(export.index as usize));
        }
    }
    let function = code.function(index.unwrap()).unwrap();
    function
        .steps
        .iter()
        .map(|step| format!("{:?}", step.operator).split(' ').next().unwrap().to_owned())
        .collect()
}

#[test]
fn panics_become_traps() {
    let wasm = wat::parse_str(PANICS).unwrap();
    let kept = slim(&wasm, Wanted::default()).unwrap();
    assert!(kept.names.values().any(|name| name == "panic_fmt"), "{:?}", kept.names);
    let slim = slim(&wasm, Wanted { panics: Panics::Trap, ..Wanted::default() }).unwrap();
    wasmparser_of_encoder::Validator::new().validate_all(&slim.wasm).unwrap();
    for gone in ["rust_begin_unwind", "panic_fmt", "bounds", "pure"] {
        assert!(!slim.names.values().any(|name| name == gone), "{gone}: {:?}", slim.names);
    }
    assert_eq!(
        wat_of(&slim.wasm, "proxy_on_request_headers"),
        ["LocalGet", "I32Const", "I32GtU", "If", "Unreachable", "End", "I32Const", "End"]
    );
    // What was logged before is logged.
    assert_eq!(
        wat_of(&slim.wasm, "proxy_on_response_headers"),
        [
            "Block",
            "LocalGet",
            "BrIf",
            "I32Const",
            "I32Const",
            "I32Const",
            "Call",
            "Unreachable",
            "End",
            "I32Const",
            "End"
        ]
    );
}

#[test]
fn a_module_without_rusts_panics_cannot_have_them_made_traps() {
    let wasm = wat::parse_str(MODULE).unwrap();
    let error = slim(&wasm, Wanted { panics: Panics::Trap, ..Wanted::default() }).unwrap_err();
    assert!(error.to_string().contains("rust_begin_unwind"), "{error}");
}

#[test]
fn functions_stay_in_their_order() {
    let module = r#"(module
      (memory (export "memory") 1)
      (func (export "proxy_abi_version_0_2_1"))
      (func $once (drop (i32.const 1)))
      (func $thrice (drop (i32.const 3)))
      (func (export "proxy_on_tick") (param i32) call $thrice call $once call $thrice call $thrice))"#;
    let slim = slim(&wat::parse_str(module).unwrap(), Wanted::default()).unwrap();
    let names: Vec<&str> = slim.names.values().map(String::as_str).collect();
    assert_eq!(names, ["once", "thrice"]);
}

#[test]
fn functions_that_do_the_same_are_one() {
    let module = r#"(module
      (import "env" "proxy_done" (func $done (result i32)))
      (memory (export "memory") 1)
      (func (export "proxy_abi_version_0_2_1"))
      (func $one (result i32) call $done)
      (func $two (result i32) call $done)
      (func $other (param i32) (result i32) call $done)
      (func $by_one (result i32) call $one call $done drop)
      (func $by_two (result i32) call $two call $done drop)
      (func (export "proxy_on_tick") (param i32) call $by_one drop call $by_two drop i32.const 1 call $other drop))"#;
    let slim = slim(&wat::parse_str(module).unwrap(), Wanted::default()).unwrap();
    wasmparser_of_encoder::Validator::new().validate_all(&slim.wasm).unwrap();
    let mut names: Vec<&str> = slim.names.values().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["by_one", "done", "one", "other"]);
}
