//! Write Envoy filters in Rust.

// A trap costs every stream of the worker.
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable
    )
)]

pub mod attributes;
mod config;
mod decision;
pub mod fraction;
mod headers;
pub mod matcher;

pub use attributes::{Attributes, RequestView};
pub use config::{ConfigDuration, ConfigError, Percentage, Problem, Problems, Timestamp, parse};
pub use decision::{Bytes, Callout, CalloutReply, Decision, Explanation, Flow, LocalReply, Mutation};
pub use fraction::{Denominator, Draw, FractionalPercent, Salt, Split};
pub use headers::{HeaderMap, Headers};
pub use matcher::{RequestMatch, RequestMatcher, RequestMatches, cookie, query_parameter, source_address};
