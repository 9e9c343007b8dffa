//! Which modules Envoy accepts: version markers, imports, exports and their signatures (`LOAD-01` to `LOAD-09`).

use std::sync::LazyLock;

use wasmtime::{Engine, ExternType, FuncType, Linker, Module, Store, ValType};

use super::State;
use super::callbacks::{SIGNATURES, Signature};
use super::link::Linked;
use crate::abi;
use crate::host::Abi;
use crate::inspect;

/// One pre-linked set of hostcalls for each version of the ABI (`LOAD-02`).
static LINKERS: LazyLock<[Result<Linker<State>, String>; 3]> = LazyLock::new(|| {
    [Abi::V0_1_0, Abi::V0_2_0, Abi::V0_2_1].map(|abi| {
        let engine = super::ENGINE.as_ref().map_err(Clone::clone)?;
        abi::linker(engine, abi).map_err(|error| format!("{error:#}"))
    })
});

/// How the reason begins where it is not Envoy that would refuse the module.
pub(crate) const NOT_RUN_HERE: &str = "Envoy runs it, but this program's engine does not";

/// Checks and links a module.
pub(super) fn accept(engine: &Engine, wasm: &[u8]) -> Result<(Abi, Linked), String> {
    if wasm.is_empty() {
        return Err("Wasm VM failed Failed to load Wasm code".to_owned());
    }
    if !wasm.starts_with(b"\0asm") {
        return Err("Failed to parse corrupted Wasm module".to_owned());
    }
    let module = Module::from_binary(engine, wasm).map_err(|error| {
        let cause = error.root_cause();
        match inspect::validate(wasm) {
            Ok(()) => format!("{NOT_RUN_HERE}: {cause}"),
            Err(_) => format!("Failed to parse corrupted Wasm module: {cause}"),
        }
    })?;
    if inspect::names_are_broken(wasm) {
        return Err("Failed to parse corrupted Wasm module: the section `name` is broken".to_owned());
    }
    let abi = version(&module).ok_or("Wasm VM failed Missing or unknown Proxy-Wasm ABI version")?;
    let linker = LINKERS[abi as usize].as_ref().map_err(Clone::clone)?;
    check_imports(engine, linker, &module)?;
    check_exports(&module, abi)?;
    let linked = Linked::new(module, linker).map_err(|error| format!("{error:#}"))?;
    Ok((abi, linked))
}

/// The version of the first marker in section order (`LOAD-01`).
fn version(module: &Module) -> Option<Abi> {
    module.exports().filter(|export| matches!(export.ty(), ExternType::Func(_))).find_map(|export| {
        match export.name() {
            "proxy_abi_version_0_1_0" => Some(Abi::V0_1_0),
            "proxy_abi_version_0_2_0" => Some(Abi::V0_2_0),
            "proxy_abi_version_0_2_1" => Some(Abi::V0_2_1),
            _ => None,
        }
    })
}

fn check_imports(engine: &Engine, linker: &Linker<State>, module: &Module) -> Result<(), String> {
    let mut store = Store::new(engine, State::unlinked());
    for import in module.imports() {
        let (from, name) = (import.module(), import.name());
        let missing = || format!("Failed to load Wasm module due to a missing import: {from}.{name}");
        match import.ty() {
            ExternType::Func(want) => {
                let found = linker.get(&mut store, from, name).ok().and_then(wasmtime::Extern::into_func);
                let found = found.ok_or_else(missing)?.ty(&store);
                if !same(&want, &found) {
                    return Err(format!(
                        "Failed to load Wasm module due to an import type mismatch: {from}.{name}, want: {}, but host exports: {}",
                        function(&want),
                        function(&found)
                    ));
                }
            }
            // Created for the module (`LOAD-03`).
            ExternType::Memory(_) | ExternType::Table(_) => {}
            _ => return Err(missing()),
        }
    }
    Ok(())
}

/// Known exports must have the signatures that Envoy looks for (`LOAD-05`, `LOAD-06`).
fn check_exports(module: &Module, abi: Abi) -> Result<(), String> {
    for Signature { name, params, results } in SIGNATURES {
        let Some(ExternType::Func(found)) = module.get_export(name) else { continue };
        let headers = matches!(*name, "proxy_on_request_headers" | "proxy_on_response_headers");
        let params = if headers && abi == Abi::V0_1_0 { 2 } else { *params };
        let matches = found.params().len() == params
            && found.results().len() == *results
            && found.params().chain(found.results()).all(|value| matches!(value, ValType::I32));
        if !matches {
            return Err(format!(
                "Bad function signature for: {name}, want: {} -> {}, but the module exports: {}",
                types(vec!["i32"; params]),
                types(vec!["i32"; *results]),
                function(&found)
            ));
        }
    }
    let has = |name| matches!(module.get_export(name), Some(ExternType::Func(_)));
    if !has("malloc") && !has("proxy_on_memory_allocate") {
        return Err("Wasm VM failed Wasm module is missing malloc function.".to_owned());
    }
    Ok(())
}

fn same(a: &FuncType, b: &FuncType) -> bool {
    let names =
        |ty: &FuncType| ty.params().chain(ty.results()).map(|value| value.to_string()).collect::<Vec<_>>();
    a.params().len() == b.params().len() && names(a) == names(b)
}

fn function(ty: &FuncType) -> String {
    let names = |values: Vec<String>| types(values.iter().map(String::as_str).collect());
    format!(
        "{} -> {}",
        names(ty.params().map(|value| value.to_string()).collect()),
        names(ty.results().map(|value| value.to_string()).collect())
    )
}

/// V8's way of listing types.
fn types(names: Vec<&str>) -> String {
    if names.is_empty() { "void".to_owned() } else { names.join(" ") }
}
