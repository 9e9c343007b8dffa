//! The hostcalls of proxy-wasm, a file per section of the ABI specification. A hostcall reads and writes [`Host`](crate::host::Host) and
//! nothing else; what changes the course of a stream is queued for the driver.

use wasmtime::{Caller, Engine, Linker};

use crate::host::guest::Allowed;
use crate::host::{Abi, Guest, Host, Owner, Slot};
use crate::vm::{Restricted, State};

mod buffers;
mod clock;
mod context;
mod foreign_functions;
mod grpc;
mod http_calls;
mod http_fields;
mod http_streams;
mod logging;
mod memory;
mod metrics;
mod properties;
mod shared_kv_store;
mod shared_queue;
mod timers;
mod wasi;

/// What a hostcall returns to the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Ok = 0,
    NotFound = 1,
    BadArgument = 2,
    SerializationFailure = 3,
    ParseFailure = 4,
    InvalidMemoryAccess = 6,
    Empty = 7,
    CasMismatch = 8,
    InternalFailure = 10,
    Unimplemented = 12,
}

/// How a hostcall can end other than well.
#[derive(Debug)]
pub(crate) enum Failure {
    /// With a status.
    Status(Status),
    /// With a trap.
    Trap(wasmtime::Error),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

pub(crate) type Answer = Result<(), Failure>;

/// A hostcall that is running: the guest's memory and the proxy's data.
pub(crate) struct Call<'a, 'b> {
    caller: &'a mut Caller<'b, State>,
}

/// Links hostcalls: name, the function behind it, its parameters.
macro_rules! hostcalls {
    ($linker:ident: $($name:literal = $function:ident($($arg:ident: $ty:ty),*);)*) => {
        $(
            $linker.func_wrap(
                "env",
                $name,
                |mut caller: wasmtime::Caller<'_, $crate::vm::State>, $($arg: $ty),*| -> wasmtime::Result<u32> {
                    $crate::abi::run(&mut caller, |call| $function(call, $($arg),*))
                },
            )?;
        )*
    };
}
pub(crate) use hostcalls;

/// Links hostcalls that Envoy has and the harness does not: calling one traps and names it.
macro_rules! absent {
    ($linker:ident: $($name:literal = ($($arg:ident: $ty:ty),*);)*) => {
        $(
            $linker.func_wrap(
                "env",
                $name,
                |_: wasmtime::Caller<'_, $crate::vm::State>, $($arg: $ty),*| -> wasmtime::Result<u32> {
                    let _ = ($($arg,)*);
                    Err($crate::abi::not_there_yet($name))
                },
            )?;
        )*
    };
}
pub(crate) use absent;

/// All hostcalls of a version of the ABI (`LOAD-02`, `LOAD-04`).
pub(crate) fn linker(engine: &Engine, abi: Abi) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    let all = &mut linker;
    memory::link(all)?;
    context::link(all)?;
    logging::link(all, abi)?;
    clock::link(all)?;
    timers::link(all)?;
    properties::link(all)?;
    http_fields::link(all)?;
    buffers::link(all, abi)?;
    http_streams::link(all, abi)?;
    http_calls::link(all)?;
    grpc::link(all)?;
    shared_kv_store::link(all)?;
    shared_queue::link(all)?;
    metrics::link(all)?;
    foreign_functions::link(all, abi)?;
    wasi::link(all)?;
    Ok(linker)
}

/// Runs a hostcall and turns its end into what the guest sees.
pub(crate) fn run(
    caller: &mut Caller<'_, State>,
    function: impl FnOnce(&mut Call<'_, '_>) -> Answer,
) -> wasmtime::Result<u32> {
    if caller.data().guest.allowed != Allowed::All {
        return Err(wasmtime::Error::new(Restricted));
    }
    if !caller.data_mut().guest.budget.call() {
        return Err(wasmtime::Error::msg(TOO_MUCH));
    }
    finish(function(&mut Call { caller }))
}

/// The end of a hostcall as the guest sees it.
fn finish(answer: Answer) -> wasmtime::Result<u32> {
    match answer {
        Ok(()) => Ok(Status::Ok as u32),
        Err(Failure::Status(status)) => Ok(status as u32),
        Err(Failure::Trap(error)) => Err(error),
    }
}

/// Why a callback ends that asks too much of the proxy.
const TOO_MUCH: &str = "it made 100000 hostcalls or had 256 MiB kept in one callback: the harness stops here, an Envoy would go on until it \
                        is out of memory";

/// Notes that the proxy keeps so many bytes of a guest.
fn keep(guest: &mut Guest, bytes: usize) -> Answer {
    if guest.budget.keep(bytes) { Ok(()) } else { Err(Failure::Trap(wasmtime::Error::msg(TOO_MUCH))) }
}

/// A hostcall that Envoy has and the harness does not.
fn not_there_yet(name: &str) -> wasmtime::Error {
    wasmtime::Error::msg(format!("`{name}` is not there yet: the harness cannot tell what Envoy would do"))
}

impl Call<'_, '_> {
    pub(crate) fn host(&mut self) -> &mut Host {
        &mut self.caller.data_mut().host
    }

    pub(crate) fn guest(&mut self) -> &mut Guest {
        &mut self.caller.data_mut().guest
    }

    /// The call is about to touch what workers share: others may have their turn before.
    pub(crate) fn pause(&mut self) {
        Host::pause(&mut self.caller.data_mut().host);
    }

    /// Whose context the call acts on.
    pub(crate) fn owner(&self) -> Option<Owner> {
        self.caller.data().guest.owner()
    }

    /// The stream, and the filter in its chain, whose context the call acts on.
    pub(crate) fn stream(&self) -> Option<(Slot, usize)> {
        match self.owner() {
            Some(Owner::Stream { at, filter }) => Some((at, filter)),
            _ => None,
        }
    }
}
