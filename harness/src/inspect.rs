//! What a module is, without running it: ABI, imports, exports, sizes, metadata. Knows no driver and no engine.

mod known;
mod metadata;
mod names;

use schemars::JsonSchema;
use serde::Serialize;
use wasmparser::{ExternalKind, KnownCustom, Parser, Payload, TypeRef, Validator, WasmFeatures};

pub use metadata::{Metadata, SECTION as METADATA_SECTION};
pub(crate) use names::are_broken as names_are_broken;

/// What a module is.
#[derive(Clone, Debug, Default, JsonSchema, PartialEq, Serialize)]
pub struct Inspection {
    /// Size of the file in bytes.
    pub size: u64,
    /// The version of the ABI: that of the first marker in the order of the exports; null where there is none and Envoy refuses the module.
    pub abi: Option<String>,
    /// Imports in order.
    pub imports: Vec<Import>,
    /// Exports in order.
    pub exports: Vec<Export>,
    /// Memories in pages of 64 KiB: at the start, and at most.
    pub memories: Vec<(u64, Option<u64>)>,
    /// Whether a start function runs when the module is instantiated.
    pub has_start_function: bool,
    /// Sections in order with their sizes in bytes, headers included; custom sections by their own names.
    pub sections: Vec<Section>,
    /// The module's name, from the name section.
    pub name: Option<String>,
    /// Tools that made it, from the producers section: field, name, version.
    pub producers: Vec<(String, String, String)>,
    /// What it says of itself, in the custom section `weir.metadata`; null without one, or when it cannot be read.
    pub metadata: Option<Metadata>,
    /// Reasons for which Envoy refuses the module.
    pub problems: Vec<String>,
}

/// An import.
#[derive(Clone, Debug, JsonSchema, PartialEq, Eq, Serialize)]
pub struct Import {
    /// The module it is asked of.
    pub module: String,
    /// Its name there.
    pub name: String,
    /// `function`, `memory`, `table`, `global` or `tag`.
    pub kind: &'static str,
    /// Whether Envoy has it for the module's ABI; a module with one that it lacks is refused.
    pub envoy_has_it: bool,
}

/// An export.
#[derive(Clone, Debug, JsonSchema, PartialEq, Eq, Serialize)]
pub struct Export {
    /// Its name.
    pub name: String,
    /// `function`, `memory`, `table`, `global` or `tag`.
    pub kind: &'static str,
    /// Whether Envoy calls it.
    pub is_callback: bool,
}

/// A section.
#[derive(Clone, Debug, JsonSchema, PartialEq, Eq, Serialize)]
pub struct Section {
    /// `code`, `data`, …, or a custom section's name in quotes.
    pub name: String,
    /// Bytes.
    pub size: u64,
}

/// The file is no module.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// A WebAssembly component, which proxies do not run.
    #[error(
        "is a WebAssembly component; proxies run core modules: build for wasm32-wasip1, not wasm32-wasip2"
    )]
    Component,
    /// Something else.
    #[error("is no WebAssembly module: it does not begin with `\\0asm`")]
    Foreign,
    /// Broken or cut off.
    #[error("is no WebAssembly module: {0}")]
    Broken(#[from] wasmparser::BinaryReaderError),
}

/// Looks at a module.
///
/// # Errors
/// When it is none.
pub fn inspect(wasm: &[u8]) -> Result<Inspection, InspectError> {
    if !wasm.starts_with(b"\0asm") {
        return Err(InspectError::Foreign);
    }
    let mut found = Inspection { size: wasm.len() as u64, ..Inspection::default() };
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload?;
        if let Some((id, range)) = payload.as_section() {
            let name = match &payload {
                Payload::CustomSection(section) => format!("\"{}\"", section.name()),
                _ => known::section(id).to_owned(),
            };
            found.sections.push(Section { name, size: (range.end - range.start) as u64 });
        }
        read(payload, &mut found)?;
    }
    judge(&mut found);
    if let Err(error) = validate(wasm) {
        found.problems.push(format!("it is not valid: {error}"));
    }
    if names::are_broken(wasm) {
        found.problems.push("its section `name`, which Envoy reads for backtraces, is broken".to_owned());
    }
    Ok(found)
}

