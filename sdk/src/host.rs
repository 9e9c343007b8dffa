//! The imperative shell: the only code that calls the host. Filters see [`PluginHost`], the views of a callback, and
//! [`HostError`]; policies see none of it.

#[cfg(all(target_arch = "wasm32", not(test)))]
mod abi;
#[cfg(not(all(target_arch = "wasm32", not(test))))]
use crate::testing::abi;

mod again;
mod apply;
mod callbacks;
mod dispatch;
mod error;
mod export;
mod grpc;
mod gzip;
mod ids;
mod logger;
mod metrics;
mod plugin;
mod shared;
mod stream;
mod timers;
mod views;
pub(crate) mod wire;

pub use callbacks::{Callbacks, Registered};
pub use dispatch::Dispatcher;
pub use error::{HostError, Status};
pub use ids::Calls;
pub use logger::say;
pub use metrics::{Counter, Gauge, Histogram};
pub use plugin::PluginHost;
pub use shared::{Json, Shared, SharedValue};
pub use views::{Body, Ended, Request, RequestTrailers, Response, ResponseTrailers};

#[cfg(all(target_arch = "wasm32", not(test)))]
pub use abi::{allocate, initialize};

impl From<HostError> for crate::ConfigError {
    /// So that `configure` can use `?` on what it defines.
    fn from(error: HostError) -> Self {
        Self::invalid("", error.text())
    }
}
