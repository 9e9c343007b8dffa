//! Weir's harness: runs any proxy-wasm module on recorded traffic outside Envoy and tells what Envoy would have done.

pub mod build;
pub mod case;
pub mod commands;
pub mod exchange;
pub mod headers;
pub mod inspect;
pub mod outcome;
pub mod report;
pub mod scenario;
pub mod style;
pub mod time;
pub mod traffic;
pub mod yaml;
