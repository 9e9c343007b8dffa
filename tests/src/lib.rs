//! What the conformance tests share: an Envoy to test with, Node, and the cases of the workspace. What runs them is the harness's own
//! `weir_harness::envoy`. The tests themselves are in `tests/`.

pub mod beside;
pub mod cases;
pub mod delivered;
pub mod gateway;
pub mod generate;
pub mod h2;
pub mod limits;
pub mod node;
pub mod registry;
pub mod run;
pub mod services;
pub mod tools;