/// Whether V8 would compile it, as Envoy has it: with threads and the exceptions from before they were standard.
///
/// # Errors
/// What is not valid, and where.
pub fn validate(wasm: &[u8]) -> Result<(), wasmparser::BinaryReaderError> {
    let mut features = WasmFeatures::default() | WasmFeatures::LEGACY_EXCEPTIONS;
    features.remove(WasmFeatures::COMPONENT_MODEL);
    Validator::new_with_features(features).validate_all(wasm).map(drop)
}

fn read(payload: Payload<'_>, found: &mut Inspection) -> Result<(), InspectError> {
    match payload {
        Payload::Version { encoding: wasmparser::Encoding::Component, .. } => {
            return Err(InspectError::Component);
        }
        Payload::ImportSection(section) => {
            for import in section.into_imports() {
                let import = import?;
                let kind = match import.ty {
                    TypeRef::Func(_) | TypeRef::FuncExact(_) => "function",
                    TypeRef::Table(_) => "table",
                    TypeRef::Memory(_) => "memory",
                    TypeRef::Global(_) => "global",
                    TypeRef::Tag(_) => "tag",
                };
                let (module, name) = (import.module.to_owned(), import.name.to_owned());
                found.imports.push(Import { module, name, kind, envoy_has_it: false });
            }
        }
        Payload::ExportSection(section) => {
            for export in section {
                let export = export?;
                let kind = match export.kind {
                    ExternalKind::Func | ExternalKind::FuncExact => "function",
                    ExternalKind::Table => "table",
                    ExternalKind::Memory => "memory",
                    ExternalKind::Global => "global",
                    ExternalKind::Tag => "tag",
                };
                let name = export.name.to_owned();
                let is_callback = kind == "function" && known::is_callback(&name);
                found.exports.push(Export { name, kind, is_callback });
            }
        }
        Payload::MemorySection(section) => {
            for memory in section {
                let memory = memory?;
                found.memories.push((memory.initial, memory.maximum));
            }
        }
        Payload::StartSection { .. } => found.has_start_function = true,
        Payload::CustomSection(section) if section.name() == METADATA_SECTION => {
            found.metadata = Metadata::from_section(section.data());
        }
        Payload::CustomSection(section) => match section.as_known() {
            // Metadata that is broken stops nobody from running the module.
            KnownCustom::Name(names) => {
                found.name = names.into_iter().flatten().find_map(|name| match name {
                    wasmparser::Name::Module { name, .. } => Some(name.to_owned()),
                    _ => None,
                });
            }
            KnownCustom::Producers(fields) => {
                for field in fields.into_iter().flatten() {
                    for value in field.values.into_iter().flatten() {
                        let value = (field.name.to_owned(), value.name.to_owned(), value.version.to_owned());
                        found.producers.push(value);
                    }
                }
            }
            _ => {}
        },
        _ => {}
    }
    Ok(())
}

