//! What becomes shorter, on functions in text. What they do then is tested by running them: `harness/tests/outline.rs`.

use super::branches;

/// The operators of a function that is given a number, before and after, without their arguments.
fn shortened(body: &str) -> String {
    let text = format!(
        "(module (import \"env\" \"f\" (func $f (param i32))) (func $t (param i32) (result i32) (local.get 0)) (func (param i32) {body}))"
    );
    let wasm = branches(&wat::parse_str(text).unwrap()).unwrap();
    wasmparser_of_encoder::Validator::new().validate_all(&wasm).unwrap();
    assert_eq!(branches(&wasm).unwrap(), wasm, "again");
    let mut found = Vec::new();
    for payload in wasmparser_of_encoder::Parser::new(0).parse_all(&wasm) {
        if let wasmparser_of_encoder::Payload::CodeSectionEntry(body) = payload.unwrap() {
            let operators = body.get_operators_reader().unwrap().into_iter();
            let operators = operators.map(|operator| format!("{:?}", operator.unwrap()));
            found = operators.map(|text| text.split([' ', '{']).next().unwrap_or("").to_owned()).collect();
        }
    }
    found.retain(|operator| !matches!(operator.as_str(), "LocalGet" | "I32Const"));
    found.pop();
    found.join(" ")
}

/// A call that tells which way was taken.
const A: &str = "(call $f (i32.const 1))";
const B: &str = "(call $f (i32.const 2))";

#[test]
fn a_block_that_is_left_early_is_an_if() {
    assert_eq!(shortened(&format!("(block (br_if 0 (local.get 0)) {A})")), "I32Eqz If Call End");
    assert_eq!(shortened(&format!("(block (br_if 0 (i32.eqz (local.get 0))) {A})")), "If Call End");
    assert_eq!(
        shortened(&format!("(block (br_if 0 (i32.eq (local.get 0) (i32.const 3))) {A})")),
        "I32Ne If Call End"
    );
}

#[test]
fn two_blocks_are_an_else() {
    let both = format!("(block (block (br_if 0 (local.get 0)) {A} (br 1)) {B})");
    assert_eq!(shortened(&both), "If Call Else Call End");
    let deeper = format!("(block (block (br_if 0 (local.get 0)) {A} {both} (br 1)) {B})");
    assert_eq!(shortened(&deeper), "If Call Else Call If Call Else Call End End");
}

#[test]
fn jumps_to_where_the_end_leads_go() {
    assert_eq!(shortened(&format!("(block {A} (br 0))")), "Call");
    assert_eq!(shortened(&format!("(block (block {A} (br 1)))")), "Call");
    assert_eq!(
        shortened(&format!("(if (local.get 0) (then {A} (return)) (else {B}))")),
        "If Call Else Call End"
    );
    assert_eq!(shortened("(block (br_if 0 (call $t (local.get 0))))"), "Call Drop");
    assert_eq!(
        shortened(&format!("(block (loop {A} (br_if 1 (local.get 0)) {B} (br 0)))")),
        "Loop Call I32Eqz If Call Br End End"
    );
}

#[test]
fn an_if_that_jumps_is_a_jump() {
    let found =
        shortened(&format!("(block (if (local.get 0) (then (br 1))) {A} (br_if 0 (local.get 0)) {B})"));
    assert_eq!(found, "Block BrIf Call BrIf Call End");
    let found = shortened(&format!("(loop (if (local.get 0) (then {A} (br 1)) (else (br 1))) {B})"));
    assert_eq!(found, "Loop I32Eqz BrIf Call Br End");
    let found = shortened(&format!("(loop (if (local.get 0) (then {A}) (else (br 1))) {B})"));
    assert_eq!(found, "Loop I32Eqz BrIf Call Call End");
}

#[test]
fn what_is_needed_stays() {
    // Two jumps to one end.
    let twice = format!("(block (br_if 0 (local.get 0)) {A} (br_if 0 (local.get 0)) {B})");
    assert_eq!(shortened(&twice), "Block BrIf Call BrIf Call End");
    // A value that lies on the stack meanwhile.
    let value = "(block (local.get 0) (br_if 0 (local.get 0)) (call $f))";
    assert_eq!(shortened(value), "Block BrIf Call End");
    let result = "(drop (block (result i32) (br_if 0 (i32.const 1) (local.get 0)) (drop) (i32.const 2)))";
    assert_eq!(shortened(result), "Block BrIf Drop End Drop");
    let table = format!("(block (block (br_table 0 1 (local.get 0))) {A})");
    assert_eq!(shortened(&table), "Block Block BrTable End Call End");
}
