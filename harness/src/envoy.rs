//! The same scenario in a real Envoy: its configuration, its process, the servers behind it, what it did told as the harness's outcomes, and
//! how the two compare. The one place of the harness with a network, a wall clock and other processes; a replay has none of them.

pub mod bootstrap;
pub mod carry;
pub mod cases;
pub mod client;
pub mod compare;
pub mod find;
pub mod foreground;
pub mod http2;
pub mod portrait;
pub mod process;
pub mod proxy;
pub mod reading;
pub mod run;
pub mod server;
pub mod stage;
pub mod versus;
pub mod wire;

use std::io;

use crate::driver::StartError;
use crate::setup::SetupError;
use crate::yaml::FileError;

/// Why a scenario does not run in a real Envoy.
#[derive(Debug, thiserror::Error)]
pub enum EnvoyError {
    /// The machine does not play along.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A peer spoke no HTTP, or fell silent.
    #[error("{what}: {source}")]
    Wire {
        /// What was tried.
        what: String,
        /// What came instead.
        source: wire::WireError,
    },
    /// Envoy was asked something and did not answer as it does.
    #[error("envoy {what}")]
    Unexpected {
        /// What it did not do, and the end of its log.
        what: String,
    },
    /// Envoy refuses the configuration for another reason than a plugin.
    #[error("envoy refuses its configuration: {0}")]
    Rejected(String),
    /// Envoy's configuration is JSON, and a plugin's in it a text.
    #[error("filter `{filter}`: its configuration is not UTF-8, and cannot stand in Envoy's")]
    NotText {
        /// The filter.
        filter: String,
    },
    /// A filter's configuration cannot be read.
    #[error("filter `{filter}`: {source}")]
    Configuration {
        /// The filter.
        filter: String,
        /// Why not.
        source: FileError,
    },
    /// The scenario cannot run anywhere.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// A plugin's module is not accepted.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl EnvoyError {
    fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what: what.into(), source }
    }
}
