//! Weir's harness: runs any proxy-wasm module on recorded traffic outside Envoy and tells what Envoy would have done.

mod abi;
pub mod build;
pub mod case;
pub mod check;
pub mod clock;
pub mod commands;
pub mod driver;
pub mod envoy;
pub mod exchange;
mod files;
pub mod headers;
mod host;
pub mod inspect;
pub mod manifest;
pub mod oci;
pub mod outcome;
pub mod report;
pub mod routes;
pub mod scenario;
pub mod setup;
pub mod style;
pub mod time;
pub mod traffic;
pub mod upstream;
pub mod vm;
pub mod yaml;
