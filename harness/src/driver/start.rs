//! Loading: which VMs there are, in what order things run, reloads (`LOAD-12`, `LOAD-30` to `LOAD-35`, `FAULT-09`).

use super::ticks::calls_in_row;
use super::workers::{ToStart, thread_of};
use super::{Plugin, Replay, StartError};
use crate::host::{Action, Filter, Owner, Root};
use crate::scenario::FailurePolicy;
use crate::vm::{LoadError, Vm};

/// How long a plugin with `FAIL_RELOAD` is left alone after a load: Envoy's default back-off, without its jitter.
const RELOAD_NS: u64 = 1_000_000_000;

/// How a start fails.
enum Failed {
    Instance(String),
    Refused(&'static str),
    Trapped(String),
}

impl Replay {
    /// Loads every plugin in order: a canary that is thrown away, then the main thread's VM, then the worker's. Several workers follow
    /// when the main thread is done with all plugins, each with the plugins in their order, and interleaved.
    pub(super) fn load(&mut self) -> Result<(), StartError> {
        let workers = self.workers();
        self.host.chains.resize_with(workers, Vec::new);
        self.calls_left = calls_in_row(0);
        let mut keys: Vec<usize> = Vec::new();
        for plugin in 0..self.plugins.len() {
            self.canary(plugin).map_err(|failed| self.start_error(plugin, failed))?;
            let same = (0..plugin).find(|other| same_root(&self.plugins[*other], &self.plugins[plugin]));
            let key = (0..plugin).find(|other| same_vm(&self.plugins[*other], &self.plugins[plugin]));
            // The main thread's VM, behind which the workers' are.
            let main = match key {
                Some(other) => keys[other],
                None => {
                    let main = self.vms.len();
                    for _ in 0..=workers {
                        self.new_vm(plugin).map_err(|failed| self.start_error(plugin, failed))?;
                    }
                    main
                }
            };
            keys.push(main);
            if same.is_none() {
                self.start_root(plugin, main, 0).map_err(|failed| self.start_error(plugin, failed))?;
                self.host.apart.log.clear();
            }
            for worker in 0..workers {
                let start = ToStart { plugin, vm: main + 1 + worker, same };
                match &mut self.turns {
                    Some(turns) => turns.plugins[thread_of(worker)].push_back(start),
                    None => self.start_filter(worker, start)?,
                }
            }
        }
        self.calls_left = calls_in_row(self.host.calls.len());
        if self.turns.is_some() {
            self.take_turns();
            if let Some(error) = self.turns.as_mut().and_then(|turns| turns.failed.take()) {
                return Err(error);
            }
        }
        self.answer_calls();
        self.start_log.append(&mut self.host.apart.log);
        self.start_log.append(&mut self.apart.log);
        // What was counted then is in the metrics' values.
        self.host.apart.clear();
        self.apart.clear();
        Ok(())
    }

    /// Starts a plugin on a worker and puts it into the worker's chain.
    fn start_filter(&mut self, worker: usize, start: ToStart) -> Result<(), StartError> {
        let ToStart { plugin, vm, same } = start;
        let root = match same {
            Some(other) => self.host.chains[worker][other].root,
            None => {
                let root = self.start_root(plugin, vm, thread_of(worker));
                let root = root.map_err(|failed| self.start_error(plugin, failed))?;
                self.start_log.append(&mut self.host.apart.log);
                root
            }
        };
        self.host.chains[worker].push(Filter { plugin, root, vm, ..Filter::default() });
        Ok(())
    }

    /// Starts a plugin on one of several workers. When it does not start nothing else does.
    pub(super) fn start_in_turn(&mut self, worker: usize, start: ToStart) {
        if self.turns.as_ref().is_some_and(|turns| turns.failed.is_some()) {
            return;
        }
        if let Err(error) = self.start_filter(worker, start)
            && let Some(turns) = &mut self.turns
        {
            turns.failed.get_or_insert(error);
        }
    }

    /// Tries a plugin in a VM that is dropped without a word (`LOAD-33`).
    fn canary(&mut self, plugin: usize) -> Result<(), Failed> {
        let vm = self.new_vm(plugin)?;
        let started = self.start_root(plugin, vm, 0);
        self.vms.truncate(vm);
        self.host.roots.retain(|root| root.vm != vm);
        let roots = self.host.roots.len();
        self.host.calls.retain(|call| call.root < roots);
        started?;
        self.host.apart.log.clear();
        Ok(())
    }

    fn new_vm(&mut self, plugin: usize) -> Result<usize, Failed> {
        let vm = self.make_vm(plugin).map_err(Failed::Instance)?;
        self.vms.push(vm);
        Ok(self.vms.len() - 1)
    }

