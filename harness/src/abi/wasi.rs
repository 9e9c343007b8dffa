//! WASI: the subset that Envoy has, under both of its module names, with Envoy's results (`WASI-01` to `WASI-04`).

use wasmtime::{Caller, Linker};

use super::memory::{slice, split, write, write_word};
use crate::host::guest::Allowed;
use crate::vm::{Restricted, State};

/// WASI's error numbers, as far as Envoy returns them.
mod errno {
    pub(super) const SUCCESS: u32 = 0;
    pub(super) const BADF: u32 = 8;
    pub(super) const FAULT: u32 = 21;
    pub(super) const INVAL: u32 = 28;
    pub(super) const NOENT: u32 = 44;
    pub(super) const NOSYS: u32 = 52;
    pub(super) const NOTSUP: u32 = 58;
}

/// The most bytes that one `random_get` gives (`WASI-03`).
const RANDOM_BYTES: u32 = 65536;

const MODULES: [&str; 2] = ["wasi_snapshot_preview1", "wasi_unstable"];

/// Links functions that do nothing but return a number: name, result, parameters.
macro_rules! fixed {
    ($linker:ident, $module:ident: $($name:literal = $result:ident($($ty:ty),*);)*) => {
        $( fixed!(@one $linker, $module, $name, $result, ($($ty),*)); )*
    };
    (@one $linker:ident, $module:ident, $name:literal, $result:ident, ($($ty:ty),*)) => {
        $linker.func_wrap($module, $name, |$(_: $ty),*| errno::$result)?;
    };
}

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    for module in MODULES {
        link_real(linker, module)?;
        fixed! { linker, module:
            "fd_advise" = NOSYS(u32, u64, u64, u32);
            "fd_allocate" = NOSYS(u32, u64, u64);
            "fd_close" = SUCCESS(u32);
            "fd_datasync" = NOSYS(u32);
            "fd_fdstat_set_flags" = NOSYS(u32, u32);
            "fd_fdstat_set_rights" = NOSYS(u32, u64, u64);
            "fd_filestat_get" = NOSYS(u32, u32);
            "fd_filestat_set_size" = NOSYS(u32, u64);
            "fd_filestat_set_times" = NOSYS(u32, u64, u64, u32);
            "fd_pread" = NOSYS(u32, u32, u32, u64, u32);
            "fd_prestat_dir_name" = NOSYS(u32, u32, u32);
            "fd_prestat_get" = BADF(u32, u32);
            "fd_pwrite" = NOSYS(u32, u32, u32, u64, u32);
            "fd_read" = NOSYS(u32, u32, u32, u32);
            "fd_readdir" = NOSYS(u32, u32, u32, u64, u32);
            "fd_renumber" = NOSYS(u32, u32);
            "fd_seek" = SUCCESS(u32, u64, u32, u32);
            "fd_sync" = NOSYS(u32);
            "fd_tell" = NOSYS(u32, u32);
            "path_create_directory" = NOSYS(u32, u32, u32);
            "path_filestat_get" = NOSYS(u32, u32, u32, u32, u32);
            "path_filestat_set_times" = NOSYS(u32, u32, u32, u32, u64, u64, u32);
            "path_open" = NOENT(u32, u32, u32, u32, u32, u64, u64, u32, u32);
            "path_readlink" = NOSYS(u32, u32, u32, u32, u32, u32);
            "path_remove_directory" = NOSYS(u32, u32, u32);
            "path_rename" = NOSYS(u32, u32, u32, u32, u32, u32);
            "path_unlink_file" = NOSYS(u32, u32, u32);
            "sched_yield" = SUCCESS();
            "sock_accept" = NOSYS(u32, u32, u32);
            "sock_recv" = NOSYS(u32, u32, u32, u32, u32, u32);
            "sock_send" = NOSYS(u32, u32, u32, u32, u32);
            "sock_shutdown" = NOSYS(u32, u32);
        }
    }
    Ok(())
}

