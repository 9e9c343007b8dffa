//! What becomes a function and what does not, on modules in text. What it does then is tested by running it: `harness/tests/outline.rs`.

use super::outline;

/// A module with these bodies of functions, which take two numbers.
fn module(bodies: &[String]) -> Vec<u8> {
    let functions: String =
        bodies.iter().map(|body| format!("(func (param i32 i64) (local i32) {body})")).collect();
    wat::parse_str(format!(
        "(module (import \"env\" \"f\" (func $f (param i32 i32) (result i32))) (memory 1) (global $g (mut i32) (i32.const 0)) {functions})"
    ))
    .unwrap()
}

/// Bodies in text, and how many functions come of them.
#[track_caller]
fn added(bodies: &[&str], expected: usize) {
    let wasm = module(&bodies.iter().map(|body| (*body).to_owned()).collect::<Vec<_>>());
    let outlined = outline(&wasm).unwrap();
    wasmparser_of_encoder::Validator::new().validate_all(&outlined.wasm).unwrap();
    assert_eq!(outlined.added, expected);
    assert_eq!(outlined.functions, bodies.len() + 1 + expected);
    assert_eq!(outlined.wasm.len() < wasm.len(), expected > 0);
}

const LONG: &str = "(i32.store offset=4 (local.get 0)
    (i32.mul (i32.const 90000) (i32.add (i32.load offset=8 (local.get 0)) (i32.const 70000))))";

#[test]
fn what_comes_twice_is_a_function() {
    added(&[LONG, "", LONG], 1);
    added(&[&[LONG, LONG].concat()], 1);
    added(&[LONG, ""], 0);
}

#[test]
fn locals_and_constants_are_arguments() {
    let other = LONG.replace("local.get 0", "local.get 2");
    added(&[LONG, &other, &LONG.replace("70000", "80000")], 1);
}

#[test]
fn what_is_on_the_stack_is_an_operand() {
    let end = "i32.const 70000 i32.add i32.load offset=4 i32.const 80000 i32.xor i32.popcnt i32.clz drop";
    added(&[&format!("global.get $g {end}"), &format!("i32.const 3 i32.load {end}")], 1);
    added(&[&format!("i64.const 3 i32.wrap_i64 {end}"), &format!("global.get $g {end}")], 1);
}

/// Sets local 2 and reads it again.
const SETS: &str = "(local.set 2 (i32.mul (i32.load offset=8 (local.get 0)) (i32.const 90000)))
    (i32.store offset=4 (local.get 2) (i32.add (local.get 2) (i32.const 70000)))";

#[test]
fn locals_that_nobody_reads_behind_may_be_set() {
    added(&[SETS, SETS, SETS], 1);
    added(
        &[SETS, &SETS.replace("local.get 2", "local.get 0").replace("local.set 2", "local.set 0"), SETS],
        1,
    );
}

#[test]
fn what_is_read_behind_is_returned() {
    let set = "(local.set 2 (i32.mul (i32.load offset=8 (local.get 0)) (i32.const 90000)))
        (i32.store offset=4 (local.get 0) (i32.const 70000))";
    let read = [set, "(global.set $g (local.get 2))"].concat();
    let sum = [set, "(global.set $g (i32.add (local.get 2) (i32.const 3)))"].concat();
    added(&[&read, &sum], 1);
    // Two locals at once, with which each place goes on in its own way; a function for each alone would save nothing.
    let two =
        "(local.set 2 (i32.mul (local.tee 0 (i32.add (local.get 0) (i32.const 90000))) (i32.const 70000)))";
    let ends = ["add", "sub", "mul", "xor", "and", "or"];
    let ends = ends.map(|end| format!("{two} (global.set $g (i32.{end} (local.get 0) (local.get 2)))"));
    added(&ends.each_ref().map(String::as_str), 1);
}

#[test]
fn whole_blocks_and_jumps_within_them() {
    let block =
        "(block (br_if 0 (i32.eqz (local.get 0))) (i32.store offset=4 (i32.const 70000) (i32.const 80000)))";
    added(&[block, block, block], 1);
    // Out of it, or to the end of all.
    let out = format!("(block {})", block.replace("br_if 0", "br_if 1"));
    added(&[&out, "", &out], 1);
    let returns = "(if (local.get 0) (then (return)))";
    added(&[returns, returns, returns, returns], 0);
}

#[test]
fn the_work_of_a_loop_stays() {
    let tight = format!("(loop {LONG} (br_if 0 (local.get 0)))");
    added(&[&tight, &tight, LONG], 0);
    let calls = format!("(loop {LONG} (drop (call $f (i32.const 1) (i32.const 2))))");
    added(&[&calls, &calls], 1);
    let within = format!("(loop {tight} (drop (call $f (i32.const 1) (i32.const 2))))");
    added(&[&within, &within], 0);
}

#[test]
fn what_is_very_large_stays() {
    let once = module(&[LONG.to_owned(), LONG.to_owned()]);
    let many = super::LARGEST / 16;
    assert!(outline(&once).unwrap().added > 0);
    assert_eq!(outline(&module(&[LONG.repeat(many)])).unwrap().added, 0);
}
