//! A real Envoy under test: its configuration, its process, and what it did, told as the harness's outcomes.

pub mod bootstrap;
pub mod process;
pub mod reading;
