//! Write Envoy filters in Rust.

mod decision;
mod headers;

pub use decision::{Bytes, Callout, CalloutReply, Decision, Explanation, Flow, LocalReply, Mutation};
pub use headers::{HeaderMap, Headers};
