//! A module with its hostcalls linked. One that imports a memory or tables gets them anew in every VM, as in Envoy (`LOAD-03`).

use wasmtime::{
    Engine, Extern, ExternType, Instance, InstancePre, Linker, Memory, Module, Ref, Result, Store, Table,
};

use super::State;

/// A module that is ready to be instantiated.
pub(super) enum Linked {
    /// Everything is linked in advance.
    Whole(InstancePre<State>),
    /// Memory and tables are still to be made.
    Open(Module, Box<Linker<State>>),
}

impl Linked {
    /// Links a module whose functions are all there.
    pub(super) fn new(module: Module, linker: &Linker<State>) -> Result<Self> {
        let made = |ty: ExternType| matches!(ty, ExternType::Memory(_) | ExternType::Table(_));
        if module.imports().any(|import| made(import.ty())) {
            return Ok(Self::Open(module, Box::new(linker.clone())));
        }
        linker.instantiate_pre(&module).map(Self::Whole)
    }

    pub(super) fn engine(&self) -> &Engine {
        match self {
            Self::Whole(instance) => instance.module().engine(),
            Self::Open(module, _) => module.engine(),
        }
    }

    /// Instantiates the module. Its memory is the exported one, else the one that was made for it.
    ///
    /// # Errors
    /// When the module's limits do not allow it, or its start section traps.
    pub(super) fn instantiate(&self, store: &mut Store<State>) -> Result<Instance> {
        let mut made = None;
        let instance = match self {
            Self::Whole(instance) => instance.instantiate(&mut *store)?,
            Self::Open(module, linker) => {
                let mut linker = Linker::clone(linker);
                for import in module.imports() {
                    let new: Extern = match import.ty() {
                        ExternType::Memory(ty) => {
                            let memory = Memory::new(&mut *store, ty)?;
                            made = Some(memory);
                            // A start section that makes hostcalls needs it.
                            store.data_mut().memory = made;
                            memory.into()
                        }
                        ExternType::Table(ty) => {
                            // Tables of functions: the only ones without the GC proposal.
                            Table::new(&mut *store, ty, Ref::Func(None))?.into()
                        }
                        _ => continue,
                    };
                    linker.define(&mut *store, import.module(), import.name(), new)?;
                }
                linker.instantiate(&mut *store, module)?
            }
        };
        store.data_mut().memory = instance.get_memory(&mut *store, "memory").or(made);
        Ok(instance)
    }
}
