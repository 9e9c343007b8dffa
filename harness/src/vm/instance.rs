//! A virtual machine: a store, an instance, the way in. The proxy's data is moved into the store for the time of a call.

use wasmtime::{Memory, Store, StoreLimits, StoreLimitsBuilder, TypedFunc, WasmParams, WasmResults};

use super::callbacks::{Callback, Callbacks, find};
use super::{FUEL, MEMORY_BYTES, Module, TABLE_ELEMENTS, trap};
use crate::host::guest::Allowed;
use crate::host::{Abi, Guest, Host};

/// What a store holds.
pub(crate) struct State {
    /// The proxy, while the VM runs; a place-holder otherwise.
    pub(crate) host: Box<Host>,
    pub(crate) guest: Guest,
    pub(crate) memory: Option<Memory>,
    pub(crate) allocate: Option<TypedFunc<u32, u32>>,
    /// Bytes on their way into the guest.
    pub(crate) scratch: Vec<u8>,
    limits: StoreLimits,
}

impl State {
    /// A state for checks that run nothing.
    pub(super) fn unlinked() -> Self {
        Self::new(Guest::new(Abi::V0_2_1, "".into(), Vec::new()))
    }

    fn new(guest: Guest) -> Self {
        Self {
            host: Host::idle(),
            guest,
            memory: None,
            allocate: None,
            scratch: Vec::new(),
            limits: StoreLimitsBuilder::new()
                .memory_size(MEMORY_BYTES)
                .table_elements(TABLE_ELEMENTS)
                .build(),
        }
    }
}

/// A virtual machine.
pub(crate) struct Vm {
    store: Store<State>,
    callbacks: Callbacks,
    /// It trapped and is never entered again (`FAULT-01`).
    pub(crate) failed: bool,
    /// When it was loaded, for the back-off of reloads (`FAULT-09`).
    pub(crate) loaded_ns: u64,
}

impl Vm {
    /// Instantiates a module and runs its start functions (`LOAD-07`).
    ///
    /// # Errors
    /// In Envoy's words.
    pub(crate) fn start(
        module: &Module,
        host: &mut Box<Host>,
        plugin: usize,
        vm_id: std::sync::Arc<str>,
        environment: Vec<(String, String)>,
    ) -> Result<Self, String> {
        let abi = module.0.abi;
        let mut guest = Guest::new(abi, vm_id, environment);
        guest.allowed = Allowed::Start;
        guest.starting = Some(plugin);
        let mut store = Store::new(module.0.linked.engine(), State::new(guest));
        store.limiter(|state| &mut state.limits);
        refuel(&mut store);
        std::mem::swap(&mut store.data_mut().host, host);
        let started = Self::enter(module, &mut store);
        std::mem::swap(&mut store.data_mut().host, host);
        let callbacks = started?;
        store.data_mut().guest.allowed = Allowed::All;
        let loaded_ns = host.clock.now_ns();
        Ok(Self { store, callbacks, failed: false, loaded_ns })
    }

    fn enter(module: &Module, store: &mut Store<State>) -> Result<Callbacks, String> {
        let instance = module.0.linked.instantiate(store).map_err(|error| {
            format!("Failed to create new Wasm instance: {}", trap::describe("start section", &error))
        })?;
        let malloc = instance.get_typed_func(&mut *store, "malloc");
        let allocate = malloc.or_else(|_| instance.get_typed_func(&mut *store, "proxy_on_memory_allocate"));
        store.data_mut().allocate = allocate.ok();
        let main = |store: &mut Store<State>| {
            let main: Callback<(u32, u32), u32> = find(&instance, store, "main");
            let main_void: Callback<(), u32> = find(&instance, store, "__main_void");
            match (main.function, main_void.function) {
                (Some(main), _) => main.call(store, (0, 0)),
                (None, Some(main)) => main.call(store, ()),
                (None, None) => Ok(0),
            }
        };
        let initialize: Callback<(), ()> = find(&instance, store, "_initialize");
        let start: Callback<(), ()> = find(&instance, store, "_start");
        let failed = |name: &str, error: &wasmtime::Error| trap::describe(name, error);
        if let Some(function) = initialize.function {
            function.call(&mut *store, ()).map_err(|error| failed(initialize.name, &error))?;
            main(store).map_err(|error| failed("main", &error))?;
        } else if let Some(function) = start.function {
            function.call(&mut *store, ()).map_err(|error| failed(start.name, &error))?;
        }
        Ok(Callbacks::find(&instance, store))
    }

    /// A VM that can do nothing: it stands in the place of one that runs.
    pub(crate) fn hollow(module: &Module) -> Self {
        let store = Store::new(module.0.linked.engine(), State::unlinked());
        Self { store, callbacks: Callbacks::default(), failed: false, loaded_ns: 0 }
    }

    /// What the proxy keeps for this VM.
    pub(crate) fn guest(&mut self) -> &mut Guest {
        &mut self.store.data_mut().guest
    }

    /// Calls a callback as `context`; absent when the module does not have it or the VM has failed.
    ///
    /// # Errors
    /// What Envoy logs; the VM has failed then.
    pub(crate) fn call<P: WasmParams, R: WasmResults>(
        &mut self,
        host: &mut Box<Host>,
        context: u32,
        pick: impl FnOnce(&Callbacks) -> &Callback<P, R>,
        params: P,
    ) -> Result<Option<R>, String> {
        if self.failed {
            return Ok(None);
        }
        let callback = pick(&self.callbacks);
        let Some(function) = &callback.function else { return Ok(None) };
        begin(&mut self.store, host, context);
        let result = function.call(&mut self.store, params);
        end(&mut self.store, host);
        match result {
            Ok(result) => Ok(Some(result)),
            Err(error) => {
                self.failed = true;
                Err(trap::describe(callback.name, &error))
            }
        }
    }

    /// Calls a headers callback, as [`Vm::call`].
    ///
    /// # Errors
    /// What Envoy logs; the VM has failed then.
    pub(crate) fn call_headers(
        &mut self,
        host: &mut Box<Host>,
        context: u32,
        response: bool,
        count: u32,
        end: bool,
    ) -> Result<Option<u32>, String> {
        let short = self.store.data().guest.abi == Abi::V0_1_0;
        match (response, short) {
            (false, false) => {
                self.call(host, context, |all| &all.request_headers, (context, count, u32::from(end)))
            }
            (true, false) => {
                self.call(host, context, |all| &all.response_headers, (context, count, u32::from(end)))
            }
            (false, true) => self.call(host, context, |all| &all.request_headers_short, (context, count)),
            (true, true) => self.call(host, context, |all| &all.response_headers_short, (context, count)),
        }
    }
}

fn refuel(store: &mut Store<State>) {
    // Cannot fail: the engine is configured to consume fuel.
    let _ = store.set_fuel(FUEL);
}

fn begin(store: &mut Store<State>, host: &mut Box<Host>, context: u32) {
    refuel(store);
    let state = store.data_mut();
    std::mem::swap(&mut state.host, host);
    state.guest.budget = crate::host::guest::Budget::default();
    state.guest.context = context;
    state.guest.effective = context;
}

fn end(store: &mut Store<State>, host: &mut Box<Host>) {
    let state = store.data_mut();
    std::mem::swap(&mut state.host, host);
    state.guest.context = 0;
    state.guest.effective = 0;
    state.guest.allowed = Allowed::All;
}
