//! Sends each request to an arm: by what it carries, by a share that keeps every client on one side, by the clock, or by a switch.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

pub mod config;
mod policy;

pub use config::Config;
pub use policy::{Chosen, Inputs, Policy};
