//! Modules and virtual machines: what is accepted as Envoy accepts it, limits, typed callbacks, traps in Envoy's words. Knows no HTTP.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, LazyLock};

use wasmtime::{Config, Engine};

use crate::host::Abi;

mod accept;
mod callbacks;
mod instance;
mod link;
mod trap;

pub(crate) use instance::{State, Vm};
pub(crate) use trap::Restricted;

/// Fuel for one callback: about as many Wasm instructions, some seconds. A callback that burns all of it would block an Envoy's worker
/// for ever (`DIE-07`). Fuel and not time, so that the same input always ends at the same place.
pub(crate) const FUEL: u64 = 5_000_000_000;

/// Largest memory of a VM: 16384 pages (`FAULT-11`).
const MEMORY_BYTES: usize = 1 << 30;

/// Largest table of a VM: V8's limit.
const TABLE_ELEMENTS: usize = 10_000_000;

/// Stack of a VM: V8's default.
const STACK_BYTES: usize = 984 << 10;

static ENGINE: LazyLock<Result<Engine, String>> = LazyLock::new(|| {
    let mut config = Config::new();
    config.consume_fuel(true);
    config.max_wasm_stack(STACK_BYTES);
    Engine::new(&config).map_err(|error| format!("{error:#}"))
});

/// A compiled module that a proxy would accept. Cheap to clone.
#[derive(Clone)]
pub struct Module(Arc<Inner>);

struct Inner {
    label: String,
    abi: Abi,
    code: u64,
    linked: link::Linked,
}

/// Why a module is not accepted, in Envoy's words (`LOAD-01` to `LOAD-10`).
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{label}`: {reason}")]
pub struct LoadError {
    /// The module.
    pub label: String,
    /// The text that Envoy logs.
    pub reason: String,
}

impl LoadError {
    /// Whether it is Envoy that would not load the module; else it is only this program that does not run it, such as one with threads.
    #[must_use]
    pub fn is_envoys(&self) -> bool {
        !self.reason.starts_with(accept::NOT_RUN_HERE)
    }
}

impl Module {
    /// Compiles and checks a module.
    ///
    /// # Errors
    /// When Envoy would reject it; `label` names the module in the message.
    pub fn compile(label: &str, wasm: &[u8]) -> Result<Self, LoadError> {
        let error = |reason: String| LoadError { label: label.to_owned(), reason };
        let engine = ENGINE.as_ref().map_err(|reason| error(reason.clone()))?;
        let (abi, linked) = accept::accept(engine, wasm).map_err(error)?;
        let mut hasher = DefaultHasher::new();
        wasm.hash(&mut hasher);
        Ok(Self(Arc::new(Inner { label: label.to_owned(), abi, code: hasher.finish(), linked })))
    }

    /// The name it was compiled under.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.0.label
    }

    /// Whether both have the same code (`LOAD-30`).
    pub(crate) fn same_code(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.code == other.0.code
    }
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Module").field(&self.0.label).finish()
    }
}