fn link_real(linker: &mut Linker<State>, module: &str) -> wasmtime::Result<()> {
    type C<'a> = Caller<'a, State>;
    type R = wasmtime::Result<u32>;
    linker.func_wrap(module, "args_sizes_get", |mut caller: C<'_>, count: u32, size: u32| -> R {
        words(&mut caller, [(count, 0), (size, 0)])
    })?;
    linker.func_wrap(module, "args_get", |_: u32, _: u32| errno::SUCCESS)?;
    linker.func_wrap(module, "environ_sizes_get", |mut caller: C<'_>, count: u32, size: u32| -> R {
        not_allocating(&caller)?;
        let all = &caller.data().guest.environment;
        let bytes: usize = all.iter().map(|(key, value)| key.len() + value.len() + 2).sum();
        let numbers = [all.len(), bytes].map(|number| u32::try_from(number).unwrap_or(u32::MAX));
        words(&mut caller, [(count, numbers[0]), (size, numbers[1])])
    })?;
    linker.func_wrap(module, "environ_get", |mut caller: C<'_>, array: u32, buffer: u32| -> R {
        not_allocating(&caller)?;
        Ok(environ_get(&mut caller, array, buffer))
    })?;
    linker.func_wrap(module, "clock_res_get", |mut caller: C<'_>, clock: u32, resolution: u32| -> R {
        if clock > 1 {
            return Ok(errno::NOTSUP);
        }
        Ok(bytes(&mut caller, resolution, &1u64.to_le_bytes()))
    })?;
    linker.func_wrap(module, "clock_time_get", |mut caller: C<'_>, clock: u32, _: u64, time: u32| -> R {
        let now = match clock {
            0 => caller.data().host.clock.now_ns(),
            1 => caller.data().host.clock.monotonic_ns(),
            _ => return Ok(errno::NOTSUP),
        };
        Ok(bytes(&mut caller, time, &now.to_le_bytes()))
    })?;
    linker.func_wrap(module, "fd_fdstat_get", |mut caller: C<'_>, fd: u32, stat: u32| -> R {
        if !(1..=2).contains(&fd) {
            return Ok(errno::BADF);
        }
        // Rights: 64 is `fd_write`; no file type, no inherited rights.
        let mut description = [0; 24];
        description[8] = 64;
        Ok(bytes(&mut caller, stat, &description))
    })?;
    linker.func_wrap(
        module,
        "fd_write",
        |mut caller: C<'_>, fd: u32, vectors: u32, count: u32, written: u32| -> R {
            Ok(fd_write(&mut caller, fd, vectors, count, written))
        },
    )?;
    linker.func_wrap(
        module,
        "poll_oneoff",
        |mut caller: C<'_>, _: u32, _: u32, _: u32, events: u32| -> R { words(&mut caller, [(events, 0)]) },
    )?;
    // It returns (WASI-04): the guest's libc traps behind it.
    linker.func_wrap(module, "proc_exit", |_: u32| {})?;
    linker.func_wrap(module, "random_get", |mut caller: C<'_>, buffer: u32, size: u32| -> R {
        not_allocating(&caller)?;
        if size > RANDOM_BYTES {
            return Ok(errno::INVAL);
        }
        let (memory, state) = split(&mut caller);
        let end = (buffer as usize).saturating_add(size as usize);
        let Some(place) = memory.get_mut(buffer as usize..end) else { return Ok(errno::FAULT) };
        state.host.random.fill(place);
        Ok(errno::SUCCESS)
    })?;
    // Wrong arity in Envoy, so that no standard module that imports them loads (WASI-02).
    linker.func_wrap(module, "path_link", |_: u32, _: u32, _: u32, _: u32, _: u32, _: u32| errno::NOSYS)?;
    linker.func_wrap(module, "path_symlink", |_: u32, _: u32, _: u32, _: u32| errno::NOSYS)?;
    Ok(())
}

/// The host's calls of the allocator allow less than start functions do (`LOAD-08`).
fn not_allocating(caller: &Caller<'_, State>) -> wasmtime::Result<()> {
    match caller.data().guest.allowed {
        Allowed::Allocate => Err(wasmtime::Error::new(Restricted)),
        Allowed::All | Allowed::Start => Ok(()),
    }
}

fn words<const N: usize>(caller: &mut Caller<'_, State>, words: [(u32, u32); N]) -> wasmtime::Result<u32> {
    let memory = split(caller).0;
    let written = words.into_iter().try_for_each(|(at, word)| write_word(memory, at, word));
    Ok(written.map_or(errno::FAULT, |()| errno::SUCCESS))
}

fn bytes(caller: &mut Caller<'_, State>, at: u32, bytes: &[u8]) -> u32 {
    write(split(caller).0, at, bytes).map_or(errno::FAULT, |()| errno::SUCCESS)
}

fn environ_get(caller: &mut Caller<'_, State>, array: u32, buffer: u32) -> u32 {
    let (memory, state) = split(caller);
    let (mut entry, mut at) = (array, buffer);
    for (key, value) in &state.guest.environment {
        let line = format!("{key}={value}\0");
        let written = write_word(memory, entry, at).and_then(|()| write(memory, at, line.as_bytes()));
        if written.is_err() {
            return errno::FAULT;
        }
        entry = entry.saturating_add(4);
        at = at.saturating_add(u32::try_from(line.len()).unwrap_or(u32::MAX));
    }
    errno::SUCCESS
}

/// Standard output becomes `info`, standard error `error` (`LOG-04`).
fn fd_write(caller: &mut Caller<'_, State>, fd: u32, vectors: u32, count: u32, written: u32) -> u32 {
    let level = match fd {
        1 => "info",
        2 => "error",
        _ => return errno::BADF,
    };
    let (memory, state) = split(caller);
    let mut text = Vec::new();
    for index in 0..count {
        let vector = slice(memory, vectors.saturating_add(index.saturating_mul(8)), 8);
        let Ok(&[a, b, c, d, e, f, g, h]) = vector else { return errno::FAULT };
        let part = slice(memory, u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        let Ok(part) = part else { return errno::FAULT };
        // Also where vectors lie on top of each other.
        if text.len() + part.len() > memory.len() || !state.guest.budget.keep(part.len().max(1024)) {
            return errno::INVAL;
        }
        text.extend_from_slice(part);
    }
    let size = u32::try_from(text.len()).unwrap_or(u32::MAX);
    if write_word(memory, written, size).is_err() {
        return errno::FAULT;
    }
    if text.last() == Some(&b'\n') {
        text.pop();
    }
    if !text.is_empty() {
        let (owner, plugin) = (state.guest.owner(), state.guest.speaker(&state.host));
        let text = String::from_utf8_lossy(&text).into_owned();
        state.host.log(owner, plugin, level, text);
    }
    errno::SUCCESS
}
