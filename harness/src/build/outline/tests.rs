//! What becomes a function and what does not, on modules in text; and that functions that are put back where they are called give the module as
//! it was.

use proptest::prelude::*;

use super::read::read;
use super::repeats::repeats;
use super::{outline, write};

/// The bytes of each step of each body.
fn steps(wasm: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let code = read(wasm).unwrap();
    let bodies = code.bodies.iter();
    bodies
        .map(|body| body.steps.iter().map(|step| body.bytes[step.place.clone()].to_vec()).collect())
        .collect()
}

/// The number behind an operator.
fn number(step: &[u8]) -> usize {
    step[1..].iter().rev().fold(0, |number, byte| number << 7 | usize::from(byte & 0x7f))
}

const CALL: u8 = 0x10;
const LOCAL_GET: u8 = 0x20;

/// Outlines once, and looks whether putting back gives what was.
fn check(wasm: &[u8]) -> Vec<u8> {
    let code = read(wasm).unwrap();
    let repeats = repeats(&code);
    let written = write::write(wasm, &code, &repeats).unwrap();
    wasmparser_of_encoder::Validator::new().validate_all(&written).unwrap();
    let bodies = steps(&written);
    let (old, new) = bodies.split_at(code.bodies.len());
    let put_back = |body: &Vec<Vec<u8>>| {
        let mut found: Vec<Vec<u8>> = Vec::new();
        for step in body {
            let called = (step[0] == CALL).then(|| number(step).checked_sub(code.functions)).flatten();
            let Some(called) = called else {
                found.push(step.clone());
                continue;
            };
            let operands = repeats[called].operands.len();
            let arguments = found.split_off(found.len() - repeats[called].arguments(&code).len());
            let (_, function) = new[called].split_last().unwrap();
            for step in &function[operands..] {
                let argument = (step[0] == LOCAL_GET).then(|| arguments[number(step) - operands].clone());
                found.push(argument.unwrap_or_else(|| step.clone()));
            }
        }
        found
    };
    assert_eq!(old.iter().map(put_back).collect::<Vec<_>>(), steps(wasm));
    written
}

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
    let written = check(&wasm);
    assert_eq!(steps(&written).len() - steps(&wasm).len(), expected);
    assert_eq!(written.len() < wasm.len(), expected > 0);
    assert_eq!(outline(&wasm).unwrap().wasm.len() < wasm.len(), expected > 0);
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

#[test]
fn what_sets_locals_jumps_or_is_the_work_of_a_loop_stays() {
    let set = "(local.set 2 (local.get 0)) (local.set 0 (local.get 2)) (local.set 2 (local.get 0)) (local.set 0 (local.get 2))";
    added(&[set, set, set], 0);
    let jump = "block (br_if 0 (local.get 0)) br 0 end block (br_if 0 (local.get 0)) br 0 end";
    added(&[jump, jump, jump], 0);
    let tight = format!("(loop {LONG} (br_if 0 (local.get 0)))");
    added(&[&tight, &tight, LONG], 0);
    let calls = format!("(loop {LONG} (drop (call $f (i32.const 1) (i32.const 2))))");
    added(&[&calls, &calls], 1);
    let within = format!("(loop {tight} (drop (call $f (i32.const 1) (i32.const 2))))");
    added(&[&within, &within], 0);
}

/// Statements of straight and other code, with locals and constants of a few values, so that much is alike.
fn statement() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        Just("(local.get 0)".to_owned()),
        Just("(local.get 2)".to_owned()),
        Just("(global.get $g)".to_owned()),
        Just("(i32.wrap_i64 (local.get 1))".to_owned()),
        (0..3).prop_map(|number| format!("(i32.const {})", number * 1_000_000)),
    ];
    let value = value.prop_recursive(3, 8, 2, |value| {
        prop_oneof![
            (value.clone(), value.clone()).prop_map(|(a, b)| format!("(i32.add {a} {b})")),
            value.clone().prop_map(|a| format!("(i32.load offset=8 {a})")),
            (value.clone(), value).prop_map(|(a, b)| format!("(call $f {a} {b})")),
        ]
    });
    let simple = prop_oneof![
        (value.clone(), value.clone()).prop_map(|(a, b)| format!("(i32.store {a} {b})")),
        value.clone().prop_map(|a| format!("(drop {a})")),
        value.clone().prop_map(|a| format!("(global.set $g {a})")),
        value.prop_map(|a| format!("(local.set 2 {a})")),
    ];
    simple.prop_recursive(2, 8, 3, |statement| {
        let some = || prop::collection::vec(statement.clone(), 1..4).prop_map(|all| all.concat());
        prop_oneof![
            some().prop_map(|all| format!("(if (local.get 0) (then {all}))")),
            some().prop_map(|all| format!("(block (br_if 0 (local.get 2)) {all} (br 0))")),
            some().prop_map(|all| format!("(loop {all} (br_if 0 (global.get $g)))")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn what_is_put_back_is_as_it_was(
        bodies in prop::collection::vec(prop::collection::vec(statement(), 1..8).prop_map(|all| all.concat()), 1..6),
    ) {
        check(&check(&module(&bodies)));
    }
}