    fn make_vm(&mut self, plugin: usize) -> Result<Vm, String> {
        let environment = self.plugins[plugin].env.clone().into_iter().collect();
        let vm_id = self.host.plugins[plugin].vm_id.clone();
        Vm::start(&self.plugins[plugin].module, &mut self.host, plugin, vm_id, environment)
    }

    /// Creates, starts and configures a root context (`LOAD-34`).
    fn start_root(&mut self, plugin: usize, vm: usize, thread: usize) -> Result<usize, Failed> {
        let root = self.host.roots.len();
        self.host.roots.push(Root { plugin, vm, thread, id: 0, tick: None, status: (0, Vec::new()) });
        self.run_root(plugin, vm, root)?;
        Ok(root)
    }

    fn run_root(&mut self, plugin: usize, vm: usize, root: usize) -> Result<(), Failed> {
        let length = u32::try_from(self.host.plugins[plugin].configuration.len()).unwrap_or(u32::MAX);
        let id = self.vms[vm].guest().create(Owner::Root(root));
        self.host.roots[root].id = id;
        self.host.noting = None;
        let created =
            self.enter(vm, id, |vm, host, id| vm.call(host, id, |all| &all.context_create, (id, 0)));
        created.map_err(Failed::Trapped)?;
        let started = self.enter(vm, id, |vm, host, id| vm.call(host, id, |all| &all.vm_start, (id, 0)));
        if started.map_err(Failed::Trapped)? == Some(0) {
            return Err(Failed::Refused("Failed to start base Wasm"));
        }
        self.vms[vm].guest().configuring = Some(plugin);
        let configured =
            self.enter(vm, id, |vm, host, id| vm.call(host, id, |all| &all.configure, (id, length)));
        self.vms[vm].guest().configuring = None;
        if configured.map_err(Failed::Trapped)? == Some(0) {
            return Err(Failed::Refused("Failed to configure base Wasm plugin"));
        }
        for action in std::mem::take(&mut self.vms[vm].guest().actions) {
            if let Action::Call(call) = action {
                self.host.calls.push(self.host.clock.now_ns(), call);
            }
        }
        self.host.fatal = None;
        Ok(())
    }

    fn start_error(&mut self, plugin: usize, failed: Failed) -> StartError {
        let label = self.plugins[plugin].module.label().to_owned();
        let plugin = self.plugins[plugin].name.clone();
        let log = std::mem::take(&mut self.host.apart.log);
        match failed {
            Failed::Instance(reason) => StartError::Load { plugin, error: LoadError { label, reason } },
            Failed::Refused(reason) => StartError::Refused { plugin, reason, log },
            Failed::Trapped(message) => StartError::Trapped { plugin, message, log },
        }
    }

    /// Shuts a root context down.
    pub(super) fn finish_root(&mut self, root: usize) {
        let (vm, id) = (self.host.roots[root].vm, self.host.roots[root].id);
        self.host.roots[root].tick = None;
        self.host.noting = None;
        let done = self.vms[vm].call(&mut self.host, id, |all| &all.done, id);
        if done != Ok(Some(0)) && !self.vms[vm].failed {
            let _ = self.vms[vm].call(&mut self.host, id, |all| &all.delete, id);
        }
        self.vms[vm].guest().actions.clear();
    }

    /// Makes fresh VMs for plugins of a worker that ask for it (`FAULT-09`). Only the plugin itself moves.
    pub(super) fn reload_failed(&mut self, worker: usize) {
        for filter in 0..self.host.chains[worker].len() {
            let Filter { plugin, vm, .. } = self.host.chains[worker][filter];
            let due = self.vms[vm].loaded_ns.saturating_add(RELOAD_NS);
            if !self.vms[vm].failed
                || self.plugins[plugin].failure_policy != FailurePolicy::FailReload
                || self.host.clock.now_ns() < due
            {
                continue;
            }
            self.vms[vm].loaded_ns = self.host.clock.now_ns();
            if let Ok(fresh) = self.new_vm(plugin)
                && let Ok(root) = self.start_root(plugin, fresh, thread_of(worker))
            {
                let filter = &mut self.host.chains[worker][filter];
                (filter.root, filter.vm) = (root, fresh);
            }
        }
    }
}

/// `LOAD-30`
fn same_vm(a: &Plugin, b: &Plugin) -> bool {
    a.vm_id == b.vm_id && a.env == b.env && a.module.same_code(&b.module)
}

/// `LOAD-30b`
fn same_root(a: &Plugin, b: &Plugin) -> bool {
    same_vm(a, b)
        && a.name == b.name
        && a.root_id == b.root_id
        && a.configuration == b.configuration
        && a.failure_policy == b.failure_policy
        && a.allow_on_headers_stop_iteration == b.allow_on_headers_stop_iteration
}