/// What Envoy would say (`LOAD-01` to `LOAD-05`).
fn judge(found: &mut Inspection) {
    let functions =
        || found.exports.iter().filter(|export| export.kind == "function").map(|export| &export.name);
    let abi = functions().find_map(|name| known::abi(name));
    let has_allocator = functions().any(|name| name == "malloc" || name == "proxy_on_memory_allocate");
    match abi {
        Some(abi) => found.abi = Some(abi.to_owned()),
        None => found.problems.push("no marker of a known ABI, such as `proxy_abi_version_0_2_1`".to_owned()),
    }
    if !has_allocator {
        found.problems.push("exports neither `malloc` nor `proxy_on_memory_allocate`".to_owned());
    }
    for import in &mut found.imports {
        import.envoy_has_it = match import.kind {
            "function" => known::envoy_has(&import.module, &import.name, abi.unwrap_or("0.2.1")),
            kind => matches!(kind, "memory" | "table"),
        };
        if !import.envoy_has_it {
            found.problems.push(format!("Envoy lacks the import `{}.{}`", import.module, import.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A module out of sections, each an id and its bytes.
    fn module(sections: &[(u8, &[u8])]) -> Vec<u8> {
        let mut wasm = b"\0asm\x01\0\0\0".to_vec();
        for (id, bytes) in sections {
            wasm.push(*id);
            wasm.push(u8::try_from(bytes.len()).unwrap());
            wasm.extend_from_slice(bytes);
        }
        wasm
    }

    fn named(name: &str) -> Vec<u8> {
        let mut bytes = vec![u8::try_from(name.len()).unwrap()];
        bytes.extend_from_slice(name.as_bytes());
        bytes
    }

    #[test]
    fn a_module_is_described_and_judged() {
        let types = [1, 0x60, 0, 0];
        let import = |name: &str| [named("env"), named(name), vec![0, 0]].concat();
        let imports = [vec![2], import("proxy_done"), import("proxy_nothing")].concat();
        let exports = [
            vec![2],
            [named("proxy_abi_version_0_2_0"), vec![0, 2]].concat(),
            [named("proxy_on_log"), vec![0, 2]].concat(),
        ]
        .concat();
        let custom = [named("producers"), vec![0]].concat();
        let wasm = module(&[
            (1, &types),
            (2, &imports),
            (3, &[1, 0]),
            (5, &[1, 1, 17, 32]),
            (7, &exports),
            (8, &[2]),
            (10, &[1, 2, 0, 0x0b]),
            (0, &custom),
        ]);
        let found = inspect(&wasm).unwrap();
        assert_eq!(found.abi.as_deref(), Some("0.2.0"));
        assert_eq!(found.memories, [(17, Some(32))]);
        assert!(found.has_start_function);
        assert!(found.imports[0].envoy_has_it && !found.imports[1].envoy_has_it);
        assert!(!found.exports[0].is_callback && found.exports[1].is_callback);
        let sections: Vec<_> = found.sections.iter().map(|section| section.name.as_str()).collect();
        assert_eq!(
            sections,
            ["type", "import", "function", "memory", "export", "start", "code", "\"producers\""]
        );
        assert_eq!(
            found.problems,
            [
                "exports neither `malloc` nor `proxy_on_memory_allocate`",
                "Envoy lacks the import `env.proxy_nothing`"
            ]
        );
    }

    #[test]
    fn what_v8_would_not_compile_is_a_problem() {
        let problems = |text: &str| {
            let whole = format!(
                "(module (func (export \"proxy_abi_version_0_2_1\")) (func (export \"malloc\") (param i32) (result i32) i32.const 0) {text})"
            );
            inspect(&wat::parse_str(whole).unwrap()).unwrap().problems.join("; ")
        };
        // What Envoy 1.40 was seen to take.
        for text in [
            "(memory i64 1)",
            "(memory 1 2 shared)",
            "(memory 1) (memory 1)",
            "(func return_call 2)",
            "(func try end)",
            "(func v128.const i64x2 0 0 drop)",
        ] {
            assert_eq!(problems(text), "", "{text}");
        }
        // And what it refused.
        for (text, want) in [
            ("(func i32.const 0)", "it is not valid: type mismatch"),
            ("(func call 99)", "it is not valid: unknown function 99"),
            ("(memory 65537)", "it is not valid: memory size"),
            ("(func (export \"malloc\"))", "it is not valid: duplicate export name `malloc`"),
        ] {
            assert!(problems(text).starts_with(want), "{text}: {}", problems(text));
        }
    }

    #[test]
    fn what_is_no_module_says_so() {
        for (wasm, want) in [
            (&b""[..], "is no WebAssembly module"),
            (b"#!/bin/sh", "is no WebAssembly module"),
            (b"\0asm\x01\0\0\0\x01\x05", "is no WebAssembly module"),
            (b"\0asm\x0d\0\x01\0", "is a WebAssembly component"),
        ] {
            assert!(inspect(wasm).unwrap_err().to_string().starts_with(want));
        }
    }
}
