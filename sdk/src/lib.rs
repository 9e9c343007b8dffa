#![doc = include_str!("../README.md")]
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

// What the derive writes names the crate as filters do.
extern crate self as weir_sdk;

pub mod address;
pub mod attributes;
pub mod config;
mod decision;
pub mod digest;
mod filter;
pub mod fraction;
mod headers;
pub mod hop;
mod host;
pub mod key;
pub mod limit;
pub mod matcher;
pub mod names;
pub mod outcome;
pub mod per_route;
pub mod protobuf;
mod regex;
pub mod signed;
#[cfg(any(test, not(target_arch = "wasm32")))]
pub mod testing;

pub use attributes::{Attributes, RequestView};
pub use config::{
    At, ConfigDuration, ConfigError, FromConfig, Percentage, Place, Problem, Problems, Timestamp, nanos,
    parse,
};
pub use decision::{
    Bytes, Callout, CalloutId, CalloutReply, Decision, Explanation, Flow, GrpcCall, GrpcReply, LocalReply,
    Mutation, Texts,
};
pub use filter::{FailurePolicy, HttpFilter};
pub use fraction::{Denominator, Draw, FractionalPercent, Salt, Split};
pub use headers::{HeaderMap, Headers};
pub use host::{
    Body, Callbacks, Calls, Counter, Dispatcher, Ended, Gauge, Histogram, HostError, Json, PluginHost,
    Registered, Request, RequestTrailers, Response, ResponseTrailers, Shared, SharedValue, Status, say,
};
#[cfg(all(target_arch = "wasm32", not(test)))]
#[doc(hidden)]
pub use host::{allocate, initialize};
pub use key::{AddressKey, Key, KeySource};
/// `log::info!` and the others write to Envoy's log; what Envoy would drop is not even formatted.
pub use log;
pub use matcher::{RequestMatch, RequestMatcher, RequestMatches, cookie, query_parameter, source_address};
pub use per_route::{Override, PerRoute, PerRouteConfig};
pub use regex::Regex;

#[cfg(all(target_arch = "wasm32", feature = "allocator"))]
#[global_allocator]
static ALLOCATOR: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();
