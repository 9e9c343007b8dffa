//! Memory and integration: reading and writing the guest's memory, and the two functions that Emscripten modules import. Addresses that
//! lie outside are `InvalidMemoryAccess`, never a trap (`WASI-07`).

use wasmtime::{Caller, Linker, Memory};

use super::{Answer, Call, Failure, Status};
use crate::host::guest::Allowed;
use crate::host::{Guest, Host};
use crate::vm::State;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap("env", "emscripten_notify_memory_growth", |_: u32| {})?;
    linker.func_wrap("env", "pthread_equal", |a: u32, b: u32| u32::from(a == b))?;
    Ok(())
}

/// A part of the guest's memory.
pub(crate) fn slice(memory: &[u8], at: u32, size: u32) -> Result<&[u8], Status> {
    let (at, size) = (at as usize, size as usize);
    let end = at.checked_add(size).ok_or(Status::InvalidMemoryAccess)?;
    memory.get(at..end).ok_or(Status::InvalidMemoryAccess)
}

/// Writes bytes into the guest's memory.
pub(crate) fn write(memory: &mut [u8], at: u32, bytes: &[u8]) -> Result<(), Status> {
    let at = at as usize;
    let end = at.checked_add(bytes.len()).ok_or(Status::InvalidMemoryAccess)?;
    memory.get_mut(at..end).ok_or(Status::InvalidMemoryAccess)?.copy_from_slice(bytes);
    Ok(())
}

/// Writes a word into the guest's memory.
pub(crate) fn write_word(memory: &mut [u8], at: u32, word: u32) -> Result<(), Status> {
    write(memory, at, &word.to_le_bytes())
}

/// The guest's memory and the proxy's data at once.
pub(crate) fn split<'a>(caller: &'a mut Caller<'_, State>) -> (&'a mut [u8], &'a mut State) {
    match caller.data().memory {
        Some(memory) => Memory::data_and_store_mut(&memory, caller),
        None => (&mut [], caller.data_mut()),
    }
}

impl Call<'_, '_> {
    /// The guest's memory, and the proxy's data.
    pub(crate) fn parts(&mut self) -> (&mut [u8], &mut Host, &mut Guest) {
        let (memory, state) = split(self.caller);
        (memory, &mut state.host, &mut state.guest)
    }

    /// Writes a word into the guest's memory.
    pub(crate) fn put_word(&mut self, at: u32, word: u32) -> Answer {
        Ok(write_word(split(self.caller).0, at, word)?)
    }

    /// Writes bytes into the guest's memory.
    pub(crate) fn put(&mut self, at: u32, bytes: &[u8]) -> Answer {
        Ok(write(split(self.caller).0, at, bytes)?)
    }

    /// Gives bytes to the guest: `fill` (which may read the guest's memory) writes them into a buffer, the guest's allocator makes room,
    /// address and size go to `pointer` and `length`. Nothing is allocated for no bytes: both are 0 then. When `fill` fails, nothing is
    /// written.
    pub(crate) fn give(
        &mut self,
        pointer: u32,
        length: u32,
        fill: impl FnOnce(&[u8], &Host, &Guest, &mut Vec<u8>) -> Result<(), Status>,
    ) -> Answer {
        let (memory, state) = split(self.caller);
        let mut bytes = std::mem::take(&mut state.scratch);
        bytes.clear();
        let filled = fill(memory, &state.host, &state.guest, &mut bytes);
        let given = filled.map_err(Failure::Status).and_then(|()| self.give_bytes(pointer, length, &bytes));
        self.caller.data_mut().scratch = bytes;
        given
    }

    fn give_bytes(&mut self, pointer: u32, length: u32, bytes: &[u8]) -> Answer {
        let size = u32::try_from(bytes.len()).map_err(|_| Status::InternalFailure)?;
        let mut address = 0;
        if size > 0 {
            address = self.allocate(size)?;
            self.put(address, bytes)?;
        }
        self.put_word(pointer, address)?;
        self.put_word(length, size)
    }

    /// Asks the guest for room; hostcalls of the allocator are restricted (`LOAD-08`).
    fn allocate(&mut self, size: u32) -> Result<u32, Failure> {
        let Some(allocate) = self.caller.data_mut().allocate.take() else {
            return Err(Status::InternalFailure.into());
        };
        let before = std::mem::replace(&mut self.caller.data_mut().guest.allowed, Allowed::Allocate);
        let address = allocate.call(&mut *self.caller, size);
        let state = self.caller.data_mut();
        state.guest.allowed = before;
        state.allocate = Some(allocate);
        match address {
            Ok(0) => Err(Status::InvalidMemoryAccess.into()),
            Ok(address) => Ok(address),
            Err(error) => Err(Failure::Trap(error)),
        }
    }
}
