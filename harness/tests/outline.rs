//! Modules with shorter jumps, with repeated code made functions and with functions in another order do what they did: the same results, calls, memory and traps. Random modules,
//! much alike in themselves, in both forms side by side.

#![expect(clippy::unwrap_used, reason = "helpers of tests are outside of `#[test]`")]

use proptest::prelude::*;
use wasmtime::{Caller, Engine, Func, Instance, Module, Store, Val};
use weir_harness::build::branches::branches;
use weir_harness::build::order::order;
use weir_harness::build::outline::outline;

/// Functions of two numbers, each body once with a result and once without; locals 2 and 3 are of 32 bits, 4 is of 64.
fn module(bodies: &[String]) -> Vec<u8> {
    let functions = bodies.iter().enumerate().map(|(number, body)| {
        let (with, without) = (2 * number, 2 * number + 1);
        format!(
            "(func (export \"{with}\") (param i32 i64) (result i32) (local i32 i32 i64) {body} (i32.add (local.get 2) (local.get 3)))
             (func (export \"{without}\") (param i32 i64) (local i32 i32 i64) {body} (i32.store offset=99 (local.get 2) (local.get 3)) {body})"
        )
    });
    let functions: String = functions.collect();
    let text = format!(
        "(module (import \"env\" \"f\" (func $f (param i32 i32) (result i32)))
          (memory (export \"memory\") 1) (global $g (mut i32) (i32.const 0)) (global $turns (mut i32) (i32.const 0)) {functions})"
    );
    wat::parse_str(&text).unwrap()
}

/// What the functions of a module give, one after the other, and what they call; then what is in memory.
fn run(wasm: &[u8], bodies: usize) -> (Vec<String>, Vec<(usize, u8)>) {
    let engine = Engine::default();
    let module = Module::new(&engine, wasm).unwrap();
    let mut store = Store::new(&engine, Vec::<String>::new());
    let f = Func::wrap(&mut store, |mut caller: Caller<'_, Vec<String>>, a: i32, b: i32| {
        caller.data_mut().push(format!("f({a}, {b})"));
        a.wrapping_mul(31).wrapping_add(b)
    });
    let instance = Instance::new(&mut store, &module, &[f.into()]).unwrap();
    for number in 0..2 * bodies {
        let function = instance.get_func(&mut store, &number.to_string()).unwrap();
        for arguments in [(0, 5), (1, -1), (4096, 1 << 40), (-70_000, 0)] {
            let mut result = [Val::I32(0)];
            let results = function.ty(&store).results().len();
            let parameters = [Val::I32(arguments.0), Val::I64(arguments.1)];
            let end = match function.call(&mut store, &parameters, &mut result[..results]) {
                Ok(()) => format!("{:?}", result[0].i32()),
                Err(trap) => format!("{:?}", trap.downcast_ref::<wasmtime::Trap>()),
            };
            store.data_mut().push(end);
        }
    }
    let memory = instance.get_memory(&mut store, "memory").unwrap().data(&store).iter().copied();
    let memory = memory.enumerate().filter(|(_, byte)| *byte != 0).collect();
    (store.into_data(), memory)
}

/// Values of 32 bits: of locals and constants of which there are few, so that much is alike.
fn value() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        (prop::sample::select(vec![0, 2, 3])).prop_map(|local| format!("(local.get {local})")),
        Just("(global.get $g)".to_owned()),
        (prop::sample::select(vec![1, 4])).prop_map(|local| format!("(i32.wrap_i64 (local.get {local}))")),
        (0..3).prop_map(|number| format!("(i32.const {})", number * 20_000)),
    ];
    value.prop_recursive(3, 8, 2, |value| {
        let two = || (value.clone(), value.clone());
        prop_oneof![
            two().prop_map(|(a, b)| format!("(i32.add {a} {b})")),
            value.clone().prop_map(|a| format!("(i32.load offset=8 (i32.and {a} (i32.const 0x8fff)))")),
            two().prop_map(|(a, b)| format!("(call $f {a} {b})")),
            (2..4, value.clone()).prop_map(|(local, a)| format!("(local.tee {local} {a})")),
            two().prop_map(|(a, b)| format!("(if (result i32) {a} (then {b}) (else (i32.const 7)))")),
        ]
    })
}

/// Statements, of which loops have so many turns in all.
fn statement() -> impl Strategy<Value = String> {
    let simple = prop_oneof![
        (value(), value()).prop_map(|(a, b)| format!("(i32.store (i32.and {a} (i32.const 0xffff)) {b})")),
        value().prop_map(|a| format!("(drop {a})")),
        value().prop_map(|a| format!("(global.set $g {a})")),
        (2..4, value()).prop_map(|(local, a)| format!("(local.set {local} {a})")),
        value().prop_map(|a| format!("(local.set 4 (i64.extend_i32_s {a}))")),
    ];
    simple.prop_recursive(3, 12, 3, |statement| {
        let some = || prop::collection::vec(statement.clone(), 1..4).prop_map(|all| all.concat());
        prop_oneof![
            (value(), some()).prop_map(|(a, all)| format!("(if {a} (then {all}))")),
            (value(), some(), some())
                .prop_map(|(a, all, other)| format!("(if {a} (then {all}) (else {other}))")),
            (value(), some()).prop_map(|(a, all)| format!("(block (br_if 0 {a}) {all} (br 0))")),
            (value(), some(), some()).prop_map(|(a, all, other)| {
                format!("(block (block (br_table 0 1 0 1 {a})) {all} (block {other}))")
            }),
            (value(), some()).prop_map(|(a, all)| format!("(block (if {a} (then {all} (br 1))) {all})")),
            (value(), some()).prop_map(|(a, all)| {
                format!(
                    "(loop {all} (global.set $turns (i32.add (global.get $turns) (i32.const 1)))
                      (br_if 0 (i32.and (i32.lt_u (global.get $turns) (i32.const 50)) {a})))"
                )
            }),
            (value(), value()).prop_map(|(a, b)| format!("(if {a} (then (return {b})))")),
            value().prop_map(|a| format!("(if (i32.eq {a} (i32.const 40_000)) (then unreachable))")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn what_it_does_is_what_it_did(
        bodies in prop::collection::vec(prop::collection::vec(statement(), 1..6), 1..4),
        // Which statements come again, and where.
        again in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..12),
    ) {
        let all: Vec<String> = bodies.concat();
        let mut bodies = bodies;
        for (what, place) in again {
            let place = place.index(bodies.len());
            bodies[place].push(what.get(&all).clone());
        }
        let bodies: Vec<String> = bodies.iter().map(|body| body.concat()).collect();
        let before = module(&bodies);
        let shorter = branches(&before).unwrap();
        let once = outline(&shorter).unwrap().wasm;
        let twice = outline(&once).unwrap().wasm;
        let expected = run(&before, bodies.len());
        prop_assert_eq!(&run(&shorter, bodies.len()), &expected);
        prop_assert_eq!(&run(&once, bodies.len()), &expected);
        prop_assert_eq!(&run(&twice, bodies.len()), &expected);
        prop_assert_eq!(&run(&order(&twice).unwrap().wasm, bodies.len()), &expected);
    }
}
