//! What the conformance tests share: a real Envoy, raw HTTP, the comparison of its outcomes with the harness's.
//! The tests themselves are in `tests/`.

pub mod cases;
pub mod envoy;
pub mod generate;
pub mod node;
pub mod portrait;
pub mod run;
pub mod tools;
pub mod upstream;
pub mod wire;
